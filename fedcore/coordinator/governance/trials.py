"""The trials of a dry run: each pipeline with each backend and each model type, on mock samples, in short.

No Django here: this runs in a process that has neither a database nor a key of the coordinator. The key that the
backends get is thrown away with the process.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from fedcore.plugin_api.backends import KeyHolders, TokenBackend
from fedcore.plugin_api.evaluation import count_scores, metrics_of
from fedcore.plugin_api.mocks import records_of
from fedcore.plugin_api.models import LabelledRows, ModelType, TrainingDiverged
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.registry import Registry, UnknownPlugin
from fedcore.plugin_api.serialise import pack_features
from fedcore.plugin_api.steps import FittedStep, State, Summary
from fedcore.plugin_api.values import KIND_OF, Features, Matrix, Records
from fedcore.plugin_api.values import Sequence as SequenceValue
from fedcore.wire.catalogue import MockSample
from fedcore.wire.dry_runs import MAXIMUM_TRIALS, DryRunPlan, Trial
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Pipeline, PluginChoice, Training

LONGEST_PROBLEM: Final = 500
MAXIMUM_EPOCHS: Final = 10
_EVERY_HELD_OUT: Final = 3
_KEY_BYTES: Final = 32
_TOLD: Final = (InvalidPipeline, InvalidOptions, UnknownPlugin, TrainingDiverged, WireError)
"""Errors whose text is meant for whoever wrote the plan; of others the class is named too."""


@dataclass(frozen=True)
class _Prepared:
    """What a pipeline with a backend makes of the samples; `problem` says why it makes nothing."""

    rows: LabelledRows | None = None
    plaintext_bytes: int = 0
    seconds: float = 0.0
    problem: str = ""


def trials(registry: Registry, plan: DryRunPlan, samples: Sequence[MockSample]) -> Iterator[Trial]:
    """The trials of `plan`, one by one as they end; whatever a plugin raises is the trial's problem.

    `samples` are those of the plan's datasets, which have the same columns and classes.
    """
    blocks = [records_of(sample) for sample in samples]
    classes = len(samples[0].classes)
    prepared: dict[tuple[int, int], _Prepared] = {}
    for pipeline, backend, model in plan.combinations[:MAXIMUM_TRIALS]:
        if (pipeline, backend) not in prepared:
            prepared = {(pipeline, backend): _prepare(registry, plan, pipeline, backend, blocks)}
        made = prepared[pipeline, backend]
        trial = Trial(
            pipeline=pipeline,
            backend=plan.backends[backend].name,
            model=plan.models[model].name,
            passes=False,
            problem=made.problem,
        )
        yield trial if made.rows is None else _tried(registry, plan, model, made, classes, trial)


def _prepare(
    registry: Registry, plan: DryRunPlan, pipeline: int, backend: int, blocks: Sequence[Records]
) -> _Prepared:
    started = time.perf_counter()
    try:
        features = _features(registry, plan.pipelines[pipeline], plan.backends[backend], blocks)
    except Exception as error:
        return _Prepared(problem=_words(error))
    labels = np.concatenate([block.labels for block in blocks if block.labels is not None])
    plaintext = sum(len(column.data) for block in blocks for column in block.columns.values())
    return _Prepared(LabelledRows(features, labels), plaintext, time.perf_counter() - started)


def _features(
    registry: Registry, pipeline: Pipeline, backend: PluginChoice, blocks: Sequence[Records]
) -> Features:
    kind: Any = registry.of_type(TokenBackend, backend.name)
    key = os.urandom(_KEY_BYTES) if kind.key_holders is KeyHolders.OWNERS else None
    built = BuiltPipeline(registry, pipeline, backend, key)
    states: dict[int, State] = {}
    for place in built.fitted:
        step, sums = built.steps[place], list[Summary]()
        assert isinstance(step, FittedStep)
        for _ in range(step.rounds):
            sums.append(Summary.add([built.summarise(place, block, states, sums) for block in blocks]))
        states[place] = built.finish(place, sums)
    parts = [built.features(block, states) for block in blocks]
    matrices = [part for part in parts if isinstance(part, Matrix)]
    if matrices:
        return Matrix.concatenate(matrices)
    return SequenceValue.concatenate([part for part in parts if isinstance(part, SequenceValue)])


def _tried(
    registry: Registry, plan: DryRunPlan, model: int, made: _Prepared, classes: int, trial: Trial
) -> Trial:
    assert made.rows is not None
    features = made.rows.features
    facts: dict[str, Any] = {
        "kind": KIND_OF[type(features)].value,
        "columns": features.columns,
        "rows": len(features),
        "plaintext_bytes": made.plaintext_bytes,
        "seconds": {"prepare": round(made.seconds, 3)},
    }
    try:
        facts["feature_bytes"] = len(pack_features(features, made.rows.labels))
        facts |= _trained(registry, plan.models[model], plan.training, made.rows, classes, facts["seconds"])
        facts["passes"] = True
    except Exception as error:
        facts["problem"] = _words(error)
    return trial.model_copy(update=facts)


def _trained(
    registry: Registry,
    choice: PluginChoice,
    training: Training,
    rows: LabelledRows,
    classes: int,
    seconds: dict[str, float],
) -> dict[str, Any]:
    model: ModelType[Any] = registry.of_type(ModelType, choice.name)(choice.options)  # type: ignore[type-abstract]
    kind = KIND_OF[type(rows.features)]
    if kind not in model.takes:
        kinds = " or ".join(sorted(model.takes))
        raise InvalidPipeline([f"The pipeline ends in a {kind}, but model {model.name} takes a {kinds}."])
    short = training.model_copy(update={"epochs": min(training.epochs, MAXIMUM_EPOCHS)})
    held_out = np.arange(len(rows.labels)) % _EVERY_HELD_OUT == _EVERY_HELD_OUT - 1
    taught = LabelledRows(rows.features.take(~held_out), rows.labels[~held_out])
    started = time.perf_counter()
    outcome = model.train(model.initial(taught.features, classes, short), taught, classes, short)
    seconds["train"] = round(time.perf_counter() - started, 3)
    scores = model.scores(outcome.parameters, rows.features.take(held_out))
    metrics = metrics_of(count_scores(scores, rows.labels[held_out], classes))
    return metrics.model_dump(include={"accuracy", "f1", "majority_accuracy"})


def _words(error: Exception) -> str:
    # torch has no class of its own for memory that runs out on the CPU.
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return "It takes more memory than a dry run may use. Use fewer columns, or a smaller model."
    text = str(error) if isinstance(error, _TOLD) else f"{type(error).__name__}: {error}"
    return text[:LONGEST_PROBLEM]
