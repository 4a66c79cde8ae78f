"""A check of releases that cannot be loaded refuses: whoever installed it meant it to be asked."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcore.owner.agent import Agent
from fedcore.owner.checkup import check_host
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Report, Status
from fedcore.wire.spec import Protocol
from tests.owner.cast import HASHED, PLAIN, Cast
from tests.owner.playing import do, play
from tests.owner.third_party import install, installations

CHECK = """
{first}
from fedcore.plugin_api import hookimpl
from fedcore.plugin_api.hookspecs import Verdict

@hookimpl
def fedcore_before_release(release):
    return Verdict({allowed}, "never")
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, warmed: None) -> Iterator[Path]:
    with installations(tmp_path_factory.mktemp("checks")) as folder:
        install(folder, "broken-check", CHECK.format(first="import a_library_that_is_missing", allowed=False))
        install(folder, "slow-check", CHECK.format(first="import time; time.sleep(4)", allowed=True))
        install(folder, "sound-check", CHECK.format(first="", allowed=True))
        yield folder


def settled(path: Path, name: str, more: str = "") -> Cast:
    entry = f'[[plugins]]\ndistribution = "{name}"\n{more}\n'
    return Cast(path).settle_in(["north"], rows=150, plugins=entry)


def trained(cast: Cast, agent: Agent) -> Report:
    """What the host answers to an order whose result depends on rows."""
    plan = cast.spec(Protocol.LOCAL, HASHED, PLAIN)
    do(plan, [agent], Phase.CHECK)
    return play(plan, agent, plan.order(Phase.TRAIN, cast.owners[0]))


@pytest.fixture
def agents() -> Iterator[list[Agent]]:
    opened: list[Agent] = []
    yield opened
    for agent in opened:
        agent.close()


def test_nothing_is_released_while_a_package_that_may_check_releases_cannot_be_loaded(
    installed: Path, tmp_path: Path, agents: list[Agent], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        cast = settled(tmp_path, "broken-check")
        agents.append(cast.owners[0].agent())
        report = trained(cast, agents[0])
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.RELEASE_REFUSED)
    assert "a_library_that_is_missing" in caplog.text
    assert "Nothing is released until it is: it may check releases." in caplog.text
    why = [
        entry.content for entry in agents[0].journal.entries() if "so nothing is released" in entry.content
    ]
    assert len(why) == 1
    assert "set checks_releases = false in its entry" in why[0]


def test_the_check_of_a_host_says_that_nothing_is_released(installed: Path, tmp_path: Path) -> None:
    north = settled(tmp_path, "broken-check").owners[0]
    (problem,) = [str(found) for found in check_host(north.home, north.policy) if "missing" in str(found)]
    assert "It may check releases, so nothing is released until it can be loaded" in problem


def test_releases_go_on_without_a_package_that_the_policy_says_has_no_checks(
    installed: Path, tmp_path: Path, agents: list[Agent]
) -> None:
    cast = settled(tmp_path, "broken-check", more="checks_releases = false")
    agents.append(cast.owners[0].agent())
    assert trained(cast, agents[0]).status is Status.DONE
    north = cast.owners[0]
    (problem,) = [str(found) for found in check_host(north.home, north.policy) if "missing" in str(found)]
    assert "runs that need them are refused" in problem


def test_a_package_with_a_check_that_the_policy_says_has_none_is_an_error(
    installed: Path, tmp_path: Path
) -> None:
    with pytest.raises(PluginError, match="Remove that line"):
        settled(tmp_path, "sound-check", more="checks_releases = false").registry.names("models")


def test_a_package_that_was_too_slow_refuses_and_is_tried_again(
    installed: Path, tmp_path: Path, agents: list[Agent], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as hurried:
        hurried.setattr("fedcore.owner.confined.proxies._MOMENTS", 2)
        cast = settled(tmp_path, "slow-check")
        agents.append(cast.owners[0].agent())
        refused = trained(cast, agents[0])
        assert (refused.status, refused.code) == (Status.REFUSED, RefusalCode.RELEASE_REFUSED)
        assert "took longer than 2 seconds" in cast.registry.unasked[0]
    monkeypatch.setattr("fedcore.owner.confined.plugins._TRIED", {})
    assert trained(cast, agents[0]).status is Status.DONE
    assert cast.registry.not_loaded == ()


def test_what_could_not_be_loaded_is_tried_again_only_after_a_while(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cast = settled(tmp_path, "broken-check")
    first = cast.registry
    assert cast.registry is first
    monkeypatch.setattr("fedcore.owner.confined.plugins.time.monotonic", lambda: 10.0**9)
    later = cast.registry
    assert later is not first
    assert later.unasked
