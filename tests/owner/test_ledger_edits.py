"""Random edits of the ledger's file: changes, swaps, deletions, insertions, truncations. Every one is found."""

from __future__ import annotations

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from fedcore.owner.chain import Chain, ChainBroken, Head

from .test_ledger import PLENTY, opened, wanted

TEXTS = ("kind", "subject", "grant_digest", "dataset", "content", "previous", "digest")


def edited(database: sqlite3.Connection, chance: random.Random, count: int) -> str:
    """Do one random edit that changes something, and say which."""
    serial, other = chance.sample(range(1, count + 1), 2)
    match chance.choice(["text", "time", "swap", "delete", "truncate", "insert", "renumber"]):
        case "text":
            column = chance.choice(TEXTS)
            (text,) = database.execute(f"SELECT {column} FROM entries WHERE serial = ?", (serial,)).fetchone()
            place = chance.randrange(len(text) + 1)
            changed = text[:place] + chr(chance.randint(33, 126)) + text[place + chance.randint(0, 1) :]
            if changed == text:
                changed += "x"
            database.execute(f"UPDATE entries SET {column} = ? WHERE serial = ?", (changed, serial))
            return f"{column} of {serial}"
        case "time":
            database.execute(
                "UPDATE entries SET at = at + ? WHERE serial = ?", (chance.choice([-1, 1, 3600]), serial)
            )
            return f"time of {serial}"
        case "swap":
            for old, new in ((serial, 10**6), (other, serial), (10**6, other)):
                database.execute("UPDATE entries SET serial = ? WHERE serial = ?", (new, old))
            return f"swap {serial} and {other}"
        case "delete":
            database.execute("DELETE FROM entries WHERE serial = ?", (serial,))
            return f"delete {serial}"
        case "truncate":
            database.execute("DELETE FROM entries WHERE serial > ?", (min(serial, count - 1),))
            return f"truncate after {serial}"
        case "insert":
            database.execute(
                "INSERT INTO entries SELECT ?, at, kind, subject || 'x', grant_digest, dataset, content, "
                "digest, lower(hex(randomblob(32))) FROM entries WHERE serial = ?",
                (count + 1, chance.choice([serial, count])),
            )
            return "insert"
        case _:
            database.execute("UPDATE entries SET serial = serial + 7 WHERE serial = ?", (count,))
            return "renumber the last"


def not_found(place: Path, edits: int, seed: int) -> list[str]:
    """The edits among so many random ones that `verify` with the known head does not find."""
    chance, missed = random.Random(seed), []
    (place / "home").mkdir()
    with opened(place) as ledger:
        for run in range(25):
            ledger.reserve(wanted(run), PLENTY)
            if run % 3 == 0:
                ledger.release(wanted(run).run, f"order {run}", "a" * 64)
            if run % 5 == 1:
                ledger.settle(wanted(run).run)
        head, count = ledger.chain.head(), ledger.chain.verify()
    original = place / "home" / "ledger.sqlite"
    for number in range(edits):
        copy = place / f"copy-{number}.sqlite"
        shutil.copy(original, copy)
        with contextlib.closing(sqlite3.connect(copy, isolation_level=None)) as database:
            database.execute("PRAGMA synchronous = OFF")
            database.execute("PRAGMA ignore_check_constraints = ON")
            database.execute("DROP TRIGGER entries_are_never_changed")
            database.execute("DROP TRIGGER entries_are_never_removed")
            try:
                what = edited(database, chance, count)
            except sqlite3.IntegrityError:
                continue  # The database itself has refused it.
        if found_in(copy, head) is None:
            missed.append(what)
        copy.unlink()
    return missed


def found_in(copy: Path, head: Head) -> ChainBroken | None:
    chain = Chain(copy)
    try:
        chain.verify(head)
    except ChainBroken as error:
        return error
    finally:
        chain.close()
    return None


def test_three_hundred_random_edits_are_found(tmp_path: Path) -> None:
    assert not_found(tmp_path, 300, seed=1) == []


@pytest.mark.nightly
def test_ten_thousand_random_edits_are_found(tmp_path: Path) -> None:
    assert not_found(tmp_path, 10_000, seed=2) == []
