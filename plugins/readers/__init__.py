"""Readers: they turn files of an owner into rows."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import DatasetReader, hookimpl

from .apache.reader import ApacheCombined, ApacheCommon
from .labelled_lines import LabelledLines


@hookimpl
def fedcore_dataset_readers() -> list[type[DatasetReader[Any]]]:
    return [ApacheCombined, ApacheCommon, LabelledLines]
