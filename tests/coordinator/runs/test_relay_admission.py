"""Who may connect to the relay: the two compute owners of a run under `shared`, while they train; and nobody else."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from asgiref.testing import ApplicationCommunicator
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from fedcore.coordinator.api.host_auth import Refusal
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.relay.admission import Admission, admit, is_still_admitted
from fedcore.coordinator.relay.application import nothing, relay
from fedcore.coordinator.runs.models import Run, RunOrder
from fedcore.coordinator.runs.states import ENDED, RunState
from fedcore.wire.keys import SealingKey, SigningKey
from fedcore.wire.orders import Phase, order_id
from fedcore.wire.relay import RELAY_PATH
from fedcore.wire.requests import sign_request
from fedcore.wire.spec import DatasetVersion, Protocol


@dataclass
class Host:
    """A host at the coordinator, and its key."""

    key: SigningKey
    row: OwnerHost


@dataclass
class Shared:
    """A run under `shared` in which everybody has an order to train: also those that should not have one."""

    run: Run
    hosts: dict[str, Host]

    def order(self, name: str, phase: Phase = Phase.TRAIN) -> str:
        return order_id(self.run.pk, phase, 0, 0, self.hosts[name].key.public)

    def change(self, name: str, **facts: Any) -> None:
        RunOrder.objects.filter(pk=self.order(name)).update(**facts)

    def admitted(self, name: str, order: str | None = None) -> Admission:
        return admit(asked(self.hosts[name].key, order or self.order(name)))


def asked(key: SigningKey, order: str, **changes: Any) -> dict[str, Any]:
    """A request to connect that the holder of `key` has signed."""
    path = RELAY_PATH + order
    headers = sign_request(key, "GET", path, b"", int(time.time()))
    scope = {
        "type": "websocket",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "extensions": {"websocket.http.response": {}},
    }
    return {**scope, **changes}


@pytest.fixture
def shared(world: Any) -> Shared:
    hosts = {host.row.name: Host(host.key, host.row) for host in world.hosts}
    for name in ("third", "dealer"):
        key = SigningKey.generate()
        row = OwnerHost.objects.create(
            name=name,
            organisation=hosts["lab"].row.organisation,
            signing_key=key.public,
            sealing_key=SealingKey.generate().public,
        )
        hosts[name] = Host(key, row)
    third = DatasetVersion(host=hosts["third"].key.public, name="access-third", version="ab" * 32)
    spec = world.spec()
    return Shared(
        run=stored(
            world,
            world.spec(
                Protocol.SHARED,
                datasets=(*spec.datasets, third),
                grants=(*spec.grants, "cd" * 32),
                dealer=hosts["dealer"].key.public,
            ),
            hosts,
        ),
        hosts=hosts,
    )


def stored(world: Any, spec: Any, hosts: dict[str, Host]) -> Run:
    """The run of this spec, with an order in every phase for every host."""
    signed = spec.signed_by(world.sam_key)
    run = Run.objects.create(
        id=signed.digest,
        scientist=world.sam,
        title=spec.title,
        protocol=spec.protocol,
        backend=spec.backend.name,
        model_type=spec.model.name,
        envelope=signed.encode(),
        deadline=timezone.now() + timedelta(hours=1),
        state=RunState.RUNNING,
    )
    for serial, (host, phase) in enumerate((host, phase) for host in hosts.values() for phase in Phase):
        RunOrder.objects.create(
            id=order_id(run.pk, phase, 0, 0, host.key.public),
            serial=int(hashlib.sha256(run.pk.encode()).hexdigest()[:8], 16) * 100 + serial,
            run=run,
            host=host.row,
            phase=phase,
            envelope="",
            expires_at=timezone.now() + timedelta(hours=1),
        )
    return run


def refusal(scope: dict[str, Any]) -> tuple[int, str, str]:
    with pytest.raises(Refusal) as refused:
        admit(scope)
    return refused.value.status, refused.value.code, refused.value.detail


NOT_FOUND = (404, "not_found", "There is no such order to train on shares.")


def test_the_two_compute_owners_are_let_in_as_two_sides_of_one_run(shared: Shared) -> None:
    assert [(a.run, a.side) for a in map(shared.admitted, ("north", "south"))] == [
        (shared.run.pk, 0),
        (shared.run.pk, 1),
    ]


@pytest.mark.parametrize("name", ["third", "dealer", "lab"])
def test_a_host_that_does_not_compute_is_not_let_in_even_with_an_order_to_train(
    shared: Shared, name: str
) -> None:
    assert RunOrder.objects.filter(pk=shared.order(name)).exists()
    assert refusal(asked(shared.hosts[name].key, shared.order(name))) == NOT_FOUND


def test_another_owners_order_is_as_unknown_as_one_that_does_not_exist(shared: Shared) -> None:
    key = shared.hosts["north"].key
    assert refusal(asked(key, shared.order("south"))) == NOT_FOUND
    assert refusal(asked(key, secrets.token_hex(16))) == NOT_FOUND


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.TRAIN])
def test_orders_of_other_phases_are_not_relayed_for(shared: Shared, phase: Phase) -> None:
    assert refusal(asked(shared.hosts["north"].key, shared.order("north", phase))) == NOT_FOUND


@pytest.mark.parametrize("status", ["done", "refused", "failed"])
def test_an_answered_order_is_not_relayed_for(shared: Shared, status: str) -> None:
    admission = shared.admitted("north")
    shared.change("north", status=status)
    assert refusal(asked(shared.hosts["north"].key, shared.order("north"))) == NOT_FOUND
    assert not is_still_admitted(admission)


def test_an_expired_order_is_not_relayed_for(shared: Shared) -> None:
    admission = shared.admitted("north")
    shared.change("north", expires_at=timezone.now() - timedelta(seconds=1))
    assert refusal(asked(shared.hosts["north"].key, shared.order("north"))) == NOT_FOUND
    assert not is_still_admitted(admission)


@pytest.mark.parametrize("state", sorted(ENDED))
def test_a_run_that_has_ended_is_not_relayed_for(shared: Shared, state: str) -> None:
    admission = shared.admitted("north")
    assert is_still_admitted(admission)
    Run.objects.filter(pk=shared.run.pk).update(state=state)
    assert refusal(asked(shared.hosts["north"].key, shared.order("north"))) == NOT_FOUND
    assert not is_still_admitted(admission)


@pytest.mark.parametrize("protocol", [Protocol.POOLED, Protocol.LOCAL, Protocol.REFERENCE])
def test_runs_under_other_protocols_are_not_relayed_for(
    world: Any, shared: Shared, protocol: Protocol
) -> None:
    run = stored(world, world.spec(protocol), shared.hosts)
    order = order_id(run.pk, Phase.TRAIN, 0, 0, shared.hosts["north"].key.public)
    assert refusal(asked(shared.hosts["north"].key, order)) == NOT_FOUND


def test_a_host_that_is_closed_out_or_has_another_key_is_let_in_no_more(shared: Shared) -> None:
    host, admission = shared.hosts["north"], shared.admitted("north")
    for change in ({"is_active": False}, {"signing_key": SigningKey.generate().public}):
        OwnerHost.objects.filter(pk=host.row.pk).update(**change)
        assert refusal(asked(host.key, shared.order("north")))[:2] == (401, "unknown_signer")
        assert not is_still_admitted(admission)
        OwnerHost.objects.filter(pk=host.row.pk).update(is_active=True, signing_key=host.key.public)
    assert is_still_admitted(admission)


def test_eve_is_no_host_and_learns_nothing_of_orders(shared: Shared) -> None:
    eve = SigningKey.generate()
    answers = {refusal(asked(eve, order)) for order in (shared.order("north"), secrets.token_hex(16))}
    assert [answer[:2] for answer in answers] == [(401, "unknown_signer")]


def test_a_signature_holds_for_its_own_path_and_time_alone(shared: Shared) -> None:
    key, order = shared.hosts["north"].key, shared.order("north")
    elsewhere = asked(key, secrets.token_hex(16))["headers"]
    assert refusal(asked(key, order, headers=elsewhere))[0] == 401
    assert refusal(asked(key, order, headers=[]))[0] == 401
    old = sign_request(key, "GET", RELAY_PATH + order, b"", int(time.time()) - 3600)
    headers = [(name.lower().encode(), value.encode()) for name, value in old.items()]
    assert refusal(asked(key, order, headers=headers))[:2] == (401, "expired")
    posted = sign_request(key, "POST", RELAY_PATH + order, b"", int(time.time()))
    headers = [(name.lower().encode(), value.encode()) for name, value in posted.items()]
    assert refusal(asked(key, order, headers=headers))[0] == 401


def test_whether_a_host_may_stay_is_one_question_to_the_database(shared: Shared) -> None:
    admission = shared.admitted("north")
    with CaptureQueriesContext(connection) as queries:
        assert is_still_admitted(admission)
    assert len(queries) == 1


@pytest.mark.django_db(transaction=True)
def test_every_refusal_comes_before_the_websocket_and_looks_the_same(shared: Shared) -> None:
    """Over ASGI, as the web process sees it: what is answered to Eve of a real order and of none are the same bytes."""

    async def answer(scope: dict[str, Any]) -> list[Any]:
        communicator = ApplicationCommunicator(relay(nothing), scope)
        await communicator.send_input({"type": "websocket.connect"})
        found = [await communicator.receive_output(timeout=5)]
        if found[0]["type"] == "websocket.http.response.start":
            found.append(await communicator.receive_output(timeout=5))
        await communicator.send_input({"type": "websocket.disconnect", "code": 1000})
        await communicator.wait(timeout=5)
        return found

    connect = async_to_sync(answer)
    north, eve = shared.hosts["north"].key, SigningKey.generate()
    assert connect(asked(north, shared.order("north"))) == [{"type": "websocket.accept"}]
    unknown = secrets.token_hex(16)
    for key, status in ((north, 404), (eve, 401)):
        answers = [connect(asked(key, order)) for order in (shared.order("south"), unknown)]
        assert answers[0] == answers[1]
        assert answers[0][0]["status"] == status
        assert set(json.loads(answers[0][1]["body"])) == {"code", "detail"}
    bare = asked(eve, shared.order("north"), extensions={})
    assert connect(bare) == [{"type": "websocket.close"}], "a web process without HTTP answers closes"


@pytest.mark.django_db(transaction=True)
def test_what_is_no_websocket_is_the_other_applications(shared: Shared) -> None:
    seen: list[str] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def ask() -> None:
        await ApplicationCommunicator(
            relay(other), asked(SigningKey.generate(), "0" * 32, type="http")
        ).wait()

    async_to_sync(ask)()
    assert seen == ["http"]
