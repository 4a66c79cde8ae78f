"""Sam looks around in the catalogue, develops on mock samples, and has plans tried."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from fedcore.client import FedcoreError, RunPlan, Session, Unreachable, dry_runs
from fedcore.client.runs import PLAINTEXT
from fedcore.wire.dry_runs import DryRunPlan

from .conftest import BOTH, MOCK, MOCK_BYTES, OLGAS_HOST, URL, FakeCoordinator, dataset, refusal

MOCK_PATH = "/api/datasets/north/access-2026/mock"
TRIAL = {
    "pipeline": 0,
    "backend": "keyed_tokens",
    "model": "linear",
    "passes": True,
    "problem": "",
    "kind": "matrix",
    "columns": 4096,
    "rows": 400,
    "feature_bytes": 9000,
    "plaintext_bytes": 20000,
    "seconds": {"prepare": 0.1, "train": 0.2},
    "accuracy": 0.93,
    "f1": 0.91,
    "majority_accuracy": 0.5,
}


@pytest.fixture
def tried(coordinator: FakeCoordinator, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The answers that a dry run gives, one after the other; the last one for good."""
    monkeypatch.setattr(dry_runs, "FIRST_PAUSE", 0.0)
    answers = [_dry_run(state="waiting", trials=[]), _dry_run(state="running", trials=[]), _dry_run()]

    def state(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=answers.pop(0) if len(answers) > 1 else answers[0])

    coordinator.answers["POST", "/api/dry-runs"] = lambda request: httpx.Response(201, json=answers[0])
    coordinator.answers["POST", f"/api/requests/{'ab' * 32}/dry-run"] = lambda _: httpx.Response(
        200, json=answers[0]
    )
    coordinator.answers["GET", f"/api/dry-runs/{'cd' * 16}"] = state
    return answers


def _dry_run(**changes: Any) -> dict[str, Any]:
    return {"id": "cd" * 16, "state": "done", "passes": True, "trials": [TRIAL], "remark": "", **changes}


def test_datasets_say_what_their_owners_tell(sam: Session) -> None:
    north, south = sam.datasets()
    assert (north.path, north.licence, north.retention) == ("north/access-2026", "CC BY-NC 4.0", "2027-12-31")
    assert (north.column_notes, north.mock is None, south.mock) == ({"target": "path and query"}, False, None)


def test_a_search_goes_to_the_coordinator_as_it_is(sam: Session, coordinator: FakeCoordinator) -> None:
    sam.datasets(
        "two words", class_name="attack", columns=["target", "agent"], minimum_rows=100, ordering="rows"
    )
    query = coordinator.seen[-1].url.params
    assert query.multi_items() == [
        ("search", "two words"),
        ("class", "attack"),
        ("column", "target"),
        ("column", "agent"),
        ("min_rows", "100"),
        ("ordering", "rows"),
    ]


def test_all_pages_are_fetched_and_the_token_goes_to_the_coordinator_only(
    sam: Session, coordinator: FakeCoordinator
) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        if request.url.params.get("cursor") == "second":
            return httpx.Response(200, json=[dataset("south", OLGAS_HOST)])
        elsewhere = '<https://elsewhere.example/api/datasets?cursor=second&search=x>; rel="next"'
        return httpx.Response(200, json=[dataset("north", OLGAS_HOST)], headers={"Link": elsewhere})

    coordinator.answers["GET", "/api/datasets"] = page
    assert [item.host_name for item in sam.datasets("x")] == ["north", "south"]
    assert {request.url.host for request in coordinator.seen} == {httpx.URL(URL).host}
    assert coordinator.seen[-1].url.params["search"] == "x"


def test_versions_are_those_that_the_host_has_announced(sam: Session, coordinator: FakeCoordinator) -> None:
    version = {"version": "ab" * 32, "rows": 5, "first_announced": "2026", "last_announced": "2027"}
    answer = dataset("north", OLGAS_HOST) | {"versions": [version]}
    coordinator.answers["GET", "/api/datasets/north/access-2026"] = lambda _: httpx.Response(200, json=answer)
    (found,) = sam.versions(sam.datasets()[0])
    assert (found.version, found.last_announced) == ("ab" * 32, "2027")


