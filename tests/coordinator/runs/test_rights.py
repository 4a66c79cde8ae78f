"""What may be done with what a run made: the intersection of the grants of all its data."""

from __future__ import annotations

from typing import Any

import pytest
from django.utils import timezone

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.decisions import Limits
from fedcore.coordinator.governance.models import Grant, Notice
from fedcore.coordinator.runs import ending
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Protocol

ALL = {"reuse", "download_model", "keep", "predict", "download_dataset"}
CHANGES = {
    "nothing": lambda world: None,
    "expired": lambda world: Grant.objects.filter(request=world.requests["south"]).update(
        expires_at=timezone.now()
    ),
    "no download": lambda world: decisions.tighten(
        world.requests["south"], world.owners["south"], Limits(download=False), "rows stay"
    ),
    "used up": lambda world: Grant.objects.filter(request=world.requests["south"]).update(releases=1),
    "revoked": lambda world: decisions.revoke(world.requests["south"], world.owners["south"], "enough"),
    "given back": lambda world: decisions.withdraw(world.requests["south"], world.sam),
}


def rights(world: Any, api: Any, run: Run) -> tuple[set[str], str]:
    found = api(world.sam).get(f"/api/runs/{run.pk}/rights").json()
    return {name for name in ALL if found[name]}, found["because"]


@pytest.mark.parametrize(
    ("change", "left", "because"),
    [
        ("nothing", ALL, ""),
        ("used up", ALL - {"reuse"}, ""),
        ("no download", ALL - {"download_dataset"}, "does not allow to download"),
        ("expired", {"download_model", "keep", "predict"}, "has expired"),
        ("revoked", set(), "is revoked"),
        ("given back", set(), "is withdrawn"),
    ],
)
def test_one_owners_grant_decides_for_what_was_made_of_all(
    world: Any, api: Any, pooled: Run, change: str, left: set[str], because: str
) -> None:
    world.drive(pooled)
    CHANGES[change](world)
    found, told = rights(world, api, pooled)
    assert found == left
    assert because in told
    assert ("south/access-south" in told) == bool(because)


def test_under_local_and_reference_the_coordinator_has_nothing_to_download(world: Any, api: Any) -> None:
    for protocol in (Protocol.LOCAL, Protocol.REFERENCE):
        run = world.drive(world.submit(protocol))
        assert rights(world, api, run)[0] == {"reuse", "keep", "predict"}


def test_a_run_whose_request_waits_has_no_rights_yet(world: Any, api: Any) -> None:
    world.requests["south"] = world.ask(world.south)
    run = world.submit()
    advance(run.pk)
    assert rights(world, api, run) == (set(), "The grant of south/access-south is waiting.")


def test_eve_does_not_learn_the_rights_of_sams_run(world: Any, api: Any, pooled: Run) -> None:
    assert api(world.eve).get(f"/api/runs/{pooled.pk}/rights").status_code == 404
    assert api(None).get(f"/api/runs/{pooled.pk}/rights").status_code == 401
    assert api(world.owners["north"]).get(f"/api/runs/{pooled.pk}/rights").status_code == 200


def test_the_page_of_a_run_says_what_may_be_done_with_it(world: Any, browser: Any, pooled: Run) -> None:
    world.drive(pooled)
    decisions.revoke(world.requests["south"], world.owners["south"], "enough")
    text = browser(world.sam).get(f"/admin/runs/run/{pooled.pk}/change/").content.decode()
    for words in (
        "What may be done with it now",
        "The grant of south/access-south is revoked.",
        "cannot be called back",
    ):
        assert words in text


def test_the_scientist_is_told_when_a_run_has_finished_or_was_stopped(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    stopped = world.submit()
    advance(stopped.pk)
    [order] = [order for order in world.south.orders(after=0) if order.run == stopped.pk]
    world.south.refuse(order, RefusalCode.TOO_FEW_ROWS)
    world.drive(stopped)
    cancelled = world.submit()
    ending.cancel(cancelled.pk)
    about = Notice.objects.filter(person=world.sam, subject__in=(pooled.pk, stopped.pk, cancelled.pk))
    assert [(str(notice.about), notice.subject) for notice in about.order_by("pk")] == [
        ("finished", pooled.pk),
        ("stopped", stopped.pk),
    ]
