"""`[datasets.NAME.ceilings]`: how far a grant may go without a person on this host."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedcore.owner.sections import Flag, Section, whole
from fedcore.wire.encoding import Name
from fedcore.wire.spec import Protocol


class Ceilings(Section):
    """What a grant may reach to take effect at once when it is approved at the coordinator.

    What goes beyond waits until a person on this host confirms it (`fedcore-owner grants confirm`). Without this
    section every grant waits. Ceilings never allow more than the dataset's own settings.
    """

    purposes: tuple[Name, ...] = Field(
        default=(), description="purposes for which a grant takes effect at once"
    )
    protocols: tuple[Protocol, ...] = Field(
        default=(), description="protocols that a grant may have to take effect at once"
    )
    backends: tuple[Name, ...] = Field(
        default=(), description="encryption backends that a grant may have to take effect at once"
    )
    models: tuple[Name, ...] = Field(
        default=(), description="model types that a grant may have to take effect at once"
    )
    character_steps: tuple[Name, ...] = Field(
        default=(),
        description="steps whose tokens are pieces of words that a grant may use at once under backends that rename",
    )
    releases: Annotated[int, whole(0, 1_000_000)] = Field(
        default=0, description="how many runs a grant may cover to take effect at once"
    )
    days: Annotated[int, whole(0, 36_500)] = Field(
        default=0,
        description="for how many days, from when it arrives, a grant may last to take effect at once",
    )
    epsilon: Literal["none"] | Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=0.0,
        description="the most privacy that all runs of a grant together may cost for it to take effect at once; "
        '"none" sets no bound',
    )
    minimum_owners: Annotated[int, whole(0, 64)] = Field(
        default=0,
        description="how many organisations a grant must require in each run to take effect at once",
    )
    download: Flag = Field(
        default=False, description="whether a grant that lets rows be downloaded takes effect at once"
    )
