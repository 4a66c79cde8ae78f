"""The checks of the release gate: what may leave, of what form, for whom, and how much must stand behind it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fedcore.owner.config import Dataset
from fedcore.owner.facts import Allowed, Decision, Refused, Role
from fedcore.plugin_api.evaluation import from_evaluated
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import Message, WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import (
    Checked,
    Closed,
    Confirmed,
    Dealt,
    Evaluated,
    Offered,
    Prepared,
    Settled,
    Shared,
    Summarised,
    Trained,
)
from fedcore.wire.spec import Protocol

LARGEST_LOSS: Final = 1e12
MOST_COLUMNS: Final = 2**24
_MIB: Final = 1024 * 1024


@dataclass(frozen=True)
class Leaving:
    """What would leave, for one order, and what the policy says of it.

    `rows` stand behind it (None where it says nothing of rows); `kept` maps the digests of the bytes that lie in the
    order's spool to their sizes; `offer` is the dataset in the policy, None at a reference host; `round_rows_to` and
    `least_rows` hold for both; `shows_plaintext` is what the backend declares; `classes` is None where unknown. In a
    run with an epsilon (`private`) it is noise that bounds what counts say.
    """

    phase: Phase
    role: Role
    protocol: Protocol
    subject: str
    host: str
    owners: tuple[str, ...]
    reference_host: str | None
    compute_owners: tuple[str, ...]
    dealer: str | None
    result: Message
    artefacts: tuple[ArtefactRef, ...]
    rows: int | None
    kept: Mapping[str, int]
    offer: Dataset | None
    round_rows_to: int
    least_rows: int
    batch_size: int
    shows_plaintext: bool
    classes: int | None
    private: bool


class For(StrEnum):
    """For whom artefacts are: for nobody (there are none), for the coordinator to read or to carry, or sealed."""

    NOBODY = "nobody"
    COORDINATOR = "the coordinator"
    REFERENCE_HOST = "the reference host"
    EVERY_OWNER = "every owner of the run"
    SHARE_HOLDERS = "the other compute owners and the dealer"
    COMPUTE_OWNERS = "the two compute owners"


@dataclass(frozen=True)
class Permitted:
    """What one phase may let leave: a result, and artefacts of one role for one audience, in one part or in many."""

    result: type[Message]
    role: str | None = None
    audience: For = For.NOBODY
    many: bool = False


_AGREEMENT: Final = {
    Phase.OFFER: Permitted(Offered),
    Phase.SHARE: Permitted(Shared),
    Phase.CONFIRM: Permitted(Confirmed),
    Phase.SUMMARISE: Permitted(Summarised, "summary", For.COORDINATOR),
    Phase.SETTLE: Permitted(Settled),
}
_ALWAYS: Final = {Phase.CHECK: Permitted(Checked), Phase.CLOSE: Permitted(Closed)}
_COUNTS: Final = {Phase.EVALUATE: Permitted(Evaluated)}

PERMITTED: Final[Mapping[tuple[Role, Protocol], Mapping[Phase, Permitted]]] = {
    (Role.OWNER, Protocol.LOCAL): {**_ALWAYS, **_COUNTS, Phase.TRAIN: Permitted(Trained)},
    (Role.OWNER, Protocol.POOLED): {
        **_ALWAYS,
        **_AGREEMENT,
        **_COUNTS,
        Phase.PREPARE: Permitted(Prepared, "features", For.COORDINATOR, many=True),
    },
    (Role.OWNER, Protocol.REFERENCE): {
        **_ALWAYS,
        **_AGREEMENT,
        **_COUNTS,
        Phase.PREPARE: Permitted(Prepared, "features", For.REFERENCE_HOST, many=True),
    },
    (Role.OWNER, Protocol.SHARED): {
        **_ALWAYS,
        **_AGREEMENT,
        **_COUNTS,
        Phase.PREPARE: Permitted(Prepared, "shares", For.SHARE_HOLDERS, many=True),
        Phase.TRAIN: Permitted(Trained, "weights", For.COORDINATOR),
    },
    (Role.DEALER, Protocol.SHARED): {
        **_ALWAYS,
        Phase.DEAL: Permitted(Dealt, "dealt", For.COMPUTE_OWNERS, many=True),
    },
    (Role.REFERENCE, Protocol.REFERENCE): {
        **_ALWAYS,
        Phase.TRAIN: Permitted(Trained, "model", For.EVERY_OWNER),
    },
}
"""What may leave, and for whom. What is not in here does not leave. Summaries that the coordinator carries are sealed
under the run's key, which it does not have."""


def phase_lets_something_leave(leaving: Leaving) -> Decision:
    return _require(
        _permitted(leaving) is not None,
        f"Phase {leaving.phase} under protocol {leaving.protocol} lets nothing leave a host with the role "
        f"{leaving.role}.",
    )


