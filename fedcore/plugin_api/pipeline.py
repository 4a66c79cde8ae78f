"""Pipelines: steps from a run spec, checked as a whole and applied block by block.

The step named `protect` stands for the encryption backend: before it tokens are plain, after it they are the
backend's 64-bit numbers. Everything that makes columns or sequences comes after it, so features never
depend on plain tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedcore.plugin_api.backends import TokenBackend
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.protection import PROTECT as PROTECT
from fedcore.plugin_api.protection import Protect, ProtectFrequent
from fedcore.plugin_api.registry import Registry, UnknownPlugin
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.values import Features, Records, ValueKind
from fedcore.wire.orders import PluginPin
from fedcore.wire.spec import Pipeline, PluginChoice

FEATURE_KINDS: Final = frozenset({ValueKind.MATRIX, ValueKind.SEQUENCE})


class InvalidPipeline(ValueError):
    """A pipeline that cannot run. `problems` has one sentence for each mistake, with the step's place."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__(" ".join(problems))


class BuiltPipeline:
    """A pipeline with its plugins, ready to apply to records."""

    def __init__(
        self, registry: Registry, pipeline: Pipeline, backend: PluginChoice, key: bytes | None = None
    ):
        """Build and check all steps. Raises `InvalidPipeline` with every mistake at once.

        Without a `key` the pipeline is for checking only where the backend's owners hold one.
        """
        self.steps = _build_steps(registry, pipeline, backend, key)
        _check_kinds(self.steps)

    @property
    def gives(self) -> ValueKind:
        """The kind of features at the end."""
        return self.steps[-1].gives

    @property
    def fitted(self) -> list[int]:
        """The places of the steps that are fitted over the owners, in order."""
        return [place for place, step in enumerate(self.steps) if isinstance(step, FittedStep)]

    def fit(self, blocks: Sequence[Records]) -> dict[int, State]:
        """The state of every fitted step, fitted on these blocks alone."""
        states: dict[int, State] = {}
        for place in self.fitted:
            step, sums = self.steps[place], list[Summary]()
            for _ in range(step.rounds if isinstance(step, FittedStep) else 0):
                sums.append(Summary.add([self.summarise(place, block, states, sums) for block in blocks]))
            states[place] = self.finish(place, sums)
        return states

    def apply(self, records: Records, states: Mapping[int, State], until: int | None = None) -> Any:
        """The value of these records after all steps, or before step `until`.

        `states` has the state of every fitted step that is passed, by place. Raises `KeyError` without it.
        """
        value: Any = records
        for place, step in enumerate(self.steps[:until]):
            value = (
                step.apply_fitted(value, states[place]) if isinstance(step, FittedStep) else step.apply(value)
            )
        return value

    def features(self, records: Records, states: Mapping[int, State]) -> Features:
        """The features of these records."""
        features: Features = self.apply(records, states)
        return features

    def summarise(
        self, place: int, records: Records, states: Mapping[int, State], so_far: Sequence[Summary]
    ) -> Summary:
        """The summary of these records for the fitted step at `place`."""
        step = self.steps[place]
        if not isinstance(step, FittedStep):
            raise TypeError(f"Step {place} ({step.name}) is not fitted.")
        return step.summarise(self.apply(records, states, until=place), so_far)

    def finish(self, place: int, sums: Sequence[Summary]) -> State:
        """The state of the fitted step at `place`."""
        step = self.steps[place]
        if not isinstance(step, FittedStep):
            raise TypeError(f"Step {place} ({step.name}) is not fitted.")
        return step.finish(sums)


def pins_of(
    registry: Registry, pipeline: Pipeline, backend: PluginChoice, model: PluginChoice
) -> list[PluginPin]:
    """The pins of every plugin that a run uses at an owner, apart from the owner's own reader."""
    names = sorted({step.name for step in pipeline.steps} - {PROTECT})
    return [
        *(registry.pin("preprocessing", name) for name in names),
        registry.pin("encryption", backend.name),
        registry.pin("models", model.name),
    ]


def state_digest(state: State) -> str:
    """SHA-256 over names, dtypes, shapes and bytes of a state, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        array = state[name]
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode() + array.tobytes())
    return digest.hexdigest()


def _build_steps(
    registry: Registry, pipeline: Pipeline, backend: PluginChoice, key: bytes | None
) -> list[PreprocessingStep[Any]]:
    steps: list[PreprocessingStep[Any]] = []
    problems: list[str] = []
    for place, choice in enumerate(pipeline.steps, start=1):
        try:
            steps.append(_build_step(registry, choice, backend, key))
        except (UnknownPlugin, InvalidOptions) as error:
            problems.append(f"Step {place}: {error}")
    if sum(choice.name == PROTECT for choice in pipeline.steps) != 1:
        problems.append(
            f"A pipeline has the step {PROTECT!r} exactly once: after the tokens, before the columns."
        )
    if problems:
        raise InvalidPipeline(problems)
    return steps


def _build_step(
    registry: Registry, choice: PluginChoice, backend: PluginChoice, key: bytes | None
) -> PreprocessingStep[Any]:
    if choice.name != PROTECT:
        return registry.of_type(PreprocessingStep, choice.name)(choice.options)  # type: ignore[type-abstract]
    if choice.options:
        raise InvalidOptions(
            PROTECT, dict.fromkeys(choice.options, "options of the backend stand in `backend`")
        )
    made = registry.of_type(TokenBackend, backend.name)(backend.options)  # type: ignore[type-abstract]
    return ProtectFrequent(made, key) if made.minimum_count > 1 else Protect(made, key)


def _check_kinds(steps: Sequence[PreprocessingStep[Any]]) -> None:
    problems = []
    kind = ValueKind.RECORDS
    for place, step in enumerate(steps, start=1):
        if step.takes is not kind:
            problems.append(f"Step {place} ({step.name}) takes {step.takes}, but the value there is {kind}.")
        kind = step.gives
    if kind not in FEATURE_KINDS:
        kinds = " or ".join(sorted(FEATURE_KINDS))
        problems.append(f"The pipeline ends in {kind}, but a model needs {kinds}: add a step that makes one.")
    if problems:
        raise InvalidPipeline(problems)
