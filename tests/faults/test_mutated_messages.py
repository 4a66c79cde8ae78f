"""Ten thousand messages that must not be obeyed, through the real endpoint and the real agent.

What is counted are effects, not replies: rows, files, waiting tasks at the coordinator; tasks, files, releases
and answers at the agent. The same messages without the mutation have effects, or the tests would pass idly.
`FEDCORE_SEED` repeats a run with other mutations.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.requests import sign_request
from fedcore.wire.signing import SignedMessage
from fedcore.wire.spec import Protocol
from tests.faults.endpoint import NAMES, Endpoint
from tests.faults.federation import federation
from tests.faults.mutations import STRANGER, Mutant, mutants_of, valid
from tests.faults.wrong_messages import wrong_announcements, wrong_reports, wrong_requests, wrong_specs

SEED = int(os.environ.get("FEDCORE_SEED", "2021"))
NORTH, SOUTH, _ = NAMES
REPORTS, ANNOUNCEMENTS = "/api/host/reports", "/api/host/announcements"

pytestmark = pytest.mark.xdist_group("mutations")


@dataclass
class Answers:
    """What came back: how many, and which of them no client should ever see."""

    counted: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)

    def note(self, kind: str, sent: bytes, answer: httpx.Response) -> None:
        self.counted[answer.status_code] += 1
        if answer.status_code >= 500:
            self.failures.append(f"{kind}: {answer.status_code} {answer.text[:200]!r} to {sent[:300]!r}")

    @property
    def total(self) -> int:
        return self.counted.total()


@dataclass(frozen=True)
class Site:
    """The endpoint with one open order of north for each of three phases."""

    endpoint: Endpoint
    orders: dict[Phase, Order]
    of_south: Order

    def order(self, phase: Phase) -> Order:
        return self.orders[phase]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with federation(tmp_path_factory.mktemp("site") / "f") as found:
        endpoint = Endpoint(found)
        worker = found.start_part("worker")
        runs = {
            Phase.CHECK: endpoint.submit(endpoint.spec(Protocol.POOLED)),
            Phase.TRAIN: endpoint.submit(endpoint.spec()),
            Phase.EVALUATE: endpoint.submit(endpoint.spec()),
        }
        for phase, run in runs.items():
            endpoint.bring(run, phase)
        worker.popen.terminate()
        worker.popen.wait(30)
        found.processes.running.remove(worker)
        orders = {order.phase: order for order in endpoint.orders(NORTH)}
        yield Site(endpoint, orders, endpoint.orders(SOUTH)[0])


def test_no_mutated_message_has_an_effect_on_the_coordinator(site: Site) -> None:
    endpoint, chance, answers = site.endpoint, random.Random(SEED), Answers()
    before = endpoint.snapshot()
    for send in (mutated_messages, wrong_messages, replayed_messages, unsigned_requests, wrong_uploads, oversized):
        send(site, chance, answers)
    after = endpoint.snapshot()
    assert answers.failures == []
    assert {name: rows for name, rows in after.items() if rows != before[name]} == {}
    assert answers.total >= 5_500
    log = endpoint.federation.cast.operator.log / "web.log"
    assert "Traceback" not in log.read_text()
