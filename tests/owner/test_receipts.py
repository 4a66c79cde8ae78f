"""The host checks the coordinator's receipt of deletion against what it uploaded itself, and journals both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner.agent import Agent
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Report
from fedcore.wire.spec import Protocol
from tests.owner.cast import Cast, Plan
from tests.owner.playing import agree, do, play


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    return Cast(tmp_path).settle_in(["north", "south"], rows=200)


def prepared(cast: Cast, agents: list[Agent]) -> tuple[Plan, set[str]]:
    """A run whose rows are uploaded, and the digests of the first owner's."""
    plan = cast.spec(Protocol.POOLED)
    agree(plan, agents)
    do(plan, agents, Phase.PREPARE, evidence=plan.said(Phase.CONFIRM))
    own = plan.said(Phase.PREPARE)[0].open(Report).artefacts
    return plan, {ref.digest for ref in own}


def receipt(agent: Agent) -> dict[str, Any]:
    entries = [json.loads(entry.content) for entry in agent.journal.entries()]
    found: dict[str, Any] = next(
        entry for entry in entries if "artefacts deleted at the coordinator" in entry
    )
    return found


def test_a_whole_receipt_is_journalled_with_the_order_that_is_its_proof(
    cast: Cast, agents: list[Agent]
) -> None:
    plan, uploaded = prepared(cast, agents)
    order = plan.order(Phase.CLOSE, cast.owners[0], keep=False, deleted=tuple(sorted(uploaded)))
    play(plan, agents[0], order)
    assert set(receipt(agents[0])["artefacts deleted at the coordinator"]) == uploaded
    assert "warning" not in receipt(agents[0])
    entries = [json.loads(entry.content) for entry in agents[0].journal.entries()]
    assert any(entry.get("signed") == order.digest for entry in entries), "the signed order is on record"


def test_what_the_receipt_leaves_out_is_named_in_a_warning(cast: Cast, agents: list[Agent]) -> None:
    plan, uploaded = prepared(cast, agents)
    told, *left_out = sorted(uploaded)
    play(plan, agents[0], plan.order(Phase.CLOSE, cast.owners[0], keep=False, deleted=(told,)))
    entry = receipt(agents[0])
    assert entry["artefacts deleted at the coordinator"] == [told]
    assert entry.get("artefacts without a receipt", []) == left_out
    assert ("warning" in entry) == bool(left_out)


def test_without_any_receipt_all_is_named(cast: Cast, agents: list[Agent]) -> None:
    plan, uploaded = prepared(cast, agents)
    play(plan, agents[0], plan.order(Phase.CLOSE, cast.owners[0], keep=False))
    assert set(receipt(agents[0])["artefacts without a receipt"]) == uploaded
    assert "ask its operator" in receipt(agents[0])["warning"]


def test_digests_that_this_host_never_uploaded_count_for_nothing(cast: Cast, agents: list[Agent]) -> None:
    plan = cast.spec(Protocol.LOCAL)
    do(plan, agents, Phase.CHECK)
    play(plan, agents[0], plan.order(Phase.CLOSE, cast.owners[0], keep=False, deleted=("ab" * 32,)))
    assert receipt(agents[0])["artefacts deleted at the coordinator"] == []
    assert "warning" not in receipt(agents[0])
