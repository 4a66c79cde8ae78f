"""`fedcore-owner grants` as Olga uses it, beside a host that runs: plain words, clear errors, statuses for scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedcore.owner.cli import app
from fedcore.owner.facts import Ruling
from fedcore.owner.grants import GrantStore, this_user
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.home import Home
from fedcore.owner.journal import Journal
from fedcore.wire.access import AccessRequest, Grant
from fedcore.wire.keys import SigningKey, fingerprint
from fedcore.wire.spec import Pipeline, PluginChoice, Protocol
from tests.owner.cast import CEILINGS, KEYED, Cast, Plan

Call = Callable[..., Result]
NGRAMS = Pipeline(
    steps=(
        PluginChoice(name="fields", options={"names": ["request"]}),
        PluginChoice(name="char_ngrams"),
        PluginChoice(name="protect"),
        PluginChoice(name="hash_columns", options={"columns": 256}),
    )
)
LOW = CEILINGS.replace("releases = 5", "releases = 1").replace(
    '"reference", "pooled", "shared"', '"reference"'
)


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return Cast(tmp_path).settle_in(["north"], rows=200, ceilings=LOW)


@pytest.fixture
def home(cast: Cast) -> Home:
    return cast.owners[0].home


@pytest.fixture
def plan(cast: Cast) -> Plan:
    return cast.spec(Protocol.POOLED, NGRAMS, KEYED)


@pytest.fixture
def call(home: Home) -> Call:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["grants", *arguments, "--home", str(home.path)])

    return run


@pytest.fixture
def digest(home: Home, plan: Plan) -> str:
    """Sam's grant, beyond the ceilings, as the agent has taken it in."""
    (grant,) = plan.grants.values()
    take(home, grant)
    return grant.request.digest


def take(home: Home, grant: Grant) -> None:
    with Journal(home.journal_path) as journal, GrantStore(home.grants_path, journal) as grants:
        grants.take(grant, grant.request.open(AccessRequest))


def held(home: Home, digest: str) -> HeldGrant:
    with Journal(home.journal_path) as journal, GrantStore(home.grants_path, journal) as grants:
        return grants.held(digest)


def test_list_says_that_nothing_is_known_yet(call: Call) -> None:
    result = call("list")
    assert result.exit_code == 0
    assert "No grant is known here yet" in result.stdout


def test_list_shows_standing_scientist_limits_and_what_exceeds_which_ceiling(
    call: Call, cast: Cast, digest: str
) -> None:
    line = call("list").stdout.splitlines()[-1]
    for part in (
        digest[:12],
        "waits for a person here",
        f"sam ({fingerprint(cast.sam.public)})",
        "logs",
        "pooled · keyed_tokens · linear",
        " · epsilon none · 5 runs · at least 1 owner · until ",
        " UTC · without download",
        "protocols: pooled (at once: local, reference); releases: 5 (at once: at most 1)",
    ):
        assert part in line


def test_show_tells_in_plain_words_what_would_run_and_what_it_shows(
    call: Call, cast: Cast, digest: str
) -> None:
    result = call("show", digest[:6])
    assert result.exit_code == 0, result.output
    for part in (
        f"Grant {digest}",
        "waits for a person here",
        f"key {cast.sam.public}",
        "who signs as of university",
        "for security-research",
        "protocol pooled: the preprocessed and protected rows go to the coordinator",
        'pipeline 1: fields(names = ["request"]) → char_ngrams [pieces of words] → protect → hash_columns',
        "keyed_tokens pseudonymises (it encrypts nothing) and shows: ",
        "who could read rows under keyed_tokens: ",
        "the model of a finished run",
        "metrics of finished runs",
    ):
        assert part in result.stdout, part


def test_show_says_when_the_data_is_no_longer_what_was_asked_for(call: Call, home: Home, digest: str) -> None:
    assert "not its version now" not in call("show", digest[:8]).stdout
    with (home.path / "good.txt").open("a") as file:
        file.write("/one/more/line\n")
    assert "which is not its version now: nothing runs" in call("show", digest[:8]).stdout


def test_show_does_not_frighten_where_no_row_leaves(call: Call, home: Home, cast: Cast) -> None:
    (grant,) = cast.spec(Protocol.LOCAL).grants.values()
    take(home, grant)
    output = call("show", grant.request.digest[:12]).stdout
    assert "no row leaves" in output
    assert "who could read rows" not in output


def test_confirm_lets_it_take_effect_with_narrower_limits(call: Call, home: Home, digest: str) -> None:
    result = call(
        *("confirm", digest[:8], "--releases", "3", "--until", "2020-01-01", "--minimum-owners", "2"),
        *("--models", "linear", "--no-download", "--epsilon", "1.5", "--reason", "as agreed"),
    )
    assert result.exit_code == 0, result.output
    now = held(home, digest)
    assert (now.ruling, now.ruled_by, now.reason) == (Ruling.CONFIRMED, this_user(), "as agreed")
    limits = now.limits
    assert (limits.releases, limits.minimum_owners, limits.epsilon_micro) == (3, 2, 1_500_000)
    assert limits.expires_at == 1_577_923_200, "the end of 1 January 2020, UTC"
    assert "3 runs" in result.stdout
    assert "expired" in call("list").stdout


