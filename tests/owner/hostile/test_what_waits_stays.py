"""With `release = "review"` nothing that depends on rows leaves before a person has let it, whatever is ordered.

Each kind of answer that waits is asked for in every way that a coordinator can think of, before and after a person has
decided. What leaves meanwhile are bytes that left before, and refusals that say nothing but a code.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from fedcore.owner.orders import Life
from fedcore.owner.spool import OrderSpool
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Report
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import FITTED_AT, RANKED, Plan
from tests.owner.hostile.attack import EMPTY_REPORT
from tests.owner.hostile.forging import PRETEXTS, rewritten
from tests.owner.hostile.scene import Delivered, Scene, Watched, left_before

REVIEWED: Final = rewritten("minimum_rows = 50", 'minimum_rows = 50\nrelease = "review"')


@dataclass(frozen=True)
class Waiting:
    """An order that north has carried out, and what waits for a person: the report and its artefacts."""

    plan: Plan
    order: Signed
    report: Signed
    artefacts: tuple[bytes, ...]

    @property
    def id(self) -> str:
        return self.order.open(Order).id


def rows(scene: Scene) -> tuple[Plan, Signed]:
    plan = scene.honest()
    scene.agree(plan)
    return plan, plan.order(Phase.PREPARE, scene.north, evidence=plan.said(Phase.CONFIRM))


def sealed_rows(scene: Scene) -> tuple[Plan, Signed]:
    plan = scene.honest(Protocol.REFERENCE)
    scene.play(plan, Phase.CHECK)
    return plan, plan.order(Phase.PREPARE, scene.north)


def counts_of_words(scene: Scene) -> tuple[Plan, Signed]:
    plan = scene.honest(pipeline=RANKED)
    scene.agree(plan)
    evidence = plan.said(Phase.CONFIRM)
    return plan, plan.order(Phase.SUMMARISE, scene.north, step=FITTED_AT, evidence=evidence)


def curve(scene: Scene) -> tuple[Plan, Signed]:
    plan = scene.honest(Protocol.LOCAL)
    scene.play(plan, Phase.CHECK)
    return plan, plan.order(Phase.TRAIN, scene.north)


def scores(scene: Scene) -> tuple[Plan, Signed]:
    plan, train = curve(scene)
    scene.deliver(train)
    scene.person("outbox", "release", train.open(Order).id)
    scene.carry_out(train)
    return plan, plan.order(Phase.EVALUATE, scene.north)


KINDS: Final = (rows, sealed_rows, counts_of_words, curve, scores)


@pytest.fixture
def reviewed(scene: Scene) -> Iterator[Scene]:
    with scene.policy(REVIEWED):
        yield scene


def made_to_wait(scene: Scene, kind: Callable[[Scene], tuple[Plan, Signed]]) -> Waiting:
    """An order of this kind is given to north, which does it, and sends nothing."""
    plan, order = kind(scene)
    with scene.watched() as watched:
        scene.deliver(order)
    assert [one for one in watched.sent if one.method != "GET"] == []
    assert watched.tasks > 0, "it is worked on"
    id = order.open(Order).id
    assert [entry["order"] for entry in watched.journalled() if entry.get("held")] == [id]
    stored = scene.agent.store.find(id)
    assert stored is not None
    assert stored.report is not None
    kept = OrderSpool(scene.north.home.spool_directory(id)).artefacts
    refs = stored.report.open(Report).artefacts
    return Waiting(plan, order, stored.report, tuple((kept / ref.digest).read_bytes() for ref in refs))


# -- what a coordinator tries


def again(scene: Scene, waiting: Waiting) -> list[Delivered]:
    return [waiting.order] * 5


def under_pretexts(scene: Scene, waiting: Waiting) -> list[Delivered]:
    return [scene.under(pretext, waiting.order) for pretext in PRETEXTS]


def other_phases(scene: Scene, waiting: Waiting) -> list[Delivered]:
    """Every phase but the end, with all that the owners have said."""
    said = tuple(
        signed for signed in scene.coordinator.reports.values() if signed.open(Report).run == waiting.plan.run
    )
    places = [(0, 0), (0, 1), (FITTED_AT, 0), (FITTED_AT, 1)]
    return [
        waiting.plan.order(phase, scene.north, step=step, round=round, evidence=said[:8])
        for phase in Phase
        for step, round in places
        if phase is not Phase.CLOSE
    ]


def granted_anew(scene: Scene, waiting: Waiting) -> list[Delivered]:
    grant = waiting.plan.grants[scene.north.key]
    return [scene.told(grant), waiting.order]


def another_host(scene: Scene, waiting: Waiting) -> list[Delivered]:
    """North's agent is made to begin anew, and takes up what it finds."""
    scene.restart()
    scene.agent.resume()
    return [waiting.order]


def in_the_end(scene: Scene, waiting: Waiting) -> list[Delivered]:
    """Long after the deadline and the expiry of everything."""
    scene.shift[0] = 10 * 365 * 86_400
    return [waiting.order, *under_pretexts(scene, waiting)]


