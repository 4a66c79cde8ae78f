"""Checks of a submitted run's pipeline against the columns of its datasets, as their owners announce them."""

from __future__ import annotations

from collections.abc import Iterable

from fedcore.coordinator.governance.models import Dataset
from fedcore.coordinator.runs.problems import Problem, Problems
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.values import Records, Text
from fedcore.wire.codes import RefusalCode


def check_columns(pipeline: BuiltPipeline | None, datasets: Iterable[Dataset]) -> Problems:
    """The first step, tried on a table of each dataset's columns without any row: what it asks for must be there."""
    if pipeline is None or pipeline.fitted[:1] == [0]:
        return
    first = pipeline.steps[0]
    for dataset in datasets:
        if not dataset.columns:
            continue
        try:
            first.apply(Records({name: Text.from_rows([]) for name in dataset.columns}))
        except InvalidOptions as error:
            for option, problem in error.problems.items():
                detail = f"{dataset}: {error.plugin}, {option}: {problem}."
                yield Problem(RefusalCode.INVALID_OPTIONS, detail)
