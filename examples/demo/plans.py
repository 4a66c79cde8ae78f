"""What Sam wants to run: one detector in four ways, and a private one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from examples.demo.organisations import PURPOSE
from fedcore.client import RunPlan
from fedcore.wire.spec import Pipeline, PluginChoice, Training

WIDTH: Final = 1024
"""Shares of a row have eight bytes for every column, so a demonstration has not too many; every weight of the private
model gets noise, so it has not more."""
SHARING: Final = PluginChoice(name="secret_sharing", options={"score_range": 64})
EPSILON: Final = 0.8
"""What one private run costs."""


def plans(columns: Sequence[str], notary: str) -> list[RunPlan]:
    """The same model in four ways: each owner alone, on plaintext at the reference host, on shares that nobody can
    read, and on pseudonyms. The notary is the reference host, and the dealer of the run on shares."""
    pooled = RunPlan(
        title="Detector of malicious requests",
        purpose=PURPOSE,
        pipeline=pipeline(columns),
        training=Training(
            optimiser=PluginChoice(name="sgd", options={"lr": 4.0, "momentum": 0.9}),
            batch_size=256,
            epochs=5,
            seed=2021,
        ),
        minimum_owners=2,
        minutes=20,
    )
    return [pooled.as_local(), pooled.as_reference(notary), pooled.as_shared(notary, SHARING), pooled]


def private_plan() -> RunPlan:
    """A detector for one owner alone, of whose rows nothing shows by more than `EPSILON`.

    A vocabulary would show which pieces the rows have, so pieces are hashed into columns.
    """
    hashed = PluginChoice(name="hash_columns", options={"columns": WIDTH})
    steps = Pipeline(steps=(*_pieces(["target"]), hashed))
    plan = RunPlan(title="Private detector", purpose=PURPOSE, pipeline=steps, minutes=20)
    return plan.with_epsilon(EPSILON)


def pipeline(columns: Sequence[str]) -> Pipeline:
    """Pieces of one to three characters, counted: the most frequent ones of all owners have a column each.

    So every protection trains on the same columns, and the models can be compared number by number.
    """
    vocabulary = PluginChoice(name="joint_vocabulary", options={"maximum_size": WIDTH})
    return Pipeline(steps=(*_pieces(columns), vocabulary, PluginChoice(name="bag_of_words")))


def _pieces(columns: Sequence[str]) -> tuple[PluginChoice, ...]:
    """Decoded, lower case, cut into pieces of one to three characters, protected."""
    return (
        PluginChoice(name="fields", options={"names": list(columns)}),
        PluginChoice(name="url_decode"),
        PluginChoice(name="lower"),
        PluginChoice(name="char_ngrams", options={"minimum": 1, "maximum": 3}),
        PluginChoice(name="protect"),
    )
