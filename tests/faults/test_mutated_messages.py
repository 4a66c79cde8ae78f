"""Ten thousand messages that must not be obeyed, through the real endpoint and the real agent.

What is counted are effects, not replies: rows, files and waiting tasks at the coordinator; tasks, files, releases
and answers at the agent. The same messages without the mutation have effects, or the tests would pass idly.
`FEDCORE_SEED` draws other mutations.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol
from tests.faults.attacks import ATTACKS, NORTH, SOUTH, Answers, Site, good_messages, sender
from tests.faults.endpoint import Endpoint
from tests.faults.federation import federation
from tests.faults.mutations import valid

SEED = int(os.environ.get("FEDCORE_SEED", "2021"))

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("mutations")]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A coordinator whose three runs wait for north: in the check, the training, and the evaluation."""
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
        worker.popen.wait(120)  # It ends the dry runs of the requests first.
        found.processes.running.remove(worker)
        orders = {order.phase: order for order in endpoint.orders(NORTH)}
        yield Site(endpoint, orders, endpoint.orders(SOUTH)[0], endpoint.taken)


def test_no_mutated_message_has_an_effect_on_the_coordinator(site: Site) -> None:
    chance, answers = random.Random(SEED), Answers()
    before, entries = site.endpoint.snapshot(), site.endpoint.audited()
    for attack in ATTACKS:
        attack(site, chance, answers)
    after = site.endpoint.snapshot()
    assert answers.failures == []
    assert changed(before, after) == {}
    assert site.endpoint.audited()[: len(entries)] == entries
    assert {outcome for _, outcome, _ in site.endpoint.audited()[len(entries) :]} == {"refused"}
    assert answers.counted.total() >= 5_500
    log = site.endpoint.federation.cast.operator.log / "web.log"
    assert "Traceback" not in log.read_text()


def test_the_same_messages_without_a_mutation_do_have_effects(site: Site) -> None:
    for path, message, key in good_messages(site):
        before = site.endpoint.snapshot()
        answer = sender(site.endpoint, path)(valid(message, key))
        assert answer.is_success, answer.text
        assert changed(before, site.endpoint.snapshot()) != {}, path


def changed(before: dict[str, object], after: dict[str, object]) -> dict[str, object]:
    """What is stored otherwise than before, by table."""
    return {name: after[name] for name in after if after[name] != before.get(name)}
