"""The computing of an owner's workers: pure functions from a description, files and keys to bytes and facts.

Who can see what: these run in the forked process of `fedcore.owner.isolation`. They read rows, the run's key and
the secret of the held-out split from files, and give back protected features, summaries, counts or a model.
Held-out rows never take part in `summarise`, `prepare` or `train`; only they take part in `evaluate`.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.owner import sharing_work
from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.confined.plugins import plugins_of, terms_of
from fedcore.owner.confined.proxies import CHILDREN
from fedcore.owner.description import Finished, Kind, Work
from fedcore.owner.reading import Clock, Reading, Side
from fedcore.owner.spool import OrderSpool, write_file
from fedcore.plugin_api.backends import ShareBackend
from fedcore.plugin_api.models import LabelledRows, ModelType, TrainingOutcome
from fedcore.plugin_api.pipeline import BuiltPipeline, state_digest
from fedcore.plugin_api.private_training import fit_privately, private_scores
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.serialise import (
    StoredModel,
    pack_arrays,
    pack_features,
    pack_model,
    pack_state,
    pack_summary,
    unpack_features,
    unpack_model,
    unpack_state,
    unpack_summary,
)
from fedcore.plugin_api.steps import FittedStep, State, Summary
from fedcore.plugin_api.values import Features, Matrix, ValueKind
from fedcore.plugin_api.values import Sequence as Sequences
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import read_secret
from fedcore.wire.reports import TrainingCurve

CURVE_POINTS: Final = 2000
MOST_CLASSES: Final = 64


@dataclass(frozen=True)
class Computed:
    """A task's payload and facts; `states` are those that were fitted on the way, by place."""

    payload: bytes
    rows: int = 0
    columns: int = 0
    plaintext_bytes: int = 0
    curve: TrainingCurve | None = None
    state: str | None = None
    states: dict[int, State] = field(default_factory=dict)


def carry_out(spool: OrderSpool, work: Work, task: int) -> None:
    """Do task number `task` of the work, and put the result into the spool."""
    clock = Clock()
    CHILDREN.keep()
    try:
        computed = COMPUTE[work.kind](work, task, clock)
    except PluginStopped as error:
        spool.explain(task, str(error))
        raise
    for place, state in computed.states.items():
        write_file(spool.directory / f"state-{place}.safetensors", pack_state(state))
    finished = Finished(
        rows=computed.rows,
        columns=computed.columns,
        plaintext_bytes=computed.plaintext_bytes,
        digest=hashlib.sha256(computed.payload).hexdigest(),
        seconds=clock.seconds,
        curve=computed.curve,
        state=computed.state,
        worker=os.getppid(),
    )
    spool.finish(task, computed.payload, finished)


def summarise(work: Work, task: int, clock: Clock) -> Computed:
    """The summary of one shard's training rows for the fitted step of this round."""
    pipeline, states, so_far = _pipeline(work), _states(work), _sums(work)
    reading = Reading(work, registry_of(work), clock)
    parts, rows = [], 0
    for block in reading.blocks(work.parts[task], Side.TRAINING):
        rows += len(block)
        with clock.stage("protecting"):
            parts.append(pipeline.summarise(work.place, block, states, so_far))
    return Computed(pack_summary(Summary.add(parts)), rows=rows)


def settle(work: Work, task: int, clock: Clock) -> Computed:
    """The state of a fitted step from the sums of all its rounds."""
    with clock.stage("settling"):
        state = _pipeline(work).finish(work.place, _sums(work))
    return Computed(pack_state(state), state=state_digest(state))


def prepare(work: Work, task: int, clock: Clock) -> Computed:
    """The protected features and the labels of one shard's training rows."""
    rows, plain = _features(work, task, clock, _pipeline(work), _states(work), Side.TRAINING)
    payload = b"" if rows is None else pack_features(rows.features, rows.labels)
    if rows is None:
        return Computed(payload, plaintext_bytes=plain)
    return Computed(payload, len(rows.labels), rows.features.columns, plain)


def train(work: Work, task: int, clock: Clock) -> Computed:
    """A model: at a reference host of the owners' features, else of this owner's own training rows."""
    states: dict[int, State] = {}
    if work.inputs:
        with clock.stage("reading"):
            rows = merged([unpack_features(Path(path).read_bytes(), MOST_CLASSES) for path in work.inputs])
    else:
        rows, states = _own_rows(work, clock)
    with clock.stage("training"):
        stored, outcome = fit(work, rows)
    curve = None if work.noise else curve_of(outcome, work.training.batch_size, work.least_rows)
    return Computed(pack_model(stored), len(rows.labels), rows.features.columns, curve=curve, states=states)


def evaluate(work: Work, task: int, clock: Clock) -> Computed:
    """Counts of the model's scores on one shard's held-out rows."""
    from fedcore.plugin_api.evaluation import count_scores

    stored = _model(work)
    rows, _ = _features(work, task, clock, _pipeline(work), _states(work), Side.HELD_OUT)
    with clock.stage("evaluating"):
        labels = np.empty(0, np.int64) if rows is None else rows.labels
        scores = np.empty((0, stored.classes)) if rows is None else scores_of(work, stored, rows.features)
        counts = count_scores(scores, labels, stored.classes)
    payload = pack_arrays({"histograms": counts.histograms, "confusion": counts.confusion}, {})
    return Computed(payload, rows=counts.rows)


