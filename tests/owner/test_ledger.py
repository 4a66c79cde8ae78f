"""The privacy ledger: budgets add up and cannot be overspent, steps may be repeated, and an altered file is found."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.booking import Booking
from fedcore.owner.budgets import Allowance, Budget
from fedcore.owner.chain import FIRST, ChainBroken, Head
from fedcore.owner.facts import Refused
from fedcore.owner.ledger import Ledger, LedgerError, Reservation
from fedcore.owner.ledger_counter import Counter
from fedcore.privacy.mechanisms import MICRO, DiscreteLaplace, Mechanism, Rows, Unbounded
from fedcore.wire.codes import RefusalCode

DELTA = 1e-6
PLENTY = Allowance(runs=1000)


def counts(epsilon: Fraction | int, rows: Rows = Rows.ALL) -> DiscreteLaplace:
    return DiscreteLaplace(1 / Fraction(epsilon), 1, rows)


def wanted(
    run: int, *mechanisms: Mechanism, grant: str = "sams", dataset: str = "logs", split: str = "s"
) -> Reservation:
    return Reservation(f"{run:064x}", grant, dataset, mechanisms or (counts(1),), split)


def limits(
    grant: float | None = None, dataset: float | None = None, runs: int = 1000, delta: float = 0.0
) -> Allowance:
    budgets = [None if e is None else Budget(int(e * MICRO), delta) for e in (grant, dataset)]
    return Allowance(runs, *budgets)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path


def opened(place: Path) -> Ledger:
    return Ledger(
        place / "home" / "ledger.sqlite", Counter(place / "state" / "counter"), lambda: 1_800_000_000
    )


@pytest.fixture
def ledger(place: Path) -> Iterator[Ledger]:
    with opened(place) as found:
        yield found


def code(refused: Refused | None) -> RefusalCode | None:
    return None if refused is None else refused.code


def test_runs_are_booked_until_the_grants_budget_is_spent(ledger: Ledger) -> None:
    budget = limits(grant=2.5)
    assert [code(ledger.reserve(wanted(run), budget)) for run in (1, 2, 3)] == [
        None,
        None,
        RefusalCode.BUDGET_SPENT,
    ]
    refused = ledger.reserve(wanted(4, grant="sams"), budget)
    assert refused is not None
    assert refused.why == (
        "The grant has a budget of epsilon 2.5 at delta 0, and with this run 3 would be spent. Lower the run's "
        "epsilon, or raise the budget."
    )
    assert ledger.reserve(wanted(5, counts(Fraction(1, 2))), budget) is None, "a cheaper run still fits"
    assert ledger.spent(0.0, grant="sams") == 2_500_000


def test_grants_on_one_dataset_spend_one_budget(ledger: Ledger) -> None:
    budget = limits(grant=2, dataset=3)
    for run, grant in enumerate(("sams", "sams", "ritas")):
        assert ledger.reserve(wanted(run, grant=grant), budget) is None
    refused = ledger.reserve(wanted(9, grant="ritas"), budget)
    assert refused is not None
    assert (refused.code, refused.why[:15]) == (RefusalCode.BUDGET_SPENT, "[datasets.logs]")
    assert ledger.reserve(wanted(10, grant="ritas", dataset="others"), limits(dataset=3)) is None


def test_a_grants_runs_are_counted_with_or_without_an_epsilon(ledger: Ledger) -> None:
    two = limits(runs=2)
    answers = [code(ledger.reserve(wanted(run, Unbounded()), two)) for run in (1, 2, 3)]
    assert answers == [None, None, RefusalCode.RELEASES_SPENT]
    assert ledger.reserve(wanted(3, Unbounded(), grant="ritas"), two) is None


def test_what_has_no_bound_is_refused_by_every_number_and_spoils_what_comes_after(ledger: Ledger) -> None:
    assert code(ledger.reserve(wanted(1, Unbounded()), limits(grant=1e6))) is RefusalCode.BUDGET_SPENT
    assert code(ledger.reserve(wanted(1, Unbounded()), limits(dataset=1e6))) is RefusalCode.BUDGET_SPENT
    assert ledger.reserve(wanted(1, Unbounded(), grant="ritas"), PLENTY) is None
    refused = ledger.reserve(wanted(2), limits(dataset=5))
    assert refused is not None
    assert "more than any number" in refused.why
    assert ledger.reserve(wanted(2), limits(grant=5)) is None, "the other grant has spent nothing of this one"


def test_booking_a_run_again_changes_nothing(ledger: Ledger) -> None:
    budget = limits(grant=1, runs=1)
    assert ledger.reserve(wanted(1), budget) is None
    before = ledger.chain.head()
    for _ in range(5):
        assert ledger.reserve(wanted(1), budget) is None
    assert ledger.chain.head() == before
    balance = ledger.balance(wanted(1), budget)
    assert (balance.runs, balance.counted, balance.grant_micro) == (0, True, 1_000_000)


def test_the_balance_says_what_a_run_would_bring_it_to(ledger: Ledger) -> None:
    ledger.reserve(wanted(1), PLENTY)
    balance = ledger.balance(wanted(2, counts(Fraction(1, 4))), limits(grant=5, dataset=5))
    assert (balance.runs, balance.counted) == (1, False)
    assert (balance.grant_micro, balance.dataset_micro) == (1_250_000, 1_250_000)


def test_training_and_held_out_rows_are_charged_apart_under_one_split_and_together_under_two(
    ledger: Ledger,
) -> None:
    both = (counts(1, Rows.TRAINING), counts(1, Rows.HELD_OUT))
    assert ledger.reserve(wanted(1, *both), PLENTY) is None
    assert ledger.spent(0.0, dataset="logs") == 1_000_000
    assert ledger.reserve(wanted(2, counts(2, Rows.HELD_OUT), split="another"), PLENTY) is None
    assert ledger.spent(0.0, dataset="logs") == 3_000_000


def test_an_answer_is_noted_once_and_only_for_a_run_that_is_booked(ledger: Ledger) -> None:
    run = wanted(1).run
    with pytest.raises(LedgerError, match="its run is not reserved"):
        ledger.release(run, "order", "a" * 64)
    ledger.reserve(wanted(1), PLENTY)
    ledger.release(run, "order", "a" * 64)
    head = ledger.chain.head()
    ledger.release(run, "order", "a" * 64)
    assert ledger.chain.head() == head
    with pytest.raises(LedgerError, match="another answer was released before"):
        ledger.release(run, "order", "b" * 64)


def test_a_run_without_an_answer_is_given_back_and_one_with_an_answer_is_not(ledger: Ledger) -> None:
    budget = limits(grant=1, runs=1)
    ledger.reserve(wanted(1), budget)
    assert code(ledger.reserve(wanted(2), budget)) is RefusalCode.RELEASES_SPENT
    assert ledger.settle(wanted(1).run)
    assert not ledger.settle(wanted(1).run)
    assert ledger.reserve(wanted(2), budget) is None
    ledger.release(wanted(2).run, "order", "a" * 64)
    assert not ledger.settle(wanted(2).run)
    assert ledger.spent(0.0, grant="sams") == 1_000_000


def test_a_run_that_was_given_back_is_never_answered(ledger: Ledger) -> None:
    ledger.reserve(wanted(1), PLENTY)
    ledger.settle(wanted(1).run)
    with pytest.raises(LedgerError, match="not reserved"):
        ledger.release(wanted(1).run, "order", "a" * 64)


def test_a_noisy_row_count_is_drawn_once_for_a_version_and_booked_on_the_dataset(ledger: Ledger) -> None:
    drawn = iter([1234, 9999])
    version = Reservation("logs/1", "", "logs", (counts(Fraction(1, 2)),), "s")
    budget = Budget(600_000, 0.0)
    assert ledger.count(version, budget, lambda: next(drawn)) == 1234
    assert ledger.count(version, budget, lambda: next(drawn)) == 1234
    assert ledger.spent(0.0, dataset="logs") == 500_000
    refused = ledger.count(Reservation("logs/2", "", "logs", (counts(1),), "s"), budget, lambda: next(drawn))
    assert isinstance(refused, Refused)
    assert refused.code is RefusalCode.BUDGET_SPENT
    assert next(drawn) == 9999, "what is not booked is not drawn"


def test_a_budget_is_checked_by_what_holds_whatever_earlier_answers_were(ledger: Ledger) -> None:
    """Fifty runs of 0.1 cost 3.356 if they were chosen beforehand, and more where answers were seen between them."""
    budget, cheap = limits(dataset=3.36, delta=DELTA), counts(Fraction(1, 10), Rows.HELD_OUT)
    answers = [code(ledger.reserve(wanted(run, cheap), budget)) for run in range(50)]
    assert answers == [None] * 49 + [RefusalCode.BUDGET_SPENT]
    assert ledger.reserve(wanted(50, cheap), PLENTY) is None
    spent = ledger.spent(DELTA, dataset="logs")
    assert spent is not None
    assert 3_350_000 < spent < 3_360_000


def test_threads_that_compete_cannot_overspend(place: Path) -> None:
    ledgers = [opened(place) for _ in range(4)]
    budget = limits(dataset=5)
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(lambda run: ledgers[run % 4].reserve(wanted(run, grant=str(run)), budget), range(24))
        )
    assert sum(answer is None for answer in answers) == 5
    assert ledgers[0].spent(0.0, dataset="logs") == 5_000_000
    assert ledgers[0].held() is None
    for ledger in ledgers:
        ledger.close()


COMPETING = """
import sys
from pathlib import Path
from tests.owner.test_ledger import limits, opened, wanted
place, number, attempts = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
with opened(place) as ledger:
    taken = sum(
        ledger.reserve(wanted(number * attempts + run, grant=str(run % 7)), limits(dataset=12.5)) is None
        for run in range(attempts)
    )
