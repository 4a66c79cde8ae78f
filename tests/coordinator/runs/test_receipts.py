"""Receipts of deletion: the order that closes a run names what the coordinator has deleted, and never before."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.coordinator.runs import ending, storage
from fedcore.coordinator.runs.models import Artefact, Run
from fedcore.coordinator.runs.sweeping import sweep_runs
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol


def closings(run: Run) -> dict[str, Order]:
    """The orders to close a run, by host."""
    return {
        order.host.name: Signed.parse(order.envelope, 2**22).open(Order)
        for order in run.orders.filter(phase=Phase.CLOSE).select_related("host")
    }


def uploaded(run: Run, host: str) -> set[str]:
    return set(Artefact.objects.filter(run=run, order__host__name=host).values_list("digest", flat=True))


@pytest.mark.parametrize("protocol", [Protocol.POOLED, Protocol.REFERENCE])
def test_each_host_is_told_of_all_that_it_uploaded_and_of_nothing_else(
    world: Any, protocol: Protocol
) -> None:
    run = world.drive(world.submit(protocol))
    orders = closings(run)
    for name, order in orders.items():
        assert set(order.deleted) == uploaded(run, name)
    assert orders["north"].deleted
    assert not Artefact.objects.filter(run=run, deleted_at=None).exclude(order=None).exists()


def test_the_files_are_gone_before_the_order_that_says_so_exists(
    world: Any, pooled: Run, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(pooled, Phase.PREPARE)
    world.north.work()
    [artefact] = Artefact.objects.all()
    seen: list[bool] = []
    issue = ending.issue_close

    def watched(*arguments: Any) -> Any:
        seen.append(storage.file_of(artefact).exists())
        return issue(*arguments)

    monkeypatch.setattr(ending, "issue_close", watched)
    with django_capture_on_commit_callbacks(execute=True):
        ending.cancel(pooled.pk)
    assert seen == [False]
    assert closings(pooled)["north"].deleted == (artefact.digest,)
    assert closings(pooled)["south"].deleted == ()


def test_a_deletion_that_fails_is_not_claimed_and_the_sweep_makes_up_for_it(
    world: Any, pooled: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.at(pooled, Phase.PREPARE)
    world.north.work()
    [artefact] = Artefact.objects.all()

    def fails(artefacts: Any) -> None:
        raise OSError("the disk does not answer")

    ending.cancel(pooled.pk)
    with monkeypatch.context() as patched:
        patched.setattr(storage, "unlink", fails)
        sweep_runs()
    assert storage.file_of(artefact).exists()
    assert not closings(pooled)
    sweep_runs()
    assert not storage.file_of(artefact).exists()
    assert closings(pooled)["north"].deleted == (artefact.digest,)
    sweep_runs()
    assert pooled.orders.filter(phase=Phase.CLOSE).count() == 2


def test_a_run_that_goes_on_is_not_closed(world: Any, pooled: Run) -> None:
    world.at(pooled, Phase.PREPARE)
    ending.close_hosts(pooled.pk)
    assert not closings(pooled)