def predict(work: Work, task: int, clock: Clock) -> Computed:
    """Scores of all rows of one shard of any log: softmax of the model's scores, and the rows' text.

    The payload has `scores` (float64, rows by classes), and `text` with `offsets` (one row after the other).
    """
    from fedcore.plugin_api.text import joined

    stored, pipeline, states = _model(work), _pipeline(work), _states(work)
    reading = Reading(work, registry_of(work), clock)
    scores: list[NDArray[np.float64]] = [np.empty((0, stored.classes))]
    lines: list[bytes] = []
    for block in reading.blocks(work.parts[task], Side.ALL, labelled=False):
        with clock.stage("protecting"):
            features = pipeline.features(block, states)
        with clock.stage("evaluating"):
            scores.append(_softmax(scores_of(work, stored, features)))
        lines += list(joined(list(block.columns.values()), b" "))
    text = np.frombuffer(b"".join(lines), np.uint8)
    offsets = np.cumsum([0, *(len(line) for line in lines)]).astype(np.int64)
    payload = pack_arrays({"scores": np.concatenate(scores), "text": text, "offsets": offsets}, {})
    return Computed(payload, rows=len(lines))


def mask(work: Work, task: int, clock: Clock) -> Computed:
    """The features and labels of one shard's training rows, masked for the compute owners."""
    backend = _share_backend(work)
    rows, plain = _features(work, task, clock, _pipeline(work), _states(work), Side.TRAINING)
    if rows is None:
        return Computed(b"", plaintext_bytes=plain)
    with clock.stage("masking"):
        masked = sharing_work.masked(work, task, rows, backend)
    return Computed(masked, len(rows.labels), rows.features.columns, plain)


def deal(work: Work, task: int, clock: Clock) -> Computed:
    """One block of a dealer's correlated randomness."""
    with clock.stage("dealing"):
        return Computed(sharing_work.dealt(work, task, _share_backend(work)))


def train_shares(work: Work, task: int, clock: Clock) -> Computed:
    """This compute owner's share of the weights, trained together with the other one."""
    outcome = sharing_work.train(work, _share_backend(work), _model_type(work), clock)
    return Computed(outcome, sum(work.sharing.rows), work.sharing.columns)


COMPUTE: Final[dict[Kind, Callable[[Work, int, Clock], Computed]]] = {
    Kind.SUMMARISE: summarise,
    Kind.SETTLE: settle,
    Kind.PREPARE: prepare,
    Kind.MASK: mask,
    Kind.DEAL: deal,
    Kind.TRAIN_SHARES: train_shares,
    Kind.TRAIN: train,
    Kind.EVALUATE: evaluate,
    Kind.PREDICT: predict,
}


def registry_of(work: Work) -> Registry:
    """The plugins that the policy allows; looked at once in a warmed process. Raises `PluginError`."""
    terms = terms_of(work.memory_mb, work.seconds, work.home, work.unconfined_plugins)
    return plugins_of(work.plugins, terms)


def fit(work: Work, rows: LabelledRows) -> tuple[StoredModel, TrainingOutcome]:
    """Train the run's model on these rows from its initial parameters."""
    if not len(rows.labels):
        raise WireError(RefusalCode.DATASET_EMPTY, "there are no rows to train on")
    model = _model_type(work)
    classes = work.classes or max(2, int(rows.labels.max()) + 1)
    if work.noise is not None:
        parameters = fit_privately(model, rows, classes, work.training, work.noise.mechanism)
        outcome = TrainingOutcome(parameters, epochs=work.training.epochs)
    else:
        initial = model.initial(rows.features, classes, work.training)
        outcome = model.train(initial, rows, classes, work.training)
    kind, size = kind_and_size(rows.features)
    return StoredModel(work.model, classes, kind, rows.features.columns, size, outcome.parameters), outcome


def scores_of(work: Work, stored: StoredModel, features: Features) -> NDArray[np.float64]:
    """The model's scores, finite. Raises `WireError` if the model is not made for these features."""
    kind, size = kind_and_size(features)
    if (stored.kind, stored.columns, stored.size) != (kind, features.columns, size):
        raise WireError(
            RefusalCode.ARTEFACT_INVALID,
            f"the model takes {stored.kind} {stored.columns}/{stored.size}, the features are {kind} "
            f"{features.columns}/{size}",
        )
    model = _model_type(work)
    if work.noise is not None:
        return private_scores(model, stored.parameters, features)
    scores = model.scores(stored.parameters, features)
    if not np.isfinite(scores).all():
        raise WireError(RefusalCode.NOT_FINITE, "a score is NaN or infinite")
    return scores


