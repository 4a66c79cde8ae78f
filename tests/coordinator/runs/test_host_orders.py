"""Delivery of orders: who gets which, and long polls that wait without a connection."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.test import AsyncClient
from django.utils import timezone

from fedcore.coordinator.api import waiting
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.identity import coordinator_key
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunOrder, Serial
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Checked
from fedcore.wire.requests import sign_request
from fedcore.wire.spec import RunSpec


def test_a_host_gets_its_own_unanswered_orders_signed_by_the_coordinator(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    [order] = world.north.orders()
    assert (order.phase, order.audience, order.run) == (Phase.CHECK, world.north.key.public, pooled.pk)
    assert order.spec == pooled.signed
    assert order.spec.open(RunSpec, signer=world.sam_key.public).title == "Detector"
    assert order.grant is not None
    assert order.grant.request.digest == world.requests["north"].pk
    row = RunOrder.objects.get(pk=order.id)
    from fedcore.wire.signing import Signed

    assert Signed.parse(row.envelope, 2**22).signer == coordinator_key().public


def test_the_cursor_passes_what_was_delivered_and_zero_delivers_it_again(world: Any, pooled: Run) -> None:
    advance(pooled.pk)
    assert len(world.north.orders()) == 1
    assert world.north.orders() == []
    [again] = world.north.orders(after=0)
    world.north.answer(again, Checked(rows=100))
    assert world.north.orders(after=0) == []


def test_an_order_expires_with_the_deadline_at_the_latest(world: Any) -> None:
    run = world.submit(deadline=int(time.time()) + 60)
    advance(run.pk)
    [order] = world.north.orders()
    assert order.expires_at == run.spec.deadline


def test_a_host_without_orders_gets_an_empty_answer_at_once_without_waiting(world: Any) -> None:
    started = time.monotonic()
    assert world.lab.orders() == []
    assert time.monotonic() - started < 1


def test_only_whole_numbers_are_taken(world: Any) -> None:
    for query in ("after=x", "after=-1", "wait=1e9", "after=" + "9" * 30):
        answer = world.north.send("GET", f"/api/host/orders?{query}")
        assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert world.north.send("DELETE", "/api/host/orders").status_code == 405


def test_last_contact_is_written_every_few_seconds_at_most(world: Any) -> None:
    world.north.orders()
    first = OwnerHost.objects.get(pk=world.north.row.pk).last_contact
    world.north.orders()
    assert OwnerHost.objects.get(pk=world.north.row.pk).last_contact == first
    OwnerHost.objects.update(last_contact=timezone.now() - timedelta(seconds=6))
    world.north.orders()
    assert not OwnerHost.objects.get(pk=world.north.row.pk).is_away()


def test_serials_rise_with_every_order(world: Any, pooled: Run) -> None:
    world.drive(pooled)
    serials = list(RunOrder.objects.order_by("issued_at", "serial").values_list("serial", flat=True))
    assert serials == list(range(1, len(serials) + 1))
    assert Serial.objects.get(name="orders").value == serials[-1]


@pytest.mark.django_db(transaction=True)
def test_a_waiting_host_is_woken_by_a_new_order(world: Any) -> None:
    run = world.submit()

    async def poll_and_issue() -> tuple[Any, float]:
        path = "/api/host/orders?after=0&wait=10"
        headers = sign_request(world.north.key, "GET", path, b"", int(time.time()))
        started = time.monotonic()
        poll = asyncio.create_task(AsyncClient().get(path, headers=headers))
        await asyncio.sleep(0.3)
        assert not poll.done()
        await waiting.in_database(advance)(run.pk)
        return await poll, time.monotonic() - started

    answer, seconds = async_to_sync(poll_and_issue)()
    assert len(answer.json()["orders"]) == 1
    assert seconds < 3


@pytest.mark.django_db(transaction=True)
def test_a_host_that_is_closed_out_while_it_waits_gets_no_order(world: Any) -> None:
    run = world.submit()

    def close_out() -> None:
        OwnerHost.objects.filter(pk=world.north.row.pk).update(is_active=False)
        advance(run.pk)

    async def poll_and_close_out() -> Any:
        path = "/api/host/orders?after=0&wait=10"
        headers = sign_request(world.north.key, "GET", path, b"", int(time.time()))
        poll = asyncio.create_task(AsyncClient().get(path, headers=headers))
        await asyncio.sleep(0.3)
        await waiting.in_database(close_out)()
        return await poll

    answer = async_to_sync(poll_and_close_out)()
    assert RunOrder.objects.filter(host=world.north.row).exists()
    assert (answer.status_code, answer.json()["code"]) == (401, "unknown_signer")


@pytest.mark.django_db(transaction=True)
def test_a_poll_ends_empty_when_its_time_is_up(world: Any) -> None:
    async def poll() -> Any:
        path = "/api/host/orders?after=3&wait=1"
        headers = sign_request(world.north.key, "GET", path, b"", int(time.time()))
        return await AsyncClient().get(path, headers=headers)

    assert async_to_sync(poll)().json() == {"cursor": 3, "orders": [], "grants": 1}


def test_one_watch_looks_for_all_that_wait_and_stops_when_nobody_does() -> None:
    looks: list[float] = []

    def latest() -> int:
        looks.append(time.monotonic())
        return 5 if len(looks) > 3 else 0

    async def several() -> int:
        watch = waiting.Watch(latest)
        await asyncio.gather(*(watch.beyond(4, 5.0) for _ in range(20)))
        seen = len(looks)
        await asyncio.sleep(0.2)
        assert len(looks) <= seen + 1
        await watch.beyond(4, 5.0)
        return seen

    assert async_to_sync(several)() == 4


def test_a_database_error_while_watching_only_delays_those_who_wait() -> None:
    from django.db import OperationalError

    looks = 0

    def latest() -> int:
        nonlocal looks
        looks += 1
        if looks == 1:
            raise OperationalError("locked")
        return 5

    async def wait() -> None:
        await waiting.Watch(latest).beyond(4, 5.0)

    async_to_sync(wait)()
    assert looks == 2


def test_whoever_begins_to_wait_while_a_watch_is_ending_is_woken_too(monkeypatch: pytest.MonkeyPatch) -> None:
    known = 0

    async def in_turn() -> float:
        nonlocal known
        watch = waiting.Watch(lambda: known)
        slow_close = waiting._close

        def close() -> None:
            time.sleep(0.3)
            slow_close()

        monkeypatch.setattr(waiting, "_close", close)
        await watch.beyond(0, 0.2)
        await asyncio.sleep(0.1)
        known = 1
        started = time.monotonic()
        await watch.beyond(0, 5.0)
        return time.monotonic() - started

    assert async_to_sync(in_turn)() < 2
