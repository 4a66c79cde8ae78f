"""All attacks on one dataset under one protection, each beside its control.

**What the attacker is given.** Half of the rows, drawn at random, are attacked; the attacker knows the other half in
plain text, which is more than a public list of words tells anyone, and knows which pipeline and options are used. It
sees what comes out of the step `protect`, which is more than a matrix of hashed columns shows. The controls are the
same attacks on the same rows under `plaintext`, and, for membership, a model that has learnt its rows by heart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.attacks.figures import AttackFigure, PrivacyAudit
from fedcore.plugin_api.attacks.frequency import UNNAMED, frequency_analysis, recovery
from fedcore.plugin_api.attacks.inversion import likely_tokens, typical_tokens
from fedcore.plugin_api.attacks.linkage import linkage
from fedcore.plugin_api.attacks.membership import loss_threshold, losses
from fedcore.plugin_api.attacks.profiling import equal_rows, outlines, recognised
from fedcore.plugin_api.attacks.targets import Facts, facts_of
from fedcore.plugin_api.backends import KeyHolders, TokenBackend
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.protection import PROTECT, RARE, Protect, ProtectFrequent, merged_but, rows_with
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.steps import FittedStep, State
from fedcore.plugin_api.values import Matrix, Pseudonyms, Records, Text, Tokens, ValueKind
from fedcore.wire.spec import Pipeline, PluginChoice, Training

LEAST_ROWS: Final = 200
BY_HEART: Final = 400
GUESSED_WORDS: Final = 50
PLAINTEXT: Final = PluginChoice(name="plaintext")
Progress = Callable[[str], None]


class Unattackable(ValueError):
    """Rows or plugins on which the attacks say nothing. The text names the reason and what to do."""


@dataclass(frozen=True)
class Attacked:
    """What is attacked: the plugins of a run as its spec would name them, and columns that tell who and when.

    `person` names columns whose values the attacker knows of its targets (a user, an address), `moment` the column of
    the time, of which it knows date and hour.
    """

    registry: Registry
    pipeline: Pipeline
    backend: PluginChoice
    model: PluginChoice
    training: Training
    person: tuple[str, ...] = ()
    moment: str | None = None
    seed: int = 0


def audit(attacked: Attacked, dataset: str, records: Records, progress: Progress = print) -> PrivacyAudit:
    """The figures of all attacks that apply. Raises `Unattackable`, and `InvalidPipeline` for plugins that do not fit."""
    stage = Stage(attacked, records)
    figures: list[AttackFigure] = []
    for told, attack in _ATTACKS:
        progress(told)
        figures += attack(stage)
    backend = attacked.backend
    names = " > ".join(step.name for step in attacked.pipeline.steps)
    return PrivacyAudit(dataset, len(records), names, backend.name, backend.options, tuple(figures))


@dataclass
class View:
    """One half of the rows as a backend shows them, with the pipeline that made them."""

    built: BuiltPipeline
    states: dict[int, State]
    rows: Pseudonyms
    features: Any
    named: NDArray[np.int64] = field(init=False)


class Stage:
    """What all attacks share: the attacked half in both views, the half that the attacker knows, and its guesses."""

    def __init__(self, attacked: Attacked, records: Records) -> None:
        self.attacked = attacked
        self.labels = _labels(records)
        order = np.random.default_rng(attacked.seed).permutation(len(records))
        mine, theirs = order[: len(order) // 2], order[len(order) // 2 :]
        self.records, self.labels = records.take(mine), self.labels[mine]
        key = _key(attacked)
        shown = BuiltPipeline(attacked.registry, attacked.pipeline, attacked.backend, key)
        plain = BuiltPipeline(attacked.registry, attacked.pipeline, PLAINTEXT)
        self.place = next(place for place, step in enumerate(shown.steps) if step.name == PROTECT)
        self.shown, self.plain = (_view(built, self.place, self.records) for built in (shown, plain))
        self.known = self.public(records.take(theirs))
        ordered = shown.gives is ValueKind.SEQUENCE
        expected = _as_rare(self.known, minimum_count(attacked))
        self.shown.named = frequency_analysis(self.shown.rows, expected, ordered=ordered)
        self.plain.named = frequency_analysis(self.plain.rows, self.known, ordered=ordered)

    def tokens(self, records: Records) -> Tokens:
        """The tokens before their protection."""
        tokens: Tokens = self.plain.built.apply(records, self.plain.states, until=self.place)
        return tokens

    def public(self, records: Records) -> Pseudonyms:
        """The tokens under numbers that anybody can compute."""
        rows: Pseudonyms = self.plain.built.steps[self.place].apply(self.tokens(records))
        return rows

    def one_token_rows(self, view: View, types: NDArray[np.int64]) -> Any:
        """The features of rows that have one number of the view each, and nothing else."""
        count = len(types)
        value: Any = Pseudonyms(
            np.arange(count, dtype=np.int32), np.arange(count + 1, dtype=np.int64), view.rows.ids[types]
        )
        for place, step in enumerate(view.built.steps[self.place + 1 :], start=self.place + 1):
            fitted = isinstance(step, FittedStep)
            value = step.apply_fitted(value, view.states[place]) if fitted else step.apply(value)  # type: ignore[attr-defined]
        return value


def minimum_count(attacked: Attacked) -> int:
    """The rule on rare tokens of the backend that is attacked."""
    kind: Any = attacked.registry.of_type(TokenBackend, attacked.backend.name)
    return int(kind(attacked.backend.options).minimum_count)


def _labels(records: Records) -> NDArray[np.int64]:
    if records.labels is None:
        raise Unattackable("The rows have no labels: attacks on a model need the class of each row.")
    if len(records) < LEAST_ROWS:
        raise Unattackable(
            f"There are {len(records)} rows; the attacks need {LEAST_ROWS} or more to say anything."
        )
    if len(np.unique(records.labels)) < 2:
        raise Unattackable("All rows that were read are of one class: read more rows, or of more files.")
    return records.labels


def _key(attacked: Attacked) -> bytes | None:
    kind: Any = attacked.registry.of_type(TokenBackend, attacked.backend.name)
    return os.urandom(32) if kind.key_holders is KeyHolders.OWNERS else None


def _view(built: BuiltPipeline, place: int, records: Records) -> View:
    states = built.fit([records])
    tokens = built.apply(records, states, until=place)
    step = built.steps[place]
    assert isinstance(step, Protect | ProtectFrequent)
    rows = step.apply_fitted(tokens, states[place]) if isinstance(step, FittedStep) else step.apply(tokens)
    return View(built, states, rows, built.features(records, states))


def _as_rare(known: Pseudonyms, least: int) -> Pseudonyms:
    """The attacker's rows under the rule that it knows to be in force, so that frequencies are comparable."""
    from fedcore.plugin_api.siphash import siphash

    if least == 1:
        return known
    common = siphash(Text.from_rows([RARE]), bytes(16))[0]
    return merged_but(known, rows_with(known) >= least, common)


