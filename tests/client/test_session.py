from __future__ import annotations

import base64
import json
import stat
from pathlib import Path

import httpx
import pytest

from fedcore.client import Refused, RunPlan, Session
from fedcore.client import session as session_module
from fedcore.client.errors import CodeNeeded, NotLoggedIn, RunFailed, Unreachable
from fedcore.client.session import KEY_PROOF
from fedcore.wire.access import AccessRequest
from fedcore.wire.keys import verify
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol, RunSpec

from .conftest import NOTARY, OLGAS_HOST, OTTOS_HOST, URL, VERSION, FakeCoordinator, refusal


def test_logging_in_keeps_token_and_key_in_private_files(sam: Session) -> None:
    for name in ("session.json", "signing.key"):
        assert stat.S_IMODE((sam.home / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(sam.home.stat().st_mode) == 0o700
    assert sam.me()["username"] == "sam"


def test_the_key_is_registered_once_with_a_proof_that_names_the_person(
    sam: Session, coordinator: FakeCoordinator
) -> None:
    sam.log_in("sam", "correct horse battery")
    [registered] = coordinator.keys
    proof = base64.b64decode(registered["signature"])
    assert verify(registered["public_key"], proof, KEY_PROOF + b"sam")
    assert not verify(registered["public_key"], proof, KEY_PROOF + b"eve")


def test_a_wrong_password_is_told_as_such_and_leaves_no_token(stranger: Session) -> None:
    with pytest.raises(NotLoggedIn, match="did not accept username and password"):
        stranger.log_in("sam", "a guess")
    assert not (stranger.home / "session.json").exists()


def test_without_a_token_the_client_says_how_to_get_one(stranger: Session) -> None:
    with pytest.raises(NotLoggedIn, match="Run `fedcore login`"):
        stranger.datasets()


def test_without_any_login_there_is_no_coordinator_to_ask(tmp_path: Path) -> None:
    with pytest.raises(NotLoggedIn, match="No coordinator is known yet"):
        Session.open(home=tmp_path)


def test_a_later_session_of_the_same_home_goes_on_with_the_token(
    sam: Session, coordinator: FakeCoordinator
) -> None:
    again = Session(URL, sam.home, httpx.MockTransport(coordinator))
    assert again.me()["username"] == "sam"


def test_a_token_is_never_sent_to_another_coordinator(sam: Session, coordinator: FakeCoordinator) -> None:
    elsewhere = Session("https://evil.example.org", sam.home, httpx.MockTransport(coordinator))
    with pytest.raises(NotLoggedIn):
        elsewhere.me()
    assert "Authorization" not in coordinator.seen[-1].headers


def test_logging_out_revokes_and_forgets_the_token(sam: Session, coordinator: FakeCoordinator) -> None:
    sam.log_out()
    assert coordinator.seen[-1].url.path == "/api/logout"
    assert not (sam.home / "session.json").exists()
    with pytest.raises(NotLoggedIn):
        sam.me()


def test_datasets_and_hosts_come_with_their_keys(sam: Session) -> None:
    north, south = sam.datasets()
    assert (north.reference.host, south.reference.host) == (OLGAS_HOST, OTTOS_HOST)
    assert north.classes == ("benign", "attack")
    [reference] = [host for host in sam.hosts() if host.is_reference]
    assert reference.card.signing == NOTARY


def test_a_request_asks_for_what_the_plans_need_and_no_more(
    sam: Session, coordinator: FakeCoordinator, plan: RunPlan
) -> None:
    digest = sam.request_access(sam.datasets()[0], [plan, plan.as_local()], purpose="security-research")
    signed = Signed.parse(coordinator.seen[-1].content)
    request = signed.open(AccessRequest, signer=sam.key.public)
    assert signed.digest == digest
    assert request.protocols == (Protocol.POOLED, Protocol.LOCAL)
    assert request.backends == ("keyed_tokens", "plaintext")
    assert request.pipelines == (plan.pipeline,)
    assert request.releases == 2
    assert (request.dataset.host, request.dataset.version) == (OLGAS_HOST, VERSION)
    assert request.organisation == "university"
    assert not request.download


def test_a_run_is_named_by_the_digest_of_the_text_that_sam_signed(
    sam: Session, coordinator: FakeCoordinator, plan: RunPlan
) -> None:
    run = sam.submit(plan, sam.datasets(), ["12" * 32, "34" * 32])
    signed = Signed.parse(coordinator.seen[-1].content)
    spec = signed.open(RunSpec, signer=sam.key.public)
    assert run == signed.digest
    assert spec.hosts == (OLGAS_HOST, OTTOS_HOST)
    assert spec.grant_of(OTTOS_HOST) == "34" * 32


def test_two_submissions_of_one_plan_are_two_runs(sam: Session, plan: RunPlan) -> None:
    grants = ["12" * 32, "34" * 32]
    assert sam.submit(plan, sam.datasets(), grants) != sam.submit(plan, sam.datasets(), grants)


def test_a_refusal_lists_every_problem(sam: Session, coordinator: FakeCoordinator, plan: RunPlan) -> None:
    problems = ["Step words gives tokens, hash_columns takes pseudonyms.", "Grant 12… has expired."]
    coordinator.answers["POST", "/api/runs"] = lambda _: refusal(
        400, "invalid_run", "The run cannot be started.", problems
    )
    with pytest.raises(Refused, match=r"Refused \[invalid_run\]") as caught:
        sam.submit(plan, sam.datasets(), ["12" * 32, "34" * 32])
    assert caught.value.code == "invalid_run"
    assert all(problem in str(caught.value) for problem in problems)


def test_eve_is_told_nothing_about_sams_run(sam: Session, coordinator: FakeCoordinator) -> None:
    with pytest.raises(Refused, match="Not found"):
        sam.report("ab" * 32)


def test_events_are_read_until_the_run_has_ended(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.runs = [{"id": "ab" * 32, "state": "finished"}]
    coordinator.events = [
        [_event(1, "preparing", 0.2), _event(2, "running", 0.6), _event(3, "finished", 1.0)]
    ]
    assert [event.state for event in sam.events("ab" * 32)] == ["preparing", "running", "finished"]
    assert sam.wait("ab" * 32)["state"] == "finished"


def test_a_run_that_failed_raises_its_code_and_text(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.runs = [
        {
            "id": "ab" * 32,
            "state": "failed",
            "code": "owner_away",
            "message": "north (access-2026): did not answer.",
            "culprit": {
                "host_name": "north",
                "dataset": "access-2026",
                "remedy": "Start `fedcore-owner run`.",
            },
        }
    ]
    expected = r"failed: north \(access-2026\): did not answer\. Start `fedcore-owner run`\. \[owner_away\]"
    with pytest.raises(RunFailed, match=expected) as caught:
        sam.wait("ab" * 32)
    assert caught.value.state == "failed"


def test_a_model_appears_only_when_it_is_complete(
    sam: Session, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    coordinator.answers["GET", "/api/runs/1/model"] = lambda _: httpx.Response(200, content=b"weights")
    assert sam.model("1", tmp_path / "m").read_bytes() == b"weights"
    coordinator.answers["GET", "/api/runs/2/model"] = lambda _: refusal(409, "not_ready", "Not finished.")
    with pytest.raises(Refused, match="Not finished"):
        sam.model("2", tmp_path / "n")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["m"]


def test_a_download_without_leave_is_refused_in_words(
    sam: Session, coordinator: FakeCoordinator, tmp_path: Path
) -> None:
    coordinator.answers["GET", "/api/runs/1/dataset"] = lambda _: refusal(
        403, "download_not_allowed", "north-house has not given leave to download."
    )
    with pytest.raises(Refused, match="north-house has not given leave"):
        sam.dataset("1", tmp_path / "rows")


def test_a_coordinator_that_does_not_answer_is_named(tmp_path: Path) -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    session = Session(URL, tmp_path, httpx.MockTransport(away))
    with pytest.raises(Unreachable, match=f"{URL} did not answer"):
        session.log_in("sam", "secret password")


@pytest.mark.parametrize("answer", [httpx.Response(502, text="<html>"), httpx.Response(500, json=["x"])])
def test_an_answer_that_is_no_coordinators_is_told_as_such(
    sam: Session, coordinator: FakeCoordinator, answer: httpx.Response
) -> None:
    coordinator.answers["GET", "/api/runs"] = lambda _: answer
    with pytest.raises(Unreachable, match="no answer of a coordinator"):
        sam.runs()


def test_text_instead_of_json_is_told_as_such(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.answers["GET", "/api/runs"] = lambda _: httpx.Response(200, text="<html>hello</html>")
    with pytest.raises(Unreachable, match="not JSON"):
        sam.runs()


def test_an_owner_decides_with_limits(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.answers["POST", "/api/requests/12/approve"] = lambda _: httpx.Response(200, json={})
    sam.decide("12", "approve", releases=1, download=False)
    assert json.loads(coordinator.seen[-1].content) == {"releases": 1, "download": False}


def _event(serial: int, state: str, progress: float) -> dict[str, object]:
    return {"serial": serial, "at": "2026-01-01T00:00:00Z", "state": state, "text": "", "progress": progress}


def with_second_factor(coordinator: FakeCoordinator) -> None:
    """From now on the coordinator asks Sam for a code, which is 123456."""

    def answer(request: httpx.Request) -> httpx.Response:
        given = json.loads(request.content)
        if "otp" not in given:
            return refusal(401, "second_factor_required", "Send the code.")
        if given["otp"] != "123456":
            return refusal(401, "second_factor_wrong", "This code is wrong.")
        return httpx.Response(200, json={"token": "token-of-sam", "expiry": "2026-01-01"})

    coordinator.answers["POST", "/api/login"] = answer


def at_a_terminal(monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    answers = iter(typed)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: next(answers))


def test_the_code_is_asked_for_where_the_coordinator_wants_one(
    coordinator: FakeCoordinator, stranger: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_second_factor(coordinator)
    at_a_terminal(monkeypatch, "correct horse battery", "123456")
    stranger.log_in("sam")
    assert stranger.me()["username"] == "sam"


def test_a_code_that_is_given_is_not_asked_for(coordinator: FakeCoordinator, stranger: Session) -> None:
    with_second_factor(coordinator)
    stranger.log_in("sam", "correct horse battery", "123456")
    assert stranger.me()["username"] == "sam"


def lost(times: int, coordinator: FakeCoordinator) -> None:
    """The connection to a run's events is lost so often."""
    left = [times]

    def answer(request: httpx.Request) -> httpx.Response:
        if left[0] > 0:
            left[0] -= 1
            raise httpx.ReadError("gone")
        return httpx.Response(200, json=coordinator._wait(int(request.url.params["after"])))

    coordinator.runs = [{"id": "ab" * 32, "state": "finished", "title": "One"}]
    coordinator.answers["GET", f"/api/runs/{'ab' * 32}/wait"] = answer


def test_a_connection_that_is_lost_is_made_again(
    coordinator: FakeCoordinator, sam: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(session_module.time, "sleep", slept.append)
    lost(5, coordinator)
    assert sam.wait("ab" * 32)["state"] == "finished"
    assert slept == [1.0, 2.0, 4.0, 8.0, 15.0]


def test_whoever_loses_the_connection_for_good_reads_that_the_run_goes_on(
    coordinator: FakeCoordinator, sam: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_module.time, "sleep", lambda seconds: None)
    lost(6, coordinator)
    with pytest.raises(Unreachable, match=r"The run goes on: look again with `fedcore follow abababababab`."):
        sam.wait("ab" * 32)


@pytest.mark.parametrize("what", ["requests", "runs"])
def test_lists_are_fetched_whole(coordinator: FakeCoordinator, sam: Session, what: str) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if "cursor" in request.url.params:
            return httpx.Response(200, json=[{"id": "2"}])
        following = f'<https://elsewhere.example/api/{what}?cursor=abc>; rel="next"'
        return httpx.Response(200, json=[{"id": "1"}], headers={"Link": following})

    coordinator.answers["GET", f"/api/{what}"] = answer
    assert [item["id"] for item in getattr(sam, what)()] == ["1", "2"]


def test_a_wrong_code_is_told_from_a_wrong_password(coordinator: FakeCoordinator, stranger: Session) -> None:
    with_second_factor(coordinator)
    with pytest.raises(NotLoggedIn, match="did not accept the code"):
        stranger.log_in("sam", "correct horse battery", "654321")


def test_where_nobody_can_be_asked_a_missing_code_is_an_error(
    coordinator: FakeCoordinator, stranger: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_second_factor(coordinator)
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    with pytest.raises(CodeNeeded, match="code of your second factor"):
        stranger.log_in("sam", "correct horse battery")


def test_a_revoked_key_is_said_to_be_revoked_with_what_to_do(
    sam: Session, coordinator: FakeCoordinator
) -> None:
    coordinator.keys[0]["revoked_at"] = "2026-01-01T00:00:00Z"
    with pytest.raises(Refused, match=r"signing\.key away and log in again"):
        sam.log_in("sam", "correct horse battery")
