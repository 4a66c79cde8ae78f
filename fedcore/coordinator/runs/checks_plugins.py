"""Checks of a submitted run against the installed plugins: pipeline, backend, model type and training."""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np

from fedcore.coordinator.runs.flow import FittedPlace
from fedcore.coordinator.runs.problems import Problem, Problems
from fedcore.plugin_api.backends import EncryptionBackend, KeyHolders, Operation, ShareBackend, TokenBackend
from fedcore.plugin_api.models import LabelledRows, ModelType, TrainingDiverged
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.registry import Registry, UnknownPlugin
from fedcore.plugin_api.steps import FittedStep
from fedcore.plugin_api.torch_choices import ITERATIONS, MAXIMUM_ITERATIONS
from fedcore.plugin_api.values import Features, Matrix, Sequence, ValueKind
from fedcore.sharing.joining import CLASSES
from fedcore.sharing.plan import plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Options, Protocol, RunSpec

_TRIAL: Final = threading.Lock()
"""Trials run one at a time in a process, so that many requests at once take the memory of one network."""

_TRIAL_ROWS: Final = 8
_TRIAL_ITERATIONS: Final = 4


class PluginChecks:
    """The plugins that a spec names, as far as they can be built, and the mistakes found on the way."""

    def __init__(self, registry: Registry, spec: RunSpec, classes: int) -> None:
        self.problems: list[Problem] = []
        self._registry, self._spec = registry, spec
        self.backend = self._find_backend()
        self.pipeline = self._build_pipeline()
        self.model = self._make_model()
        if self.backend is not None:
            self.problems += check_backend(registry, spec, self.backend)
        if self.model is not None:
            self.problems += self._check_model(self.model, max(classes, 2))

    @property
    def fitted(self) -> list[FittedPlace]:
        """The pipeline's fitted steps; none where the pipeline could not be built."""
        steps = self.pipeline.steps if self.pipeline else []
        return [
            FittedPlace(place, step.rounds)
            for place, step in enumerate(steps)
            if isinstance(step, FittedStep)
        ]

    @property
    def owners_hold_key(self) -> bool:
        return self.backend is not None and self.backend.key_holders is KeyHolders.OWNERS

    def _find_backend(self) -> type[EncryptionBackend[Any]] | None:
        try:
            return self._registry.of_type(TokenBackend, self._spec.backend.name)
        except UnknownPlugin as error:
            self.problems.append(Problem(RefusalCode.PLUGIN_MISSING, f"Encryption: {error}"))
        return None

    def _build_pipeline(self) -> BuiltPipeline | None:
        try:
            return BuiltPipeline(self._registry, self._spec.pipeline, self._spec.backend)
        except InvalidPipeline as error:
            self.problems += [Problem(RefusalCode.INVALID_OPTIONS, problem) for problem in error.problems]
        return None

    def _make_model(self) -> ModelType[Any] | None:
        choice = self._spec.model
        try:
            return self._registry.of_type(ModelType, choice.name)(choice.options)  # type: ignore[type-abstract]
        except UnknownPlugin as error:
            self.problems.append(Problem(RefusalCode.PLUGIN_MISSING, f"Model: {error}"))
        except InvalidOptions as error:
            self.problems.append(Problem(RefusalCode.INVALID_OPTIONS, f"Model: {error}"))
        return None

    def _check_model(self, model: ModelType[Any], classes: int) -> Problems:
        gives = self.pipeline.gives if self.pipeline else None
        if gives is not None and gives not in model.takes:
            kinds = " or ".join(sorted(model.takes))
            detail = f"The pipeline ends in a {gives}, but model {model.name} takes a {kinds}."
            yield Problem(RefusalCode.INVALID_OPTIONS, detail)
            return
        kind = gives or next(iter(sorted(model.takes)))
        yield from check_operations(self._registry, self._spec, model, self.backend)
        yield from check_training(self._spec, model, kind, classes)
        if self._spec.protocol is Protocol.SHARED and self.backend is not None:
            yield from check_sharing(self._spec, model, kind, self.backend, classes)


def check_backend(registry: Registry, spec: RunSpec, backend: type[EncryptionBackend[Any]]) -> Problems:
    """Pooled rows are protected by a key of the owners; what stays at one owner needs no common key."""
    keyed = backend.key_holders is KeyHolders.OWNERS
    if spec.protocol is Protocol.POOLED and not keyed:
        having = [name for name in registry.names("encryption") if _renames_under_a_key(registry, name)]
        yield Problem(
            RefusalCode.BACKEND_NOT_ALLOWED,
            f"Under pooled, rows are protected with a key that the owners hold, and {backend.name} has none. Use "
            f"{' or '.join(having) or 'a backend that has one: none is installed'}.",
        )
    shares = issubclass(backend, ShareBackend)
    if shares != (spec.protocol is Protocol.SHARED):
        having = [name for name in registry.names("encryption") if _shares(registry, name)]
        yield Problem(
            RefusalCode.BACKEND_NOT_ALLOWED,
            f"Backend {backend.name} and protocol {spec.protocol} do not go together: under shared, rows leave in "
            f"shares, and only there. Backends that share: {', '.join(having) or 'none is installed'}.",
        )
    if spec.protocol is Protocol.LOCAL and keyed:
        yield Problem(
            RefusalCode.BACKEND_NOT_ALLOWED,
            f"Under local, no rows leave their owner, so no key is agreed, and {backend.name} needs one. Use a "
            "backend without a key, such as plaintext.",
        )


