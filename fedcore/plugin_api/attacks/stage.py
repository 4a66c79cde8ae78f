"""The stage of an audit: half of the rows as the backend shows them, and the other half, which the attacker knows."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.attacks.frequency import frequency_analysis
from fedcore.plugin_api.backends import KeyHolders, TokenBackend
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.protection import PROTECT, RARE, Protect, ProtectFrequent, merged_but, rows_with
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.steps import FittedStep, State
from fedcore.plugin_api.values import Pseudonyms, Records, Text, Tokens, ValueKind
from fedcore.wire.spec import Pipeline, PluginChoice, Training

LEAST_ROWS: Final = 200
PLAINTEXT: Final = PluginChoice(name="plaintext")


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
        self.ordered = shown.gives is ValueKind.SEQUENCE
        self.expected = self.under_the_rule(self.known)
        self.shown.named = frequency_analysis(self.shown.rows, self.expected, ordered=self.ordered)
        self.plain.named = frequency_analysis(self.plain.rows, self.known, ordered=self.ordered)

    def meant(self, view: View) -> Pseudonyms:
        """What the places in a view's guesses stand for."""
        return self.known if view is self.plain else self.expected

    def tokens(self, records: Records) -> Tokens:
        """The tokens before their protection."""
        tokens: Tokens = self.plain.built.apply(records, self.plain.states, until=self.place)
        return tokens

    def public(self, records: Records) -> Pseudonyms:
        """The tokens under numbers that anybody can compute."""
        rows: Pseudonyms = self.plain.built.steps[self.place].apply(self.tokens(records))
        return rows

    def under_the_rule(self, rows: Pseudonyms) -> Pseudonyms:
        """Rows that the attacker can read, with rare tokens as one by the rule that it knows to be in force."""
        from fedcore.plugin_api.siphash import siphash

        kind: Any = self.attacked.registry.of_type(TokenBackend, self.attacked.backend.name)
        least = kind(self.attacked.backend.options).minimum_count
        if least == 1:
            return rows
        return merged_but(rows, rows_with(rows) >= least, siphash(Text.from_rows([RARE]), bytes(16))[0])

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