print(taken)
"""


@pytest.mark.processes
def test_eight_processes_that_compete_cannot_overspend(place: Path) -> None:
    opened(place).close()
    command = [sys.executable, "-c", COMPETING, str(place)]
    processes = [
        subprocess.Popen([*command, str(number), "40"], stdout=subprocess.PIPE, text=True)
        for number in range(8)
    ]
    taken = [int(process.communicate(timeout=120)[0]) for process in processes]
    assert sum(taken) == 12
    with opened(place) as ledger:
        assert ledger.spent(0.0, dataset="logs") == 12_000_000
        assert ledger.chain.verify() == 12
        assert ledger.held() is None


def test_the_file_is_for_its_owner_alone_and_refuses_changes(place: Path, ledger: Ledger) -> None:
    ledger.reserve(wanted(1), PLENTY)
    assert stat.S_IMODE(os.stat(ledger.path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(place / "state" / "counter").st_mode) == 0o600
    for statement in ("UPDATE entries SET content = '{}'", "DELETE FROM entries"):
        database = sqlite3.connect(ledger.path)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
        database.close()


def altered(path: Path, statement: str, *values: object) -> None:
    """What somebody can do who owns the file: drop the triggers, then change what they like."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER IF EXISTS entries_are_never_changed")
        database.execute("DROP TRIGGER IF EXISTS entries_are_never_removed")
        database.execute(statement, values)
    database.close()


