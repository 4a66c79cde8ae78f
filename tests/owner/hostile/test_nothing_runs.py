"""No policy, a broken policy, an unknown setting, a check that fails: nothing runs, and nothing is answered or sent.

The coordinator, the scientist and the grant are in order throughout. Each test ends with the harm undone and the same
order carried out, so that it is the harm that stopped it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner import answering
from fedcore.owner.facts import Allowed
from fedcore.owner.journal import Journal, JournalError
from fedcore.owner.ledger import Ledger, LedgerError
from fedcore.owner.orders import OrderStore
from fedcore.owner.policy import RULES, decide
from fedcore.plugin_api.hookspecs import Release, Verdict, hookimpl
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Order, Phase
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol
from tests.owner.cast import Plan
from tests.owner.hostile.attack import EMPTY_REPORT
from tests.owner.hostile.scene import Scene, Watched


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcore.owner.agent._PAUSE_SECONDS", 0.01)


@pytest.fixture
def plan(scene: Scene) -> Plan:
    """A local run that both owners have checked."""
    plan = scene.honest(Protocol.LOCAL)
    scene.play(plan, Phase.CHECK)
    return plan


def orders_of(scene: Scene, plan: Plan) -> list[Signed]:
    """A run that begins and one that goes on: both must stand still."""
    another = scene.honest(Protocol.LOCAL)
    return [another.order(Phase.CHECK, scene.north), plan.order(Phase.TRAIN, scene.north)]


def check_silence(watched: Watched) -> None:
    """Not a byte has left, nothing was worked on or kept."""
    assert [one for one in watched.sent if one.method != "GET"] == []
    assert watched.tasks == 0
    assert watched.files == set()


def check_carried_out(scene: Scene, *orders: Signed) -> None:
    scene.deliver(*orders)
    reports = [scene.coordinator.report_on(order) for order in orders]
    assert [(report.status, report.code) for report in reports] == [("done", None)] * len(orders)


def edited(change: Callable[[str], str]) -> Callable[[Path], None]:
    return lambda path: path.write_text(change(path.read_text()))  # type: ignore[return-value]


def remove(path: Path) -> None:
    path.unlink()


def make_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def in_another_encoding(path: Path) -> None:
    path.write_bytes(("# Größe\n" + path.read_text()).encode("latin-1"))


HARMS: dict[str, Callable[[Path], None]] = {
    "there is no policy": remove,
    "a folder lies in the policy's place": make_a_folder,
    "the policy is empty": edited(lambda text: ""),
    "the policy is cut off": edited(lambda text: text[: len(text) // 2]),
    "the policy is no TOML": edited(lambda text: text + "\n[datasets.logs\n"),
    "the policy is no UTF-8": in_another_encoding,
    "the policy has a setting that none has": edited(lambda text: "allow_everything = true\n" + text),
    "a dataset has a setting that none has": edited(
        lambda text: text.replace("download = true", "uploads = 1")
    ),
    "a dataset has no retention date": edited(lambda text: text.replace("retention = 2099-12-31", "")),
    "a number is a text": edited(lambda text: text.replace("minimum_owners = 1", 'minimum_owners = "1"')),
    "a minimum is below one": edited(lambda text: text.replace("minimum_rows = 50", "minimum_rows = 0")),
    "a protocol is none": edited(lambda text: text.replace('"shared"]', '"shared", "everything"]')),
    "a setting stands twice": edited(
        lambda text: text.replace("download = true", "download = true\ndownload = true")
    ),
    "the coordinator's key is cut off": edited(lambda text: text.replace('key = "', 'key = "x', 1)),
    "the coordinator is a scientist too": edited(lambda text: with_the_coordinators_key(text)),
}


def with_the_coordinators_key(text: str) -> str:
    key = text.split('key = "')[1].split('"')[0]
    return text.replace(
        "[[scientists]]", f'[[scientists]]\nname = "c"\nkey = "{key}"\norganisation = "c"\n[[scientists]]', 1
    )


@contextmanager
def harmed(path: Path, harm: Callable[[Path], None]) -> Iterator[None]:
    before = path.read_bytes()
    harm(path)
    assert not path.is_file() or path.read_bytes() != before
    try:
        yield
    finally:
        if path.is_dir():
            path.rmdir()
        path.write_bytes(before)


@pytest.mark.parametrize("what", HARMS)
def test_nothing_runs_and_nobody_is_answered(scene: Scene, plan: Plan, what: str) -> None:
    orders = orders_of(scene, plan)
    with harmed(scene.north.home.config_path, HARMS[what]), scene.watched() as watched:
        scene.deliver(*orders)
    check_silence(watched)
    assert [entry["dropped"] for entry in watched.journalled()] == ["no_policy"] * len(orders)
    check_carried_out(scene, *orders)


def test_a_policy_that_goes_while_an_order_is_worked_on_stops_the_next_one(scene: Scene, plan: Plan) -> None:
    train, evaluate = plan.order(Phase.TRAIN, scene.north), plan.order(Phase.EVALUATE, scene.north)
    check_carried_out(scene, train)
    with harmed(scene.north.home.config_path, remove), scene.watched() as watched:
        scene.deliver(evaluate)
    check_silence(watched)
    check_carried_out(scene, evaluate)


def test_a_policy_that_is_tightened_holds_for_runs_under_way(scene: Scene, plan: Plan) -> None:
    train = plan.order(Phase.TRAIN, scene.north)
    tighter = lambda text: text.replace('models = ["linear", "mlp"]', 'models = ["mlp"]')  # noqa: E731
    with scene.policy(tighter), scene.watched() as watched:
        scene.deliver(train)
    check_refused(watched, train, RefusalCode.MODEL_NOT_ALLOWED)


def check_refused(watched: Watched, order: Signed, *codes: RefusalCode) -> None:
    """The one answer says nothing but the code."""
    [report] = watched.reports
    asked = order.open(Order)
    facts = {
        "order": asked.id,
        "run": asked.run,
        "phase": asked.phase,
        "step": asked.step,
        "round": asked.round,
    }
    free = {name: report[name] for name in ("status", "code", "finished_at")}
    assert report == facts | EMPTY_REPORT | free
    assert report["status"] != "done"
    assert RefusalCode(report["code"]) in codes
    assert [one for one in watched.sent if one.method not in ("GET", "POST")] == []


def raises(case: object) -> Allowed:
    raise RuntimeError("broken")


def says_nothing(case: object) -> Any:
    return None


def says_yes_in_another_way(case: object) -> Any:
    return True


@pytest.mark.parametrize("rule", [raises, says_nothing, says_yes_in_another_way])
@pytest.mark.parametrize("part", ["every_order", "all_work", "owner"])
def test_a_rule_that_fails_or_gives_no_answer_refuses(
    scene: Scene, plan: Plan, monkeypatch: pytest.MonkeyPatch, rule: Any, part: str
) -> None:
    train = plan.order(Phase.TRAIN, scene.north)
    rules = replace(RULES, **{part: (*getattr(RULES, part), rule)})
    monkeypatch.setattr("fedcore.owner.deciding.decide", partial(decide, rules=rules))
    with scene.watched() as watched:
        scene.deliver(train)
    check_refused(watched, train, RefusalCode.INTERNAL)
    assert watched.tasks == 0
    assert any(rule.__name__ in str(entry.get("why")) for entry in watched.journalled())


class Check:
    """An owner's own check of what leaves."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    @hookimpl
    def fedcore_before_release(self, release: Release) -> Verdict:
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Verdict = self.answer
        return answer


