"""Grants and the owners' hosts: a host hears of every change, and no run starts before its host has said so."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.utils import timezone

from fedcore.coordinator.api import waiting
from fedcore.coordinator.governance import decisions, standings
from fedcore.coordinator.governance.models import Grant, Notice, OwnerHost
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunEvent, RunOrder
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.rights import rights_of
from fedcore.coordinator.runs.states import RunState
from fedcore.wire.access import GrantStanding, Standing
from fedcore.wire.keys import SigningKey
from fedcore.wire.requests import sign_request


def approved(world: Any, host: Any, limits: decisions.Limits | None = None, **changes: Any) -> Any:
    """Sam's request, approved by the owner; the host has said nothing of it."""
    request = world.ask(host, **changes)
    decisions.approve(request, world.owners[host.row.name], limits)
    return request


def awaiting(world: Any) -> Run:
    """A run over north and south, whose grant at north was approved just now."""
    world.north.orders()
    world.requests["north"] = approved(world, world.north)
    run = world.submit()
    advance(run.pk)
    run.refresh_from_db()
    return run


def test_a_host_hears_of_a_grant_with_its_limits_signed_by_the_coordinator(world: Any) -> None:
    request = approved(world, world.north, decisions.Limits(releases=2, download=False))
    [notice] = world.north.notices()
    assert notice.audience == world.north.key.public
    assert notice.grant.request == request.signed
    assert (notice.grant.releases, notice.grant.download, notice.revoked) == (2, False, False)
    assert world.south.notices() == []


def test_a_host_that_asks_for_what_is_new_gets_each_change_once(world: Any) -> None:
    first = approved(world, world.north)
    serial = standings.serial_of(world.north.row)
    assert world.north.notices(serial) == []
    second = approved(world, world.north)
    assert [notice.grant.request.digest for notice in world.north.notices(serial)] == [second.pk]
    decisions.revoke(first, world.owners["north"], "no longer")
    later = world.north.notices(serial)
    assert [(notice.grant.request.digest, notice.revoked) for notice in later] == [
        (second.pk, False),
        (first.pk, True),
    ]


