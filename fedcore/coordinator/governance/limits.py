"""How far access goes: the eight limits that a request asks for and a grant allows, and which of two is wider.

A limit that is missing or that nobody here knows allows nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Final, Literal

from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from pydantic import TypeAdapter, ValidationError

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import MicroEpsilon, Protocol

Epsilon = int | Literal["none"]
"""An epsilon in millionths, or `none`: no promise, and so the widest."""

NO_PROMISE: Final = "none"
MICRO: Final = 1_000_000
MOST_OWNERS: Final = 64
_EPSILON: Final[TypeAdapter[Epsilon]] = TypeAdapter(MicroEpsilon)


class Limited(models.Model):
    """The eight limits, as a request asks for them, a first approver proposes them, and a grant allows them."""

    protocols = models.JSONField(gettext_lazy("protocols"))
    backends = models.JSONField(gettext_lazy("encryption backends"))
    model_types = models.JSONField(gettext_lazy("model types"))
    epsilon_micro = models.JSONField(
        gettext_lazy("epsilon"), help_text=gettext_lazy("Of all runs together, in millionths; or “none”.")
    )
    releases = models.IntegerField(gettext_lazy("releases"))
    minimum_owners = models.IntegerField(gettext_lazy("minimum owners"))
    expires_at = models.DateTimeField(gettext_lazy("expires"))
    download = models.BooleanField(gettext_lazy("download"))

    class Meta:
        abstract = True


@dataclass(frozen=True)
class Limits:
    """How far a grant goes, where the owner wants less than was asked. None means as asked."""

    protocols: tuple[str, ...] | None = None
    backends: tuple[str, ...] | None = None
    model_types: tuple[str, ...] | None = None
    epsilon_micro: Epsilon | None = None
    releases: int | None = None
    minimum_owners: int | None = None
    expires_at: datetime | None = None
    download: bool | None = None


NAMES: Final = tuple(field.name for field in fields(Limits))
LISTS: Final = ("protocols", "backends", "model_types")


def limits_of(row: Limited) -> dict[str, Any]:
    """The eight limits of a row, by name."""
    return {name: getattr(row, name) for name in NAMES}


def in_audit(limits: Mapping[str, Any]) -> dict[str, Any]:
    """The limits as an entry of the audit has them: numbers and names, and no epsilon where none is promised."""
    epsilon = limits["epsilon_micro"]
    return {
        **{name: tuple(limits[name]) for name in LISTS},
        **{name: limits[name] for name in ("releases", "minimum_owners", "download")},
        "epsilon_micro": None if epsilon == NO_PROMISE else epsilon,
        "expires_at": int(limits["expires_at"].timestamp()),
    }


def narrowed(bound: Limited, limits: Limits) -> dict[str, Any]:
    """The limits of `bound`, but for those that `limits` names."""
    named = {name: value for name in NAMES if (value := getattr(limits, name)) is not None}
    return limits_of(bound) | {name: list(value) if name in LISTS else value for name, value in named.items()}


def excess(values: Mapping[str, Any], bound: Limited, subject: str, now: datetime) -> dict[str, str]:
    """Where `values` are wider than `bound`, or make no sense: a text for each such limit, by its name.

    `subject` begins the texts: `The request`, say.
    """
    asked = {"subject": subject, "asked": bound.releases, "owners": bound.minimum_owners}
    asked |= {"most": MOST_OWNERS, "until": f"{bound.expires_at:%Y-%m-%d %H:%M} UTC"}
    found = {name: text for name in LISTS if (text := _excess_of_list(name, values[name], bound, subject))}
    if text := _excess_of_epsilon(values["epsilon_micro"], bound.epsilon_micro, subject):
        found["epsilon_micro"] = text
    if not 1 <= values["releases"] <= bound.releases:
        text = _("%(subject)s covers %(asked)d releases: grant between 1 and %(asked)d.")
        found["releases"] = text % asked
    if not bound.minimum_owners <= values["minimum_owners"] <= MOST_OWNERS:
        text = _("%(subject)s says %(owners)d owners at least: grant between %(owners)d and %(most)d.")
        found["minimum_owners"] = text % asked
    if not now < values["expires_at"] <= bound.expires_at:
        text = _("%(subject)s covers the time until %(until)s: grant a moment from now until then.")
        found["expires_at"] = text % asked
    if values["download"] and not bound.download:
        text = _("%(subject)s does not cover downloading the dataset: leave download out.")
        found["download"] = text % asked
    return found


def shown_epsilon(epsilon: Any) -> str:
    """An epsilon as people read it: `1.5`, or `none`."""
    return f"{epsilon / MICRO:.6f}".rstrip("0").rstrip(".") if isinstance(epsilon, int) else str(epsilon)


def epsilon_covers(limit: Any, asked: Epsilon) -> bool:
    """Whether what promises `asked` keeps within `limit`. A limit that cannot be read covers nothing."""
    if not _is_epsilon(limit):
        return False
    return limit == NO_PROMISE or (isinstance(asked, int) and asked <= limit)


def known_names(names: Any) -> tuple[str, ...]:
    """The names of a limit. Raises `WireError` (`malformed`) for what is no list of names."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise WireError(RefusalCode.MALFORMED, f"a grant with {names!r} for a list of names")
    return tuple(names)


def known_protocols(names: Any) -> tuple[Protocol, ...]:
    """The protocols of a limit. Raises `WireError` (`malformed`) where one is not known here."""
    try:
        return tuple(Protocol(name) for name in known_names(names))
    except ValueError as error:
        raise WireError(
            RefusalCode.MALFORMED, f"a grant with a protocol that is not known: {error}"
        ) from None


def _excess_of_list(name: str, chosen: Any, bound: Limited, subject: str) -> str:
    covered = getattr(bound, name)
    if chosen and set(chosen) <= set(covered):
        return ""
    what = str(bound._meta.get_field(name).verbose_name)  # type: ignore[union-attr]
    return _("%(subject)s covers the %(what)s %(covered)s: choose one or more of these.") % {
        "subject": subject,
        "what": what,
        "covered": ", ".join(covered),
    }


def _excess_of_epsilon(chosen: Any, bound: Any, subject: str) -> str:
    if not _is_epsilon(chosen):
        return _("An epsilon is a number above 0 and at most 1000000, or “none”.")
    if epsilon_covers(bound, chosen):
        return ""
    return _("%(subject)s covers an epsilon of %(bound)s: grant more than 0 and at most that.") % {
        "subject": subject,
        "bound": shown_epsilon(bound),
    }


def _is_epsilon(value: Any) -> bool:
    try:
        _EPSILON.validate_python(value, strict=True)
    except ValidationError:
        return False
    return True
