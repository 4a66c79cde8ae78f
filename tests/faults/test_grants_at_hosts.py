"""Grants between a real coordinator and a real host: what waits, what a person there confirms, and what is revoked."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from examples.demo.offer import DATASET
from examples.demo.processes import program
from tests.faults.conftest import Running
from tests.faults.federation import Federation
from tests.faults.test_killed_processes import held_at, kill, restart

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("federation")]


def at_north(federation: Federation, *arguments: str) -> str:
    """What a person types at north's host."""
    host = federation.north
    command = [program("fedcore-owner"), "grants", *arguments, "--home", str(host.home)]
    return federation.processes.run(
        "fedcore-owner grants", host.name, command, host.environment(), host.log / "grants.log"
    )


@contextmanager
def without_ceilings(federation: Federation) -> Iterator[None]:
    """Every new grant at north waits for a person inside the block."""
    heading = f"[datasets.{DATASET}.ceilings]"

    def cut(text: str) -> str:
        start = text.index(heading)
        return text[:start] + text[text.index("[worker]", start) :]

    federation.write_policy(federation.north, cut)
    try:
        yield
    finally:
        federation.write_policy(federation.north)


def moved(federation: Federation, run: str) -> dict[str, Any]:
    """The run, once the coordinator's worker has looked at it after north has answered."""
    found: dict[str, Any] = federation.session("sam").run(run)
    looked_at = found["state"] != "submitted" and "not taken" not in found["message"]
    return found if looked_at else {}


def grant_at(federation: Federation, digest: str) -> dict[str, str]:
    return dict(federation.session("sam").request(digest)["grant"])


def test_a_grant_beyond_the_ceilings_waits_for_a_person_at_the_host(running: Running) -> None:
    federation = running.federation
    with without_ceilings(federation):
        grants = federation.grants(running.local)
        run = federation.submit(running.local, grants)
        command = f"fedcore-owner grants confirm {grants[0][:12]}"
        waits = f"{federation.north.name} waits for a person on the host: `{command}`"
        federation.until("north waits", lambda: grant_at(federation, grants[0])["standing"] == "waiting", 20)
        assert waits in grant_at(federation, grants[0])["at_host"]
        waiting = federation.until("the run waits", lambda: moved(federation, run), 60)
        assert (waiting["state"], waits in waiting["message"]) == ("awaiting_grants", True), waiting
        assert grants[0][:12] in at_north(federation, "list")
        at_north(federation, "confirm", grants[0][:12], "--releases", "1")
        assert federation.finish(run)["state"] == "finished"
        again = federation.finish(federation.submit(running.local, grants))
        assert (again["state"], again["code"]) == ("failed", "releases_spent")
    assert "in force" in at_north(federation, "list")


def test_an_approval_within_the_ceilings_is_in_force_within_two_seconds(running: Running) -> None:
    federation = running.federation
    started = time.monotonic()
    grants = federation.grants(running.local)
    federation.until(
        "both are in force",
        lambda: all(grant_at(federation, digest)["standing"] == "in_force" for digest in grants),
        20,
    )
    assert time.monotonic() - started < 4, "asking and approving took a part of it"


def test_a_revocation_on_the_host_ends_the_run_that_is_under_way(running: Running) -> None:
    federation = running.federation
    grants = federation.grants(running.pooled)
    revoked = Running(federation, running.local, running.pooled, grants)
    with held_at(revoked, running.pooled, "prepare") as run:
        at_north(federation, "revoke", grants[0][:12], "--reason", "at once")
        ended = federation.finish(run, 30)
        assert (ended["state"], ended["code"]) == ("failed", "grant_revoked")
        assert ended["message"].startswith(f"{federation.north.name} ({DATASET}): ")
    final = f"{federation.north.name} has revoked it, which is final."
    federation.until("it is told", lambda: grant_at(federation, grants[0])["at_host"] == final, 20)


def test_a_revocation_at_the_coordinator_reaches_the_host(running: Running) -> None:
    federation = running.federation
    grants = federation.grants(running.local)
    federation.session("olga").decide(grants[0], "revoke", reason="no longer")
    federation.until("the host has it", lambda: grant_at(federation, grants[0])["standing"] == "revoked", 10)
    assert "revoked by the coordinator" in at_north(federation, "list")


def test_what_was_revoked_on_the_host_stays_so_over_a_restart(running: Running) -> None:
    federation = running.federation
    grants = federation.grants(running.local)
    federation.until("it is there", lambda: grants[0][:12] in at_north(federation, "list"), 20, every=0.5)
    at_north(federation, "revoke", grants[0][:12])
    kill(federation, "the agent")
    restart(federation, "the agent")
    federation.until(
        "the host tells it", lambda: grant_at(federation, grants[0])["standing"] == "revoked", 60
    )
    assert "revoked by" in at_north(federation, "list")