def test_more_grants_than_fit_into_an_answer_come_one_after_the_other(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcore.coordinator.api.host.NOTICES_PER_ANSWER", 2)
    digests = [approved(world, world.north).pk for _ in range(3)]
    cursor, found = 0, []
    for _ in range(3):
        answer = world.north.send("GET", f"/api/host/grants?after={cursor}").json()
        assert len(answer["notices"]) <= 2
        cursor, found = answer["cursor"], [*found, *answer["notices"]]
    assert len(found) == 3
    assert {notice.grant.request.digest for notice in world.north.notices()} < set(digests)


def test_grants_that_have_expired_are_not_told(world: Any) -> None:
    request = approved(world, world.north)
    Grant.objects.filter(pk=request.pk).update(expires_at=timezone.now())
    assert world.north.notices() == []


def test_a_grant_that_is_too_long_for_a_message_keeps_no_other_from_the_host(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    approved(world, world.north, reason="x" * 1000)
    short = approved(world, world.north)
    monkeypatch.setattr(standings, "MAXIMUM_MESSAGE_BYTES", len(world.north.notices()[1].encode()) + 100)
    assert [notice.grant.request.digest for notice in world.north.notices()] == [short.pk]


def test_a_grant_with_a_limit_that_is_not_known_is_not_told(world: Any) -> None:
    broken, whole = approved(world, world.north), approved(world, world.north)
    Grant.objects.filter(pk=broken.pk).update(protocols=["magic"])
    assert [notice.grant.request.digest for notice in world.north.notices()] == [whole.pk]


def test_a_grant_that_is_tightened_is_told_again(world: Any) -> None:
    request = approved(world, world.north)
    serial = standings.serial_of(world.north.row)
    decisions.tighten(request, world.owners["north"], decisions.Limits(releases=1), "one is enough")
    assert [notice.grant.releases for notice in world.north.notices(serial)] == [1]


def test_a_grant_that_the_scientist_gives_back_is_revoked_at_the_host(world: Any) -> None:
    request = approved(world, world.north)
    serial = standings.serial_of(world.north.row)
    decisions.withdraw(request, world.sam)
    assert [notice.revoked for notice in world.north.notices(serial)] == [True]


@pytest.mark.django_db(transaction=True)
def test_a_waiting_host_is_woken_by_a_new_grant(world: Any) -> None:
    async def poll_and_approve() -> tuple[Any, float]:
        path = "/api/host/orders?after=0&wait=10&grants=1"
        headers = sign_request(world.north.key, "GET", path, b"", int(time.time()))
        started = time.monotonic()
        poll = asyncio.create_task(AsyncClient().get(path, headers=headers))
        await asyncio.sleep(0.3)
        assert not poll.done()
        await waiting.in_database(approved)(world, world.north)
        return await poll, time.monotonic() - started

    answer, seconds = async_to_sync(poll_and_approve)()
    assert answer.json() == {"cursor": 0, "orders": [], "grants": 2}
    assert seconds < 3


def test_a_run_waits_until_each_host_has_its_grant_in_force(world: Any) -> None:
    run = awaiting(world)
    assert (run.state, run.message) == (
        RunState.AWAITING_GRANTS,
        "Waiting for the owners' hosts. access-north: north has not taken the grant yet.",
    )
    assert not RunOrder.objects.exists()
    assert world.north.stand(world.requests["north"].pk).status_code == 200
    advance(run.pk)
    assert world.open_orders(run) == [("check", "north"), ("check", "south")]


def test_the_hosts_word_rings_for_the_runs_that_wait_for_it(
    world: Any, django_capture_on_commit_callbacks: Any
) -> None:
    run = awaiting(world)
    world.rung.clear()
    with django_capture_on_commit_callbacks(execute=True):
        world.north.stand(world.requests["north"].pk)
    assert [run_id for _task, run_id in world.rung] == [run.pk]


def test_a_grant_beyond_the_ceilings_says_who_has_to_do_what(world: Any) -> None:
    run = awaiting(world)
    digest = world.requests["north"].pk
    world.north.stand(digest, Standing.WAITING)
    advance(run.pk)
    run.refresh_from_db()
    assert run.state == RunState.AWAITING_GRANTS
    assert run.message == (
        "Waiting for the owners' hosts. access-north: north waits for a person on the host: "
        f"`fedcore-owner grants confirm {digest[:12]}`."
    )
    assert RunEvent.objects.filter(text=run.message).count() == 1
    world.north.stand(digest, Standing.IN_FORCE)
    world.drive(run)
    assert Run.objects.get(pk=run.pk).state == RunState.FINISHED


@pytest.mark.parametrize(
    ("standing", "code"), [(Standing.REFUSED, "not_granted"), (Standing.REVOKED, "grant_revoked")]
)
def test_a_grant_that_its_host_refuses_or_revokes_ends_the_run_that_waits(
    world: Any, standing: Standing, code: str
) -> None:
    run = awaiting(world)
    world.north.stand(world.requests["north"].pk, standing)
    run = world.drive(run)
    assert (run.state, run.code, run.culprit.name, run.culprit_dataset) == (
        *(RunState.FAILED, code, "north", "access-north"),
    )
    with pytest.raises(Refused) as refused:
        world.submit()
    assert refused.value.code == code
    assert "north says so." in refused.value.detail


def test_a_revocation_on_the_host_ends_a_run_under_way(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    world.north.stand(world.requests["north"].pk, Standing.REVOKED)
    run = world.drive(pooled)
    assert (run.state, run.code, run.culprit.name) == (RunState.FAILED, "grant_revoked", "north")


@pytest.mark.parametrize(
    ("standing", "code"), [(Standing.WAITING, "grant_not_confirmed"), (None, "owner_away")]
)
def test_a_run_that_waits_for_a_host_until_its_deadline_names_it(
    world: Any, standing: Standing | None, code: str
) -> None:
    run = awaiting(world)
    if standing is not None:
        world.north.stand(world.requests["north"].pk, standing)
    Run.objects.update(deadline=timezone.now())
    run = world.drive(run)
    assert (run.state, run.code, run.culprit.name) == (RunState.EXPIRED, code, "north")


def test_a_host_that_is_away_is_named_as_what_keeps_a_grant(world: Any) -> None:
    run = awaiting(world)
    OwnerHost.objects.update(last_contact=None)
    advance(run.pk)
    run.refresh_from_db()
    assert run.message == (
        "Waiting for the owners' hosts. access-north: north is away: ask the owner to start the host."
    )


def test_rows_are_no_longer_handed_out_when_a_host_has_revoked_its_grant(world: Any, pooled: Run) -> None:
    run = world.drive(pooled)
    assert rights_of(run, timezone.now()).download_dataset
    world.south.stand(world.requests["south"].pk, Standing.REVOKED)
    assert not rights_of(run, timezone.now()).download_dataset


def test_only_the_host_of_the_data_says_how_a_grant_stands(world: Any) -> None:
    request = approved(world, world.north)
    for host in (world.south, world.lab):
        answer = host.stand(request.pk)
        assert (answer.status_code, answer.json()["code"]) == (404, "wrong_audience")
    said = GrantStanding(request=request.pk, standing=Standing.IN_FORCE, decided_at=int(time.time()))
    for key, code in ((world.south.key, "unknown_signer"), (SigningKey.generate(), "unknown_signer")):
        body = said.signed_by(key).encode().encode()
        answer = world.north.send("POST", "/api/host/standings", body)
        assert answer.json()["code"] == code
    assert Grant.objects.get(pk=request.pk).standing == ""


def test_an_older_word_of_a_host_does_not_replace_a_later_one(world: Any) -> None:
    request, now = approved(world, world.north), int(time.time())
    assert world.north.stand(request.pk, Standing.WAITING, now).status_code == 200
    answer = world.north.stand(request.pk, Standing.IN_FORCE, now - 1)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert world.north.stand(request.pk, Standing.IN_FORCE, now).status_code == 200
    assert Grant.objects.get(pk=request.pk).standing == "in_force"


def test_a_word_from_the_future_is_refused(world: Any) -> None:
    request = approved(world, world.north)
    answer = world.north.stand(request.pk, decided_at=int(time.time()) + 3600)
    assert answer.json()["code"] == "expired"


def test_nothing_follows_on_a_revocation_by_the_host(world: Any) -> None:
    request, now = approved(world, world.north), int(time.time())
    world.north.stand(request.pk, Standing.REVOKED, now)
    assert world.north.stand(request.pk, Standing.REVOKED, now).status_code == 200
    assert world.north.stand(request.pk, Standing.IN_FORCE, now + 5).json()["code"] == "conflict"


def test_the_scientist_and_the_owner_read_how_the_grant_stands(world: Any, api: Any) -> None:
    request = approved(world, world.north)

    def shown() -> dict[str, Any]:
        people = (world.sam, world.owners["north"])
        answers = [api(person).get(f"/api/requests/{request.pk}").json()["grant"] for person in people]
        assert answers[0] == answers[1]
        return dict(answers[0])

    assert (shown()["standing"], shown()["usable"]) == ("", True)
    world.north.stand(request.pk, Standing.WAITING)
    assert shown()["standing"] == "waiting"
    assert f"`fedcore-owner grants confirm {request.pk[:12]}`" in shown()["at_host"]
    world.north.stand(request.pk, Standing.IN_FORCE)
    assert shown()["at_host"] == "north has it in force."
    decisions.revoke(request, world.owners["north"], "no longer")
    assert f"run there: `fedcore-owner grants revoke {request.pk[:12]}`" in shown()["at_host"]
    world.north.stand(request.pk, Standing.REVOKED)
    assert shown()["at_host"] == "north has revoked it, which is final."
    assert api(world.eve).get(f"/api/requests/{request.pk}").status_code == 404


def test_the_pages_of_request_and_grant_show_the_hosts_word(world: Any, browser: Any) -> None:
    request = approved(world, world.north)
    world.north.stand(request.pk, Standing.WAITING)
    olga = browser(world.owners["north"])
    for model in ("accessrequest", "grant"):
        page = olga.get(f"/admin/governance/{model}/{request.pk}/change/").content.decode()
        assert f"fedcore-owner grants confirm {request.pk[:12]}" in page
    assert "waits for a person" in olga.get("/admin/governance/grant/").content.decode()


def told(person: Any) -> list[tuple[str, str]]:
    found = Notice.objects.filter(person=person).exclude(about__in=("request", "decision"))
    return [(notice.about, notice.text) for notice in found.order_by("pk")]


def test_a_grant_that_waits_at_the_host_is_told_to_its_owners_once(world: Any) -> None:
    request = approved(world, world.north)
    now = int(time.time())
    for moment in (now - 2, now - 2, now - 1):
        world.north.stand(request.pk, Standing.WAITING, moment)
    expected = "The grant of sam for north/access-north waits for a person at the host north."
    assert told(world.owners["north"]) == [("waits", expected)]
    assert told(world.owners["south"]) == told(world.sam) == []


def test_what_a_host_revoked_or_refused_is_told_to_the_scientist_who_has_it(world: Any) -> None:
    revoked, refused = approved(world, world.north), approved(world, world.south)
    world.north.stand(revoked.pk, Standing.REVOKED)
    world.south.stand(refused.pk, Standing.REFUSED)
    assert told(world.sam) == [
        ("revoked", "Your grant for north/access-north was revoked at the host north.")
    ]
    refusal = "The host south refuses your grant for south/access-south. Ask its owner why."
    assert Notice.objects.filter(person=world.sam, text=refusal).exists()
    assert told(world.eve) == []


def test_a_host_that_confirms_a_revocation_tells_the_scientist_nothing_new(world: Any) -> None:
    request = approved(world, world.north)
    decisions.revoke(request, world.owners["north"], "no longer")
    world.north.stand(request.pk, Standing.REVOKED)
    assert [about for about, _text in told(world.sam)] == ["revoked"]
