"""`fedcore-owner journal`: shown, verified, and found to be cut even where the chain itself holds."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedcore.owner.agent import Agent
from fedcore.owner.cli import app
from fedcore.owner.journal import Journal
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast, Owner, Plan
from tests.owner.playing import do


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=100)


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


@pytest.fixture
def plan(cast: Cast, agents: list[Agent]) -> Plan:
    """A run that was checked."""
    plan = cast.spec(Protocol.LOCAL)
    do(plan, agents, Phase.CHECK)
    return plan


def command(owner: Owner, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["journal", *words, "--home", str(owner.home.path)])
    return result.exit_code, result.output


def cut(owner: Owner, *statements: str) -> None:
    """What somebody can do who owns the files."""
    with sqlite3.connect(owner.home.journal_path) as database:
        database.execute("DROP TRIGGER entries_are_never_removed")
        for statement in statements:
            database.execute(statement)
    database.close()


def test_it_shows_the_newest_entries_and_those_of_one_run(north: Owner, plan: Plan) -> None:
    status, shown = command(north, "show")
    assert status == 0
    assert all(word in shown for word in ("order", "decision", "release", plan.run))
    assert command(north, "show", "--last", "1")[1].count(plan.run) == 1
    assert plan.run in command(north, "show", "--run", plan.run[:10])[1]
    assert plan.run not in command(north, "show", "--run", "ffffffffff")[1]


def test_a_whole_journal_is_verified_and_its_head_is_printed(north: Owner, plan: Plan) -> None:
    status, said = command(north, "verify")
    assert status == 0
    with Journal(north.home.journal_path) as journal:
        assert f"head: {journal.head}" in said
        first = next(journal.entries()).digest
    assert command(north, "verify", "--head", first)[0] == 0
    assert command(north, "verify", "--head", "ab" * 32)[0] == 1


def test_a_changed_entry_is_named(north: Owner, plan: Plan) -> None:
    with sqlite3.connect(north.home.journal_path) as database:
        database.execute("DROP TRIGGER entries_are_never_changed")
        database.execute("UPDATE entries SET content = '{}' WHERE serial = 2")
    database.close()
    status, said = command(north, "verify")
    assert status == 1
    assert "Journal entry 2" in said


def test_a_cut_end_is_found_by_the_head_that_is_kept_apart(north: Owner, plan: Plan) -> None:
    cut(north, "DELETE FROM entries WHERE serial > 2")
    status, said = command(north, "verify")
    assert status == 1
    assert "is missing" in said


def test_a_cut_end_is_found_by_the_answers_that_have_left_even_if_the_head_is_cut_too(
    north: Owner, plan: Plan
) -> None:
    cut(north, "DELETE FROM entries WHERE serial > 2")
    north.home.journal_path.with_suffix(".head").unlink()
    status, said = command(north, "verify")
    assert status == 1
    assert "has no entry on 1 answers that have left" in said


def test_the_head_may_lie_on_another_disk(
    north: Owner, plan: Plan, agents: list[Agent], tmp_path: Path
) -> None:
    head = north.home.journal_path.with_suffix(".head")
    (tmp_path / "elsewhere").mkdir()
    head.rename(tmp_path / "elsewhere" / "head")
    head.symlink_to(tmp_path / "elsewhere" / "head")
    before = (tmp_path / "elsewhere" / "head").read_text()
    do(plan, agents, Phase.TRAIN)
    assert head.is_symlink()
    assert (tmp_path / "elsewhere" / "head").read_text() != before
    assert command(north, "verify")[0] == 0
    cut(north, "DELETE FROM entries WHERE serial > 2")
    assert command(north, "verify")[0] == 1


def test_a_host_without_a_journal_is_told_so(north: Owner) -> None:
    status, said = command(north, "verify")
    assert status == 1
    assert "this host has done nothing" in said
