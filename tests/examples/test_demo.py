"""The whole demonstration, over real processes of five organisations: what their own records say of it afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from examples.demo.coordinator import environment_of
from examples.demo.data import PORTAL
from examples.demo.governance import OLGAS, OTTOS, SOUTH_AT_ONCE
from examples.demo.offer import DATASET
from examples.demo.organisations import Organisation
from examples.demo.plans import EPSILON
from examples.demo.processes import processes_at_home_in
from examples.demo.sam import AUDIT
from examples.demo.scientist import RUNS
from fedcore.client.comparison import read_audit
from fedcore.owner.facts import Ruling
from fedcore.owner.grants import GrantStore
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.home import Home
from fedcore.owner.journal import Journal
from fedcore.owner.ledger import open_ledger

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.xdist_group("processes")]


@dataclass(frozen=True)
class Told:
    """A demonstration that has ended: what it printed, and what its organisations have on their disks."""

    status: int
    output: str
    work: Path

    @property
    def words(self) -> str:
        """The output as one line, however it was broken."""
        return " ".join(self.output.split())

    @cached_property
    def notes(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.work / "university" / "notes.json").read_text())
        return found

    @cached_property
    def audit(self) -> list[dict[str, Any]]:
        """The entries of the coordinator's audit, with their details."""
        lines = self.manage("audit", "export").stdout.splitlines()
        entries = [json.loads(line) for line in lines if line]
        return [entry | {"detail": json.loads(entry["detail"])} for entry in entries]

    def entries(self, action: str) -> list[dict[str, Any]]:
        return [entry for entry in self.audit if entry["action"] == action]

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A management command on what the coordinator has left behind."""
        house = Organisation("cloud-house", "Cloud House", self.work / "cloud-house")
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=environment_of(house), capture_output=True, text=True, timeout=120
        )

    def home(self, host: str) -> Home:
        return Home(self.work / host / "home")

    def held(self, host: str, dataset: str = DATASET) -> HeldGrant:
        """The one grant on a dataset that an owner's host holds."""
        place = self.home(host)
        with Journal(place.journal_path) as journal, GrantStore(place.grants_path, journal) as grants:
            [found] = [grant for grant in grants.all() if grant.request.dataset.name == dataset]
        return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    work = tmp_path_factory.mktemp("story") / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=os.environ | {"ONCE": "1", "FEDCORE_DEMO_ROWS": "3000", "FEDCORE_DEMO_DIR": str(work)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=550,
    )
    return Told(done.returncode, done.stdout + done.stderr, work)


def test_it_runs_to_its_end_and_leaves_nothing_running(told: Told) -> None:
    assert told.status == 0, told.output[-6000:]
    assert not list(processes_at_home_in(told.work))


def test_four_runs_are_compared(told: Told) -> None:
    reports = json.loads((told.work / "university" / "reports.json").read_text())
    assert [report["protocol"] for report in reports] == ["local", "reference", "shared", "pooled"]
    assert reports[3]["backend"]["pseudonymised"]
    assert reports[0]["owners"][0]["bytes_sent"] == 0
    assert (told.work / "report.html").stat().st_size > 100_000
    for text in ("none is shared", "lines look like attacks", "accuracy 0."):
        assert text in told.words


def test_the_owners_grant_less_than_was_asked(told: Told) -> None:
    asked = [entry["detail"] for entry in told.entries("submit_request")]
    assert [(item["releases"], item["download"]) for item in asked] == [
        (RUNS, True),
        (RUNS, True),
        (5, False),
    ]
    granted = {entry["thing_id"]: entry["detail"] for entry in told.entries("approve_request")}
    olgas, ottos = (granted[digest] for digest in told.notes["grants"])
    assert (olgas["releases"], ottos["releases"]) == (OLGAS.releases, OTTOS.releases) == (4, 6)
    assert max(olgas["expires_at"], ottos["expires_at"]) < min(item["expires_at"] for item in asked[:2])
    assert f"Olga grants {OLGAS.releases} runs" in told.words
    assert f"Otto grants {OTTOS.releases} runs" in told.words


