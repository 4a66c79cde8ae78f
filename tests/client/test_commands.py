from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedcore.client import Session
from fedcore.wire.access import AccessRequest
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Privacy

from .conftest import BOTH, PLAN, URL, VERSION, FakeCoordinator, refusal


def test_login_shows_the_fingerprint_of_the_key(fedcore: Any) -> None:
    output = fedcore("login", URL, "--username", "sam").output
    assert "as sam. Your key: " in output


def test_keys_shows_what_owners_pin(fedcore: Any, tmp_path: Path) -> None:
    output = fedcore("keys").output
    assert "public key" in output
    assert Session(URL, tmp_path / "home").key.public in output


def test_a_wrong_password_ends_with_status_1_and_one_line(
    fedcore: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCORE_PASSWORD", "wrong")
    result = fedcore("login", URL, "--username", "sam")
    assert result.exit_code == 1
    assert "did not accept username and password" in result.output
    assert "Traceback" not in result.output


def test_datasets_lists_host_and_name(fedcore: Any) -> None:
    output = fedcore("datasets").output
    assert "north" in output
    assert "about 12,000" in output


def test_a_request_goes_to_each_owner(fedcore: Any, coordinator: FakeCoordinator) -> None:
    output = fedcore("request", "plan.toml", *BOTH).output
    assert "Asked north for access-2026" in output
    assert "Asked south for access-2026" in output
    assert sum(request.url.path == "/api/requests" for request in coordinator.seen) == 2


def test_a_request_may_name_the_one_it_replaces_and_a_privacy_limit(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    coordinator.requests = [_request(digest="ab" * 32), _request(digest="ac" * 32, host_name="south")]
    result = fedcore("request", "plan.toml", *BOTH, "--replaces", "ac", "--epsilon", "1.5")
    assert result.exit_code == 0, result.output
    sent = [AccessRequest.parse(Signed.parse(body).text) for body in _posted(coordinator, "/api/requests")]
    assert [asked.replaces for asked in sent] == [None, "ac" * 32]
    assert {asked.privacy for asked in sent} == {Privacy(epsilon_micro=1_500_000, delta=1e-6)}


def test_a_beginning_that_fits_no_request_or_two_is_refused(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    coordinator.requests = [_request(digest="ab" * 32), _request(digest="ac" * 32)]
    for words in (
        ("request", "plan.toml", *BOTH, "--replaces", "a"),
        ("requests", "show", "a"),
        ("requests", "withdraw", "b"),
    ):
        result = fedcore(*words)
        assert result.exit_code == 1
        assert "give more of the digest" in result.output


def _posted(coordinator: FakeCoordinator, path: str) -> list[bytes]:
    return [seen.content for seen in coordinator.seen if (seen.method, seen.url.path) == ("POST", path)]


def test_an_unknown_dataset_is_named_with_those_that_exist(fedcore: Any) -> None:
    result = fedcore("request", "plan.toml", "--dataset", "north/other")
    assert result.exit_code == 1
    assert "There is no dataset north/other" in result.output
    assert "south/access-2026" in result.output


def test_requests_shows_states_and_releases(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.requests = [
        _request(state="approved", grant={"releases": 3, "releases_used": 1, "standing": "in_force"}),
        _request(state="approved", grant={"releases": 3, "releases_used": 0, "standing": "waiting"}),
        _request(state="approved", grant={"releases": 3, "releases_used": 0, "standing": ""}),
        _request(state="refused", decision_reason="Too broad."),
    ]
    output = fedcore("requests").output
    assert "1 of 3" in output
    for standing in ("in force", "waiting", "not answered yet"):
        assert f" {standing} " in output
    assert "Too broad." in output


def test_without_a_grant_submitting_says_how_to_ask(fedcore: Any) -> None:
    result = fedcore("submit", "plan.toml", *BOTH)
    assert result.exit_code == 1
    assert "You have no grant for north/access-2026. Ask with `fedcore request`." in result.output


def test_a_run_is_submitted_under_the_newest_grants_and_followed(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    coordinator.requests = [_request(host_name=name, state="approved") for name in ("north", "south")]
    coordinator.answers["POST", "/api/runs"] = lambda request: _started(coordinator, request)
    result = fedcore("submit", "plan.toml", *BOTH)
    assert result.exit_code == 0, result.output
    assert "Run " in result.output
    assert "finished" in result.output


def test_a_run_that_fails_ends_with_status_1_and_its_remedy(
    fedcore: Any, coordinator: FakeCoordinator
) -> None:
    message = "south did not answer. Ask its owner to start `fedcore-owner run`."
    coordinator.runs = [
        {"id": "ab" * 32, "title": "Detector", "state": "failed", "code": "owner_away", "message": message}
    ]
    result = fedcore("follow", "abab")
    assert result.exit_code == 1
    assert message in " ".join(result.output.split())


def test_the_beginning_of_an_id_must_be_unique(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.runs = [{"id": "ab" * 32, "title": "one"}, {"id": "ac" * 32, "title": "two"}]
    result = fedcore("follow", "a")
    assert result.exit_code == 1
    assert "2 of your runs begin with 'a': give more of the id." in result.output


def test_compare_writes_a_page(
    fedcore: Any, coordinator: FakeCoordinator, reports: list[dict[str, Any]], tmp_path: Path
) -> None:
    coordinator.runs = [{"id": report["run"], "title": report["title"]} for report in reports]
    for report in reports:
        answer = httpx.Response(200, json=report)
        coordinator.answers["GET", f"/api/runs/{report['run']}/report"] = lambda _, found=answer: found
    result = fedcore("compare", "1", "2", "3", "--html", "page.html")
    assert result.exit_code == 0, result.output
    assert "less the reference" in result.output
    assert (tmp_path / "page.html").exists()


def test_a_report_can_be_saved(
    fedcore: Any, coordinator: FakeCoordinator, reports: list[dict[str, Any]], tmp_path: Path
) -> None:
    coordinator.runs = [{"id": reports[2]["run"], "title": "pooled"}]
    path = f"/api/runs/{reports[2]['run']}/report"
    coordinator.answers["GET", path] = lambda _: httpx.Response(200, json=reports[2])
    assert fedcore("report", "3", "--out", "report.json").exit_code == 0
    assert '"protocol": "pooled"' in (tmp_path / "report.json").read_text()


def test_a_model_that_is_not_there_is_told_in_words(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.runs = [{"id": "ab" * 32, "title": "local"}]
    coordinator.answers["GET", f"/api/runs/{'ab' * 32}/model"] = lambda _: refusal(
        409, "no_model", "A local run leaves its models with the owners."
    )
    result = fedcore("model", "ab")
    assert result.exit_code == 1
    assert "leaves its models with the owners" in result.output


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ('pipelin = "x"', "A plan has no field pipelin"),
        ('title = "twice"', "plan.toml is not TOML"),
        ("[privacy]\nepsilon = 3", "epsilon"),
    ],
)
def test_a_broken_plan_says_what_is_wrong(fedcore: Any, tmp_path: Path, change: str, text: str) -> None:
    plan = f"{PLAN}{change}\n" if change.startswith("[") else f"{change}\n{PLAN}"
    (tmp_path / "plan.toml").write_text(plan)
    result = fedcore("request", "plan.toml", *BOTH)
    assert result.exit_code == 1
    assert text in result.output


def test_an_incomplete_plan_names_the_missing_field(fedcore: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text('title = "Detector"')
    assert "purpose" in fedcore("request", "plan.toml", *BOTH).output


def _request(**changes: Any) -> dict[str, Any]:
    made = {
        "digest": "cd" * 32,
        "dataset": "access-2026",
        "host_name": "north",
        "version": VERSION,
        "requested_by": "sam",
        "state": "waiting",
        "expired": False,
        "releases": 1,
        "decision_reason": "",
        "grant": None,
    }
    return made | changes


def _started(coordinator: FakeCoordinator, request: httpx.Request) -> httpx.Response:
    run = Signed.parse(request.content).digest
    coordinator.runs = [{"id": run, "state": "finished", "title": "Detector"}]
    coordinator.events = [
        [{"serial": 1, "at": "2026-01-01T00:00:00Z", "state": "finished", "text": "", "progress": 1.0}]
    ]
    return httpx.Response(201, json={"id": run})


def test_login_takes_the_code_of_the_second_factor_from_the_environment(
    fedcore: Any, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDCORE_OTP", "123456")
    assert fedcore("login", URL, "--username", "sam").exit_code == 0
    sent = [json.loads(seen.content) for seen in coordinator.seen if seen.url.path == "/api/login"]
    assert [given.get("otp") for given in sent] == [None, "123456"]
