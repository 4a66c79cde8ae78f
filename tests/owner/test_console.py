"""What people elsewhere wrote cannot move the cursor, hide or reorder text, or look like a line of the host's own."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from fedcore.owner import console
from fedcore.owner.cli import app
from fedcore.owner.grants import GrantStore
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.ledger import open_ledger
from fedcore.owner.limits import Limits
from fedcore.owner.service import PlainFormatter
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.spec import Pipeline, PluginChoice, Protocol
from tests.owner.cast import PLAIN, Cast

HOSTILE = "\x1b[1A\x1b[2K \x9b2K \u202e\u2066 \u200b\ufeff\u3164 \x07\r"
WILD = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\u3164]")
FORGED = "How far it goes\n  granted: local, epsilon 0.1"

Call = Callable[..., Result]


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return Cast(tmp_path).settle_in(["north"], rows=200)


@pytest.fixture
def home(cast: Cast) -> Home:
    return cast.owners[0].home


@pytest.fixture
def call(home: Home) -> Call:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--home", str(home.path)])

    return run


def tame(result: Result) -> str:
    assert result.exit_code == 0, result.output
    assert not WILD.search(result.output)
    return result.output


def test_every_character_without_a_shape_of_its_own_is_shown_as_an_escape_sequence() -> None:
    assert console.visible("plain: äöü 漢字 {x} [b]") == "plain: äöü 漢字 {x} [b]"
    shown = console.visible(HOSTILE + "\n")
    assert shown.startswith("\\x1b[1A\\x1b[2K \\x9b2K \\u202e\\u2066 \\u200b\\ufeff\\u3164 \\x07\\r\\n")
    assert not WILD.search(shown)


@pytest.mark.parametrize("padding", [" ", "·", "漢", "x"])
def test_a_value_that_is_wider_than_the_terminal_goes_on_further_to_the_right(padding: str) -> None:
    file = io.StringIO()
    screen = Console(file=file, force_terminal=True, width=40, soft_wrap=True, highlight=False)
    console.say("option = " + padding * 29 + "granted: epsilon 0.1 " + padding * 60, indent=2, to=screen)
    first, *others = file.getvalue().rstrip("\n").split("\n")
    assert first.startswith("  option")
    assert others
    assert all(line.startswith("      ") for line in others if line.strip())


def test_the_reason_and_the_options_of_a_request_forge_no_line_of_what_is_granted(
    cast: Cast, home: Home, call: Call
) -> None:
    option = '1), lower → words(x = "2\n  pipeline 2: none'
    steps = Pipeline(steps=(PluginChoice(name="words", options={"only": option}),))
    (signed,) = cast.spec(Protocol.LOCAL, backend=PLAIN).grants.values()
    request = signed.request.open(AccessRequest).model_copy(
        update={"reason": f"fraud\n\n{FORGED}", "organisation": "uni\u200bversity", "pipelines": (steps,)}
    )
    grant = Grant.of(request.signed_by(cast.sam))
    with Journal(home.journal_path) as journal, GrantStore(home.grants_path, journal) as grants:
        held = grants.take(grant, request)
    shown = tame(call("grants", "show", held.digest[:12]))
    lines = shown.splitlines()
    assert lines.count("How far it goes") == 1
    assert sum(line.startswith("  granted:") for line in lines) == 1
    assert "    |   granted: local, epsilon 0.1" in lines
    assert "who signs as of uni\\u200bversity" in shown
    assert 'words(only = "1), lower → words(x = \\"2\\n  pipeline 2: none")' in shown
    tame(call("grants", "list"))


def test_the_journal_is_shown_without_what_its_entries_try(home: Home, call: Call) -> None:
    with Journal(home.journal_path) as journal:
        journal.append(EntryKind.EVENT, {"why": HOSTILE})
    assert "u202e" in tame(call("journal", "show"))


def test_the_ledger_is_shown_without_what_its_entries_try(
    home: Home, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as held:
        held.setattr("fedcore.owner.ledger.Ledger.held", lambda self: "restored")
        with open_ledger(home) as ledger:
            ledger.accept(f"lost {HOSTILE} {FORGED}", {})
    assert "u202e" in tame(call("ledger", "show"))


def test_the_outbox_is_shown_without_what_titles_try(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = SimpleNamespace(run="a" * 64, id="b" * 64, phase="train")
    spec, order = SimpleNamespace(title=HOSTILE, deadline=1), SimpleNamespace(expires_at=1)
    answer: Any = SimpleNamespace(stored=stored, spec=spec, order=order, size=1)
    monkeypatch.setattr("fedcore.owner.outbox.Outbox.waiting", lambda self: [answer])
    monkeypatch.setattr("fedcore.owner.outbox_cli.described", lambda *_: [("run", HOSTILE)])
    assert "u202e" in tame(call("outbox", "list"))
    assert "u202e" in tame(call("outbox", "show", "b"))


def test_the_check_shows_the_policys_values_without_what_they_try(home: Home, call: Call) -> None:
    text = home.config_path.read_text()
    home.config_path.write_text(
        text.replace('reader = "', 'reader_options = {"\\u001b[2K" = "\\u202e"}\nreader = "')
    )
    result = call("check")
    assert not WILD.search(result.output)
    assert "\\x1b[2K" in result.output


def test_an_error_of_several_lines_keeps_them_and_indents_all_but_the_first() -> None:
    file = io.StringIO()
    console.say_lines("failed:\nTraceback\x1b[8m", to=Console(file=file, width=80))
    assert file.getvalue() == "failed:\n  Traceback\\x1b[8m\n"


def test_the_log_of_a_host_holds_no_forged_entry() -> None:
    record = logging.LogRecord(
        "fedcore", logging.WARNING, "", 1, "dropped: %s", ("x\x1b[2K\n2026 ERROR",), None
    )
    assert PlainFormatter("%(levelname)s %(message)s").format(record) == (
        "WARNING dropped: x\\x1b[2K\n    2026 ERROR"
    )


def test_no_command_prints_in_any_other_way() -> None:
    folder = Path(console.__file__).parent
    others = [path for path in folder.rglob("*.py") if path.name != "console.py"]
    printing = [path.name for path in others if re.search(r"\.print\(|\bprint\(|\becho\(", path.read_text())]
    assert printing == []


def test_the_check_hides_what_is_a_secret_by_its_name(home: Home, call: Call) -> None:
    text = home.config_path.read_text()
    options = 'reader_options = {user = "olga", password = "swordfish", login = {api_key = "trout"}}\n'
    home.config_path.write_text(text.replace('reader = "', f'{options}reader = "'))
    shown = call("check").output
    assert "password = (hidden), login = {api_key = (hidden)}" in shown
    assert '"olga"' in shown
    assert "swordfish" not in shown
    assert "trout" not in shown


def test_one_owner_is_one_owner() -> None:
    limits = Limits(
        protocols=(),
        backends=(),
        models=(),
        epsilon_micro="none",
        releases=1,
        minimum_owners=1,
        expires_at=1,
        download=False,
    )
    assert "at least 1 owner" in limits.in_words().values()
    assert "at least 2 owners" in limits.model_copy(update={"minimum_owners": 2}).in_words().values()
