"""What is asked twice, in whatever order and under whatever pretext, is answered with the bytes that left before."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from fedcore.owner.run_folder import RunFolder
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from tests.owner.cast import Plan
from tests.owner.hostile.forging import PRETEXTS
from tests.owner.hostile.scene import Scene, Sent, Watched, left_before


@pytest.fixture
def finished(scene: Scene) -> tuple[Plan, list[Signed]]:
    """A pooled run to its evaluation, and north's orders in it."""
    plan = scene.honest()
    before = len(scene.coordinator.orders)
    scene.agree(plan)
    scene.play(plan, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    scene.play(plan, Phase.EVALUATE, artefacts=(plan.pooled_model(),))
    given = scene.coordinator.orders[before:]
    return plan, [signed for _, audience, signed in given if audience == scene.north.key]


def check_same_bytes(watched: Watched, known: set[bytes]) -> None:
    """Only reports that left before have left again; no artefact is sent, and nothing is computed."""
    assert watched.tasks == 0
    assert watched.files == set()
    posted = [one for one in watched.sent if one.method == "POST"]
    assert posted
    assert {one.body for one in posted} <= known
    assert [one for one in watched.sent if is_upload(one)] == []


def is_upload(sent: Sent) -> bool:
    return sent.method == "PATCH"


def test_replayed_and_reordered_orders_are_answered_with_the_same_bytes(
    scene: Scene, finished: tuple[Plan, list[Signed]]
) -> None:
    plan, orders = finished
    known, chance = left_before(scene, plan), random.Random(11)
    again = [chance.choice(orders) for _ in range(40)]
    with scene.watched() as watched:
        scene.deliver(*again)
    check_same_bytes(watched, known)
    assert len([one for one in watched.sent if one.method == "POST"]) == len(again)


@pytest.mark.parametrize("pretext", PRETEXTS)
def test_the_same_work_under_another_pretext_is_answered_with_the_same_bytes(
    scene: Scene, finished: tuple[Plan, list[Signed]], pretext: Callable[[Order], dict[str, Any]]
) -> None:
    plan, orders = finished
    known = left_before(scene, plan)
    anew = [scene.under(pretext, signed) for signed in orders]
    with scene.watched() as watched:
        scene.deliver(*anew)
    check_same_bytes(watched, known)


@pytest.mark.parametrize("seconds", [-10 * 365 * 86_400, -3600, 50 * 365 * 86_400])
def test_no_clock_makes_an_answered_order_new(
    scene: Scene, finished: tuple[Plan, list[Signed]], seconds: int
) -> None:
    plan, orders = finished
    known = left_before(scene, plan)
    scene.shift[0] = seconds
    with scene.watched() as watched:
        scene.deliver(*orders)
    if seconds > 0:  # By then the grant is over: not even what left before leaves again.
        assert (watched.tasks, watched.files) == (0, set())
        assert [one for one in watched.sent if one.method != "GET"] == []
    else:
        check_same_bytes(watched, known)


def test_an_answer_whose_upload_was_lost_is_sent_again_byte_for_byte(
    scene: Scene, finished: tuple[Plan, list[Signed]]
) -> None:
    """The coordinator says that it has nothing: it gets what it got, and nothing that is made anew."""
    plan, orders = finished
    before = dict(scene.coordinator.artefacts)
    known = left_before(scene, plan)
    prepare = next(signed for signed in orders if signed.open(Order).phase is Phase.PREPARE)
    report = scene.coordinator.reports.pop(prepare.open(Order).id)
    scene.coordinator.artefacts.clear()
    with scene.watched() as watched:
        scene.deliver(prepare)
    assert watched.tasks == 0
    assert scene.coordinator.reports[prepare.open(Order).id] == report
    assert {digest: before[digest] for digest in scene.coordinator.artefacts} == scene.coordinator.artefacts
    assert {one.body for one in watched.sent if one.method == "POST"} <= known
    scene.coordinator.artefacts.update(before)


def test_what_is_closed_and_forgotten_is_neither_kept_by_a_later_word_nor_sent_again(
    scene: Scene, finished: tuple[Plan, list[Signed]]
) -> None:
    plan, orders = finished
    folder = RunFolder(scene.north.home.run_directory(plan.run))
    scene.play(plan, Phase.CLOSE, keep=False)
    assert not folder.exists
    known = left_before(scene, plan)
    scene.coordinator.artefacts.clear()
    keep = plan.order(Phase.CLOSE, scene.north, keep=True)
    with scene.watched() as watched:
        scene.deliver(keep, *orders)
    check_same_bytes(watched, known)
    assert not folder.exists
    assert scene.coordinator.artefacts == {}


def test_what_was_kept_can_still_be_forgotten_and_only_that(
    scene: Scene, finished: tuple[Plan, list[Signed]]
) -> None:
    plan, _ = finished
    scene.play(plan, Phase.CLOSE, keep=True)
    known = left_before(scene, plan)
    with scene.watched() as watched:
        scene.deliver(plan.order(Phase.CLOSE, scene.north, keep=True), plan.order(Phase.PREPARE, scene.north))
    check_same_bytes(watched, known)
