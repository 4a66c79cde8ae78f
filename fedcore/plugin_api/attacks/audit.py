"""All attacks on one dataset under one protection, each beside its control.

**What the attacker is given.** Half of the rows, drawn at random, are attacked; the attacker knows the other half in
plain text, which is more than a public list of words tells anyone, and knows which pipeline and options are used. It
sees what comes out of the step `protect`, which is more than a matrix of hashed columns shows. The controls are the
same attacks on the same rows under `plaintext`, and, for membership, a model that has learnt its rows by heart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.attacks.figures import AttackFigure, PrivacyAudit
from fedcore.plugin_api.attacks.frequency import UNNAMED, recovery
from fedcore.plugin_api.attacks.inversion import likely_tokens, typical_tokens
from fedcore.plugin_api.attacks.linkage import linkage
from fedcore.plugin_api.attacks.membership import loss_threshold, losses
from fedcore.plugin_api.attacks.profiling import equal_rows, outlines, recognised
from fedcore.plugin_api.attacks.stage import Attacked, Stage, View
from fedcore.plugin_api.attacks.targets import Facts, facts_of
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters
from fedcore.plugin_api.protection import rows_with
from fedcore.plugin_api.values import Matrix, Pseudonyms, Records
from fedcore.wire.spec import Training

BY_HEART: Final = 400
GUESSED_WORDS: Final = 50
FREQUENT_ROWS: Final = 5
Progress = Callable[[str], None]


def audit(attacked: Attacked, dataset: str, records: Records, progress: Progress = print) -> PrivacyAudit:
    """The figures of all attacks that apply. Raises `Unattackable`, and `InvalidPipeline` where plugins do not fit."""
    stage = Stage(attacked, records)
    figures: list[AttackFigure] = []
    for told, attack in _ATTACKS:
        progress(told)
        figures += attack(stage)
    backend = attacked.backend
    names = " > ".join(step.name for step in attacked.pipeline.steps)
    return PrivacyAudit(dataset, len(records), names, backend.name, backend.options, tuple(figures))


def _frequency(stage: Stage) -> Iterator[AttackFigure]:
    truth = stage.plain.rows
    found = recovery(stage.shown.named, stage.shown.rows, stage.meant(stage.shown), truth, stage.known.ids)
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
        meaning="of the distinct tokens that the observer knows from such logs, rare ones too, how many it reads",
        **shared,
    )


def _linkage(stage: Stage) -> Iterator[AttackFigure]:
    facts = facts_of(stage.records, stage.attacked.person, stage.attacked.moment, stage.attacked.seed)
    if facts is None:
        facts = Facts.of_tokens(stage.plain.rows, stage.attacked.seed)
    known = facts.known(stage.public)
    found, control = (
        linkage(view.rows, view.named, stage.meant(view), known, facts.truly)
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
    texts, first, truth = _distinct_rows(plain)
    ordered = stage.ordered
    bare, lengths, tokens = (
        outlines(stage.under_the_rule(plain), ordered=ordered),
        outlines(plain, np.diff(stage.tokens(stage.records).spellings.offsets), ordered=True),
        outlines(plain, np.arange(len(plain.ids)), ordered=True),
    )
    found, by_length, control = (
        recognised(seen, [known[row] for row in first], truth)
        for seen, known in ((outlines(shown, ordered=ordered), bare), (lengths, lengths), (tokens, tokens))
    )
    yield AttackFigure(
        "profiling",
        "rows recognised by size",
        found,
        control,
        chance=1 / max(texts, 1),
        targets=len(plain),
        meaning="how often a row is told from all texts of the dataset by its number of tokens and their repeats",
        details={"if lengths showed": by_length, "rows seen to be equal to another": equal_rows(shown)},
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
    # Rare tokens share columns with frequent ones, and would be taken for them.
    named = np.flatnonzero((view.named != UNNAMED) & (rows_with(view.rows) >= FREQUENT_ROWS))
    words = stage.one_token_rows(view, named)
    likely = likely_tokens(parameters[model.linear_parameters[0]], words, of_class, GUESSED_WORDS)
    meant = stage.meant(view).ids[view.named[named[likely]]]
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
