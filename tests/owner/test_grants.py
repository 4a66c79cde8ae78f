"""The host's own store of grants: what was narrowed, refused or revoked stays so, whoever sends what."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.facts import Ruling
from fedcore.owner.grants import GrantStore, this_user
from fedcore.owner.held_grant import GrantError
from fedcore.owner.journal import EntryKind, Journal, JournalError
from fedcore.owner.limits import Limits
from fedcore.wire.access import AccessRequest, Grant, Standing
from fedcore.wire.keys import SigningKey
from fedcore.wire.signing import Signed
from fedcore.wire.spec import DatasetVersion, Protocol

from .policy_cases import NOW, WORDS

SAM, HOST = SigningKey.generate(), SigningKey.generate()


def requested(nonce: str = "0" * 32, **changes: Any) -> Signed:
    facts: dict[str, Any] = {
        "dataset": DatasetVersion(host=HOST.public, name="logs", version="a" * 64),
        "purpose": "security-research",
        "organisation": "university",
        "pipelines": (WORDS,),
        "protocols": (Protocol.LOCAL, Protocol.POOLED),
        "backends": ("plaintext", "keyed_tokens"),
        "models": ("linear", "mlp"),
        "releases": 10,
        "download": True,
        "expires_at": NOW + 86_400,
        "nonce": nonce,
    }
    return AccessRequest(**facts | changes).signed_by(SAM)


REQUEST = requested()
WHOLE = Grant.of(REQUEST)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with Journal(tmp_path / "journal.sqlite") as journal:
        yield journal


@pytest.fixture
def grants(tmp_path: Path, journal: Journal) -> Iterator[GrantStore]:
    with opened(tmp_path, journal) as grants:
        yield grants


def opened(directory: Path, journal: Journal) -> GrantStore:
    return GrantStore(directory / "grants.sqlite", journal, clock=lambda: NOW)


def take(grants: GrantStore, grant: Grant = WHOLE) -> Any:
    return grants.take(grant, grant.request.open(AccessRequest))


def events(journal: Journal) -> list[str]:
    import json

    return [json.loads(entry.content)["event"] for entry in journal.entries() if entry.kind == "grant"]


def test_a_grant_is_kept_with_the_exact_request_and_journalled(
    grants: GrantStore, journal: Journal, tmp_path: Path
) -> None:
    held = take(grants)
    assert held.signed == REQUEST
    assert held.signed.open(AccessRequest, signer=SAM.public) == held.request
    assert (held.digest, held.ruling, held.received_at) == (REQUEST.digest, None, NOW)
    assert events(journal) == ["received"]
    assert stat.S_IMODE((tmp_path / "grants.sqlite").stat().st_mode) == 0o600


def test_the_same_grant_again_changes_nothing_and_is_not_journalled_again(
    grants: GrantStore, journal: Journal
) -> None:
    first = take(grants)
    revision = grants.revision
    assert take(grants) == first
    assert events(journal) == ["received"]
    assert grants.revision == revision


def test_limits_are_the_narrowest_that_were_ever_seen_in_whatever_order(
    grants: GrantStore, journal: Journal
) -> None:
    take(grants, Grant.of(REQUEST, releases=3, download=False))
    take(grants)
    take(grants, Grant.of(REQUEST, protocols=(Protocol.POOLED,), epsilon_micro=500_000))
    held = take(grants, Grant.of(REQUEST, epsilon_micro=900_000, minimum_owners=3, expires_at=NOW + 60))
    assert held.limits == Limits(
        protocols=(Protocol.POOLED,),
        backends=("plaintext", "keyed_tokens"),
        models=("linear", "mlp"),
        epsilon_micro=500_000,
        releases=3,
        minimum_owners=3,
        expires_at=NOW + 60,
        download=False,
    )
    assert events(journal) == ["received", "narrowed", "narrowed"]


def test_a_grant_that_goes_beyond_its_request_is_taken_as_far_as_the_request_goes(grants: GrantStore) -> None:
    modest = requested(protocols=(Protocol.LOCAL,), releases=2, download=False, minimum_owners=2)
    wide = Grant.of(
        modest,
        protocols=tuple(Protocol),
        backends=("plaintext", "keyed_tokens", "none"),
        releases=1_000,
        minimum_owners=1,
        expires_at=NOW + 10**9,
        download=True,
    )
    assert take(grants, wide).limits == Limits.of_request(modest.open(AccessRequest))


def test_the_text_of_a_request_that_somebody_else_signs_changes_nothing(grants: GrantStore) -> None:
    take(grants)
    eve = REQUEST.open(AccessRequest).signed_by(SigningKey.generate())
    assert eve.digest == REQUEST.digest
    held = take(grants, Grant.of(eve, releases=1))
    assert (held.signed, held.limits.releases) == (REQUEST, 10)


def test_what_a_person_sets_here_is_kept_beside_what_the_coordinator_said(grants: GrantStore) -> None:
    held = take(grants)
    confirmed = grants.confirm(held.digest, "olga", held.narrowed(releases=4), "as agreed")
    assert (confirmed.ruling, confirmed.ruled_by, confirmed.reason) == (Ruling.CONFIRMED, "olga", "as agreed")
    assert (confirmed.told.releases, confirmed.limits.releases) == (10, 4)
    assert take(grants).limits.releases == 4
    assert take(grants, Grant.of(REQUEST, releases=2)).limits.releases == 2


def test_tightening_twice_keeps_both_and_needs_no_confirmation(grants: GrantStore, journal: Journal) -> None:
    held = take(grants)
    grants.tighten(held.digest, "olga", held.narrowed(releases=4))
    tightened = grants.tighten(held.digest, "olga", grants.held(held.digest).narrowed(download=False))
    assert (tightened.limits.releases, tightened.limits.download, tightened.ruling) == (4, False, None)
    assert events(journal) == ["received", "tightened", "tightened"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"releases": 11}, "goes as far as: 10 runs"),
        ({"expires_at": NOW + 86_401}, "until 2027-01-16 08:00 UTC"),
        ({"minimum_owners": 0}, "at least 1 owner"),
        ({"models": ("linear", "gpt")}, "linear, mlp"),
        ({"protocols": ("reference",)}, "local, pooled"),
        ({"protocols": ("magic",)}, "no limits of a grant (protocols"),
        ({"epsilon_micro": 0}, "no limits of a grant (epsilon_micro"),
        ({"releases": 0}, "nothing could run"),
        ({"backends": ()}, "nothing could run"),
    ],
)
def test_a_person_can_only_narrow(grants: GrantStore, changes: dict[str, Any], why: str) -> None:
    with pytest.raises(GrantError, match=re.escape(why)):
        take(grants).narrowed(**changes)


@pytest.mark.parametrize("end", ["refuse", "revoke"])
def test_what_is_refused_or_revoked_stays_so_whatever_comes(
    grants: GrantStore, tmp_path: Path, journal: Journal, end: str
) -> None:
    digest = take(grants).digest
    getattr(grants, end)(digest, "olga", "no")
    assert grants.is_over(digest)
    assert take(grants).is_over
    limits = grants.held(digest).limits
    for again in (
        lambda: grants.confirm(digest, "olga"),
        lambda: grants.refuse(digest, "olga", "no"),
        lambda: grants.revoke(digest, "olga"),
        lambda: grants.tighten(digest, "olga", limits),
    ):
        with pytest.raises(GrantError, match="which is final"):
            again()
    with opened(tmp_path, journal) as restarted:
        assert restarted.is_over(digest)
        assert take(restarted).is_over


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ("UPDATE grants SET ruling = NULL", "stays so"),
        ("UPDATE grants SET ruling = 'confirmed'", "stays so"),
        ("UPDATE grants SET request = 'other'", "never changed"),
        ("UPDATE grants SET received_at = 0", "never changed"),
        ("DELETE FROM grants", "never forgotten"),
    ],
)
def test_the_database_itself_refuses_to_give_a_revoked_grant_back(
    grants: GrantStore, tmp_path: Path, statement: str, rule: str
) -> None:
    grants.revoke(take(grants).digest, "olga")
    database = sqlite3.connect(tmp_path / "grants.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match=rule):
        database.execute(statement)
    database.close()


def test_a_confirmed_grant_is_revoked_not_refused(grants: GrantStore) -> None:
    digest = take(grants).digest
    grants.confirm(digest, "olga")
    with pytest.raises(GrantError, match=f"fedcore-owner grants revoke {digest[:12]}"):
        grants.refuse(digest, "olga", "no")
    assert grants.revoke(digest, "olga", "over").ruling is Ruling.REVOKED


def test_what_lets_more_run_is_journalled_first_and_what_lets_less_run_counts_first(
    grants: GrantStore, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = take(grants).digest
    other = requested(nonce="1" * 32)

    def fail(*_: object) -> None:
        raise JournalError("the disk is full")

    monkeypatch.setattr(journal, "append", fail)
    with pytest.raises(JournalError):
        take(grants, Grant.of(other))
    assert grants.find(other.digest) is None
    with pytest.raises(JournalError):
        grants.confirm(digest, "olga")
    assert grants.held(digest).ruling is None
    with pytest.raises(JournalError):
        grants.tighten(digest, "olga", grants.held(digest).narrowed(releases=1))
    assert grants.held(digest).limits.releases == 1
    with pytest.raises(JournalError):
        grants.revoke(digest, "olga")
    assert grants.is_over(digest)


def test_a_grant_is_found_by_enough_digits_and_by_no_others(grants: GrantStore) -> None:
    digests = [take(grants, Grant.of(requested(nonce=f"{number:032x}"))).digest for number in range(40)]
    for digest in digests:
        assert grants.beginning_with(digest[:12].upper()).digest == digest
    for digits, why in (
        ("", "no beginning of a grant's digest"),
        (digests[0][:3], "4 or more"),
        ("zzzz", "no beginning"),
        ("%%%%", "no beginning"),
        ("0" * 64, "0 grants here begin with"),
    ):
        with pytest.raises(GrantError, match=why):
            grants.beginning_with(digits)


def test_digits_that_two_grants_share_are_refused(grants: GrantStore) -> None:
    seen: dict[str, str] = {}
    for number in range(5_000):
        signed = requested(nonce=f"{number:032x}")
        other = seen.setdefault(signed.digest[:4], f"{number:032x}")
        if other != f"{number:032x}":
            for nonce in (other, f"{number:032x}"):
                take(grants, Grant.of(requested(nonce=nonce)))
            break
    with pytest.raises(GrantError, match=f"2 grants here begin with '{signed.digest[:4]}'"):
        grants.beginning_with(signed.digest[:4])


def test_another_process_sees_a_revocation_at_once(
    grants: GrantStore, tmp_path: Path, journal: Journal
) -> None:
    digest = take(grants).digest
    before = grants.revision
    with opened(tmp_path, journal) as command:
        command.revoke(digest, "olga")
        assert grants.is_over(digest)
        assert grants.revision != before


def test_the_standing_that_the_coordinator_is_told_is_journalled_and_kept(
    grants: GrantStore, journal: Journal
) -> None:
    digest = take(grants).digest
    held = grants.note_standing(digest, Standing.WAITING, NOW, ["releases: 10"])
    assert (held.standing, held.standing_at) == (Standing.WAITING, NOW)
    assert events(journal) == ["received", "stands"]


def restored(directory: Path, journal: Journal, change: Callable[[GrantStore], object]) -> GrantStore:
    """The store as it was before a change that only the journal still knows of, as after a restored backup."""
    copy = directory / "copy"
    with opened(directory, journal) as grants:
        take(grants)
    copy.mkdir()
    shutil.copy(directory / "grants.sqlite", copy)
    with opened(directory, journal) as grants:
        change(grants)
    store = opened(copy, journal)
    store.recall()
    return store


@pytest.mark.parametrize("end", ["refuse", "revoke"])
def test_an_older_copy_of_the_store_brings_no_grant_back_that_was_ended(
    tmp_path: Path, journal: Journal, end: str
) -> None:
    with restored(
        tmp_path, journal, lambda grants: getattr(grants, end)(REQUEST.digest, "olga", "no")
    ) as grants:
        held = grants.held(REQUEST.digest)
        assert (held.is_over, held.ruled_by, held.reason) == (True, "olga", "no")


def test_an_older_copy_of_the_store_widens_nothing(tmp_path: Path, journal: Journal) -> None:
    def narrow(grants: GrantStore) -> None:
        take(grants, Grant.of(REQUEST, releases=4))
        grants.tighten(REQUEST.digest, "olga", grants.held(REQUEST.digest).narrowed(download=False))
        grants.confirm(REQUEST.digest, "olga", grants.held(REQUEST.digest).narrowed(minimum_owners=3))

    with restored(tmp_path, journal, narrow) as grants:
        held = grants.held(REQUEST.digest)
        assert (held.limits.releases, held.limits.download, held.limits.minimum_owners) == (4, False, 3)
        assert held.ruling is None, "a confirmation is not brought back: a person decides again"


def test_a_store_that_was_lost_knows_what_had_ended_when_the_grants_come_again(
    tmp_path: Path, journal: Journal
) -> None:
    ended, other = REQUEST, requested(nonce="1" * 32)
    with opened(tmp_path, journal) as grants:
        take(grants)
        take(grants, Grant.of(other, releases=2))
        grants.revoke(ended.digest, "olga", "over")
    (tmp_path / "new").mkdir()
    with opened(tmp_path / "new", journal) as grants:
        grants.recall()
        assert grants.all() == []
        assert take(grants).ruling is Ruling.REVOKED
        assert take(grants, Grant.of(other)).limits.releases == 2
        assert take(grants, Grant.of(requested(nonce="2" * 32))).limits.releases == 10


def test_what_is_journalled_of_dropped_messages_is_no_grants_past(
    grants: GrantStore, journal: Journal
) -> None:
    journal.append(EntryKind.GRANT, {"message": "a" * 64, "dropped": "malformed", "why": "no"})
    grants.recall()
    assert grants.all() == []


def test_a_file_that_cannot_be_used_is_told_with_the_fix(tmp_path: Path, journal: Journal) -> None:
    (tmp_path / "grants.sqlite").write_text("no database" * 100)
    with pytest.raises(GrantError, match=r"cannot be used.*restore the file"):
        opened(tmp_path, journal)


def test_who_decided_is_the_systems_user_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("USER", "LOGNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody-else")
    assert this_user() == pwd.getpwuid(os.getuid()).pw_name
