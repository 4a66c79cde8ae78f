"""What an owner reads in the log of datasets that cannot be offered."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from tests.owner.cast import Cast

BROKEN = """
[datasets.broken]
title = "Broken"
reader = "labelled_lines"
reader_options = {blok_rows = 1}
files = [{path = "good.txt", label = "benign"}]
releases = 1
retention = 2099-12-31
"""


@pytest.fixture
def cast(tmp_path: Path) -> Cast:
    return Cast(tmp_path).settle_in(["north"], rows=200)


@pytest.fixture
def agent(cast: Cast) -> Iterator[Agent]:
    agent = cast.owners[0].agent()
    yield agent
    agent.close()


def test_a_dataset_that_cannot_be_offered_is_told_when_that_is_new_and_not_each_time(
    cast: Cast, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    path = cast.owners[0].home.config_path
    policy = path.read_text()
    agent._announcing.announce()
    for _ in range(3):
        path.write_text(policy + BROKEN)
        agent._announcing.announce()
        agent._announcing.announce()
        path.write_text(policy)
        agent._announcing.announce()
    told = [record.message for record in caplog.records if record.name.endswith("announcing")]
    assert len(told) == 3
    assert set(told) == {
        "Not offered: [datasets.broken]: Invalid options for plugin 'labelled_lines': blok_rows: Extra inputs are not "
        "permitted"
    }
