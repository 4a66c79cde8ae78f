"""A pipeline is checked as a whole: every mistake is told at once, with the step's place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import Records, Text, ValueKind
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline, pins_of
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.rows import rows_of
from fedcore.wire.presets import reference_2021_sequence, words_4096
from fedcore.wire.spec import Pipeline, PluginChoice
from plugins import encryption, models, preprocessing

REGISTRY = Registry([encryption, models, preprocessing])
PLAINTEXT = PluginChoice(name="plaintext")
RECORDS = Records({"request": Text.from_rows([b"/a/b", b"/a", b"/b/b"])})


def built(*steps: str | tuple[str, dict[str, Any]], backend: PluginChoice = PLAINTEXT) -> BuiltPipeline:
    choices = [(step, {}) if isinstance(step, str) else step for step in steps]
    pipeline = Pipeline(steps=tuple(PluginChoice(name=name, options=options) for name, options in choices))
    return BuiltPipeline(REGISTRY, pipeline, backend)


def problems(*steps: str | tuple[str, dict[str, Any]], backend: PluginChoice = PLAINTEXT) -> list[str]:
    with pytest.raises(InvalidPipeline) as caught:
        built(*steps, backend=backend)
    return caught.value.problems


FIELDS = ("fields", {"names": ["request"]})


def test_unknown_steps_and_options_and_the_missing_protection_are_told_at_once() -> None:
    found = problems(("fields", {"colour": 1}), "spell_check", ("words", {"keep": "ab"}), "hash_columns")
    assert [text[:7] for text in found[:3]] == ["Step 1:", "Step 2:", "Step 3:"]
    assert "names: Field required" in found[0]
    assert "colour: Extra inputs" in found[0]
    assert "'spell_check'" in found[1]
    assert "keep" in found[2]
    assert "'protect' exactly once" in found[3]


def test_every_step_that_takes_another_kind_is_told() -> None:
    found = problems("words", "protect", "lower")
    assert found == [
        "Step 1 (words) takes text, but the value there is records.",
        "Step 3 (lower) takes text, but the value there is pseudonyms.",
        "The pipeline ends in text, but a model needs matrix or sequence: add a step that makes one.",
    ]


def test_protection_twice_or_with_options_is_a_mistake() -> None:
    assert "exactly once" in problems(FIELDS, "words", "protect", "protect", "hash_columns")[0]
    found = problems(FIELDS, "words", ("protect", {"key": "x"}), "hash_columns")
    assert "options of the backend stand in `backend`" in found[0]


def test_an_unknown_backend_is_told_at_its_step() -> None:
    found = problems(FIELDS, "words", "protect", "hash_columns", backend=PluginChoice(name="rot13"))
    assert found[0].startswith("Step 3: There is no encryption plugin 'rot13'")


def test_a_valid_pipeline_gives_features_row_by_row() -> None:
    pipeline = built(FIELDS, "words", "protect", ("hash_columns", {"columns": 64, "norm": "none"}))
    assert pipeline.gives is ValueKind.MATRIX
    assert pipeline.fitted == []
    rows = rows_of(pipeline.features(RECORDS, {}))
    assert [sum(abs(value) for value in row.values()) for row in rows] == [2.0, 1.0, 2.0]


def test_a_fitted_step_is_fitted_at_its_place_and_needs_its_state() -> None:
    pipeline = BuiltPipeline(REGISTRY, reference_2021_sequence().pipeline, PLAINTEXT)
    (place,) = pipeline.fitted
    summary = pipeline.summarise(place, RECORDS, {}, [])
    state = pipeline.finish(place, [summary])
    features = pipeline.features(RECORDS, {place: state})
    assert [row[-2:] for row in rows_of(features)] == [(2, 1), (0, 2), (1, 1)]
    with pytest.raises(KeyError):
        pipeline.features(RECORDS, {})
    with pytest.raises(TypeError, match=r"Step 0 \(fields\) is not fitted"):
        pipeline.summarise(0, RECORDS, {}, [])
    with pytest.raises(TypeError, match=r"Step 0 \(fields\) is not fitted"):
        pipeline.finish(0, [summary])


def test_a_pipeline_never_changes_the_records() -> None:
    before = rows_of(RECORDS)
    built(FIELDS, "lower", "words", "protect", "hash_columns").features(RECORDS, {})
    assert rows_of(RECORDS) == before


def test_the_pins_of_a_run_cover_steps_backend_and_model() -> None:
    preset = words_4096()
    pins = pins_of(REGISTRY, preset.pipeline, PLAINTEXT, preset.model)
    assert {(pin.group, pin.name) for pin in pins} == {
        *(("preprocessing", name) for name in ("fields", "lower", "words", "hash_columns")),
        ("encryption", "plaintext"),
        ("models", "linear"),
    }
    REGISTRY.check_pins(pins)


def test_features_are_the_same_block_by_block() -> None:
    pipeline = built(FIELDS, "words", "protect", "hash_columns")
    whole = rows_of(pipeline.features(RECORDS, {}))
    blocks = [rows_of(pipeline.features(RECORDS.take(np.array([row])), {})) for row in range(3)]
    assert [row for block in blocks for row in block] == whole
