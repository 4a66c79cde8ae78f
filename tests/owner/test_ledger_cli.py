"""`fedcore-owner ledger` as Olga uses it: what is spent and left, whether the chain holds, and her word on a loss."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedcore.owner.cli import app
from fedcore.owner.home import Home
from fedcore.owner.journal import Journal
from fedcore.owner.ledger import open_ledger
from fedcore.privacy.mechanisms import Unbounded

from .policy_cases import POLICY
from .test_ledger import PLENTY, altered, counts, wanted

Call = Callable[..., Result]
CONFIG = f"""
organisation = "north-hospital"
[coordinator]
url = "https://fedcore.example.org"
key = "{POLICY.coordinator.key}"
organisation = "cloud-house"
[[plugins]]
distribution = "fedcore"
[datasets.logs]
title = "Access logs"
reader = "labelled_lines"
files = [{{path = "good.txt", label = "benign"}}, {{path = "bad.txt", label = "attack"}}]
releases = 50
epsilon_total = 5.0
retention = 2099-12-31
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "north")
    home.create()
    home.split_key  # noqa: B018  (made on first use)
    home.config_path.write_text(CONFIG)
    (home.path / "good.txt").write_bytes(b"GET /\n" * 300)
    (home.path / "bad.txt").write_bytes(b"GET /?q=<script>\n" * 100)
    return home


@pytest.fixture
def call(home: Home) -> Call:
    def run(*arguments: str) -> Result:
        command = [*arguments, "--home", str(home.path)]
        return CliRunner().invoke(app, command, env={"COLUMNS": "400"})

    return run


@pytest.fixture
def spent(home: Home) -> Home:
    """A home whose ledger has two runs of epsilon 1 on the logs, and one without on others."""
    with open_ledger(home) as ledger:
        for run in (1, 2):
            ledger.reserve(wanted(run, counts(1), grant="a" * 64), PLENTY)
        ledger.release(wanted(1).run, "order 1", "b" * 64)
        ledger.reserve(wanted(3, Unbounded(), grant="c" * 64, dataset="others"), PLENTY)
    return home


@pytest.fixture
def restored(spent: Home, tmp_path: Path) -> Home:
    """The same, put back to before its last run."""
    shutil.copytree(spent.path, tmp_path / "backup")
    with open_ledger(spent) as ledger:
        ledger.reserve(wanted(4, grant="a" * 64), PLENTY)
    shutil.rmtree(spent.path)
    shutil.copytree(tmp_path / "backup", spent.path)
    return spent


def row(output: str, first: str) -> list[str]:
    return next(line.split() for line in output.splitlines() if line.startswith(first))


def test_a_host_that_has_booked_nothing_says_so(call: Call) -> None:
    for command in ("show", "verify"):
        found = call("ledger", command)
        assert found.exit_code == 1
        assert "has booked nothing" in found.output


def test_it_shows_budget_spent_and_left_of_datasets_and_grants(spent: Home, call: Call) -> None:
    found = call("ledger", "show")
    assert found.exit_code == 0, found.output
    assert "The ledger is current." in found.output
    assert row(found.output, "logs") == ["logs", "5", "2", "3", "1e-06", "2", "0"]
    assert row(found.output, "others")[:5] == ["others", "none", "without", "a", "bound"]
    assert row(found.output, "aaaa") == ["a" * 12, "logs", "none", "2", "-", "1e-06", "2", "of", "?"]
    assert "discrete Laplace noise of scale 1 on counts" in found.output
    assert "a release without a bound" in found.output
    assert f"answer {'b' * 12}" in found.output


def test_it_shows_as_many_entries_as_are_asked_for(spent: Home, call: Call) -> None:
    assert "reserved" not in call("ledger", "show", "--last", "0").output
    newest = call("ledger", "show", "--last", "1").output
    assert "others: a release" in newest
    assert "released" not in newest


def test_the_chain_is_verified_against_a_head_that_was_noted_down(spent: Home, call: Call) -> None:
    found = call("ledger", "verify")
    assert found.exit_code == 0
    assert "4 entries, and the chain holds." in found.output
    head = found.output.split("head: ")[1].strip()
    assert call("ledger", "verify", "--head", head).exit_code == 0
    wrong = call("ledger", "verify", "--head", f"4:{'f' * 64}")
    assert (wrong.exit_code, "is missing" in wrong.output) == (1, True)
    unclear = call("ledger", "verify", "--head", "the last one")
    assert (unclear.exit_code, "SERIAL:DIGEST" in unclear.output) == (1, True)


def test_an_altered_ledger_is_found(spent: Home, call: Call) -> None:
    altered(spent.ledger_path, "UPDATE entries SET dataset = 'others' WHERE serial = 2")
    found = call("ledger", "verify")
    assert found.exit_code == 1
    assert "Ledger entry 2: its content does not fit its digest." in found.output
    assert "The ledger is HELD." in call("ledger", "show").output


def test_a_ledger_that_was_put_back_is_told_of_and_goes_on_by_a_persons_word(
    restored: Home, call: Call
) -> None:
    for command in (("ledger", "verify"), ("check",)):
        found = call(*command)
        assert (found.exit_code, "knows entry 5" in found.output) == (1, True), found.output
    assert "The ledger is HELD." in call("ledger", "show").output
    accepted = call("ledger", "accept", "--reason", "the disk failed", "--spent", "logs=1.0000001")
    assert accepted.output.strip() == "Entry 6: entries 5 to 5 are lost; the ledger goes on."
    assert call("ledger", "verify").exit_code == 0
    assert row(call("ledger", "show").output, "logs")[1:4] == ["5", "3", "2"]
    assert "lost: 5 to 5; the disk failed" in call("ledger", "show").output
    with Journal(restored.journal_path) as journal:
        (event,) = journal.entries()
    assert "the disk failed" in event.content
    assert '"logs":1000001' in event.content


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--reason", " "), "Give a reason"),
        (("--reason", "lost"), "Say what the lost entries have cost at most: --spent logs=EPSILON"),
        (("--reason", "lost", "--spent", "logs"), "is no cost"),
        (("--reason", "lost", "--spent", "logs=none"), "is no cost"),
        (("--reason", "lost", "--spent", "logs=-1"), "is no cost"),
        (("--reason", "lost", "--spent", "missing=1"), "datasets: logs"),
    ],
)
def test_a_word_that_is_not_clear_changes_nothing(
    restored: Home, call: Call, arguments: tuple[str, ...], why: str
) -> None:
    found = call("ledger", "accept", *arguments)
    assert (found.exit_code, why in found.output) == (1, True), found.output
    assert call("ledger", "verify").exit_code == 1


def test_a_person_may_say_that_what_is_lost_has_cost_nothing(restored: Home, call: Call) -> None:
    assert (
        call("ledger", "accept", "--reason", "the journal shows no release", "--spent", "logs=0").exit_code
        == 0
    )
    assert row(call("ledger", "show").output, "logs")[1:4] == ["5", "2", "3"]


def test_there_is_nothing_to_accept_while_the_ledger_is_current(spent: Home, call: Call) -> None:
    found = call("ledger", "accept", "--reason", "just in case", "--spent", "logs=0")
    assert (found.exit_code, "there is nothing to accept" in found.output) == (1, True)


def test_a_counter_within_the_home_is_a_mistake(home: Home, call: Call) -> None:
    home.config_path.write_text(CONFIG + '[ledger]\ncounter = "counter"\nreceipts = "required"\n')
    found = call("check")
    assert found.exit_code == 1
    assert "a backup of the home would bring both back" in found.output
    assert "there are no peers" in found.output