def result_is_that_of_the_phase(leaving: Leaving) -> Decision:
    permitted = _permitted(leaving)
    return _require(
        permitted is None or type(leaving.result) is permitted.result,
        f"Phase {leaving.phase} may answer with {permitted and permitted.result.__name__}, and this is "
        f"{type(leaving.result).__name__}.",
    )


def artefacts_have_the_role_of_the_phase(leaving: Leaving) -> Decision:
    permitted = _permitted(leaving)
    expected = permitted.role if permitted else None
    others = sorted({ref.role for ref in leaving.artefacts} - {expected})
    missing = expected is not None and not leaving.artefacts
    return _require(
        not others and not missing,
        f"Phase {leaving.phase} lets artefacts leave as {expected or 'nothing'}, and these are {others or 'none'}.",
    )


def artefacts_are_for_their_audience_only(leaving: Leaving) -> Decision:
    permitted = _permitted(leaving)
    expected = _audiences(leaving, permitted.audience if permitted else For.NOBODY)
    found = {ref.audience for ref in leaving.artefacts}
    return _require(
        found == expected,
        f"Artefacts of {leaving.phase} are for {permitted and permitted.audience}, and these are for "
        f"{sorted(map(str, found - expected)) or 'too few'}.",
    )


def artefacts_are_numbered(leaving: Leaving) -> Decision:
    """Each audience gets its parts once, numbered from 0: nothing travels twice or beside them."""
    permitted = _permitted(leaving)
    many = permitted is not None and permitted.many
    by_audience: dict[str | None, list[int]] = {}
    for ref in leaving.artefacts:
        by_audience.setdefault(ref.audience, []).append(ref.part)
    numbered = all(
        sorted(parts) == list(range(len(parts))) and (many or len(parts) == 1)
        for parts in by_audience.values()
    )
    return _require(numbered, f"The parts of {leaving.phase} are not numbered from 0, each once.")


def artefacts_are_what_lies_here(leaving: Leaving) -> Decision:
    others = [ref.digest for ref in leaving.artefacts if leaving.kept.get(ref.digest) != ref.size]
    return _require(not others, f"No such bytes lie in the order's spool: {', '.join(others)}.")


def plaintext_leaves_sealed_only(leaving: Leaving) -> Decision:
    open_features = any(ref.role == "features" and ref.audience is None for ref in leaving.artefacts)
    return _require(
        not (leaving.shows_plaintext and open_features),
        "The backend shows plaintext, so features leave for the reference host only, sealed to it.",
    )


def enough_rows_stand_behind(leaving: Leaving) -> Decision:
    """With an epsilon noise bounds what leaves, and a refusal at an exact number of rows would tell of one of them."""
    depends = leaving.phase in (Phase.SUMMARISE, Phase.PREPARE, Phase.TRAIN, Phase.EVALUATE)
    if leaving.role is not Role.OWNER or not depends or leaving.private:
        return Allowed()
    return _require(
        leaving.rows is not None and leaving.rows >= leaving.least_rows,
        f"{leaving.rows} rows stand behind {leaving.phase}, {leaving.subject} minimum_rows is {leaving.least_rows}. "
        "Offer more rows, or lower the minimum.",
        RefusalCode.TOO_FEW_ROWS,
    )


def enough_rows_of_each_class_are_counted(leaving: Leaving) -> Decision:
    """A class of few rows would show nearly every row's score. A class that does not occur shows nothing."""
    if not isinstance(leaving.result, Evaluated) or leaving.offer is None or leaving.private:
        return Allowed()
    rows = [sum(row) for row in leaving.result.confusion]
    few = {number: count for number, count in enumerate(rows) if 0 < count < leaving.offer.minimum_class_rows}
    return _require(
        not few,
        f"Of the held-out rows, {few} (class: rows) are fewer than {leaving.subject} minimum_class_rows "
        f"{leaving.offer.minimum_class_rows}. Offer more rows of each class, or lower the minimum.",
        RefusalCode.TOO_FEW_ROWS,
    )


def row_counts_are_rounded(leaving: Leaving) -> Decision:
    """Where the rows themselves do not leave, their number leaves rounded, or with noise where the policy says so."""
    result, to = leaving.result, leaving.round_rows_to
    exact = isinstance(result, Prepared) and leaving.protocol is Protocol.POOLED
    noisy = (
        isinstance(result, Checked) and leaving.offer is not None and leaving.offer.count_epsilon != "none"
    )
    shown = result.rows if isinstance(result, Checked | Trained | Prepared) and not (exact or noisy) else None
    return _require(
        shown is None or shown % to == 0, f"{leaving.phase} would show {shown} rows, no multiple of {to}."
    )


