"""Random edits, swaps, deletions, insertions and truncations of a journal: every one of them is found."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from fedcore.owner.journal import EntryKind, Journal, JournalError

ENTRIES = 30


def edit(database: sqlite3.Connection, chance: random.Random) -> None:
    """Change one character, or the time, of one entry."""
    serial = chance.randint(1, ENTRIES)
    column = chance.choice(["content", "kind", "digest", "previous", "at"])
    (before,) = database.execute(f"SELECT {column} FROM entries WHERE serial = ?", (serial,)).fetchone()
    if isinstance(before, int):
        after: object = before + chance.choice([-1, 1, 86_400])
    else:
        place = chance.randrange(len(before))
        after = before[:place] + chr(ord(before[place]) ^ chance.randint(1, 15)) + before[place + 1 :]
    database.execute(f"UPDATE entries SET {column} = ? WHERE serial = ?", (after, serial))


def swap(database: sqlite3.Connection, chance: random.Random) -> None:
    """Let two entries change places: what they say, or all of them."""
    one, other = chance.sample(range(1, ENTRIES + 1), 2)
    if chance.random() < 0.5:
        for old, new in ((one, 10**6), (other, one), (10**6, other)):
            database.execute("UPDATE entries SET serial = ? WHERE serial = ?", (new, old))
        return
    texts = dict(database.execute("SELECT serial, content FROM entries WHERE serial IN (?, ?)", (one, other)))
    for serial, text in ((one, texts[other]), (other, texts[one])):
        database.execute("UPDATE entries SET content = ? WHERE serial = ?", (text, serial))


def delete(database: sqlite3.Connection, chance: random.Random) -> None:
    """Take entries out, and perhaps close the gap in the numbers."""
    first = chance.randint(1, ENTRIES - 1)
    count = chance.randint(1, 3)
    database.execute("DELETE FROM entries WHERE serial >= ? AND serial < ?", (first, first + count))
    if chance.random() < 0.5:
        for serial in range(first + count, ENTRIES + 1):
            database.execute("UPDATE entries SET serial = ? WHERE serial = ?", (serial - count, serial))


def truncate(database: sqlite3.Connection, chance: random.Random) -> None:
    """Cut entries off the end."""
    database.execute("DELETE FROM entries WHERE serial > ?", (chance.randint(0, ENTRIES - 1),))


def insert(database: sqlite3.Connection, chance: random.Random) -> None:
    """Put an entry in between, and let the numbers after it go up."""
    place = chance.randint(1, ENTRIES)
    for serial in range(ENTRIES, place - 1, -1):
        database.execute("UPDATE entries SET serial = ? WHERE serial = ?", (serial + 1, serial))
    digests = [f"{chance.getrandbits(256):064x}" for _ in range(2)]
    database.execute("INSERT INTO entries VALUES (?, 1, 'event', '{}', ?, ?)", (place, *digests))


WAYS = (edit, swap, delete, truncate, insert)


def missed(folder: Path, count: int, seed: int) -> list[str]:
    """Which of so many random alterations `verify` does not find."""
    chance, found = random.Random(seed), []
    with Journal(folder / "journal.sqlite") as journal:
        for number in range(ENTRIES):
            journal.append(EntryKind.ORDER, {"order": number, "text": f"{chance.getrandbits(64)}"})
        assert journal.verify() == ENTRIES
    path = folder / "altered" / "journal.sqlite"
    path.parent.mkdir()
    shutil.copy(folder / "journal.head", path.parent)
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        shutil.copy(folder / "journal.sqlite", path)
        before = _entries(path)
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA ignore_check_constraints = ON")
            database.execute("DROP TRIGGER entries_are_never_changed")
            database.execute("DROP TRIGGER entries_are_never_removed")
            with contextlib.suppress(
                sqlite3.IntegrityError
            ):  # Where the database refuses it, nothing is altered.
                way(database, chance)
        if _entries(path) != before and not _is_found(path):
            found.append(f"{number}: {way.__name__}")
    return found


def _entries(path: Path) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT * FROM entries ORDER BY serial").fetchall()


def _is_found(path: Path) -> bool:
    with Journal(path) as journal:
        try:
            journal.verify()
        except JournalError:
            return True
    return False


def test_three_hundred_random_alterations_are_found(tmp_path: Path) -> None:
    assert missed(tmp_path, 300, seed=2027) == []


@pytest.mark.nightly
def test_ten_thousand_random_alterations_are_found(tmp_path: Path) -> None:
    assert missed(tmp_path, 10_000, seed=2028) == []


def test_an_alteration_that_nothing_looks_for_would_be_noticed_by_this_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Journal, "verify", lambda journal, known_head=None: ENTRIES)
    assert len(missed(tmp_path, 10, seed=1)) >= 8
