"""`fedcore-owner` as Olga uses it: set up, check, and a status that scripts can trust."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedcore.owner.cli import app
from fedcore.owner.home import Home
from fedcore.owner.journal import EntryKind, Journal
from fedcore.wire.keys import HostCard

from .test_config import COORDINATOR, SAM
from .test_journal import altered

Call = Callable[..., Result]
DATASET = """
[datasets.access-2026]
title = "Access logs"
reader = "labelled_lines"
files = [{path = "good.txt", label = "benign"}, {path = "bad.txt", label = "attack"}]
purposes = ["security-research"]
protocols = ["local", "pooled"]
backends = ["plaintext", "keyed_tokens"]
models = ["linear"]
character_steps = ["char_ngrams"]
releases = 50
download = true
retention = 2027-12-31
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "north")


@pytest.fixture
def call(home: Home) -> Call:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--home", str(home.path)], env={"COLUMNS": "400"})

    return run


@pytest.fixture
def ready(home: Home, call: Call) -> Home:
    """A home whose owner.toml is filled in and offers one dataset."""
    call(
        "init",
        *("--organisation", "north-hospital", "--coordinator", "https://fedcore.example.org"),
        *("--coordinator-key", COORDINATOR, "--operator", "cloud-house"),
    )
    (home.path / "good.txt").write_bytes(b"GET /\n" * 300)
    (home.path / "bad.txt").write_bytes(b"GET /?q=<script>\n" * 100)
    append(home, DATASET)
    return home


def append(home: Home, text: str) -> None:
    home.config_path.write_text(home.config_path.read_text() + text)


def test_init_makes_keys_and_a_commented_policy_and_prints_the_card(home: Home, call: Call) -> None:
    result = call("init")
    assert result.exit_code == 0, result.output
    card = HostCard.parse(result.stdout.splitlines()[0])
    assert card == home.card
    assert f"fingerprint: {card.fingerprint}" in result.stdout
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700
    assert {path.name for path in home.keys.iterdir()} == {"signing.key", "sealing.key", "split.key"}
    assert "# [datasets.access-2026]" in home.config_path.read_text()


def test_init_asks_nothing_of_a_script_and_then_every_grant_waits(home: Home, call: Call) -> None:
    assert call("init").exit_code == 0
    text = home.config_path.read_text()
    assert "# [datasets.access-2026.ceilings]\n# purposes = []\n# protocols = []" in text
    assert "# epsilon = 0.0" in text


def test_init_takes_ceilings_as_options(home: Home, call: Call) -> None:
    options = ("purposes=research", "protocols=local,pooled", "releases=10", "epsilon=none", "download=yes")
    assert call("init", *(word for option in options for word in ("--ceiling", option))).exit_code == 0
    text = home.config_path.read_text()
    for line in (
        '# purposes = ["research"]',
        '# protocols = ["local", "pooled"]',
        "# releases = 10",
        '# epsilon = "none"',
        "# download = true",
        "# days = 0",
    ):
        assert f"\n{line}\n" in text