def _frequency(stage: Stage) -> Iterator[AttackFigure]:
    truth = stage.plain.rows
    found = recovery(stage.shown.named, stage.shown.rows, _names(stage, stage.shown), truth)
    control = recovery(stage.plain.named, truth, stage.known, truth)
    chance = 1 / max(len(truth.ids), 1)
    shared: dict[str, Any] = {"chance": chance, "targets": len(truth.ids)}
    yield AttackFigure(
        "frequency analysis",
        "tokens named",
        found.tokens,
        control.tokens,
        meaning="of all tokens in the rows, how many an observer who knows such logs reads",
        **shared,
    )
    yield AttackFigure(
        "frequency analysis",
        "distinct tokens named",
        found.types,
        control.types,
        meaning="of the distinct tokens, rare ones too, how many the observer reads",
        **shared,
    )


def _names(stage: Stage, view: View) -> Pseudonyms:
    """What the places in a view's guesses stand for."""
    return stage.known if view is stage.plain else _as_rare(stage.known, minimum_count(stage.attacked))


def _linkage(stage: Stage) -> Iterator[AttackFigure]:
    facts = facts_of(stage.records, stage.attacked.person, stage.attacked.moment, stage.attacked.seed)
    if facts is None:
        facts = Facts.of_tokens(stage.plain.rows, stage.attacked.seed)
    known = facts.tokens if facts.tokens is not None else stage.public(facts.records)  # type: ignore[arg-type]
    found, control = (
        linkage(view.rows, view.named, _names(stage, view), known, facts.truly)
        for view in (stage.shown, stage.plain)
    )
    yield AttackFigure(
        "linkage",
        f"rows found by {facts.what}",
        found,
        control,
        chance=float(facts.truly.mean()),
        targets=len(known),
        meaning=f"how often whoever knows {facts.what} of one request finds a row of which that is true",
    )


def _profiling(stage: Stage) -> Iterator[AttackFigure]:
    plain, shown = stage.plain.rows, stage.shown.rows
    lengths = np.diff(stage.tokens(stage.records).spellings.offsets)
    texts, first, truth = _distinct_rows(plain)
    bare, full = outlines(plain), outlines(plain, lengths)
    found = recognised(outlines(shown), [bare[row] for row in first], truth)
    control = recognised(full, [full[row] for row in first], truth)
    yield AttackFigure(
        "profiling",
        "rows recognised by size",
        found,
        control,
        chance=1 / max(texts, 1),
        targets=len(plain),
        meaning="how often a row is told by its number of tokens and repeats among all texts of the dataset",
        details={"rows seen to be equal to another": equal_rows(shown)},
    )


