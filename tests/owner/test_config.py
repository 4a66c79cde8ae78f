"""owner.toml: every mistake at once, each with place, rule and fix; and no policy while there is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcore.owner.config import Config, load_config, parse_config
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.explain import explain
from fedcore.owner.template import template
from fedcore.wire.keys import HostCard, encode_key

COORDINATOR, SAM, SOUTH, SEALING = (encode_key(bytes([number]) * 32) for number in range(4))
CARD = HostCard(SOUTH, SEALING)
VALID = f"""
organisation = "north-hospital"

[coordinator]
url = "https://fedcore.example.org/"
key = "{COORDINATOR}"
organisation = "cloud-house"

[[scientists]]
name = "sam"
key = "{SAM}"
organisation = "university"

[[peers]]
name = "south"
card = "{CARD}"
organisation = "south-bank"

[datasets.access-2026]
title = "Access logs"
reader = "labelled_lines"
files = [{{path = "good.txt", label = "benign"}}]
releases = 50
retention = 2027-12-31
"""


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_config(text)
    return [str(problem) for problem in caught.value.problems]


def problem(text: str) -> str:
    (only,) = problems(text)
    return only


def test_what_the_file_does_not_say_is_not_allowed() -> None:
    offer = parse_config(VALID).datasets["access-2026"]
    assert (offer.purposes, offer.protocols, offer.backends, offer.models) == ((),) * 4
    assert (offer.character_steps, offer.teaching_backends) == ((),) * 2
    assert not offer.download
    assert not parse_config(VALID).reference.serves
    assert parse_config(VALID).plugins == ()


def test_scientists_and_peers_are_found_by_their_keys_and_strangers_are_not() -> None:
    policy = parse_config(VALID)
    assert policy.scientist(SAM) is policy.scientists[0]
    assert policy.peer(SOUTH) is policy.peers[0]
    assert (policy.peers[0].key, policy.peers[0].sealing_key) == (CARD.signing, CARD.sealing)
    assert policy.scientist(SOUTH) is None
    assert policy.peer(SAM) is None


def test_a_policy_cannot_be_changed_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        parse_config(VALID).organisation = "eve"  # type: ignore[misc]


def test_all_mistakes_are_told_at_once() -> None:
    wrong = (
        VALID.replace("https://fedcore", "http://fedcore")
        .replace("releases = 50", "relases = 50\nminimum_owners = true\nepsilon = -1\nprotocols = ['all']")
        .replace("path = ", "paht = ")
        .replace(str(CARD), "fedcore-host:me")
    )
    told = problems(wrong + "\n[worker]\nprocesses = 0\n[policy]\nallow = true\n")
    places = [line.split(": ")[0] for line in told]
    assert sorted(places) == sorted(
        [
            "[coordinator] url",
            "[[peers]] 1",
            "[datasets.access-2026] files 1",
            "[datasets.access-2026] files 1",
            "[datasets.access-2026] protocols 1",
            "[datasets.access-2026] epsilon",
            "[datasets.access-2026] minimum_owners",
            "[datasets.access-2026] relases",
            "[datasets.access-2026] releases",
            "[worker] processes",
            "policy",
        ]
    )
    assert all(line.endswith(".") for line in told)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "releases = 50",
            "releases = 50\npurpose = ['x']",
            "[datasets.access-2026] purpose: there is no such",
        ),
        ("releases = 50", "releases = 50\npurpose = ['x']", "Did you mean `purposes`?"),
        ("releases = 50", "releases = 50\nhours = ['8-18']", "is no time of day. Write it from-to in UTC"),
        ("releases = 50", "releases = 50\nhours = ['08:00-08:00']", "is no time of day"),
        ("releases = 50", "releases = 50\nhours = ['08:00-24:30']", "is no time of day"),
        ("releases = 50", "", "releases: this setting is required and missing"),
        (
            "releases = 50",
            "releases = '50'",
            "releases: Input should be a valid integer, and here it is '50'",
        ),
        ("releases = 50", "releases = 0", "releases: Input should be greater than or equal to 1"),
        ("releases = 50", "releases = 5\ndownload = 1", "download: Input should be a valid boolean"),
        ("releases = 50", "releases = 5\nbackends = 'all'", "backends: Input should be a valid tuple"),
        ("2027-12-31", "'soon'", "retention: "),
        (
            '"https://fedcore.example.org/"',
            '"http://fedcore.example.org"',
            "Plain http is for this machine only",
        ),
        ('"https://fedcore.example.org/"', '"https://u:p@example.org"', "without user, password"),
        (COORDINATOR, "short", "[coordinator] key: A public key has 43 characters. Copy it whole"),
        (COORDINATOR, SAM, "A scientist has the coordinator's key: one key has one role"),
        (SAM, SOUTH, "one key has one role"),
        ('"cloud-house"', '"?"', "[coordinator] organisation: '?' names no organisation"),
        ("[datasets.access-2026]", "[datasets.'Access 2026']", "datasets"),
        (VALID, "organisation = ", "owner.toml: is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_rule(old: str, new: str, told: str) -> None:
    assert told in problem(VALID.replace(old, new))


def test_an_entry_that_stands_twice_is_a_mistake() -> None:
    again = f'\n[[scientists]]\nname = "sam"\nkey = "{SOUTH}"\norganisation = "x"\n'
    assert "The name 'sam' stands here twice" in problem(VALID + again)


def test_plain_http_is_allowed_on_this_machine() -> None:
    local = parse_config(VALID.replace("https://fedcore.example.org/", "http://127.0.0.1:8000"))
    assert local.coordinator.url == "http://127.0.0.1:8000"


def test_a_missing_file_is_no_policy_and_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fedcore-owner init"):
        load_config(tmp_path / "owner.toml")


def test_a_file_that_is_not_text_is_no_policy(tmp_path: Path) -> None:
    (tmp_path / "owner.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(tmp_path / "owner.toml")


def test_every_setting_has_an_explanation() -> None:
    lines = explain(parse_config(VALID))
    assert all(line.meaning for line in lines)
    by_place = {line.place: line for line in lines}
    assert by_place["[datasets.access-2026] releases"].value == "50"
    assert by_place["[datasets.access-2026] protocols"].value == "none"
    assert by_place["[[peers]] 1: reference"].is_default


def test_the_template_is_a_policy_once_it_is_filled_in_and_none_before() -> None:
    filled = template("north-hospital", "https://fedcore.example.org", COORDINATOR, "cloud-house")
    policy = parse_config(filled)
    assert policy.datasets == {}
    assert policy.worker == Config.model_fields["worker"].default
    assert len(problems(template("?", "?", "?", "?"))) == 4


def test_the_examples_in_the_template_are_valid_settings() -> None:
    filled = template("north-hospital", "https://fedcore.example.org", COORDINATOR, "cloud-house")
    examples = filled.replace("# [", "[").replace("43 characters", SAM).replace("fedcore-host:…:…", str(CARD))
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line else line for line in examples.splitlines()
    )
    offer = parse_config(uncommented).datasets["access-2026"]
    assert (offer.releases, offer.minimum_rows, offer.download) == (50, 100, False)
