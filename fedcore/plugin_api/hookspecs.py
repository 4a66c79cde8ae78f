"""The hooks: everything that a plugin package can add, and the one veto that an owner can add.

A hook returns classes; behaviour lives in the class. A package registers a module with implementations
under the entry-point group `fedcore.plugins`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

from fedcore.wire.orders import ArtefactRef, Phase

if TYPE_CHECKING:
    from fedcore.plugin_api.aggregators import Aggregator
    from fedcore.plugin_api.backends import EncryptionBackend
    from fedcore.plugin_api.models import ModelType
    from fedcore.plugin_api.readers import DatasetReader
    from fedcore.plugin_api.steps import PreprocessingStep

PROJECT = "fedcore"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class Release:
    """What is about to leave the owner's host: enough to refuse it, without the bytes themselves."""

    run: str
    phase: Phase
    dataset: str
    scientist: str
    rows: int
    artefacts: tuple[ArtefactRef, ...]


@dataclass(frozen=True)
class Verdict:
    """The answer to a release: allowed, or refused for a reason that stays in the owner's journal."""

    allowed: bool
    reason: str = ""


@hookspec
def fedcore_encryption_backends() -> list[type[EncryptionBackend[Any]]]:
    """Register classes that follow `EncryptionBackend`."""


@hookspec
def fedcore_preprocessing_steps() -> list[type[PreprocessingStep[Any]]]:
    """Register classes that follow `PreprocessingStep`."""


@hookspec
def fedcore_model_types() -> list[type[ModelType[Any]]]:
    """Register classes that follow `ModelType`."""


@hookspec
def fedcore_aggregators() -> list[type[Aggregator[Any]]]:
    """Register classes that follow `Aggregator`."""


@hookspec
def fedcore_dataset_readers() -> list[type[DatasetReader[Any]]]:
    """Register classes that follow `DatasetReader`."""


@hookspec
def fedcore_before_release(release: Release) -> Verdict:
    """Allow or refuse a release. Every implementation is asked, and one refusal, error or missing answer refuses."""