def merged(parts: Sequence[LabelledRows]) -> LabelledRows:
    """All rows of the parts in their order. Raises `WireError` (`artefact_invalid`) if the parts do not fit."""
    features = [part.features for part in parts]
    labels = np.concatenate([part.labels for part in parts])
    try:
        if all(isinstance(part, Matrix) for part in features):
            return LabelledRows(Matrix.concatenate(features), labels)  # type: ignore[arg-type]
        if all(isinstance(part, Sequences) for part in features):
            return LabelledRows(Sequences.concatenate(features), labels)  # type: ignore[arg-type]
    except ValueError as error:
        raise WireError(RefusalCode.ARTEFACT_INVALID, str(error)) from None
    raise WireError(RefusalCode.ARTEFACT_INVALID, "matrices and sequences cannot be merged")


def kind_and_size(features: Features) -> tuple[ValueKind, int]:
    """The kind of the features, and the size of their vocabulary (0 for a matrix)."""
    return (ValueKind.SEQUENCE, features.size) if isinstance(features, Sequences) else (ValueKind.MATRIX, 0)


def curve_of(outcome: TrainingOutcome, batch_size: int, least_rows: int) -> TrainingCurve:
    """Loss and accuracy as at most `CURVE_POINTS` means, each over batches of `least_rows` rows or more together.

    With small batches the loss of each step would show single rows, and the exact number of steps that of the rows: it
    is given rounded up to a multiple of `every`.
    """
    steps = len(outcome.loss)
    enough = math.ceil(least_rows / batch_size)
    every = max(enough, math.ceil(steps / CURVE_POINTS))
    return TrainingCurve(
        every=every,
        loss=_means(outcome.loss, every),
        accuracy=tuple(min(1.0, max(0.0, share)) for share in _means(outcome.accuracy, every)),
        epochs=outcome.epochs,
        steps=-(-steps // every) * every,
    )


def _means(values: Sequence[float], every: int) -> tuple[float, ...]:
    """The mean of each `every` values; what is left at the end belongs to the last mean."""
    if not values:
        return ()
    starts = np.arange(max(1, len(values) // every)) * every
    sums = np.add.reduceat(np.array(values, np.float64), starts)
    return tuple((sums / np.diff(np.append(starts, len(values)))).tolist())


def _features(
    work: Work, task: int, clock: Clock, pipeline: BuiltPipeline, states: dict[int, State], side: Side
) -> tuple[LabelledRows | None, int]:
    """Features and labels of one side of a shard's rows, None without any row, and the rows' size in plain text."""
    reading = Reading(work, registry_of(work), clock)
    parts = []
    for block in reading.blocks(work.parts[task], side):
        if block.labels is None:
            raise WireError(RefusalCode.DATASET_UNREADABLE, "the reader gives no labels")
        if len(block):
            with clock.stage("protecting"):
                parts.append(LabelledRows(pipeline.features(block, states), block.labels))
    return (merged(parts) if parts else None), reading.plaintext_bytes


def _own_rows(work: Work, clock: Clock) -> tuple[LabelledRows, dict[int, State]]:
    """All training rows of this owner as features, with fitted steps fitted on these rows alone."""
    pipeline = _pipeline(work)
    reading = Reading(work, registry_of(work), clock)
    states: dict[int, State] = {}
    for place in pipeline.fitted:
        step, sums = pipeline.steps[place], list[Summary]()
        for _ in range(step.rounds if isinstance(step, FittedStep) else 0):
            blocks = (block for part in work.parts for block in reading.blocks(part, Side.TRAINING))
            sums.append(Summary.add([pipeline.summarise(place, block, states, sums) for block in blocks]))
        states[place] = pipeline.finish(place, sums)
    tasks = range(len(work.parts))
    shards = [_features(work, task, clock, pipeline, states, Side.TRAINING)[0] for task in tasks]
    found = [rows for rows in shards if rows is not None]
    if not found:
        raise WireError(RefusalCode.DATASET_EMPTY, "there are no rows to train on")
    return merged(found), states


def _pipeline(work: Work) -> BuiltPipeline:
    key = None if work.run_key is None else read_secret(Path(work.run_key))
    return BuiltPipeline(registry_of(work), work.pipeline, work.backend, key)


def _states(work: Work) -> dict[int, State]:
    return {state.place: unpack_state(Path(state.path).read_bytes()) for state in work.states}


def _sums(work: Work) -> list[Summary]:
    return [unpack_summary(Path(path).read_bytes()) for path in work.sums]


def _model_type(work: Work) -> ModelType[Any]:
    found: Any = registry_of(work).get("models", work.model.name)
    model: ModelType[Any] = found(work.model.options)
    return model


def _share_backend(work: Work) -> ShareBackend[Any]:
    found: Any = registry_of(work).of_type(ShareBackend, work.backend.name)
    backend: ShareBackend[Any] = found(work.backend.options)
    return backend


def _model(work: Work) -> StoredModel:
    stored = unpack_model(Path(work.inputs[0]).read_bytes())
    if stored.model != work.model or stored.classes != work.classes:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the model is not of the type and classes of the run")
    return stored


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return shares
