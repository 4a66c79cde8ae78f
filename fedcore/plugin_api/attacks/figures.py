"""What an attack found, as data: figures with the control beside them, and their form in JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

VERSION: Final = 1


@dataclass(frozen=True)
class AttackFigure:
    """One number of one attack, from 0 to 1; the higher, the more was found out.

    `found` is against what was chosen, `control` the same attack where nothing is protected (it shows that the attack
    works at all), `chance` what guessing blindly gives. `targets` says how many cases were tried, `meaning` what the
    number says, in plain words. Raises `ValueError` for a number outside 0 to 1.
    """

    attack: str
    figure: str
    found: float
    control: float
    chance: float
    targets: int
    meaning: str
    details: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("found", "control", "chance"):
            number = getattr(self, name)
            if not (math.isfinite(number) and 0 <= number <= 1):
                raise ValueError(f"{self.attack}: {name} is a share from 0 to 1, not {number}.")

    @property
    def works(self) -> bool:
        """Whether the attack does clearly better than guessing where nothing is protected: else it shows nothing."""
        return self.control >= self.chance + 0.25


@dataclass(frozen=True)
class PrivacyAudit:
    """The figures of several attacks on one dataset under one protection, and on what they were made."""

    dataset: str
    rows: int
    pipeline: str
    backend: str
    options: Mapping[str, Any]
    figures: Sequence[AttackFigure]

    def to_json(self) -> dict[str, Any]:
        """As plain values, for `json.dumps`."""
        return {"version": VERSION} | asdict(self) | {"figures": [asdict(figure) for figure in self.figures]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> PrivacyAudit:
        """The audit from plain values. Raises `ValueError` for another version, and for missing or unknown names."""
        if values.get("version") != VERSION:
            raise ValueError(f"A privacy audit has version {VERSION}, not {values.get('version')!r}.")
        try:
            figures = tuple(AttackFigure(**figure) for figure in values["figures"])
            rest = {name: value for name, value in values.items() if name not in ("version", "figures")}
            return cls(**rest, figures=figures)
        except (KeyError, TypeError) as error:
            raise ValueError(f"This is no privacy audit: {error}.") from None