def test_init_asks_for_ceilings_at_a_terminal(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedcore.owner.cli._at_a_terminal", lambda: True)
    answers = ["research", "local", "plaintext", "linear", "", "10", "30", "none", "2", "no"]
    result = CliRunner().invoke(app, ["init", "--home", str(home.path)], input="\n".join([*answers, ""]))
    assert result.exit_code == 0, result.output
    assert "how far a grant may go to take effect as soon as it is approved" in result.stdout
    text = home.config_path.read_text()
    for line in (
        'purposes = ["research"]',
        "releases = 10",
        "days = 30",
        'epsilon = "none"',
        "minimum_owners = 2",
    ):
        assert f"# {line}\n" in text


def test_without_a_purpose_init_asks_no_further_and_every_grant_waits(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedcore.owner.cli._at_a_terminal", lambda: True)
    result = CliRunner().invoke(app, ["init", "--home", str(home.path)], input="\n")
    assert result.exit_code == 0, result.output
    assert "# purposes = []" in home.config_path.read_text()


@pytest.mark.parametrize(
    ("option", "why"),
    [
        ("releases", "has no value"),
        ("releases=many", "valid integer"),
        ("releases=-1", "greater than or equal to 0"),
        ("protocols=magic", "'local', 'reference', 'pooled' or 'shared'"),
        ("purpose=x", "Did you mean `purposes`?"),
        ("download=perhaps", "valid boolean"),
    ],
)
def test_a_ceiling_that_is_none_stops_init_before_anything_is_made(
    home: Home, call: Call, option: str, why: str
) -> None:
    result = call("init", "--ceiling", option)
    assert result.exit_code == 2
    assert why in result.stderr
    assert not home.path.exists()


def test_check_explains_ceilings_and_says_what_waits(ready: Home, call: Call) -> None:
    assert "[datasets.access-2026] has no ceilings: every grant waits for a person" in call("check").stdout
    append(ready, "\n[datasets.access-2026.ceilings]\npurposes = ['security-research']\nreleases = 5\n")
    result = call("check")
    assert result.exit_code == 0, result.stderr
    assert "[datasets.access-2026.ceilings] releases" in result.stdout
    assert "how many runs a grant may cover to take effect at once" in result.stdout
    assert "take effect as soon as they are approved at the coordinator" in result.stdout


def test_check_says_that_a_backend_for_teaching_does_not_run_unless_it_is_named_as_such(
    ready: Home, call: Call
) -> None:
    text = ready.config_path.read_text()
    ready.config_path.write_text(text.replace('"keyed_tokens"]', '"keyed_tokens", "rsa"]'))
    told = call("check").stdout
    assert "names backend rsa, which is for teaching only: nothing runs under it" in told
    assert "allows backend rsa" not in told
    named = ready.config_path.read_text().replace(
        "download = true\nretention", 'teaching_backends = ["rsa"]\nretention'
    )
    ready.config_path.write_text(named)
    result = call("check")
    assert result.exit_code == 0, result.stderr
    assert "allows backend rsa, which is for teaching only and shows: which tokens are equal" in result.stdout
    assert "those of the backends that are for teaching only, allowed by name" in result.stdout
    ready.config_path.write_text(named.replace('["rsa"]', '["rot13"]'))
    assert (
        "[datasets.access-2026] teaching_backends: there is no encryption plugin 'rot13'"
        in call("check").stderr
    )


def test_ceilings_beyond_the_datasets_own_settings_are_mistakes(ready: Home, call: Call) -> None:
    text = ready.config_path.read_text().replace("download = true\nretention", "epsilon = 2.0\nretention")
    ready.config_path.write_text(text)
    append(
        ready,
        """
[datasets.access-2026.ceilings]
purposes = ["security-research", "marketing"]
protocols = ["reference"]
backends = ["rot13"]
models = ["mlp"]
character_steps = ["words"]
releases = 51
epsilon = "none"
download = true
""",
    )
    result = call("check")
    assert result.exit_code == 1
    for setting, value in {
        "purposes": "marketing",
        "protocols": "reference",
        "backends": "rot13",
        "models": "mlp",
        "character_steps": "words",
        "releases": "51",
        "epsilon": "none",
        "download": "true",
    }.items():
        assert (
            f"[datasets.access-2026.ceilings] {setting}: {value} goes beyond [datasets.access-2026] {setting}, "
            "which is the absolute limit" in result.stderr
        )


def test_a_second_init_changes_neither_keys_nor_policy(home: Home, call: Call) -> None:
    first = call("init")
    append(home, "# mine\n")
    second = call("init", "--organisation", "other")
    assert second.stdout.splitlines()[0] == first.stdout.splitlines()[0]
    assert home.config_path.read_text().endswith("# mine\n")
    assert "exists and stays as it is" in second.stdout


def test_card_prints_the_card_again(home: Home, call: Call) -> None:
    assert call("init").stdout.splitlines()[:2] == call("card").stdout.splitlines()


def test_a_fresh_policy_is_none_until_it_is_filled_in(call: Call) -> None:
    call("init")
    for command in ("check", "run"):
        result = call(command)
        assert result.exit_code == 1
        assert "[coordinator] key: A public key has 43 characters" in result.stderr
        assert "nothing runs until they are corrected" in result.stderr


def test_check_explains_every_line_and_what_it_allows(ready: Home, call: Call) -> None:
    result = call("check")
    assert result.exit_code == 0, result.stderr
    assert "how many runs one grant may cover at most" in result.stdout
    assert (
        "allows backend keyed_tokens, which pseudonymises (it encrypts nothing) and shows:" in result.stdout
    )
    assert "close to a substitution cipher" in result.stdout
    assert "what was handed over cannot be called back" in result.stdout
    assert "No mistakes were found." in result.stdout


def test_check_tells_what_a_budget_does_not_cover(ready: Home, call: Call) -> None:
    bare = ready.config_path.read_text().removesuffix(DATASET)

    def told(first: str, second: str) -> str:
        again = DATASET.replace("access-2026", "again").replace('"good.txt"', '"./good.txt"')
        offers = (DATASET.replace("releases", f"{first}\nreleases"), again.replace("bad.txt", "worse.txt"))
        ready.config_path.write_text(bare + offers[0] + offers[1].replace("releases", f"{second}\nreleases"))
        return call("check").stdout

    (ready.path / "worse.txt").write_text("GET /?q=1\n" * 9)
    lacking = told("epsilon = 0.5", "epsilon_total = 3.0\nround_rows_to = 50")
    assert "[datasets.access-2026] limits a run to epsilon 0.5, and sets no epsilon_total" in lacking
    assert "[datasets.again] shows its number of rows rounded to 50 and without noise" in lacking
    assert (
        "[datasets.access-2026] and [datasets.again] both offer good.txt: each has an epsilon_total"
        in lacking
    )
    whole = told("epsilon = 0.5\nepsilon_total = 2.0\ncount_epsilon = 0.1", "")
    assert "and sets no epsilon_total" not in whole
    assert "rounded to" not in whole
    assert "next to no noise" not in whole
    loose = told("epsilon = 20.0\nepsilon_total = 50.0", "")
    assert "[datasets.access-2026] has epsilon = 20: at 10 or more there is next to no noise" in loose


def test_check_tells_every_mistake_beyond_the_form_at_once(ready: Home, call: Call) -> None:
    text = ready.config_path.read_text().replace('"linear"', '"linaer"').replace("bad.txt", "gone.txt")
    ready.config_path.write_text(text)
    append(ready, f'\n[[peers]]\nname = "me"\ncard = "{ready.card}"\norganisation = "north-hospital"\n')
    with Journal(ready.journal_path) as journal:
        journal.append(EntryKind.EVENT, {"started": True})
    altered(ready.journal_path, "UPDATE entries SET content = '{}'")
    result = call("check")
    assert result.exit_code == 1
    assert "[[peers]]: one entry is this host itself" in result.stderr
    assert "[datasets.access-2026] models: there is no models plugin 'linaer' here" in result.stderr
    assert "gone.txt" in result.stderr
    assert "journal: Journal entry 1" in result.stderr


def test_check_tells_of_a_package_that_is_not_installed(ready: Home, call: Call) -> None:
    append(ready, '\n[[plugins]]\ndistribution = "fedcore-nowhere"\n')
    result = call("check")
    assert result.exit_code == 1
    assert "fedcore-nowhere" in result.stderr


def test_check_shows_no_secret(ready: Home, call: Call) -> None:
    append(ready, f'\n[[scientists]]\nname = "sam"\nkey = "{SAM}"\norganisation = "university"\n')
    result = call("check")
    for path in ready.keys.iterdir():
        assert path.read_bytes().hex() not in result.output
        assert path.read_bytes() not in result.output.encode()


@pytest.mark.parametrize(
    "command", [("check",), ("card",), ("run",), ("predict", "--run", "a", "access.log")]
)
def test_without_a_home_every_command_says_how_to_make_one(call: Call, command: tuple[str, ...]) -> None:
    result = call(*command)
    assert result.exit_code == 1
    assert "Run `fedcore-owner init`" in result.stderr


def test_a_home_that_others_may_enter_is_refused(ready: Home, call: Call) -> None:
    ready.path.chmod(0o755)
    for command in ("check", "card", "run", "init"):
        result = call(command)
        assert result.exit_code == 1
        assert "chmod 700" in result.stderr


def test_run_and_predict_pass_what_was_asked_to_the_host(
    ready: Home, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedcore.owner import prediction, service

    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(service, "run", lambda home: asked.append((home.path,)))
    monkeypatch.setattr(
        prediction, "predict", lambda home, run, path, out: asked.append((home.path, run, path, out))
    )
    assert call("run").exit_code == 0
    assert call("predict", "--run", "a1b2", "access.log", "--out", "scores.csv").exit_code == 0
    assert asked == [(ready.path,), (ready.path, "a1b2", Path("access.log"), Path("scores.csv"))]
