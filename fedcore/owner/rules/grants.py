"""Rules on the dataset and on the grant that covers the run: is it this data, this scientist, still, and again?"""

from __future__ import annotations

from datetime import UTC, datetime

from fedcore.owner.facts import Decision, Ruling
from fedcore.owner.reach import Reach, beyond_ceilings
from fedcore.owner.rules.case import OwnerWork, listed, require
from fedcore.wire.codes import RefusalCode


def dataset_is_current(work: OwnerWork) -> Decision:
    return require(
        work.found.version == work.named.version,
        RefusalCode.DATASET_CHANGED,
        f"Dataset {work.named.name} is version {work.found.version}, the run names {work.named.version}. Request "
        "access to the new version, or restore the files.",
    )


def retention_date_has_not_passed(work: OwnerWork) -> Decision:
    today = datetime.fromtimestamp(work.facts.now, UTC).date()
    return require(
        today <= work.offer.retention,
        RefusalCode.RETENTION_PASSED,
        f"{work.subject} may be used until {work.offer.retention}, today is {today}. Delete the data, or change "
        "retention in the policy.",
    )


def hours_allow_work(work: OwnerWork) -> Decision:
    time = f"{datetime.fromtimestamp(work.facts.now, UTC):%H:%M}"
    return require(
        not work.offer.hours or any(_is_within(time, hours) for hours in work.offer.hours),
        RefusalCode.OUTSIDE_HOURS,
        f"{work.subject} allows work at {listed(work.offer.hours)} UTC, and it is {time}. Run again within them, or "
        "change hours in the policy.",
    )


def request_is_the_one_the_run_names(work: OwnerWork) -> Decision:
    named = work.facts.spec.grant_of(work.facts.host)
    return require(
        work.grant.request.digest == named,
        RefusalCode.NOT_GRANTED,
        f"The run names grant {named} for this host, the order carries {work.grant.request.digest}. Send the grant "
        "that the run names.",
    )


def request_is_signed_by_the_scientist(work: OwnerWork) -> Decision:
    return require(
        work.grant.request.signer == work.facts.scientist,
        RefusalCode.NOT_GRANTED,
        f"The request is signed by {work.grant.request.signer}, the run by {work.facts.scientist}. A grant is for the "
        "scientist who asked: request access with the key that signs the run.",
    )


def grant_is_held_for_the_scientist(work: OwnerWork) -> Decision:
    """The digest of a request does not cover who signed it: another scientist could sign the same text."""
    return require(
        work.held.scientist == work.facts.scientist,
        RefusalCode.NOT_GRANTED,
        f"This host holds grant {work.grant.request.digest} for {work.held.scientist}, and the run is signed by "
        f"{work.facts.scientist}. Request access with a request of one's own.",
    )


def request_is_for_this_dataset(work: OwnerWork) -> Decision:
    return require(
        work.request.dataset == work.named,
        RefusalCode.NOT_GRANTED,
        f"The request is for {work.request.dataset.name} {work.request.dataset.version} of "
        f"{work.request.dataset.host}, the run uses {work.named.name} {work.named.version} of this host. Request "
        "access to what the run uses.",
    )


def grant_is_not_refused_here(work: OwnerWork) -> Decision:
    return require(
        work.held.ruling is not Ruling.REFUSED,
        RefusalCode.NOT_GRANTED,
        f"Grant {work.grant.request.digest} was refused on this host, which is final. Request access anew.",
    )


def grant_is_not_revoked_here(work: OwnerWork) -> Decision:
    return require(
        work.held.ruling is not Ruling.REVOKED,
        RefusalCode.GRANT_REVOKED,
        f"Grant {work.grant.request.digest} is revoked on this host, which is final. Request access anew.",
    )


def grant_takes_effect(work: OwnerWork) -> Decision:
    """Within the ceilings a grant takes effect as soon as it arrives, beyond them when a person here confirms it."""
    held = work.held
    reach = Reach.of(work.request, work.limits, work.offer, held.character_steps, held.received_at)
    above = beyond_ceilings(reach, work.offer.ceilings)
    return require(
        held.ruling is Ruling.CONFIRMED or not above,
        RefusalCode.GRANT_NOT_CONFIRMED,
        f"Grant {work.grant.request.digest} goes beyond [datasets.{work.named.name}.ceilings]: {'; '.join(above)}. "
        "Look at it with `fedcore-owner grants show`, then confirm or refuse it.",
    )


def grant_has_not_expired(work: OwnerWork) -> Decision:
    until = work.limits.expires_at
    return require(
        work.facts.now < until,
        RefusalCode.GRANT_EXPIRED,
        f"The grant expired at {until}, this host's clock says {work.facts.now}. Request access again.",
    )


def releases_are_left(work: OwnerWork) -> Decision:
    return require(
        work.facts.counted or work.facts.releases_spent < work.releases,
        RefusalCode.RELEASES_SPENT,
        f"The grant covers {work.releases} runs and {work.facts.releases_spent} are spent. Request access for more, or "
        f"raise releases in {work.subject}.",
    )


def download_is_allowed(work: OwnerWork) -> Decision:
    return require(
        not work.grant.download or (work.limits.download and work.offer.download),
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        f"The grant lets the scientist download rows, and {work.subject}, the request, or what is left of the grant "
        "on this host does not. Grant without download, or set download = true in the policy; what is handed over "
        "cannot be called back.",
    )


def enough_rows_take_part(work: OwnerWork) -> Decision:
    rows = min(work.found.rows, work.facts.spec.first_rows or work.found.rows)
    return require(
        rows >= work.offer.minimum_rows,
        RefusalCode.TOO_FEW_ROWS,
        f"The run uses {rows} rows, {work.subject} has minimum_rows {work.offer.minimum_rows}. Use more rows, or lower "
        "it in the policy.",
    )


def _is_within(time: str, hours: str) -> bool:
    """Whether a time of day, such as 07:30, lies in hours such as 22:00-06:00. The end is not within."""
    start, _, end = hours.partition("-")
    return start <= time < end if start < end else time >= start or time < end