def written(place: Path, count: int = 20) -> Head:
    with opened(place) as ledger:
        for run in range(count):
            ledger.reserve(wanted(run), PLENTY)
        return ledger.chain.head()


@pytest.mark.parametrize(
    ("statement", "serial"),
    [
        ("UPDATE entries SET content = replace(content, ':1,', ':9,') WHERE serial = 7", 7),
        ("UPDATE entries SET content = '{}' WHERE serial = 7", 7),
        ("UPDATE entries SET at = at + 1 WHERE serial = 7", 7),
        ("UPDATE entries SET kind = 'returned' WHERE serial = 7", 7),
        ("UPDATE entries SET subject = 'f' WHERE serial = 7", 7),
        ("UPDATE entries SET grant_digest = 'ritas' WHERE serial = 7", 7),
        ("UPDATE entries SET dataset = 'others' WHERE serial = 7", 7),
        ("UPDATE entries SET previous = replace(previous, substr(previous, 1, 1), 'g') WHERE serial = 7", 7),
        ("UPDATE entries SET digest = replace(digest, substr(digest, 1, 1), 'g') WHERE serial = 7", 7),
        ("DELETE FROM entries WHERE serial = 7", 7),
        ("DELETE FROM entries WHERE serial = 1", 1),
        ("UPDATE entries SET serial = 30 WHERE serial = 20", 20),
    ],
)
def test_an_altered_ledger_is_held_and_spends_nothing(place: Path, statement: str, serial: int) -> None:
    written(place)
    altered(place / "home" / "ledger.sqlite", statement)
    with opened(place) as ledger:
        with pytest.raises(ChainBroken) as caught:
            ledger.chain.verify()
        assert caught.value.serial == serial
        refused = ledger.reserve(wanted(99), PLENTY)
        assert refused is not None
        assert refused.code is RefusalCode.LEDGER_HELD
        assert f"Ledger entry {serial}:" in refused.why
        with pytest.raises(LedgerError, match="restore it from a backup"):
            ledger.accept("never mind", {})


