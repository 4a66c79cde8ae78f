"""Dry runs: what a scientist would run, tried on mock samples, and what came of each trial.

A dry run shows that plugins, options and features fit together, and how large the features are. Its metrics are those
of made-up rows: they say nothing about the quality of a model on real ones.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from fedcore.wire.encoding import Message
from fedcore.wire.reports import Count
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Training

MAXIMUM_TRIALS: Final = 16
"""How many combinations of pipeline, backend and model type one dry run tries; it names those that it leaves out."""

Share = Annotated[float, Field(ge=0, le=1)]


class DryRunPlan(Message):
    """What to try: each pipeline with each backend and each model type, on the mock samples of these versions."""

    datasets: Annotated[tuple[DatasetVersion, ...], Field(min_length=1, max_length=16)]
    pipelines: Annotated[tuple[Pipeline, ...], Field(min_length=1, max_length=16)]
    backends: Annotated[tuple[PluginChoice, ...], Field(min_length=1, max_length=16)]
    models: Annotated[tuple[PluginChoice, ...], Field(min_length=1, max_length=16)]
    training: Training = Training()

    @property
    def combinations(self) -> list[tuple[int, int, int]]:
        """The numbers of pipeline, backend and model type of every trial, in the order in which they are tried."""
        return [
            (pipeline, backend, model)
            for pipeline in range(len(self.pipelines))
            for backend in range(len(self.backends))
            for model in range(len(self.models))
        ]


class Trial(Message):
    """What came of one combination. `problem` says why it does not pass; then the rest may be empty.

    `feature_bytes` is the size of the features as they would travel, `plaintext_bytes` that of the rows.
    """

    pipeline: Annotated[int, Field(ge=0)]
    backend: str
    model: str
    passes: bool
    problem: Annotated[str, Field(max_length=500)] = ""
    kind: str = ""
    columns: Count = 0
    rows: Count = 0
    feature_bytes: Count = 0
    plaintext_bytes: Count = 0
    seconds: dict[str, float] = Field(default_factory=dict)
    accuracy: Share | None = None
    f1: Share | None = None
    majority_accuracy: Share | None = None