def test_a_mock_sample_has_columns_labels_and_records(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.answers["GET", MOCK_PATH] = lambda _: httpx.Response(200, content=MOCK_BYTES)
    north = sam.datasets()[0]
    sample = sam.mock(north)
    assert coordinator.seen[-1].url.params["version"] == north.version
    assert (len(sample), sample.columns, sample.labels) == (2, MOCK.columns, (0, 1))
    records = sample.records()
    assert list(records.columns["target"]) == [b"/a", b"/b?x=1,2"]
    assert records.labels is not None
    assert records.labels.tolist() == [0, 1]


def test_a_dataset_without_a_mock_sample_says_so(sam: Session) -> None:
    with pytest.raises(FedcoreError, match="south/access-2026 has no mock sample"):
        sam.mock(sam.datasets()[1])


def test_other_bytes_than_the_catalogue_names_are_refused(sam: Session, coordinator: FakeCoordinator) -> None:
    coordinator.answers["GET", MOCK_PATH] = lambda _: httpx.Response(200, content=MOCK_BYTES + b" ")
    with pytest.raises(Unreachable, match="arrived with other bytes"):
        sam.mock(sam.datasets()[0])


def test_plans_are_tried_together_and_the_end_is_waited_for(
    sam: Session, coordinator: FakeCoordinator, plan: RunPlan, tried: list[dict[str, Any]]
) -> None:
    from dataclasses import replace

    found = sam.try_plans(sam.datasets(), [plan, replace(plan, backend=PLAINTEXT)])
    assert (found["state"], found["passes"]) == ("done", True)
    sent = next(request for request in coordinator.seen if request.url.path == "/api/dry-runs")
    asked = DryRunPlan.parse(sent.content)
    assert [choice.name for choice in asked.backends] == ["keyed_tokens", "plaintext"]
    assert (len(asked.pipelines), len(asked.models), len(asked.datasets)) == (1, 1, 2)


def test_a_request_is_tried_again(sam: Session, tried: list[dict[str, Any]]) -> None:
    assert sam.try_request("ab" * 32)["trials"] == [TRIAL]


def test_the_command_shows_a_dataset(fedcore: Any, coordinator: FakeCoordinator) -> None:
    version = {
        "version": "ab" * 32,
        "rows": 5,
        "first_announced": "2026-01-01",
        "last_announced": "2026-02-01",
    }
    told = dataset("north", OLGAS_HOST) | {"terms": "Name [/us] in [bold]papers[/bold]."}
    coordinator.answers["GET", "/api/datasets"] = lambda _: httpx.Response(200, json=[told])
    answer = told | {"versions": [version]}
    coordinator.answers["GET", "/api/datasets/north/access-2026"] = lambda _: httpx.Response(200, json=answer)
    output = fedcore("dataset", "north/access-2026").output
    assert "Name [/us] in [bold]papers[/bold]." in output
    assert "data-office@north.example" in output
    assert "target (text) path and query" in output
    assert "(current)" in output


def test_the_command_finds_datasets(fedcore: Any, coordinator: FakeCoordinator) -> None:
    output = fedcore(
        "datasets", "--search", "logs", "--class", "attack", "--column", "target", "--min-rows", "10"
    ).output
    assert "north/access-2026" in output
    query = coordinator.seen[-1].url.params
    assert (query["search"], query["class"], query["column"], query["min_rows"]) == (
        "logs",
        "attack",
        "target",
        "10",
    )


def test_the_command_writes_a_mock_sample_as_csv(
    fedcore: Any,
    coordinator: FakeCoordinator,
    tmp_path: Path,
) -> None:
    coordinator.answers["GET", MOCK_PATH] = lambda _: httpx.Response(200, content=MOCK_BYTES)
    assert fedcore("mock", "north/access-2026", "--out", "mock.csv").output.startswith(
        "2 made-up rows written"
    )
    with (tmp_path / "mock.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {"target": "/a", "agent": 'say "hi"', "class": "benign"},
        {"target": "/b?x=1,2", "agent": "-", "class": "attack"},
    ]


def test_the_command_has_a_plan_tried(fedcore: Any, tried: list[dict[str, Any]]) -> None:
    result = fedcore("try", "plan.toml", *BOTH)
    assert result.exit_code == 0
    assert "matrix, 4096 columns" in result.output
    assert "they say nothing about the model's quality" in result.output


def test_the_command_ends_with_status_1_where_a_plan_does_not_pass(
    fedcore: Any,
    tried: list[dict[str, Any]],
) -> None:
    tried[:] = [_dry_run(passes=False, trials=[TRIAL | {"passes": False, "problem": "Too wide [here]."}])]
    result = fedcore("try", "plan.toml", *BOTH)
    assert result.exit_code == 1
    assert "keyed_tokens, linear: Too wide [here]." in result.output


def test_a_refused_dry_run_is_one_line(fedcore: Any, coordinator: FakeCoordinator) -> None:
    coordinator.answers["POST", "/api/dry-runs"] = lambda _: refusal(
        429, "too_many_dry_runs", "Wait for them."
    )
    result = fedcore("try", "plan.toml", *BOTH)
    assert result.exit_code == 1
    assert "Wait for them. [too_many_dry_runs]" in result.output
    assert json.dumps("Traceback") not in result.output