def test_entries_cut_off_the_end_are_found_by_the_counter(place: Path) -> None:
    head = written(place)
    altered(place / "home" / "ledger.sqlite", "DELETE FROM entries WHERE serial > 17")
    with opened(place) as ledger:
        assert ledger.chain.verify() == 17, "the chain alone cannot know"
        with pytest.raises(ChainBroken, match=f"the entry with digest {head.digest} is missing"):
            ledger.chain.verify(head)
        assert "knows entry 20" in (ledger.held() or "")
        assert code(ledger.reserve(wanted(99), PLENTY)) is RefusalCode.LEDGER_HELD


def test_what_is_known_of_the_chain_must_be_on_it(place: Path) -> None:
    head = written(place, 3)
    with opened(place) as ledger:
        assert ledger.chain.verify(head) == ledger.chain.verify(Head(0, FIRST)) == 3
        with pytest.raises(ChainBroken, match="is missing"):
            ledger.chain.verify(Head(3, "a" * 64))


def test_a_ledger_that_cannot_be_read_lets_nothing_leave(place: Path) -> None:
    (place / "home" / "ledger.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(LedgerError, match="nothing may leave this host"):
        opened(place)


def test_a_counter_whose_disk_is_full_lets_nothing_leave_however_often_it_is_tried(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(counter: Counter, head: Head) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Counter, "_write", full)
        for _ in range(3):
            with pytest.raises(LedgerError, match="No space left"):
                ledger.reserve(wanted(1), PLENTY)
    assert ledger.reserve(wanted(1), PLENTY) is None
    with monkeypatch.context() as patched:
        patched.setattr(Counter, "_write", full)
        for _ in range(3):
            with pytest.raises(LedgerError, match="No space left"):
                ledger.release(wanted(1).run, "order", "a" * 64)
    ledger.release(wanted(1).run, "order", "a" * 64)
    assert ledger._counter.read() == ledger.chain.head()


def test_a_counter_that_cannot_be_read_lets_nothing_be_spent(place: Path, ledger: Ledger) -> None:
    (place / "state" / "counter").write_text("not a counter")
    with pytest.raises(LedgerError, match="correct \\[ledger\\] counter"):
        ledger.reserve(wanted(1), PLENTY)
    (place / "state" / "counter").write_text(f'{{"serial": 0, "digest": "{FIRST}"}}')
    assert ledger.reserve(wanted(1), PLENTY) is None


@pytest.mark.parametrize(("now", "age"), [(1_000.0, 0), (1_060.5, 60), (999.0, None)])
def test_a_receipt_from_the_future_is_none_since_the_clock_was_set_back(
    ledger: Ledger, now: float, age: int | None
) -> None:
    nothing: Any = None
    booking = Booking(ledger, nothing, lambda: 1_000.0, lambda: now)
    assert booking.looked_up(nothing, None)[0].receipt_age == age
