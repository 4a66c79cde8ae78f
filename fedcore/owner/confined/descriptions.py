"""What a third-party distribution says of its plugins, as data, read in a confined process.

The host decides on these values, as it does on the class variables of its own plugins: an owner who allows a
distribution takes its word for what its plugins show, say. What can be checked is not taken on trust: of which form
the values are, here, and with every value that a plugin gives back whether it is what was declared.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from fedcore.plugin_api.backends import BackendStatus, KeyHolders, Leak, Protects
from fedcore.plugin_api.values import ValueKind
from fedcore.wire.catalogue import ColumnKind
from fedcore.wire.encoding import Label, Name
from fedcore.wire.spec import Protocol


class _Said(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PluginSaid(_Said):
    """What every plugin says, and the file that its class stands in; `alone` where the file is its whole package."""

    name: Name
    version: Label
    summary: Label
    api_version: int
    path: Label
    file: Annotated[str, Field(max_length=4096)]
    alone: bool


class StepSaid(PluginSaid):
    """A preprocessing step; `rounds` for a fitted one."""

    group: Literal["preprocessing"]
    takes: ValueKind
    gives: ValueKind
    shows_characters: bool
    rounds: Annotated[int, Field(ge=1, le=1000)] | None = None


class BackendSaid(PluginSaid):
    """An encryption backend that protects tokens."""

    group: Literal["encryption"]
    operations: frozenset[Label]
    protects: frozenset[Protects]
    leakage: frozenset[Leak]
    trust: tuple[Annotated[str, Field(max_length=2000)], ...]
    minimum_owners: Annotated[int, Field(ge=1, le=64)]
    security_bits: Annotated[int, Field(ge=0, le=4096)]
    status: BackendStatus
    key_holders: KeyHolders
    renames_only: bool


class ModelSaid(PluginSaid):
    """A model type."""

    group: Literal["models"]
    takes: frozenset[ValueKind]
    operations: dict[Protocol, frozenset[Label]]


class ReaderSaid(PluginSaid):
    """A dataset reader."""

    group: Literal["readers"]
    columns: Annotated[tuple[Name, ...], Field(min_length=1, max_length=256)]
    kinds: dict[Name, ColumnKind]
    compared: Annotated[tuple[Name, ...], Field(max_length=256)]
    classes: Annotated[tuple[Name, ...], Field(min_length=2, max_length=64)]


class DistributionSaid(_Said):
    """All plugins of a distribution that an owner's host can use, and how many checks of releases it has.

    `imported` names those of fedcore's own libraries that loading it took, so that they are loaded beforehand, and
    `not_warmed` the plugins that could not load what they need.
    """

    plugins: Annotated[
        tuple[Annotated[StepSaid | BackendSaid | ModelSaid | ReaderSaid, Field(discriminator="group")], ...],
        Field(max_length=256),
    ]
    vetoes: Annotated[int, Field(ge=0, le=64)]
    not_warmed: Annotated[tuple[Name, ...], Field(max_length=256)]
    imported: Annotated[tuple[Label, ...], Field(max_length=200)]
