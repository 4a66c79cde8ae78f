"""Pseudonyms only rename tokens: with a joint vocabulary, a pooled model equals the plaintext reference.

Two owners fit the vocabulary, prepare and send their rows as they do in a run; one model is trained on the merged
rows from the same initial weights. Under `keyed_tokens` with a random key and under `plaintext` the models are the
same, in float64 to 1e-9, and so is every prediction.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import (
    LabelledRows,
    Matrix,
    ModelType,
    Parameters,
    Records,
    Sequence,
    State,
    Summary,
    Text,
)
from fedcore.plugin_api.pipeline import BuiltPipeline, state_digest
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.serialise import pack_features, pack_summary, unpack_features, unpack_summary
from fedcore.plugin_api.split import held_out
from fedcore.wire.spec import Pipeline, PluginChoice, Training
from plugins import encryption, models, preprocessing
from plugins.readers.apache.generator import generate

REGISTRY = Registry([encryption, models, preprocessing])
TEXT_STEPS = (
    PluginChoice(name="fields", options={"names": ["request"]}),
    PluginChoice(name="url_decode"),
    PluginChoice(name="lower"),
    PluginChoice(name="words"),
    PluginChoice(name="protect"),
    PluginChoice(name="joint_vocabulary", options={"minimum_count": 2}),
)
ENDS = {
    "bag_of_words": PluginChoice(name="bag_of_words"),
    "sequence": PluginChoice(name="pad", options={"length": 30}),
}
TRAINING = Training(
    optimiser=PluginChoice(name="adam", options={"lr": 0.05}),
    batch_size=64,
    epochs=4,
    seed=5,
    precision="float64",
)


@dataclass(frozen=True)
class Trained:
    """What one protocol gives: the features, the model, and its scores on each owner's held-out rows."""

    states: list[State]
    rows: LabelledRows
    ids: NDArray[np.uint64]
    parameters: Parameters
    scores: NDArray[np.float64]


def owner_records(seed: int) -> Records:
    """600 generated requests of one owner with their classes."""
    lines = list(generate(600, seed=seed, attack_share=0.3))
    requests = [line.split('"', 2)[1].encode() for line in lines]
    labels = [int(not line.endswith(' "-"')) for line in lines]
    return Records({"request": Text.from_rows(requests)}, np.array(labels, np.int64))


OWNERS = [owner_records(seed) for seed in (1, 2)]
HELD = [held_out(records, ["request"], bytes([place]) * 32) for place, records in enumerate(OWNERS)]


def fitted(pipeline: BuiltPipeline) -> list[dict[int, State]]:
    """Each owner's state of the vocabulary, from the summaries that they exchange."""
    (place,) = pipeline.fitted
    summaries = [
        unpack_summary(pack_summary(pipeline.summarise(place, records.take(~held), {}, [])))
        for records, held in zip(OWNERS, HELD, strict=True)
    ]
    return [{place: pipeline.finish(place, [Summary.add(summaries)])} for _ in OWNERS]


def prepared(pipeline: BuiltPipeline, records: Records, states: dict[int, State]) -> LabelledRows:
    assert records.labels is not None
    return unpack_features(pack_features(pipeline.features(records, states), records.labels), 2)


def merged(parts: list[LabelledRows]) -> LabelledRows:
    features = [part.features for part in parts]
    matrices = [part for part in features if isinstance(part, Matrix)]
    sequences = [part for part in features if isinstance(part, Sequence)]
    joined = Matrix.concatenate(matrices) if matrices else Sequence.concatenate(sequences)
    return LabelledRows(joined, np.concatenate([part.labels for part in parts]))


def run(end: str, model: PluginChoice, backend: str, key: bytes | None) -> Trained:
    """The library calls of a whole run."""
    steps = Pipeline(steps=(*TEXT_STEPS, ENDS[end]))
    pipeline = BuiltPipeline(REGISTRY, steps, PluginChoice(name=backend), key)
    states = fitted(pipeline)
    sides = list(zip(OWNERS, HELD, states, strict=True))
    rows = merged([prepared(pipeline, records.take(~held), state) for records, held, state in sides])
    chosen = REGISTRY.get("models", model.name)(model.options)
    assert isinstance(chosen, ModelType)
    start = chosen.initial(rows.features, 2, TRAINING)
    parameters = chosen.train(start, rows, 2, TRAINING).parameters
    kept = [prepared(pipeline, records.take(held), state) for records, held, state in sides]
    scores = np.concatenate([chosen.scores(parameters, part.features) for part in kept])
    only_states = [state[pipeline.fitted[0]] for state in states]
    return Trained(only_states, rows, only_states[0]["ids"], parameters, scores)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    "model", [PluginChoice(name="linear"), PluginChoice(name="mlp", options={"hidden": [8]})]
)
def test_a_pooled_model_equals_the_reference(end: str, model: PluginChoice) -> None:
    pooled = run(end, model, "keyed_tokens", os.urandom(32))
    reference = run(end, model, "plaintext", None)
    assert not np.isin(pooled.ids, reference.ids).any(), "the tokens are renamed"
    assert rows_of(pooled.rows.features) == rows_of(reference.rows.features)
    assert set(pooled.parameters) == set(reference.parameters)
    for name, array in pooled.parameters.items():
        assert array.dtype == np.float64
        np.testing.assert_allclose(array, reference.parameters[name], rtol=0, atol=1e-9)
    np.testing.assert_allclose(pooled.scores, reference.scores, rtol=0, atol=1e-9)
    assert (pooled.scores.argmax(axis=1) == reference.scores.argmax(axis=1)).all()


def test_the_compared_models_have_learnt_something() -> None:
    found = run("bag_of_words", PluginChoice(name="linear"), "keyed_tokens", os.urandom(32))
    labels = np.concatenate(
        [
            records.take(held).labels
            for records, held in zip(OWNERS, HELD, strict=True)
            if records.labels is not None
        ]
    )
    majority = max(labels.mean(), 1 - labels.mean())
    assert (found.scores.argmax(axis=1) == labels).mean() > majority + 0.1


def test_both_owners_hold_the_same_state_and_no_word() -> None:
    found = run("bag_of_words", PluginChoice(name="linear"), "keyed_tokens", os.urandom(32))
    first, second = found.states
    assert state_digest(first) == state_digest(second)
    assert {array.dtype.kind for array in first.values()} == {"u", "i"}
