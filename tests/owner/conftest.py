"""What the owner's tests share: processes are warmed once, as a worker is before it forks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.warming import warm_plugins
from fedcore.plugin_api.registry import AllowedDistribution, Registry
from tests.owner.cast import Cast


@pytest.fixture(scope="session")
def warmed() -> None:
    """Plugins, compiled code and torch are loaded, so that forked work starts at once."""
    warm_plugins(Registry.of_distributions([AllowedDistribution("fedcore")]))


@pytest.fixture
def agents(cast: Cast) -> Iterator[list[Agent]]:
    """One agent for each host of the test's `cast`, owners first; closed at the end."""
    agents = [owner.agent() for owner in cast.everyone]
    yield agents
    for agent in agents:
        agent.close()