def test_a_run_waits_for_the_owners_and_for_a_person_at_the_host(told: Told) -> None:
    first = told.notes["runs"][0]
    submitted, started = (
        next(entry["serial"] for entry in told.entries(action) if entry["thing_id"] == first)
        for action in ("submit_run", "start_run")
    )
    said = [
        (entry["detail"]["standing"], entry["serial"])
        for entry in told.entries("stand_grant")
        if entry["thing_id"] == told.notes["grants"][1]
    ]
    assert [standing for standing, _ in said] == ["waiting", "in_force"]
    approved = [entry["serial"] for entry in told.entries("approve_request")]
    assert submitted < min(approved) < max(approved) < said[0][1] < said[1][1] < started
    assert (
        "Awaiting grants. Waiting for the approval of north-hospital (access-log), south-bank" in told.words
    )


def test_a_person_at_south_bank_confirmed_what_exceeds_the_ceiling(told: Told) -> None:
    held = told.held("south-bank")
    assert (held.ruling, held.limits.releases) == (Ruling.CONFIRMED, OTTOS.releases)
    ceilings = told.home("south-bank").load_config().datasets[DATASET].ceilings
    assert ceilings.releases == SOUTH_AT_ONCE < OTTOS.releases
    assert f"waits for a person here releases: 6 (at once: at most {SOUTH_AT_ONCE})" in told.words
    assert f"$ fedcore-owner grants confirm {held.digest[:12]}" in told.words


def test_what_was_not_granted_was_refused_and_the_scientist_read_why(told: Told) -> None:
    codes = ["releases_spent", "budget_spent", "grant_revoked", "not_granted"]
    assert [refusal["code"] for refusal in told.notes["refusals"]] == codes
    for refusal in told.notes["refusals"]:
        assert " ".join(refusal["text"].split()) in told.words
    recorded = [entry["code"] for entry in told.audit if entry["outcome"] == "refused"]
    assert [code for code in recorded if code in codes] == [
        "releases_spent",
        *("budget_spent", "budget_spent"),  # the host's answer, and the end of the run that follows from it
        *("grant_revoked", "not_granted"),
    ]


def test_the_owners_attacks_on_her_own_data_are_in_the_comparison(told: Told) -> None:
    audit = read_audit(told.work / "university" / AUDIT)
    assert (audit.dataset, audit.backend) == (DATASET, "keyed_tokens")
    named = audit.figures[0]
    assert named.found < named.control
    assert f"{named.found:.0%} of all tokens read, {named.control:.0%} if unprotected" in told.words
    assert "What attacks find out: keyed_tokens" in told.words
    assert "What attacks find out" in (told.work / "report.html").read_text()


def test_the_ledger_charges_the_private_run_and_bounds_no_other(told: Told) -> None:
    with open_ledger(told.home("north-hospital")) as ledger:
        assert ledger.spent(1e-6, dataset=PORTAL) == pytest.approx(EPSILON * 1_000_000, rel=0.02)
        assert ledger.spent(1e-6, dataset=DATASET) is None
        assert len(ledger.booked(dataset=DATASET)) == 4
    assert re.search(rf"{PORTAL} 1 0\.8 0\.2 1e-06 1 0", told.words)


def test_the_owner_revoked_the_grant_on_the_host(told: Told) -> None:
    assert told.held("north-hospital").ruling is Ruling.REVOKED
    assert told.held("north-hospital", PORTAL).ruling is None
    last = [entry["detail"]["standing"] for entry in told.entries("stand_grant")][-1]
    assert last == "revoked"
    assert not (told.work / "university" / "late.safetensors").exists()


@pytest.mark.parametrize("host", ["north-hospital", "south-bank"])
def test_the_owners_records_are_whole(told: Told, host: str) -> None:
    place = told.home(host)
    with open_ledger(place) as ledger, Journal(place.journal_path) as journal:
        counts = {"ledger": ledger.chain.verify(None), "journal": journal.verify()}
    who = host.replace("-", " ").title()
    for record, count in counts.items():
        found = re.search(
            rf"{who} fedcore-owner {record} verify (\d+) entries, and the chain holds\.", told.words
        )
        assert found is not None, record
        assert 0 < int(found[1]) <= count


def test_the_coordinators_audit_is_whole(told: Told) -> None:
    found = re.search(
        r"manage\.py audit verify (\d+) entries are whole\. The last is \1, ([0-9a-f]{12})…", told.words
    )
    assert found is not None
    [entry] = [entry for entry in told.audit if entry["serial"] == int(found[1])]
    assert entry["digest"].startswith(found[2])
    assert told.manage("audit", "verify").returncode == 0
