from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedcore.client import Session, dry_runs
from fedcore.wire.access import AccessRequest
from fedcore.wire.keys import fingerprint
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Privacy, RunSpec

from .conftest import BOTH, PLAN, URL, VERSION, FakeCoordinator, refusal

FINGERPRINT = [""]
"""Of Sam's key in this test."""


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


@pytest.fixture(autouse=True)
def _own_fingerprint(fedcore: Any, tmp_path: Path) -> None:
    FINGERPRINT[0] = fingerprint(Session(URL, tmp_path / "home").key.public)


def _submitted_under(fedcore: Any, coordinator: FakeCoordinator, *words: str) -> list[str]:
    coordinator.answers["POST", "/api/runs"] = lambda request: _started(coordinator, request)
    result = fedcore("submit", "plan.toml", *BOTH, *words)
    assert result.exit_code == 0, result.output
    return list(RunSpec.parse(Signed.parse(_posted(coordinator, "/api/runs")[-1]).text).grants)


WORSE: list[dict[str, Any]] = [
    {"state": "waiting"},
    {"state": "approved", "grant": {"usable": False}},
    {"state": "approved", "grant": {"standing": ""}},
    {"state": "approved", "grant": {"standing": "refused"}},
    {"state": "approved", "grant": {"protocols": ["local"]}},
    {"state": "approved", "grant": {"backends": ["plaintext"]}},
    {"state": "approved", "grant": {"models": ["mlp"]}},
    {"state": "approved", "grant": {"minimum_owners": 3}},
    {"state": "approved", "grant": {"epsilon_micro": 5}},
    {"state": "approved", "grant": {}, "purpose": "advertising"},
    {"state": "approved", "grant": {}, "pipelines": [{"steps": [{"name": "words"}]}]},
    {"state": "approved", "grant": {}, "requested_by": "eve"},
    {"state": "approved", "grant": {}, "fingerprint": "of another key"},
    {"state": "approved", "grant": {}, "expired": True},
]


@pytest.mark.parametrize("worse", WORSE, ids=str)
def test_a_run_is_submitted_under_a_grant_that_covers_it_and_can_be_used(
    fedcore: Any, coordinator: FakeCoordinator, worse: dict[str, Any]
) -> None:
    newer = worse | ({"grant": _grant(**worse["grant"])} if "grant" in worse else {})
    coordinator.requests = [
        _request(digest="a1" * 32, **newer),
        _request(digest="b1" * 32, state="approved", grant=_grant()),
        _request(digest="c1" * 32, state="approved", grant=_grant()),
        _request(digest="d1" * 32, state="approved", grant=_grant(), host_name="south"),
    ]
    assert _submitted_under(fedcore, coordinator) == ["b1" * 32, "d1" * 32]


def test_a_grant_that_is_named_is_used(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.requests = [
        _request(digest=digest * 32, state="approved", grant=_grant(), host_name=host)
        for digest, host in (("a1", "north"), ("b1", "north"), ("d1", "south"))
    ]
    assert _submitted_under(fedcore, coordinator, "--grant", "b1") == ["b1" * 32, "d1" * 32]
    result = fedcore("submit", "plan.toml", "--dataset", "north/access-2026", "--grant", "d1")
    assert result.exit_code == 1
    assert "A grant is for south/access-2026, of which the run uses no dataset" in result.output


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


def test_an_id_that_is_none_is_told_as_such(fedcore: Any, coordinator: FakeCoordinator) -> None:
    result = fedcore("follow", "ab")
    assert "No run begins with 'ab'" in result.output
    result = fedcore("report", "ff" * 32)
    assert (result.exit_code, "Not found." in result.output) == (1, True)


def test_a_whole_id_is_looked_up_without_the_list(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.runs = [{"id": "ab" * 32, "title": "one"}]
    coordinator.answers["GET", "/api/runs"] = lambda _: refusal(400, "not_asked", "No.")
    coordinator.answers["POST", f"/api/runs/{'ab' * 32}/cancel"] = lambda _: httpx.Response(200, json={})
    assert fedcore("cancel", "ab" * 32).exit_code == 0


@pytest.mark.parametrize(("command", "address"), [("model", "model"), ("rows", "dataset")])
def test_no_file_is_overwritten_by_the_way(
    fedcore: Any, coordinator: FakeCoordinator, tmp_path: Path, command: str, address: str
) -> None:
    run = "ab" * 32
    coordinator.runs = [{"id": run, "title": "one"}]
    coordinator.answers["GET", f"/api/runs/{run}/{address}"] = lambda _: httpx.Response(200, content=b"new")
    (tmp_path / f"{command}.safetensors").write_bytes(b"old")
    result = fedcore(command, "ab")
    assert result.exit_code == 1
    assert "exists. Name another file with --out" in result.output
    assert (tmp_path / f"{command}.safetensors").read_bytes() == b"old"
    assert fedcore(command, "ab", "--force").exit_code == 0
    assert (tmp_path / f"{command}.safetensors").read_bytes() == b"new"


def test_who_is_logged_out_already_logs_out_here_too(
    fedcore: Any, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    coordinator.answers["POST", "/api/logout"] = lambda _: refusal(401, "authentication_failed", "Expired.")
    assert fedcore("logout").exit_code == 0
    assert not (tmp_path / "home" / "session.json").exists()


def test_no_password_is_sent_in_the_clear(fedcore: Any, coordinator: FakeCoordinator) -> None:
    before = len(coordinator.seen)
    result = fedcore("login", "http://fedcore.example.org", "--username", "sam")
    assert result.exit_code == 1
    assert "everybody on the way could read your password" in " ".join(result.output.split())
    assert len(coordinator.seen) == before
    assert fedcore("login", "http://fedcore.example.org", "--username", "sam", "--insecure").exit_code == 0
    for own in ("http://localhost:8000", "http://127.0.0.1:8000", "http://[::1]:8000"):
        assert fedcore("login", own, "--username", "sam").exit_code == 0


def test_a_dry_run_that_nobody_performs_is_not_waited_for_for_ever(
    fedcore: Any, coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_runs, "PATIENCE", 0.0)
    waiting = httpx.Response(200, json={"id": "ab" * 16, "state": "waiting"})
    coordinator.answers["POST", "/api/dry-runs"] = lambda _: waiting
    coordinator.answers["GET", f"/api/dry-runs/{'ab' * 16}"] = lambda _: waiting
    result = fedcore("try", "plan.toml", *BOTH)
    assert result.exit_code == 1
    assert "Ask the operator whether a worker runs" in " ".join(result.output.split())


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
        "fingerprint": FINGERPRINT[0],
        "purpose": "security-research",
        "pipelines": [{"steps": [{"name": "fields", "options": {"names": ["target"]}}, {"name": "words"}]}],
        "protocols": ["pooled"],
        "backends": ["keyed_tokens"],
        "models": ["linear"],
        "epsilon_micro": "none",
        "minimum_owners": 2,
    }
    return made | changes


def _grant(**changes: Any) -> dict[str, Any]:
    limits = {name: _request()[name] for name in ("protocols", "backends", "models", "epsilon_micro")}
    made = {"minimum_owners": 2, "releases": 3, "releases_used": 0, "usable": True, "standing": "in_force"}
    return limits | made | {"epsilon_spent_micro": 0} | changes


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
