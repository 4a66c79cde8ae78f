"""Reports: altered, foreign, replayed, oversized and contradicting ones change nothing."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest
from django.test import Client

from fedcore.coordinator.governance.models import Dataset, OwnerHost
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run, RunEvent, RunOrder
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES
from fedcore.wire.keys import SealingKey, SigningKey
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Checked, DatasetOffer, Evaluated, Offered, Status
from fedcore.wire.requests import sign_request

PATH = "/api/host/reports"


@pytest.fixture
def checking(world: Any, pooled: Run) -> Run:
    advance(pooled.pk)
    return pooled


def answered() -> int:
    return RunOrder.objects.exclude(status="").count()


def test_a_report_is_stored_exactly_as_it_came(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    body = world.north.report(order, Checked(rows=100))
    assert world.north.send("POST", PATH, body).json() == {"accepted": True}
    row = RunOrder.objects.get(pk=order.id)
    assert (row.report.encode(), row.status) == (body, "done")


def test_the_same_report_again_is_accepted_and_changes_nothing(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    body = world.north.report(order, Checked(rows=100))
    world.north.send("POST", PATH, body)
    before = (RunOrder.objects.get(pk=order.id).reported_at, RunEvent.objects.count())
    assert world.north.send("POST", PATH, body).json() == {"accepted": True}
    assert (RunOrder.objects.get(pk=order.id).reported_at, RunEvent.objects.count()) == before


def test_another_report_for_an_answered_order_is_a_conflict(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    world.north.answer(order, Checked(rows=100))
    answer = world.north.answer(order, Checked(rows=200))
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert RunOrder.objects.get(pk=order.id).reported.result.rows == 100


def test_an_order_of_another_host_cannot_be_answered(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    answer = world.south.answer(order, Checked(rows=100))
    assert (answer.status_code, answer.json()["code"]) == (404, "wrong_audience")
    assert answered() == 0


def test_a_report_that_another_host_signed_is_refused(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    answer = world.south.send("POST", PATH, world.north.report(order, Checked(rows=100)))
    assert (answer.status_code, answer.json()["code"]) == (400, "unknown_signer")
    assert answered() == 0


@pytest.mark.parametrize(
    "changes",
    [{"run": "00" * 32}, {"step": 1}, {"round": 1}, {"phase": Phase.OFFER}],
)
def test_a_report_about_other_work_than_was_ordered_is_refused(
    world: Any, checking: Run, changes: dict[str, Any]
) -> None:
    [order] = world.north.orders()
    offered = Offered(ephemeral=SealingKey.generate().public)
    result = offered if changes.get("phase") else Checked(rows=100)
    answer = world.north.answer(order, result, **changes)
    assert (answer.status_code, answer.json()["code"]) == (400, "out_of_order")
    assert answered() == 0


def test_an_altered_report_is_refused(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    body = world.north.report(order, Checked(rows=100)).replace(b"100", b"900")
    assert world.north.send("POST", PATH, body).json()["code"] == "bad_signature"
    assert answered() == 0


def test_a_report_with_an_unknown_field_or_type_is_refused(world: Any, checking: Run) -> None:
    body = json.dumps(
        {"text": "{}", "signer": world.north.key.public, "signature": "A" * 86 + "==", "extra": 1}
    )
    assert world.north.send("POST", PATH, body.encode()).json()["code"] == "unknown_field"
    for bad in (b"", b"[]", b"{", b"\xff", b'{"text": NaN}', b"[" * 5000):
        assert world.north.send("POST", PATH, bad).json()["code"] in ("malformed", "unknown_field")
    assert answered() == 0


def test_an_oversized_report_is_refused_before_it_is_read(world: Any, checking: Run) -> None:
    answer = world.north.send("POST", PATH, b" " * (2 * MAXIMUM_MESSAGE_BYTES + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_hundreds_of_mutated_reports_have_no_effect(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    good = world.north.report(order, Checked(rows=100))
    chance = random.Random(7)
    for _ in range(500):
        body = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            body[chance.randrange(len(body))] = chance.randrange(256)
        if bytes(body) != good:
            assert world.north.send("POST", PATH, bytes(body)).status_code == 400
    assert (answered(), RunEvent.objects.filter(text__contains="done").count()) == (0, 0)
    assert world.north.send("POST", PATH, good).status_code == 200


def test_a_request_without_a_good_signature_of_an_active_host_gets_one_answer(
    world: Any, checking: Run
) -> None:
    now = int(time.time())
    stranger = SigningKey.generate()
    bodies = []
    for key, signed_path in ((stranger, PATH), (world.north.key, "/api/host/announcements")):
        headers = sign_request(key, "POST", signed_path, b"{}", now)
        bodies.append(Client().post(PATH, b"{}", content_type="application/json", headers=headers))
    bodies.append(Client().post(PATH, b"{}", content_type="application/json"))
    OwnerHost.objects.filter(pk=world.north.row.pk).update(is_active=False)
    bodies.append(world.north.send("POST", PATH, b"{}"))
    assert {(answer.status_code, answer.content) for answer in bodies} == {(401, bodies[0].content)}


def test_a_request_with_a_wrong_clock_says_so_to_a_known_host_only(world: Any) -> None:
    old = int(time.time()) - 1000
    path = "/api/host/orders?after=0"
    for key, code in ((world.north.key, "expired"), (SigningKey.generate(), "unknown_signer")):
        answer = Client().get(path, headers=sign_request(key, "GET", path, b"", old))
        assert (answer.status_code, answer.json()["code"]) == (401, code)


def test_a_signature_is_good_for_its_query_only(world: Any, checking: Run) -> None:
    headers = sign_request(world.north.key, "GET", "/api/host/orders?after=9", b"", int(time.time()))
    assert Client().get("/api/host/orders?after=0", headers=headers).status_code == 401


def test_a_token_of_a_person_opens_no_host_endpoint(world: Any, api: Any) -> None:
    assert api(world.sam).get("/api/host/orders?after=0").status_code == 401
    assert api(world.sam).post(PATH, {}, format="json").status_code == 401


def test_evaluation_counts_that_contradict_each_other_are_refused(world: Any) -> None:
    run = world.submit()
    world.at(run, Phase.EVALUATE)
    [order] = [order for order in world.north.orders(after=0) if order.phase is Phase.EVALUATE]
    good = world.north.do(order)[0]
    for bad in (
        good.model_copy(update={"rows": 21}),
        good.model_copy(update={"confusion": ((10, 0, 0), (0, 10, 0), (0, 0, 0))}),
        Evaluated(rows=0, histograms=(((0,), (0, 1)),), confusion=((0, 0), (0, 0))),
    ):
        answer = world.north.answer(order, bad)
        assert (answer.status_code, answer.json()["code"]) == (422, "artefact_invalid")
    assert world.north.answer(order, good).status_code == 200


def test_a_report_names_only_artefacts_of_its_phase_that_are_complete(world: Any) -> None:
    run = world.submit()
    world.at(run, Phase.PREPARE)
    [order] = [order for order in world.north.orders(after=0) if order.phase is Phase.PREPARE]
    result, [ref] = world.north.do(order)
    bad: list[list[ArtefactRef]] = [
        [],
        [ref.model_copy(update={"digest": "00" * 32})],
        [ref.model_copy(update={"size": ref.size + 1})],
        [ref.model_copy(update={"role": "model"})],
        [ref.model_copy(update={"audience": world.south.key.public})],
        [ref, ref],
        [ref, ref.model_copy(update={"part": 1, "role": "summary"})],
    ]
    for refs in bad:
        answer = world.north.answer(order, result, refs)
        assert (answer.status_code, answer.json()["code"]) == (422, "artefact_invalid")
    assert world.north.answer(order, result, [ref]).status_code == 200


def test_a_late_report_of_an_ended_run_is_kept_and_has_no_effect(world: Any, checking: Run) -> None:
    from fedcore.coordinator.runs.ending import cancel

    [order] = world.north.orders()
    cancel(checking.pk)
    assert world.north.answer(order, Checked(rows=100)).status_code == 200
    advance(checking.pk)
    checking.refresh_from_db()
    assert checking.state == "cancelled"


def test_a_refusal_is_taken_with_its_code(world: Any, checking: Run) -> None:
    [order] = world.north.orders()
    assert world.north.refuse(order, RefusalCode.NO_POLICY, Status.REFUSED).status_code == 200
    assert RunOrder.objects.get(pk=order.id).code == "no_policy"


def test_an_announcement_changes_the_catalogue(world: Any) -> None:
    offer = DatasetOffer(
        name="fresh", version="ab" * 32, title="Fresh", reader="labelled_lines", columns=("request",),
        classes=("benign", "attack"), rows=100,
    )  # fmt: skip
    assert world.north.announce(offer).json() == {"accepted": True}
    assert set(
        Dataset.objects.filter(host=world.north.row, is_offered=True).values_list("name", flat=True)
    ) == {"fresh"}
    assert world.north.announce(offer, offer).json()["code"] == "malformed"
