"""Pipelines, models and trainings to start from, as plain data.

`words_4096` and `char_ngrams_4096` train one linear layer on features hashed into 4,096 columns. The
`reference_2021` presets keep the network of the 2021 work parameter for parameter (one linear layer with
ReLU outputs, plain SGD 0.001, batches of 32, two epochs) with a loss that has a gradient: its own, the
squared error of the most probable class's number, has none, so that network never learnt.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import JsonValue

from fedcore.wire.encoding import Message
from fedcore.wire.spec import Pipeline, PluginChoice, Training

REQUEST = ("request",)
"""The column of the reader `labelled_lines`; the Apache readers have `target` and others."""


class Preset(Message):
    """What a run spec says about pipeline, model and training."""

    pipeline: Pipeline
    model: PluginChoice
    training: Training


def words_4096(columns: Sequence[str] = REQUEST) -> Preset:
    """Words hashed into 4,096 columns."""
    return Preset(
        pipeline=_pipeline(columns, PluginChoice(name="words"), *_hashed(4096)),
        model=PluginChoice(name="linear"),
        training=_fast_training(),
    )


def char_ngrams_4096(columns: Sequence[str] = REQUEST) -> Preset:
    """Pieces of one to three characters hashed into 4,096 columns.

    Better than words, and much easier to read for whoever sees the features: an owner must allow it by name.
    """
    ngrams = PluginChoice(name="char_ngrams", options={"minimum": 1, "maximum": 3})
    return Preset(
        pipeline=_pipeline(columns, ngrams, *_hashed(4096)),
        model=PluginChoice(name="linear"),
        training=_fast_training(),
    )


def reference_2021_sequence(columns: Sequence[str] = REQUEST) -> Preset:
    """The network of 2021 on sequences: words numbered by frequency, padded on the left to 250; 502 parameters.

    The numbers enter divided by the size of the vocabulary.
    """
    vocabulary = PluginChoice(name="joint_vocabulary", options={"minimum_count": 1})
    pad = PluginChoice(name="pad", options={"length": 250, "side": "left"})
    return _reference_2021(_pipeline(columns, *_words_2021(), PluginChoice(name="protect"), vocabulary, pad))


def reference_2021_features(columns: Sequence[str] = REQUEST) -> Preset:
    """The network of 2021 on 300 features, here words hashed into 300 columns; 602 parameters."""
    return _reference_2021(_pipeline(columns, *_words_2021(), *_hashed(300)))


def _reference_2021(pipeline: Pipeline) -> Preset:
    return Preset(
        pipeline=pipeline,
        model=PluginChoice(name="linear", options={"activation": "relu"}),
        training=Training(
            optimiser=PluginChoice(name="sgd", options={"lr": 0.001}),
            loss="squared_error",
            batch_size=32,
            epochs=2,
        ),
    )


def _fast_training() -> Training:
    # Within 0.01 in F1 of the converged optimum where 4 % of the rows are attacks (see the benchmark `quality`):
    # many small steps matter more than the number of passes.
    return Training(
        optimiser=PluginChoice(name="adam", options={"lr": 0.1}),
        scheduler=PluginChoice(name="cosine_annealing_lr", options={"T_max": 15}),
        batch_size=128,
        epochs=15,
    )


def _pipeline(columns: Sequence[str], *steps: PluginChoice) -> Pipeline:
    names: list[JsonValue] = [*columns]
    text = (PluginChoice(name="fields", options={"names": names}), PluginChoice(name="lower"))
    return Pipeline(steps=text + steps)


def _words_2021() -> tuple[PluginChoice, ...]:
    return PluginChoice(name="strip_punctuation"), PluginChoice(name="words")


def _hashed(columns: int) -> tuple[PluginChoice, ...]:
    options: dict[str, JsonValue] = {"columns": columns, "signed": True, "norm": "l2"}
    return PluginChoice(name="protect"), PluginChoice(name="hash_columns", options=options)
