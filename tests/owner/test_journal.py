"""The journal: append-only, on the disk before anything leaves, and altered never unnoticed."""

from __future__ import annotations

import random
import sqlite3
import threading
from pathlib import Path

import pytest

from fedcore.owner.journal import EntryKind, Journal, JournalBroken, JournalError


def written(path: Path, count: int = 20) -> Journal:
    journal = Journal(path, clock=lambda: 1_800_000_000.5)
    for number in range(count):
        journal.append(EntryKind.ORDER, {"order": number, "text": "an order"})
    return journal


def altered(path: Path, statement: str, *values: object) -> None:
    """What somebody can do who owns the file: drop the triggers, then change what they like."""
    with sqlite3.connect(path) as database:
        database.execute("DROP TRIGGER IF EXISTS entries_are_never_changed")
        database.execute("DROP TRIGGER IF EXISTS entries_are_never_removed")
        database.execute(statement, values)
    database.close()


def test_entries_are_read_back_in_order_and_the_chain_holds(tmp_path: Path) -> None:
    with written(tmp_path / "journal.sqlite") as journal:
        entries = list(journal.entries())
        assert [entry.serial for entry in entries] == list(range(1, 21))
        assert entries[3].content == '{"order":3,"text":"an order"}'
        assert (entries[3].at, entries[3].kind) == (1_800_000_000, "order")
        assert [entry.previous for entry in entries[1:]] == [entry.digest for entry in entries[:-1]]
        assert journal.verify() == 20
        assert [entry.serial for entry in journal.entries(after=18)] == [19, 20]


def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with written(path) as journal:
        head = journal.head
    with Journal(path) as journal:
        assert journal.append(EntryKind.DECISION, {"allowed": True}).previous == head
        assert journal.verify(known_head=head) == 21


def test_the_database_refuses_to_change_or_remove_an_entry(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    written(path).close()
    for statement in ("UPDATE entries SET content = '{}'", "DELETE FROM entries WHERE serial = 20"):
        database = sqlite3.connect(path)
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            database.execute(statement)
        database.close()


@pytest.mark.parametrize(
    ("statement", "serial"),
    [
        ("UPDATE entries SET content = '{}' WHERE serial = 7", 7),
        ("UPDATE entries SET at = at + 1 WHERE serial = 7", 7),
        ("UPDATE entries SET kind = 'event' WHERE serial = 7", 7),
        ("UPDATE entries SET digest = replace(digest, substr(digest, 1, 1), 'g') WHERE serial = 7", 7),
        ("DELETE FROM entries WHERE serial = 7", 7),
        ("DELETE FROM entries WHERE serial = 1", 1),
        ("UPDATE entries SET serial = 30 WHERE serial = 20", 20),
    ],
)
def test_an_altered_entry_is_named(tmp_path: Path, statement: str, serial: int) -> None:
    path = tmp_path / "journal.sqlite"
    written(path).close()
    altered(path, statement)
    with Journal(path) as journal, pytest.raises(JournalBroken) as caught:
        journal.verify()
    assert caught.value.serial == serial
    assert "compare it with a backup" in str(caught.value)


def test_random_changes_of_any_byte_of_any_entry_are_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    written(path).close()
    chance = random.Random(2027)
    for _ in range(200):
        column = chance.choice(["content", "kind", "digest", "previous"])
        serial = chance.randint(1, 20)
        database = sqlite3.connect(path)
        before = database.execute(f"SELECT {column} FROM entries WHERE serial = ?", (serial,)).fetchone()[0]
        database.close()
        place = chance.randrange(len(before))
        after = before[:place] + chr(ord(before[place]) ^ 1) + before[place + 1 :]
        altered(path, f"UPDATE entries SET {column} = ? WHERE serial = ?", after, serial)
        with Journal(path) as journal, pytest.raises(JournalBroken):
            journal.verify()
        altered(path, f"UPDATE entries SET {column} = ? WHERE serial = ?", before, serial)
    with Journal(path) as journal:
        assert journal.verify() == 20


def test_a_cut_end_is_found_with_a_head_that_was_kept_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with written(path) as journal:
        head = journal.head
    altered(path, "DELETE FROM entries WHERE serial > 15")
    with Journal(path) as journal:
        with pytest.raises(JournalBroken, match="is missing"):
            journal.verify()
        journal.head_path.unlink()
        assert journal.verify() == 15
        with pytest.raises(JournalBroken, match="is missing"):
            journal.verify(known_head=head)


def test_an_entry_that_cannot_be_written_is_an_error_and_leaves_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with written(path) as journal:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute(
            "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        )
        with pytest.raises(JournalError, match="nothing may leave this host"):
            journal.append(EntryKind.RELEASE, {"order": 1})
        blocker.execute("DROP TRIGGER full")
        blocker.close()
        assert journal.verify() == 20
        assert journal.append(EntryKind.RELEASE, {"order": 1}).serial == 21


def test_a_value_that_json_does_not_have_is_an_error(tmp_path: Path) -> None:
    with written(tmp_path / "journal.sqlite") as journal:
        with pytest.raises(JournalError):
            journal.append(EntryKind.EVENT, {"loss": float("nan")})
        assert journal.verify() == 20


def test_a_journal_that_cannot_be_opened_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(JournalError, match=r"journal\.sqlite"):
        Journal(tmp_path / "journal.sqlite")
    with pytest.raises(JournalError):
        Journal(tmp_path / "nowhere" / "journal.sqlite")


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    with written(tmp_path / "journal.sqlite"):
        for path in tmp_path.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600, path


def test_entries_of_several_threads_and_connections_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal(path) as one, Journal(path) as other:
        threads = [
            threading.Thread(
                target=lambda journal=journal: [journal.append(EntryKind.EVENT, {}) for _ in range(10)]
            )
            for journal in (one, other, one, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert one.verify() == other.verify() == 40