@pytest.mark.parametrize(
    "answer",
    [Verdict(allowed=False), None, True, RuntimeError("broken")],
    ids=["no", "none", "true", "error"],
)
def test_a_check_of_the_owners_own_that_does_not_clearly_allow_lets_nothing_leave(
    scene: Scene, plan: Plan, answer: Any
) -> None:
    train = plan.order(Phase.TRAIN, scene.north)
    with with_check(scene, Check(answer)), scene.watched() as watched:
        scene.deliver(train)
    check_refused(watched, train, RefusalCode.RELEASE_REFUSED)


def test_a_check_of_the_owners_own_that_allows_lets_it_leave(scene: Scene, plan: Plan) -> None:
    with with_check(scene, Check(Verdict(allowed=True))):
        check_carried_out(scene, plan.order(Phase.TRAIN, scene.north))


@contextmanager
def with_check(scene: Scene, check: Check) -> Iterator[None]:
    """The check is installed beside the plugins that north has, inside the block."""
    registry = scene.cast.registry
    deciding = scene.agent._answering._deciding
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fedcore.owner.deciding.allowed_registry", lambda *_: registry)
        patched.setattr(deciding, "_governed", None)
        registry._pluggy.register(check)
        try:
            yield
        finally:
            registry._pluggy.unregister(check)
    deciding._governed = None


def refuse_to_write(*_: Any) -> Any:
    raise JournalError("the disk is full")


def no_room(*_: Any) -> Any:
    raise sqlite3.OperationalError("database or disk is full")


def no_ledger(*_: Any) -> Any:
    raise LedgerError("the disk is full")


@pytest.mark.parametrize(
    ("owner", "name", "failure"),
    [
        (Journal, "append", refuse_to_write),
        (OrderStore, "reserve", no_room),
        (OrderStore, "store", no_room),
        (OrderStore, "done", no_room),
        (Ledger, "balance", no_ledger),
        (Ledger, "reserve", no_ledger),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_what_cannot_be_written_down_does_not_happen(
    scene: Scene, plan: Plan, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, failure: Any
) -> None:
    train = plan.order(Phase.TRAIN, scene.north)
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, failure)
        with scene.watched() as watched:
            if owner is Journal:
                scene.agent.handle(train)
            else:
                scene.deliver(train)
    bodies = [one for one in watched.sent if one.method != "GET"]
    assert all(report["status"] != "done" for report in watched.reports)
    assert [one for one in bodies if one.method != "POST"] == []
    if not watched.reports:
        check_carried_out(scene, train)


def test_a_phase_that_nobody_carries_out_ends_in_a_refusal(
    scene: Scene, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = plan.order(Phase.TRAIN, scene.north)
    monkeypatch.setattr(answering, "PHASES", {})
    with scene.watched() as watched:
        scene.deliver(train)
    check_refused(watched, train, RefusalCode.INTERNAL)
