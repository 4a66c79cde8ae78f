"""A ledger that was put back from an older copy: it is noticed, spends nothing, and goes on only by a person's word."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedcore.owner.chain import ChainBroken, Head
from fedcore.owner.config import LedgerSettings
from fedcore.owner.facts import Refused
from fedcore.owner.home import Home, HomeError
from fedcore.owner.ledger import LedgerError
from fedcore.owner.ledger_counter import Counter
from fedcore.wire.codes import RefusalCode

from .test_ledger import PLENTY, limits, opened, wanted


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A ledger of five runs, after a backup of its home that has three."""
    (tmp_path / "home").mkdir()
    with opened(tmp_path) as ledger:
        for run in range(5):
            if run == 3:
                shutil.copytree(tmp_path / "home", tmp_path / "backup")
            assert ledger.reserve(wanted(run), limits(dataset=5)) is None
    return tmp_path


def restore(place: Path) -> None:
    shutil.rmtree(place / "home")
    shutil.copytree(place / "backup", place / "home")


def held(refused: Refused | None) -> bool:
    return refused is not None and refused.code is RefusalCode.LEDGER_HELD


def test_a_restored_copy_spends_nothing(place: Path) -> None:
    restore(place)
    with opened(place) as ledger:
        refused = ledger.reserve(wanted(9), limits(dataset=5))
        assert held(refused)
        assert refused is not None
        assert "knows entry 5" in refused.why
        assert "ends at 3" in refused.why
        assert held(ledger.count(wanted(10), None, lambda: 1))  # type: ignore[arg-type]
        assert ledger.chain.head().serial == 3


def test_a_ledger_that_was_deleted_is_not_a_new_one(place: Path) -> None:
    shutil.rmtree(place / "home")
    (place / "home").mkdir()
    with opened(place) as ledger:
        assert held(ledger.reserve(wanted(9), PLENTY))


def test_a_ledger_without_its_counter_waits_for_a_person(place: Path) -> None:
    (place / "state" / "counter").unlink()
    with opened(place) as ledger:
        refused = ledger.reserve(wanted(9), PLENTY)
        assert held(refused)
        assert refused is not None
        assert "is missing" in refused.why
        ledger.accept("moved to a new machine", {})
        assert ledger.reserve(wanted(9), PLENTY) is None


def test_another_history_of_the_same_length_is_noticed(place: Path) -> None:
    restore(place)
    (place / "state" / "counter").rename(place / "state" / "away")
    with opened(place) as ledger:
        ledger.accept("tried without the counter", {})
        for run in (7, 8):
            assert ledger.reserve(wanted(run), PLENTY) is None
    (place / "state" / "away").rename(place / "state" / "counter")
    with opened(place) as ledger:
        assert ledger.chain.head().serial == 6
        assert held(ledger.reserve(wanted(9), PLENTY))


def test_a_person_accepts_the_loss_with_a_reason_and_what_it_cost(place: Path) -> None:
    restore(place)
    with opened(place) as ledger:
        entry = ledger.accept("the disk failed on Monday", {"logs": 2_000_000})
        assert entry.serial == 6, "the serials of what is lost stay empty"
        assert entry.said["missing"] == [4, 5]
        assert entry.said["reason"] == "the disk failed on Monday"
        assert ledger.held() is None
        assert ledger.spent(0.0, dataset="logs") == 5_000_000
        refused = ledger.reserve(wanted(9), limits(dataset=5))
        assert refused is not None
        assert refused.code is RefusalCode.BUDGET_SPENT
        assert ledger.reserve(wanted(9), limits(dataset=6)) is None
        assert ledger.chain.verify() == 5
    with opened(place) as ledger:
        assert ledger.held() is None, "what was accepted is accepted for good"


def test_the_gap_is_allowed_where_a_person_accepted_it_and_nowhere_else(place: Path) -> None:
    restore(place)
    with opened(place) as ledger:
        known = Head(5, ledger._counter.read().digest)  # type: ignore[union-attr]
        ledger.accept("lost", {})
        assert ledger.chain.verify(known) == 4, "a head that was given up is accounted for"
        with pytest.raises(ChainBroken, match="is missing"):
            ledger.chain.verify(Head(5, "f" * 64))


def test_another_lost_entry_that_turns_up_later_holds_the_ledger_again(place: Path) -> None:
    restore(place)
    with opened(place) as ledger:
        ledger.accept("lost", {})
        ledger.reserve(wanted(9), PLENTY)
        ledger.note_head("south", Head(7, "d" * 64))
        assert held(ledger.reserve(wanted(10), PLENTY))
        assert ledger.accept("south remembered more", {}).serial == 8
        assert ledger.reserve(wanted(10), PLENTY) is None
        assert ledger.chain.verify() == 7


def test_what_others_know_and_the_ledger_has_is_no_reason_to_hold(place: Path) -> None:
    with opened(place) as ledger:
        for entry in ledger.chain.entries():
            ledger.note_head("south", entry.head)
        assert ledger.held() is None
        with pytest.raises(LedgerError, match="not held"):
            ledger.accept("for no reason", {})


def cut_off(*arguments: object) -> None:
    raise KeyboardInterrupt


def test_an_answer_that_left_after_a_crash_is_known_to_the_counter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is written, and its counter is not; then the answer leaves; then the backup is put back."""
    run = wanted(1).run
    (tmp_path / "home").mkdir()
    with opened(tmp_path) as ledger:
        assert ledger.reserve(wanted(1), PLENTY) is None
        shutil.copytree(tmp_path / "home", tmp_path / "backup")
        with monkeypatch.context() as patched:
            patched.setattr(Counter, "advance", cut_off)
            with pytest.raises(KeyboardInterrupt):
                ledger.release(run, "order", "a" * 64)
    with opened(tmp_path) as ledger:
        ledger.release(run, "order", "a" * 64)
    restore(tmp_path)
    with opened(tmp_path) as ledger:
        assert held(ledger.reserve(wanted(2), PLENTY))
        assert not ledger.settle(run), "what left cannot be given back"
        ledger.accept("the disk failed", {})
        assert not ledger.settle(run), "nor later: nobody knows whether there was an answer"
        assert ledger.spent(0.0, dataset="logs") == 1_000_000
        assert ledger.reserve(wanted(2), PLENTY) is None
        assert ledger.settle(wanted(2).run), "what was reserved since then can"


def test_a_held_ledger_leaves_the_counter_as_the_proof(place: Path) -> None:
    proof = (place / "state" / "counter").read_bytes()
    restore(place)
    with opened(place) as ledger:
        for number in range(5):
            ledger.settle(wanted(number).run)
            assert held(ledger.reserve(wanted(10 + number), PLENTY))
        assert ledger.chain.head().serial == 3
    assert (place / "state" / "counter").read_bytes() == proof


def test_the_counter_lies_outside_the_home(tmp_path: Path, state_home: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    assert home.counter_path(LedgerSettings()).is_relative_to(state_home)
    elsewhere = LedgerSettings(counter=str(tmp_path / "elsewhere"))
    assert home.counter_path(elsewhere) == tmp_path / "elsewhere"
    (tmp_path / "link").symlink_to(home.path)
    for inside in ("counter", str(home.path / "runs" / "counter"), str(tmp_path / "link" / "counter")):
        with pytest.raises(HomeError, match="a backup of the home would bring both back"):
            home.counter_path(LedgerSettings(counter=inside))


def test_two_homes_have_two_counters(tmp_path: Path) -> None:
    homes = [Home(tmp_path / name) for name in ("north", "south")]
    for home in homes:
        home.create()
    assert len({home.counter_path(LedgerSettings()) for home in homes}) == 2