def test_a_confirmed_grant_is_listed_as_in_force(call: Call, digest: str) -> None:
    assert "is confirmed, as far as: pooled" in call("confirm", digest[:8]).stdout
    assert "in force" in call("list").stdout


def test_tighten_narrows_and_needs_something_to_narrow(call: Call, home: Home, digest: str) -> None:
    nothing = call("tighten", digest[:8])
    assert nothing.exit_code == 1
    assert "Say what to narrow" in nothing.stderr
    assert call("tighten", digest[:8], "--releases", "1", "--protocols", "pooled").exit_code == 0
    assert held(home, digest).limits.releases == 1


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--releases", "6"), "goes as far as: 5 runs"),
        (("--protocols", "pooled,local"), "goes as far as: pooled"),
        (("--until", "2999-01-01"), "goes as far as: until"),
        (("--until", "tomorrow"), "'tomorrow' is no day"),
        (("--protocols", ""), "nothing could run"),
        (("--backends", "rot13"), "goes as far as: keyed_tokens"),
        (("--epsilon", "0"), "no limits of a grant"),
        (("--releases", "0"), "nothing could run"),
    ],
)
@pytest.mark.parametrize("command", ["confirm", "tighten"])
def test_limits_that_widen_or_make_no_sense_are_refused(
    call: Call, home: Home, digest: str, command: str, options: tuple[str, ...], why: str
) -> None:
    result = call(command, digest[:8], *options)
    assert result.exit_code == 1
    assert why in result.stderr
    assert (held(home, digest).ruling, held(home, digest).set_here) == (None, None)


def test_refuse_needs_a_reason_and_is_final(call: Call, home: Home, digest: str) -> None:
    assert call("refuse", digest[:8]).exit_code == 2
    assert call("refuse", digest[:8], "--reason", "not for this").exit_code == 0
    assert held(home, digest).ruling is Ruling.REFUSED
    again = call("confirm", digest[:8])
    assert again.exit_code == 1
    assert "which is final" in again.stderr
    assert f"refused by {this_user()}: not for this" in call("list").stdout


def test_revoke_works_even_while_the_policy_is_broken(call: Call, home: Home, digest: str) -> None:
    home.config_path.write_text("organisation = 1\n")
    for command in (("list",), ("show", digest[:8]), ("confirm", digest[:8])):
        result = call(*command)
        assert result.exit_code == 1
        assert "nothing runs until they are corrected" in result.stderr
    result = call("revoke", digest[:8], "--reason", "at once")
    assert result.exit_code == 0
    assert "nothing more leaves this host under it" in result.stdout
    assert held(home, digest).ruling is Ruling.REVOKED
    assert call("revoke", digest[:8]).exit_code == 1


@pytest.mark.parametrize("command", ["show", "confirm", "tighten", "refuse", "revoke"])
def test_digits_that_fit_no_grant_or_too_few_of_them_are_refused(
    call: Call, digest: str, command: str
) -> None:
    more = {"refuse": ("--reason", "x"), "tighten": ("--releases", "1")}.get(command, ())
    other = "0000" if not digest.startswith("0000") else "ffff"
    for digits, why in ((other, f"0 grants here begin with '{other}'"), (digest[:2], "4 or more")):
        result = call(command, digits, *more)
        assert result.exit_code == 1
        assert why in result.stderr


def test_nobody_confirms_what_the_datasets_own_settings_never_allow(
    call: Call, home: Home, digest: str
) -> None:
    text = home.config_path.read_text()
    home.config_path.write_text(
        text.replace('purposes = ["security-research"]', 'purposes = ["research"]', 1)
    )
    result = call("confirm", digest[:8])
    assert result.exit_code == 1
    assert "the purpose security-research is not in purposes of [datasets.logs]" in result.stderr
    assert held(home, digest).ruling is None
    assert "refused" in call("list").stdout


def test_nobody_confirms_a_key_that_the_policy_does_not_name(
    call: Call, home: Home, cast: Cast, digest: str
) -> None:
    other = SigningKey.generate().public
    home.config_path.write_text(home.config_path.read_text().replace(cast.sam.public, other))
    result = call("confirm", digest[:8])
    assert result.exit_code == 1
    assert f"{cast.sam.public} ({fingerprint(cast.sam.public)})" in result.stderr
    assert "add the key under [[scientists]]" in result.stderr
    assert f"unknown ({fingerprint(cast.sam.public)})" in call("list").stdout


def test_a_download_that_is_taken_away_here_waits_for_the_coordinator_to_follow(
    call: Call, home: Home, plan: Plan
) -> None:
    (grant,) = plan.grants.values()
    request = grant.request.open(AccessRequest).model_copy(update={"download": True})
    signed = request.signed_by(plan.cast.sam)
    take(home, Grant.of(signed))
    result = call("confirm", signed.digest[:12], "--no-download")
    assert result.exit_code == 0
    assert "It still waits: it may not be downloaded here, and at the coordinator it may" in result.stdout
    take(home, Grant.of(signed, download=False))
    assert "in force" in call("list").stdout


def test_without_a_home_every_command_says_how_to_make_one(tmp_path: Path) -> None:
    for arguments in (("list",), ("show", "abcd"), ("revoke", "abcd")):
        result = CliRunner().invoke(app, ["grants", *arguments, "--home", str(tmp_path / "none")])
        assert result.exit_code == 1
        assert "Run `fedcore-owner init`" in result.stderr