def _distinct_rows(rows: Pseudonyms) -> tuple[int, list[int], NDArray[np.int64]]:
    """How many texts there are, the first row of each, and which text each row is."""
    numbers: dict[bytes, int] = {}
    first: list[int] = []
    of_row = []
    for row, (start, end) in enumerate(zip(rows.offsets, rows.offsets[1:], strict=False)):
        text = rows.codes[start:end].tobytes()
        if text not in numbers:
            numbers[text] = len(numbers)
            first.append(row)
        of_row.append(numbers[text])
    return len(numbers), first, np.array(of_row, np.int64)


def _membership(stage: Stage) -> Iterator[AttackFigure]:
    half = len(stage.labels) // 2
    inside, outside = slice(0, half), slice(half, None)
    found = _told_apart(stage, stage.shown.features, stage.labels, inside, outside, stage.attacked.training)
    size = min(BY_HEART, half)
    random = np.random.default_rng(stage.attacked.seed).integers(0, 2, len(stage.labels))
    long = stage.attacked.training.model_copy(update={"epochs": 60, "scheduler": None, "batch_size": 32})
    control = _told_apart(stage, stage.plain.features, random, slice(0, size), slice(half, half + size), long)
    yield AttackFigure(
        "membership inference",
        "area under the curve",
        found[0],
        control[0],
        chance=0.5,
        targets=len(stage.labels),
        meaning="how well a finished model tells rows it was trained on from others (0.5 is guessing); the control "
        "is a model that has learnt its rows by heart",
        details={"members found at 0.1 % false alarms": found[1]},
    )


def _told_apart(
    stage: Stage, features: Any, labels: NDArray[np.int64], inside: slice, outside: slice, training: Training
) -> tuple[float, float]:
    everyone: NDArray[np.int64] = np.arange(len(labels))
    model = _model(stage)
    rows = LabelledRows(features.take(everyone[inside]), labels[inside])
    parameters = _trained(model, rows, training, int(labels.max()) + 1)
    scored = losses(model.scores(parameters, features), labels)
    found = loss_threshold(scored[inside], scored[outside])
    return found.auc, found.at_few


def _inversion(stage: Stage) -> Iterator[AttackFigure]:
    model = _model(stage)
    if model.linear_parameters is None or not isinstance(stage.plain.features, Matrix):
        return
    of_class = int(stage.labels.max())
    typical = typical_tokens(stage.plain.rows, stage.labels, of_class)
    true_ids = stage.plain.rows.ids[typical]
    found, control = (
        _pictured(stage, model, view, of_class, true_ids) for view in (stage.shown, stage.plain)
    )
    yield AttackFigure(
        "model inversion",
        "typical tokens read from the weights",
        found,
        control,
        chance=float(np.isin(stage.known.ids, true_ids).mean()),
        targets=GUESSED_WORDS,
        meaning=f"of the {GUESSED_WORDS} tokens that a finished model's weights name for its last class, how many are "
        "typical of it",
    )


def _pictured(
    stage: Stage, model: ModelType[Any], view: View, of_class: int, true_ids: NDArray[np.uint64]
) -> float:
    assert model.linear_parameters is not None
    rows = LabelledRows(view.features, stage.labels)
    parameters = _trained(model, rows, stage.attacked.training, of_class + 1)
    named = np.flatnonzero(view.named != UNNAMED)
    words = stage.one_token_rows(view, named)
    likely = likely_tokens(parameters[model.linear_parameters[0]], words, of_class, GUESSED_WORDS)
    meant = _names(stage, view).ids[view.named[named[likely]]]
    return float(np.isin(meant, true_ids).sum() / GUESSED_WORDS)


def _model(stage: Stage) -> ModelType[Any]:
    kind: Any = stage.attacked.registry.get("models", stage.attacked.model.name)
    model: ModelType[Any] = kind(stage.attacked.model.options)
    return model


def _trained(model: ModelType[Any], rows: LabelledRows, training: Training, classes: int) -> Parameters:
    initial = model.initial(rows.features, classes, training)
    return model.train(initial, rows, classes, training).parameters


_ATTACKS: Final[Sequence[tuple[str, Callable[[Stage], Iterator[AttackFigure]]]]] = (
    ("Naming tokens by their frequency", _frequency),
    ("Looking for persons of whom some facts are known", _linkage),
    ("Recognising rows by their size", _profiling),
    ("Telling rows that a model was trained on", _membership),
    ("Reading a model's weights", _inversion),
)
