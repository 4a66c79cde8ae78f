"""How the demonstration tells its story, and what it takes for a refusal."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from examples.demo import sam as sam_module
from examples.demo import scientist
from examples.demo.governance import OLGAS, approve_waiting
from examples.demo.sam import Sam
from examples.demo.telling import Teller, shortened
from fedcore.client import FedcoreError, Refused, RunFailed, Session

DIGEST = "ab" * 32


class Coordinator:
    """What a session answers, as far as the tests ask."""

    def __init__(self, state: str = "submitted", requests: list[dict[str, Any]] | None = None) -> None:
        self.state = state
        self.known = requests or []
        self.decided: list[tuple[str, dict[str, Any]]] = []

    def run(self, run: str) -> dict[str, str]:
        return {"state": self.state, "message": "Waiting for the approval of north."}

    def requests(self) -> list[dict[str, Any]]:
        return self.known

    def decide(self, digest: str, decision: str, **terms: Any) -> dict[str, Any]:
        self.decided.append((digest, {"decision": decision} | terms))
        return {"digest": digest}


def teller(width: int = 60) -> Teller:
    return Teller(Console(file=io.StringIO(), width=width, highlight=False))


def told_by(some: Teller) -> list[str]:
    return [line.rstrip() for line in some.console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def sam_at(coordinator: Coordinator, out: Path) -> Sam:
    return Sam(coordinator, "http://here", ("target",), out, teller())  # type: ignore[arg-type]


def test_who_acts_stands_beside_what_happens_and_the_answer_below() -> None:
    some = teller()
    some.does("Olga", "grants 3 runs; " + "and more " * 5)
    some.answers("in force")
    assert told_by(some) == [
        "  Olga            grants 3 runs; and more and more and more",
        "                  and more and more",
        "                  → in force",
    ]


def test_an_error_is_told_word_for_word_and_no_part_of_it_is_taken_for_a_style() -> None:
    some = teller()
    some.refuses(Refused("releases_spent", "All are used."))
    assert told_by(some) == ["                  → All are used. [releases_spent]"]


def test_an_address_is_never_broken() -> None:
    some = teller(width=30)
    some.points_to(f"http://127.0.0.1/{DIGEST}/")
    assert told_by(some) == [f"    http://127.0.0.1/{DIGEST}/"]


def test_what_is_too_long_of_a_commands_output_is_broken_or_left_out() -> None:
    broken, cut = teller(width=30), teller(width=30)
    broken.prints(["word " * 10])
    cut.prints(["word " * 10], cut=True)
    assert len(told_by(broken)) == 2
    assert told_by(cut) == ["    word word word word word …"]


def test_digests_are_cut_to_the_digits_that_people_compare() -> None:
    assert shortened(f"head: 7:{DIGEST}, 12 of {DIGEST[:12]}") == "head: 7:abababababab…, 12 of abababababab"


def test_a_refusal_with_the_right_code_is_told_and_noted(tmp_path: Path) -> None:
    sam = sam_at(Coordinator(), tmp_path)
    sam.note(grants=[DIGEST])

    def refused() -> None:
        raise Refused("releases_spent", "All are used.")

    def failed() -> None:
        raise RunFailed("12", "failed", "budget_spent", "Nothing is left.")

    sam.is_refused("releases_spent", refused)
    sam.is_refused("budget_spent", failed)
    assert [item["code"] for item in sam.notes["refusals"]] == ["releases_spent", "budget_spent"]
    assert sam.notes["grants"] == [DIGEST]
    assert "All are used. [releases_spent]" in told_by(sam.teller)[0]


def test_what_is_allowed_and_should_be_refused_ends_the_demonstration(tmp_path: Path) -> None:
    with pytest.raises(FedcoreError, match="refused with releases_spent was allowed"):
        sam_at(Coordinator(), tmp_path).is_refused("releases_spent", lambda: "a run")


def test_an_error_that_ends_a_scene_keeps_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(sam: Sam) -> None:
        raise Refused("dataset_changed", "", [f"{name}: It has a new version." for name in sam.columns])

    monkeypatch.setattr(scientist, "SCENES", {"ask": refused})
    monkeypatch.setattr(Session, "open", lambda url: Coordinator())
    monkeypatch.setattr("signal.signal", lambda number, reaction: None)
    words = ["scientist", "ask", "http://here", "--columns", "target", "--out", str(tmp_path)]
    monkeypatch.setattr("sys.argv", words)
    assert scientist.main() == 1
    assert capsys.readouterr().out == "Error: Refused [dataset_changed]:\n  - target: It has a new version.\n"


def test_a_refusal_for_another_reason_ends_the_demonstration(tmp_path: Path) -> None:
    def refused() -> None:
        raise Refused("dataset_changed", "It has a new version.")

    sam = sam_at(Coordinator(), tmp_path)
    with pytest.raises(Refused, match="dataset_changed"):
        sam.is_refused("releases_spent", refused)
    assert "refusals" not in sam.notes


def test_a_run_that_never_waits_ends_the_demonstration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sam_module, "WAIT_SECONDS", 0.0)
    assert (
        sam_at(Coordinator("awaiting_grants"), tmp_path)
        .wait_for_state("12", "awaiting_grants")
        .endswith("north.")
    )
    with pytest.raises(FedcoreError, match="submitted, not awaiting_grants"):
        sam_at(Coordinator("submitted"), tmp_path).wait_for_state("12", "awaiting_grants")


def test_only_waiting_requests_are_approved_and_within_the_owners_limits() -> None:
    known = [
        {"digest": "1", "state": "waiting", "dataset": "logs"},
        {"digest": "2", "state": "refused", "dataset": "logs"},
        {"digest": "3", "state": "waiting", "dataset": "portal"},
    ]
    coordinator = Coordinator(requests=known)
    found = approve_waiting(coordinator, lambda asked: OLGAS.limits if asked["dataset"] == "logs" else {})  # type: ignore[arg-type]
    assert [item["digest"] for item in found] == ["1", "3"]
    terms = dict(coordinator.decided)
    assert (terms["1"]["decision"], terms["1"]["releases"]) == ("approve", OLGAS.releases)
    assert "releases" not in terms["3"]