def check_sharing(
    spec: RunSpec, model: ModelType[Any], kind: ValueKind, backend: type[EncryptionBackend[Any]], classes: int
) -> Problems:
    """What can be trained on shares: two classes, a matrix, a linear model, and what the plan says of the training."""
    if classes != CLASSES or kind is not ValueKind.MATRIX:
        detail = f"Under shared, rows have two classes and are a matrix, not {classes} classes of a {kind}."
        yield Problem(RefusalCode.INVALID_OPTIONS, detail)
    if Protocol.SHARED in model.operations and model.linear_parameters is None:
        detail = f"Model {model.name} is not linear with these options, and under shared only such models are trained."
        yield Problem(RefusalCode.MODEL_NOT_ALLOWED, detail)
    if not issubclass(backend, ShareBackend):
        return
    try:
        chosen = backend(spec.backend.options)
        scales = Scales.of(chosen)
        plan_of(spec.training, scales, 1, [spec.training.batch_size])
    except InvalidOptions as error:
        for option, problem in error.problems.items():
            yield Problem(RefusalCode.INVALID_OPTIONS, f"{error.plugin}, {option}: {problem}.")
    except WireError as error:
        yield Problem(RefusalCode.INVALID_OPTIONS, f"Training: {error.detail}.")


def check_operations(
    registry: Registry, spec: RunSpec, model: ModelType[Any], backend: type[EncryptionBackend[Any]] | None
) -> Problems:
    """The one comparison of what the model type needs under this protocol with what the backend can do."""
    needed = model.operations.get(spec.protocol)
    if needed is None:
        having = ", ".join(sorted(model.operations)) or "none"
        detail = f"Model {model.name} cannot be trained under {spec.protocol} (it can under: {having})."
        yield Problem(RefusalCode.MODEL_NOT_ALLOWED, detail)
    elif backend is not None and not needed <= backend.operations:
        missing = ", ".join(sorted(needed - backend.operations))
        backends = [name for name in registry.names("encryption") if needed <= _operations(registry, name)]
        yield Problem(
            RefusalCode.BACKEND_NOT_ALLOWED,
            f"Model {model.name} needs {missing} of the backend under {spec.protocol}, and {backend.name} does "
            f"not have it. Backends that have it: {', '.join(backends) or 'none installed'}.",
        )


def check_training(spec: RunSpec, model: ModelType[Any], kind: ValueKind, classes: int) -> Problems:
    """Optimiser, scheduler, loss and class weights, by one short training on a few made-up rows."""
    rows = LabelledRows(
        _trial_features(kind), np.arange(_TRIAL_ROWS, dtype=np.int64) % min(classes, _TRIAL_ROWS)
    )
    optimiser = spec.training.optimiser.model_copy(
        update={"options": _bounded(spec.training.optimiser.options)}
    )
    changed = {
        "epochs": 1,
        "batch_size": _TRIAL_ROWS // 2,
        "optimiser": optimiser,
        "precision": "float32",
    }
    training = spec.training.model_copy(update=changed)
    try:
        with _TRIAL:
            model.train(model.initial(rows.features, classes, training), rows, classes, training)
    except InvalidOptions as error:
        for option, problem in error.problems.items():
            yield Problem(RefusalCode.INVALID_OPTIONS, f"{error.plugin}, {option}: {problem}.")
    except TrainingDiverged:
        pass  # The made-up rows say nothing about how the real ones will train.


def _bounded(options: Options) -> Options:
    # Whoever answers the request must not be kept busy by it: an optimiser that iterates within a step does so
    # a few times only. What is no number of iterations stays, for the model type to refuse.
    return {
        name: min(value, _TRIAL_ITERATIONS)
        if name in ITERATIONS and isinstance(value, int) and 1 < value <= MAXIMUM_ITERATIONS
        else value
        for name, value in options.items()
    }


def _trial_features(kind: ValueKind) -> Features:
    if kind is ValueKind.SEQUENCE:
        return Sequence(np.ones((_TRIAL_ROWS, 4), np.int32), 4)
    indptr = np.arange(_TRIAL_ROWS + 1, dtype=np.int64)
    return Matrix(indptr, np.zeros(_TRIAL_ROWS, np.int32), np.ones(_TRIAL_ROWS, np.float32), 4)


def _renames_under_a_key(registry: Registry, name: str) -> bool:
    """Whether it protects the tokens of pooled rows with a key of the owners."""
    found = registry.of_type(EncryptionBackend, name)
    renames = issubclass(found, TokenBackend) and not issubclass(found, ShareBackend)
    return renames and found.key_holders is KeyHolders.OWNERS


def _shares(registry: Registry, name: str) -> bool:
    return issubclass(registry.of_type(EncryptionBackend, name), ShareBackend)


def _operations(registry: Registry, name: str) -> frozenset[Operation]:
    return registry.of_type(EncryptionBackend, name).operations