def all_of_it(scene: Scene, waiting: Waiting) -> list[Delivered]:
    found = [*again(scene, waiting), *under_pretexts(scene, waiting), *other_phases(scene, waiting)]
    random.Random(5).shuffle(found)
    return found


TRICKS: Final = (again, under_pretexts, other_phases, granted_anew, another_host, in_the_end, all_of_it)


def try_everything(scene: Scene, waiting: Waiting, *codes: RefusalCode) -> list[Watched]:
    """All tricks, one after the other. In the course of them nothing of what waits leaves."""
    found = []
    for trick in TRICKS:
        known = left_before(scene, waiting.plan)
        with scene.watched() as watched:
            scene.deliver(*trick(scene, waiting))
        scene.shift[0] = 0.0
        check_stays(
            watched, waiting, known, frozenset({RefusalCode.OUT_OF_ORDER, RefusalCode.EXPIRED, *codes})
        )
        found.append(watched)
    return found


def check_stays(watched: Watched, waiting: Waiting, known: set[bytes], codes: frozenset[RefusalCode]) -> None:
    """Nothing but what left before, refusals, and how a grant stands has left; and refusals are journalled."""
    assert [one for one in watched.sent if one.method not in ("GET", "POST")] == []
    bodies = watched.bodies("POST")
    assert [body for body in bodies for artefact in waiting.artefacts if artefact in body] == []
    assert waiting.report.signature not in b"".join(bodies).decode()
    journalled = {entry.get("code") for entry in watched.journalled()}
    for one in watched.sent:
        if one.path != "/api/host/reports" or one.body in known:
            continue
        report = json.loads(json.loads(one.body)["text"])
        if report["phase"] == Phase.CLOSE:
            assert report["artefacts"] == []
            continue
        assert {name: report[name] for name in EMPTY_REPORT} == EMPTY_REPORT
        assert report["status"] in ("refused", "failed")
        assert RefusalCode(report["code"]) in codes
        assert report["code"] in journalled


def life_of(scene: Scene, waiting: Waiting) -> Life:
    stored = scene.agent.store.find(waiting.id)
    assert stored is not None
    return stored.life


def answers_to(watched: list[Watched], waiting: Waiting) -> list[dict[str, Any]]:
    return [report for one in watched for report in one.reports if report["order"] == waiting.id]


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_leaves_before_a_person_has_released_it(
    reviewed: Scene, kind: Callable[[Scene], tuple[Plan, Signed]]
) -> None:
    scene, waiting = reviewed, made_to_wait(reviewed, kind)
    watched = try_everything(scene, waiting)
    assert answers_to(watched, waiting) == []
    assert any(entry.get("code") == "out_of_order" for one in watched for entry in one.journalled())
    assert life_of(scene, waiting) is Life.HELD
    scene.person("outbox", "release", waiting.id)
    with scene.watched() as released:
        scene.deliver(waiting.order)
    assert released.tasks == 0, "what leaves is what waited"
    assert scene.coordinator.reports[waiting.id] == waiting.report
    assert tuple(released.bodies("PATCH")) == waiting.artefacts


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_person_has_refused_never_leaves(
    reviewed: Scene, kind: Callable[[Scene], tuple[Plan, Signed]]
) -> None:
    scene, waiting = reviewed, made_to_wait(reviewed, kind)
    scene.person("outbox", "refuse", waiting.id, "--reason", "too much of it")
    assert not scene.north.home.spool_directory(waiting.id).exists()
    watched = try_everything(scene, waiting, RefusalCode.RELEASE_REFUSED)
    answers = answers_to(watched, waiting)
    assert {answer["code"] for answer in answers} == {"release_refused"}
    assert all("too much of it" not in one.body.decode() for all_ in watched for one in all_.sent)
    known = left_before(scene, waiting.plan)
    with scene.watched() as closed:
        scene.deliver(waiting.plan.order(Phase.CLOSE, scene.north, keep=True), waiting.order)
    check_stays(closed, waiting, known, frozenset())


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("kind", [rows, scores])
def test_what_waits_when_its_run_is_cancelled_never_leaves(
    reviewed: Scene, kind: Callable[[Scene], tuple[Plan, Signed]], keep: bool
) -> None:
    scene, waiting = reviewed, made_to_wait(reviewed, kind)
    known = left_before(scene, waiting.plan)
    with scene.watched() as closed:
        scene.deliver(waiting.plan.order(Phase.CLOSE, scene.north, keep=keep), waiting.order)
    check_stays(closed, waiting, known, frozenset({RefusalCode.CANCELLED}))
    assert [answer["code"] for answer in answers_to([closed], waiting)] == ["cancelled"]
    watched = try_everything(scene, waiting, RefusalCode.CANCELLED)
    assert {answer["code"] for answer in answers_to(watched, waiting)} == {"cancelled"}


def test_an_honest_host_without_review_sends_the_same_answers_at_once(scene: Scene) -> None:
    _, order = rows(scene)
    with scene.watched() as watched:
        scene.deliver(order)
    assert watched.bodies("PATCH") != []
