"""The whole way in a browser: from the first administrator to the auditor, over real processes of all organisations.

Cloud House runs the coordinator, North Hospital and South Bank own data, Sam works at the University. What
nobody types into a browser goes the way that it goes in use: owner hosts are `fedcore-owner run`, Sam uses the client.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.demo.coordinator import site_toml
from examples.demo.organisations import NORTH_HOSPITAL
from fedcore.client import Refused
from fedcore.wire.keys import fingerprint
from tests.browser.authenticator import set_up
from tests.browser.conftest import Site, watched
from tests.browser.dialogs import decide, open_dialog
from tests.browser.way import ADA, Way, add_person, log_in, part_of, set_password
from tests.faults.federation import FAST, federation

pytestmark = [pytest.mark.browser, pytest.mark.processes, pytest.mark.xdist_group("browser")]

SETTINGS = FAST | {"FEDCORE_SECOND_FACTOR": "required"}
REASON = "One detector of malicious requests that all owners can use."
REVOKED = "The study is over."


@pytest.fixture
def way(chromium: Any, tmp_path: Path) -> Iterator[Way]:
    with federation(tmp_path / "f", settings=SETTINGS) as found:
        found.make_hosts()
        found.manage("migrate", "--verbosity", "0")
        found.start_coordinator()
        with watched(Site(found.url), chromium) as visit:
            yield Way(found, visit)


def test_the_whole_way(way: Way) -> None:
    clara_becomes_the_first_administrator(way)
    clara_adds_north_hospital_and_its_data_owner(way)
    clara_appoints_ada_as_auditor(way)
    the_others_come_by_a_file(way)
    olga_comes_in_by_the_link_and_sets_up_a_second_factor(way)
    clara_registers_the_hospitals_host(way)
    the_hosts_announce_their_datasets(way)
    sam_asks_both_owners(way)
    olga_reads_what_is_asked_of_her_data(way)
    olga_approves_within_tighter_limits(way)
    otto_approves_as_asked(way)
    sams_run_goes_and_uses_a_release_of_the_grant(way)
    olga_sees_what_the_run_gave(way)
    olga_revokes_with_a_reason_and_her_host_confirms(way)
    sams_next_run_is_refused(way)
    ada_finds_all_of_it_in_the_audit(way)
    ada_exports_it_and_reads_the_record_of_processing(way)
    the_audit_is_whole(way)


def clara_becomes_the_first_administrator(way: Way) -> None:
    clara, house = way.person("clara"), way.federation.cast.operator
    page = way.page("clara")
    page.goto(way.federation.url)
    way.picture(page, "first-run")
    page.get_by_label("Code").fill((house.home / "first-run.code").read_text())
    page.get_by_label("Username").fill("clara")
    page.get_by_label("Password", exact=False).first.fill(clara.password)
    page.get_by_label("Password again").fill(clara.password)
    page.get_by_label("Your organisation").fill("Cloud House")
    page.get_by_role("button", name="Make administrator").click()
    page.get_by_text("You are the first administrator").wait_for()
    log_in(page, clara)
    assert "Your roles need a second factor." in page.locator(".fedcore-words").first.inner_text()
    way.picture(page, "second-factor")
    set_up(page, clara.password)
    page.wait_for_url("**/admin/")
    assert page.title().startswith("Overview")
    way.picture(page, "overview-of-the-first-administrator")
    assert way.rows("SELECT username FROM governance_person") == [("clara",)]


def clara_adds_north_hospital_and_its_data_owner(way: Way) -> None:
    page = way.open("clara", "governance/organisation/add/")
    page.get_by_label("Title").fill("North Hospital")
    page.get_by_label("Name").fill(NORTH_HOSPITAL)
    way.picture(page, "add-organisation")
    page.get_by_role("button", name="Save", exact=True).click()
    page.locator("#result_list").get_by_text("North Hospital").wait_for()
    add_person(way, way.person("olga"), "North Hospital", "Data owner")
    way.picture(page, "data-owner")
    assert way.rows(
        "SELECT username, role FROM governance_membership JOIN governance_person AS p ON p.id = person_id "
        "WHERE username = 'olga'"
    ) == [("olga", "data_owner")]


def clara_appoints_ada_as_auditor(way: Way) -> None:
    add_person(way, ADA, "Cloud House", "Auditor")


def the_others_come_by_a_file(way: Way) -> None:
    """South Bank and the University were set up by the operator, as a whole site can be."""
    cast = way.federation.cast
    house = cast.operator
    others = {organisation.name for organisation in (cast.owners[1], cast.university)}
    file = house.directory / "others.toml"
    file.write_text(part_of(site_toml(cast, way.federation.cards), others))
    passwords = {f"PASSWORD_OF_{person.username.upper()}": person.password for person in cast.people}
    way.federation.manage("setup_site", str(file), **passwords)
    page = way.open("clara", "governance/organisation/")
    assert {"South Bank", "University"} <= set(page.locator("#result_list tbody th").all_inner_texts())
    way.picture(page, "organisations")


def olga_comes_in_by_the_link_and_sets_up_a_second_factor(way: Way) -> None:
    page, olga = way.page("olga"), way.person("olga")
    set_password(page, way.links["olga"], olga)
    way.picture(page, "log-in")
    log_in(page, olga)
    set_up(page, olga.password)
    page.wait_for_url("**/admin/")
    assert page.title().startswith("Overview")
    words = page.locator("#content").inner_text()
    assert "Nothing waits for a decision." in words
    assert NORTH_HOSPITAL not in words
    way.picture(page, "overview-of-a-new-data-owner")


def clara_registers_the_hospitals_host(way: Way) -> None:
    page = way.open("clara", "governance/ownerhost/add/")
    page.locator("select[name=organisation]").select_option(label="North Hospital")
    page.get_by_label("Name").fill(NORTH_HOSPITAL)
    page.get_by_label("Card").fill(way.federation.cards[NORTH_HOSPITAL])
    way.picture(page, "add-host")
    page.get_by_role("button", name="Save", exact=True).click()
    row = page.get_by_role("row").filter(has_text=NORTH_HOSPITAL)
    row.wait_for()
    assert "AWAY" in row.inner_text()


def the_hosts_announce_their_datasets(way: Way) -> None:
    for owner in way.federation.cast.owners:
        way.federation.write_policy(owner)
        way.federation.start_host(owner)
    sam = way.federation.session("sam")
    way.federation.until("both are announced", lambda: len(sam.datasets()) == 2, 120, every=0.5)
    page = way.open("olga", "governance/ownerhost/")
    assert "HERE" in page.get_by_role("row").filter(has_text=NORTH_HOSPITAL).inner_text()
    way.picture(page, "hosts")
    page = way.open("olga", "governance/dataset/")
    way.picture(page, "datasets")
    page.get_by_role("link", name="Access log of the hospital's web server").click()
    words = page.locator(".fedcore-request").inner_text()
    assert "North Hospital" in words
    assert "2,000 requests in combined log format" in words
    way.picture(page, "dataset")


def sam_asks_both_owners(way: Way) -> None:
    sam = way.federation.session("sam")
    way.plan = way.federation.plan()
    terms = {"purpose": way.plan.purpose, "reason": REASON, "releases": 3, "download": True}
    way.grants = [sam.request_access(dataset, [way.plan], **terms) for dataset in way.datasets]
    assert [sam.request(digest)["state"] for digest in way.grants] == ["waiting", "waiting"]


def olga_reads_what_is_asked_of_her_data(way: Way) -> None:
    page = way.open("olga", "")
    assert page.locator(".fedcore-bell .fedcore-count").inner_text() == "1"
    way.picture(page, "overview-with-a-request")
    page.locator(".fedcore-bell").click()
    way.picture(page, "notices")
    page.get_by_role("link", name=re.compile("Sam Scientist asks for access")).click()
    page.wait_for_url(f"**/{way.request_page}")
    way.until_shown(page, "#fedcore-dry-run", "PASSES", 120)
    words = page.locator(".fedcore-request").inner_text()
    assert fingerprint(way.federation.sam_key.public) in words
    for said in ("Sam Scientist of University", REASON, "Consider before you decide", "PSEUDONYMISED"):
        assert said in words
    way.picture(page, "request")


def olga_approves_within_tighter_limits(way: Way) -> None:
    page = way.page("olga")
    dialog = open_dialog(page, "Approve")
    dialog.get_by_label("Releases").fill("2")
    dialog.get_by_label("Owners in each run, at least").fill("2")
    dialog.get_by_label("May download").uncheck()
    dialog.get_by_label("Note").fill("Two runs, to begin with.")
    way.picture(page, "approval", whole=False)
    decide(page, dialog, "Approve")
    limits = page.locator("#limits")
    assert "Approved by Olga Owner" in limits.inner_text()
    assert "0 of 2 releases used" in limits.inner_text()
    assert limits.get_by_text("tighter").count() == 3
    way.until_shown(page, ".fedcore-at-host", "north-hospital has it in force")
    way.picture(page, "request-granted")
    grant = way.federation.session("sam").request(way.grants[0])["grant"]
    assert (grant["releases"], grant["minimum_owners"], grant["download"]) == (2, 2, False)
    assert (grant["standing"], grant["releases_used"]) == ("in_force", 0)


def otto_approves_as_asked(way: Way) -> None:
    page, otto = way.page("otto"), way.person("otto")
    page.goto(f"{way.federation.url}/admin/governance/accessrequest/{way.grants[1]}/change/")
    log_in(page, otto)
    set_up(page, otto.password)
    page.wait_for_url(f"**/{way.grants[1]}/change/")
    dialog = open_dialog(page, "Approve")
    decide(page, dialog, "Approve")
    way.until_shown(page, ".fedcore-at-host", "south-bank has it in force")


def sams_run_goes_and_uses_a_release_of_the_grant(way: Way) -> None:
    assert way.plan is not None
    sam = way.federation.session("sam")
    way.run = sam.submit(way.plan, way.datasets, way.grants)
    page = way.open("olga", f"runs/run/{way.run}/change/")
    words = page.locator("#fedcore-run").inner_text()
    assert "Submitted by Sam Scientist of University" in words
    way.picture(page, "run-under-way")
    # The page shows by itself that the run has ended.
    page.locator("#fedcore-run .fedcore-badge", has_text="finished").wait_for(timeout=180_000)
    assert sam.run(way.run)["state"] == "finished"
    assert way.rows("SELECT run FROM governance_release") == [(way.run,), (way.run,)]


def olga_sees_what_the_run_gave(way: Way) -> None:
    page = way.open("olga", f"runs/run/{way.run}/change/")
    words = page.locator("#fedcore-run").inner_text()
    assert "100%" in words
    report = way.federation.session("sam").report(way.run)
    f1 = page.locator(".fedcore-table tr", has=page.get_by_text("F1", exact=True)).locator("td").first
    assert f1.inner_text() == f"{report['metrics']['f1']:.4f}"
    merged = page.locator("#rights dt", has_text="merged pseudonymised dataset").locator(
        "xpath=following::dd[1]"
    )
    assert merged.inner_text().strip().lower() == "no"
    way.picture(page, "run-finished")
    page = way.open("olga", way.request_page)
    assert "1 of 2 releases used" in page.locator("#limits").inner_text()
    way.picture(page, "request-used")
    way.picture(way.open("olga", "governance/grant/"), "grants")
    way.picture(way.open("olga", ""), "overview-after-a-run")


def olga_revokes_with_a_reason_and_her_host_confirms(way: Way) -> None:
    page = way.open("olga", way.request_page)
    dialog = open_dialog(page, "Revoke")
    assert "What was handed over before cannot be called back." in dialog.inner_text()
    dialog.get_by_label("Reason").fill(REVOKED)
    way.picture(page, "revocation", whole=False)
    decide(page, dialog, "Revoke")
    assert "Revoked by Olga Owner" in page.locator("#limits").inner_text()
    assert REVOKED in page.locator("#thread").inner_text()
    way.until_shown(page, ".fedcore-at-host", "north-hospital has revoked it, which is final")
    way.picture(page, "request-revoked")
    assert way.rows("SELECT standing FROM governance_grant WHERE revoked_at IS NOT NULL") == [("revoked",)]


def sams_next_run_is_refused(way: Way) -> None:
    assert way.plan is not None
    sam = way.federation.session("sam")
    with pytest.raises(Refused) as refusal:
        sam.submit(way.plan, way.datasets, way.grants)
    assert refusal.value.code == "grant_revoked"
    assert [run["state"] for run in sam.runs()] == ["finished"]
    page = way.page("sam")
    page.goto(f"{way.federation.url}/admin/")
    log_in(page, way.person("sam"))
    assert "REVOKED" in page.locator("#content").inner_text()
    way.picture(page, "overview-of-sam")


def ada_finds_all_of_it_in_the_audit(way: Way) -> None:
    page = way.page("ada")
    set_password(page, way.links["ada"], ADA)
    log_in(page, ADA)
    way.picture(page, "overview-of-ada")
    page.locator("#nav-sidebar-apps").get_by_role("link", name="Audit").click()
    way.picture(page, "audit")
    for action, who, what in EXPECTED:
        page = way.open("ada", f"governance/auditentry/?action__exact={action}&o=1")
        rows = page.locator("#result_list tbody tr").all_inner_texts()
        assert any(who in row and what in row for row in rows), (action, who, what, rows)
    page = way.open("ada", "governance/auditentry/?q=grant_revoked")
    refused = page.locator("#result_list tbody tr")
    assert refused.count() == 1
    assert "Sam Scientist" in refused.inner_text()
    refused.get_by_role("link").first.click()
    assert "grant_revoked" in page.locator(".fedcore-request").inner_text()
    way.picture(page, "audit-of-a-refusal")
    page = way.open("ada", "governance/auditentry/?action__exact=approve_request&q=olga")
    page.locator("#result_list tbody a").first.click()
    words = page.locator(".fedcore-request").inner_text()
    assert "Olga Owner" in words
    assert re.search(r"Releases\s+2\b", words)
    way.picture(page, "audit-of-an-approval")


def ada_exports_it_and_reads_the_record_of_processing(way: Way) -> None:
    page = way.open("ada", "governance/auditentry/?action__exact=revoke_grant")
    with page.expect_download() as lines:
        page.get_by_role("button", name="JSON lines").click()
    exported = [json.loads(line) for line in Path(lines.value.path()).read_text().splitlines()]
    assert [entry["action"] for entry in exported] == ["revoke_grant"]
    with page.expect_download() as record:
        page.get_by_role("button", name="Page", exact=True).click()
    paper = way.visit(None)
    paper.set_content(Path(record.value.path()).read_text())
    words = paper.locator("body").inner_text()
    for said in ("North Hospital", "to University", "1 of 2 releases used", "Revoked"):
        assert said in words
    way.picture(paper, "record-of-processing")


def the_audit_is_whole(way: Way) -> None:
    assert re.search(r"^\d+ entries are whole\.", way.federation.manage("audit", "verify"))


EXPECTED = (
    ("add_organisation", "clara", "North Hospital"),
    ("add_person", "clara", "Olga Owner"),
    ("give_role", "clara", "Olga Owner"),
    ("enrol_factor", "Olga Owner", "Olga Owner"),
    ("add_host", "clara", NORTH_HOSPITAL),
    ("offer_dataset", NORTH_HOSPITAL, "access-log"),
    ("submit_request", "Sam Scientist", "access-log"),
    ("approve_request", "Olga Owner", "access-log"),
    ("stand_grant", NORTH_HOSPITAL, "access-log"),
    ("submit_run", "Sam Scientist", "Malicious requests"),
    ("use_release", "", "access-log"),
    ("finish_run", "", "Malicious requests"),
    ("read_report", "Olga Owner", "Malicious requests"),
    ("revoke_grant", "Olga Owner", "access-log"),
)
"""Action, who, and on what."""
