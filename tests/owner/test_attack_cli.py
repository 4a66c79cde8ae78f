"""Olga attacks her own dataset: on her host, with nothing booked and nothing sent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedcore.owner.cli import app
from fedcore.owner.home import Home
from fedcore.plugin_api.attacks import PrivacyAudit
from plugins.readers.apache.generator import generate
from plugins.readers.apache.reader import ApacheCombined

from .test_config import COORDINATOR

Call = Callable[..., Result]
OFFER = """
[datasets.{name}]
title = "Access logs"
reader = "{reader}"
reader_options = {options}
files = [{{path = "{file}"{label}}}]
purposes = ["security-research"]
protocols = ["local"]
backends = ["plaintext"]
models = ["linear"]
releases = 1
retention = {retention}
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    place = Home(tmp_path / "north")
    options = (
        "--organisation",
        "north",
        "--coordinator",
        "https://fedcore.example.org",
        "--operator",
        "cloud",
    )
    made = CliRunner().invoke(
        app, ["init", *options, "--coordinator-key", COORDINATOR, "--home", str(place.path)]
    )
    assert made.exit_code == 0, made.output
    lines = "".join(f"{line}\n" for line in generate(1600, 1, attack_share=0.2))
    (place.path / "access.log").write_text(lines)
    (place.path / "good.txt").write_bytes(b"GET /\n" * 300)
    with place.config_path.open("a") as file:
        logs = {"reader": "apache_combined", "options": "{labels = true}", "file": "access.log", "label": ""}
        plain = {
            "reader": "labelled_lines",
            "options": "{}",
            "file": "good.txt",
            "label": ', label = "benign"',
        }
        file.write(OFFER.format(name="logs", retention="2099-12-31", **logs))
        file.write(OFFER.format(name="old", retention="2020-12-31", **logs))
        file.write(OFFER.format(name="benign", retention="2099-12-31", **plain))
    return place


@pytest.fixture
def call(home: Home) -> Call:
    def run(*arguments: str) -> Result:
        return CliRunner().invoke(
            app, ["attack", *arguments, "--home", str(home.path)], env={"COLUMNS": "400"}
        )

    return run


def columns(*names: str) -> list[str]:
    return [word for name in names for word in ("--column", name)]


def test_each_figure_stands_beside_its_unprotected_control_with_its_meaning(call: Call) -> None:
    result = call("logs", *columns("user", "time", "target"), "--minimum-count", "5")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("logs: 1600 rows, fields > lower > words > protect")
    assert "keyed_tokens (minimum_count 5)" in lines[0]
    assert lines[1].split() == ["attack", "figure", "found", "unprotected", "guessing", "what", "it", "means"]
    for told in ("tokens named", "rows found by user, date and hour", "area under the curve"):
        (line,) = [line for line in lines if told in line and "distinct" not in line]
        assert len([word for word in line.split() if word.replace(".", "").isdigit() and "." in word]) >= 3
    assert "Where an attack fails on unprotected rows too, it shows nothing." in result.stdout
    assert "Naming tokens by their frequency" in result.stderr


def test_the_figures_come_as_json_and_nothing_else_does(call: Call) -> None:
    result = call("logs", "--pipeline", "char_ngrams", "--backend", "plaintext", "--rows", "800", "--json")
    assert result.exit_code == 0, result.output
    found = PrivacyAudit.from_json(json.loads(result.stdout))
    assert (found.dataset, found.rows, found.backend) == ("logs", 800, "plaintext")
    assert "char_ngrams" in found.pipeline
    assert any(figure.figure == "rows found by 5 tokens" for figure in found.figures)


def test_nothing_is_booked_noted_or_left_on_the_host(home: Home, call: Call) -> None:
    before = {path: path.stat().st_mtime_ns for path in home.path.rglob("*")}
    assert call("logs", "--rows", "400").exit_code == 0
    assert {path: path.stat().st_mtime_ns for path in home.path.rglob("*")} == before


def test_no_row_is_shown(home: Home, call: Call) -> None:
    marked = '198.51.100.9 - zxcvbn [05/Jan/2026:08:00:00 +0000] "GET /qwertz HTTP/1.1" 200 1 "-" "x" "-"\n'
    path = home.path / "access.log"
    path.write_text(marked * 50 + path.read_text())
    result = call("logs", *columns("user", "target"), "--json")
    assert result.exit_code == 0, result.output
    assert not [word for word in ("zxcvbn", "qwertz", "198.51") if word in result.output]


def test_what_the_policy_allows_scientists_does_not_bind_the_owner(call: Call) -> None:
    """`backends` of the dataset names plaintext only."""
    assert call("logs", "--rows", "400", "--json").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "[datasets.nowhere]: the policy offers no such dataset. Add it to offer it."),
        (["old"], "[datasets.old]: its retention date has passed. Delete the data, or change retention."),
        (["benign"], "All rows that were read are of one class: read more rows, or of more files."),
        (["logs", "--rows", "50"], "There are 50 rows; the attacks need 200 or more to say anything."),
        (["logs", "--pipeline", "magic"], "no pipeline 'magic'. Choose one of: words, char_ngrams."),
        (["logs", "--backend", "magic"], "No backend 'magic' hands out protected tokens here"),
        (["logs", "--backend", "paillier"], "Choose one of: keyed_tokens, plaintext."),
        (["logs", "--backend", "secret_sharing"], "Choose one of: keyed_tokens, plaintext."),
        (["logs", "--column", "shoe"], "The dataset has no column shoe. It has: host, user, time,"),
        (["logs", "--backend", "plaintext", "--minimum-count", "5"], "minimum_count: Extra inputs"),
        (["logs", "--minimum-count", "9000"], "no token is in 9000 rows or more; choose less"),
        (["logs", "--minimum-count", "2000000"], "less than or equal to 1000000"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(call: Call, arguments: list[str], why: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 1
    assert why in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "wrong", [["--minimum-count", "0"], ["--rows", "0"], ["--rows", "200001"], ["--rows", "x"]]
)
def test_a_number_out_of_range_is_a_mistake_of_the_command_line(call: Call, wrong: list[str]) -> None:
    assert call("logs", *wrong).exit_code == 2


def test_a_missing_file_is_told_by_its_path(home: Home, call: Call) -> None:
    (home.path / "access.log").unlink()
    result = call("logs")
    assert result.exit_code == 1
    assert "access.log" in result.stderr


def test_an_empty_file_is_told(home: Home, call: Call) -> None:
    (home.path / "access.log").write_text("")
    result = call("logs")
    assert result.exit_code == 1
    assert "access.log" in result.stderr


def test_a_reader_that_gives_no_row_is_told(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ApacheCombined, "read", lambda *_: iter(()))
    result = call("logs")
    assert result.exit_code == 1
    assert "[datasets.logs]: its files have no usable row. Look at the files." in result.stderr


def test_a_broken_policy_is_told_and_nothing_is_read(home: Home, call: Call) -> None:
    home.config_path.write_text("organisation = 3")
    result = call("logs")
    assert result.exit_code == 1
    assert "nothing runs until they are corrected" in result.stderr