def sizes_in_plain_text_are_rounded(leaving: Leaving) -> Decision:
    result = leaving.result
    return _require(
        not isinstance(result, Prepared) or result.plaintext_bytes == two_digits(result.plaintext_bytes),
        "The size of the rows in plain text would leave exactly; it leaves with two digits.",
    )


def counts_are_those_of_the_rows(leaving: Leaving) -> Decision:
    """Histograms and confusion matrix count the same rows, as many as stand behind them, by the dataset's classes."""
    result = leaving.result
    if not isinstance(result, Evaluated):
        return Allowed()
    if leaving.private and result.spent is None:
        return Refused(
            RefusalCode.RELEASE_REFUSED, "Counts of a run with an epsilon leave with noise, and say so."
        )
    try:
        counts = from_evaluated(result)
    except WireError as error:
        return Refused(RefusalCode.RELEASE_REFUSED, f"The counts have a wrong form: {error.detail}.")
    return _require(
        (leaving.private or counts.rows == leaving.rows) and leaving.classes in (None, len(counts.confusion)),
        f"{counts.rows} rows of {len(counts.confusion)} classes are counted, {leaving.rows} rows of "
        f"{leaving.classes} classes stand behind them.",
    )


def curve_shows_no_single_rows(leaving: Leaving) -> Decision:
    """Each point is a mean over at least as many rows as the minimum, and a number. With an epsilon there is none, and
    none of a training on shares, which nobody watches."""
    if not isinstance(leaving.result, Trained) or leaving.result.curve is None:
        return Allowed()
    curve = leaving.result.curve
    if leaving.private:
        return Refused(
            RefusalCode.RELEASE_REFUSED, "A run with an epsilon shows no curve: nothing bounds it."
        )
    if leaving.protocol is Protocol.SHARED:
        return Refused(
            RefusalCode.RELEASE_REFUSED, "A training on shares shows no curve: nobody sees its loss."
        )
    numbers = (*curve.loss, *curve.accuracy)
    usable = all(math.isfinite(number) and abs(number) <= LARGEST_LOSS for number in numbers)
    enough = curve.every * leaving.batch_size >= leaving.least_rows and curve.steps % curve.every == 0
    return _require(
        usable and enough and len(curve.loss) == len(curve.accuracy),
        f"The curve has points of {curve.every} steps of {leaving.batch_size} rows, or numbers out of range; at least "
        f"{leaving.least_rows} rows must stand behind each point.",
    )


def size_is_bounded(leaving: Leaving) -> Decision:
    if leaving.offer is None:
        return Allowed()
    size, limit = sum(ref.size for ref in leaving.artefacts), leaving.offer.release_mb * _MIB
    columns = leaving.result.columns if isinstance(leaving.result, Prepared) else 0
    return _require(
        size <= limit and columns <= MOST_COLUMNS,
        f"{size} bytes in {columns} columns would leave, {leaving.subject} release_mb allows {limit} bytes. Use fewer "
        "rows or columns, or raise it.",
        RefusalCode.TOO_LARGE,
    )


CHECKS: Final[tuple[Callable[[Leaving], Decision], ...]] = (
    phase_lets_something_leave,
    result_is_that_of_the_phase,
    artefacts_have_the_role_of_the_phase,
    artefacts_are_for_their_audience_only,
    artefacts_are_numbered,
    artefacts_are_what_lies_here,
    plaintext_leaves_sealed_only,
    enough_rows_stand_behind,
    enough_rows_of_each_class_are_counted,
    row_counts_are_rounded,
    sizes_in_plain_text_are_rounded,
    counts_are_those_of_the_rows,
    curve_shows_no_single_rows,
    size_is_bounded,
)
"""The gate. Deleting a line lets a named case of `tests/owner/test_release_checks.py` through."""


def two_digits(number: int) -> int:
    """`number` rounded down to its first two digits."""
    step: int = 10 ** max(0, len(str(number)) - 2)
    return number - number % step


def _permitted(leaving: Leaving) -> Permitted | None:
    return PERMITTED.get((leaving.role, leaving.protocol), {}).get(leaving.phase)


def _audiences(leaving: Leaving, audience: For) -> set[str | None]:
    match audience:
        case For.NOBODY:
            return set()
        case For.COORDINATOR:
            return {None}
        case For.REFERENCE_HOST:
            return {leaving.reference_host} if leaving.reference_host else set()
        case For.SHARE_HOLDERS:
            return {*leaving.compute_owners, leaving.dealer} - {leaving.host, None}
        case For.COMPUTE_OWNERS:
            return set(leaving.compute_owners)
        case _:
            return set(leaving.owners)


def _require(holds: bool, why: str, code: RefusalCode = RefusalCode.RELEASE_REFUSED) -> Decision:
    return Allowed() if holds is True else Refused(code, why)
