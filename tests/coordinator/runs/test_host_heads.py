"""Ledger heads and receipts on their way between hosts: carried as signed, each to whom it is for."""

from __future__ import annotations

import json
import secrets
import time
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from fedcore.coordinator.governance.models import HostHead, HostHeadReceipt, OwnerHost
from fedcore.wire.heads import HeadReceipt, LedgerHead
from fedcore.wire.keys import SigningKey
from fedcore.wire.signing import Signed


def head(host: Any, serial: int = 3, at: int | None = None, key: SigningKey | None = None) -> Signed:
    message = LedgerHead(
        serial=serial, digest="a" * 64, nonce=secrets.token_hex(16), at=int(time.time()) if at is None else at
    )
    return message.signed_by(key or host.key)


def exchange(host: Any, signed: Signed) -> Any:
    return host.send("POST", "/api/host/heads", signed.encode().encode())


def receipt(host: Any, asked: Signed, key: SigningKey | None = None) -> Any:
    signed = HeadReceipt(asked=asked.digest, latest=asked, at=int(time.time())).signed_by(key or host.key)
    return host.send("POST", "/api/host/head-receipts", signed.encode().encode())


def found(answer: Any) -> tuple[list[str], list[str]]:
    """The texts of the heads and receipts in an answer."""
    assert answer.status_code == 200, answer.content
    values = json.loads(answer.content)
    return [item["text"] for item in values["heads"]], [item["text"] for item in values["receipts"]]


def test_a_head_goes_to_the_other_hosts_and_their_receipts_come_back(world: Any) -> None:
    north, south = head(world.north), head(world.south)
    assert found(exchange(world.north, north)) == ([], [])
    assert found(exchange(world.south, south)) == ([north.text], [])
    assert receipt(world.south, north).status_code == 200
    assert found(exchange(world.south, south)) == ([], []), "what is answered is not asked again"
    heads, receipts = found(exchange(world.north, north))
    assert heads == [south.text]
    assert [json.loads(text)["asked"] for text in receipts] == [north.digest]


def test_a_new_head_takes_the_place_of_the_old_one_and_of_its_receipts(world: Any) -> None:
    old, new = head(world.north, 3), head(world.north, 4)
    exchange(world.north, old)
    receipt(world.south, old)
    assert found(exchange(world.north, new)) == ([], [])
    assert HostHead.objects.count() == 1
    assert receipt(world.south, old).status_code == 200, "too late, and of no use"
    assert HostHeadReceipt.objects.count() == 0


def test_the_same_receipt_again_changes_nothing(world: Any) -> None:
    asked = head(world.north)
    exchange(world.north, asked)
    for _ in range(3):
        receipt(world.south, asked)
    assert HostHeadReceipt.objects.count() == 1


def test_nobody_gives_a_receipt_for_their_own_head(world: Any) -> None:
    asked = head(world.north)
    exchange(world.north, asked)
    receipt(world.north, asked)
    assert HostHeadReceipt.objects.count() == 0


@pytest.mark.parametrize(("seconds", "code"), [(3600, "expired"), (-60, "conflict")], ids=["future", "older"])
def test_a_head_from_the_future_or_older_than_what_is_known_is_refused(
    world: Any, seconds: int, code: str
) -> None:
    exchange(world.north, head(world.north))
    answer = exchange(world.north, head(world.north, at=int(time.time()) + seconds))
    assert json.loads(answer.content)["code"] == code
    assert answer.status_code >= 400


def test_what_another_key_has_signed_is_refused(world: Any) -> None:
    eve = SigningKey.generate()
    assert exchange(world.north, head(world.north, key=eve)).status_code >= 400
    asked = head(world.north)
    exchange(world.north, asked)
    assert receipt(world.south, asked, key=eve).status_code >= 400
    assert HostHeadReceipt.objects.count() == 0


def test_heads_of_hosts_that_are_away_or_inactive_are_not_carried(world: Any) -> None:
    exchange(world.north, head(world.north))
    HostHead.objects.update(at=timezone.now() - timedelta(hours=1))
    assert found(exchange(world.south, head(world.south))) == ([], [])
    HostHead.objects.update(at=timezone.now())
    OwnerHost.objects.filter(pk=world.north.row.pk).update(is_active=False)
    assert found(exchange(world.lab, head(world.lab)))[0] != []
    assert len(found(exchange(world.lab, head(world.lab)))[0]) == 1
