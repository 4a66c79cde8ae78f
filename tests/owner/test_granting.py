"""Grants at a running host: what waits, what a person lets run, and what the coordinator cannot bring back."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcore.owner import granting
from fedcore.owner.agent import Agent
from fedcore.owner.coordinator_api import CoordinatorAway, Delivered
from fedcore.owner.dropping import EACH
from fedcore.owner.granting import MOST_PAGES
from fedcore.owner.grants import COORDINATOR, GrantStore
from fedcore.owner.journal import Journal
from fedcore.owner.orders import Life
from fedcore.owner.tasks import InlineBell
from fedcore.wire.access import AccessRequest, Grant, GrantNotice, GrantStanding, Standing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase
from fedcore.wire.reports import Status
from fedcore.wire.spec import Protocol
from tests.owner.cast import CEILINGS, Cast, Owner, Plan
from tests.owner.playing import agree, code_of, do, play

NO_CEILINGS = ""


@pytest.fixture
def cast(tmp_path: Path, warmed: None) -> Cast:
    """North and south; the grants at north wait for a person unless a test says otherwise."""
    return Cast(tmp_path).settle_in(["north", "south"], rows=200, ceilings=NO_CEILINGS)


@pytest.fixture
def north(cast: Cast) -> Owner:
    return cast.owners[0]


@pytest.fixture
def agent(agents: list[Agent]) -> Agent:
    return agents[0]


@pytest.fixture
def plan(cast: Cast) -> Plan:
    return cast.spec(Protocol.LOCAL)


def grant_of(plan: Plan, owner: Owner) -> Grant:
    return plan.grants[owner.key]


def digest_of(plan: Plan, owner: Owner) -> str:
    return grant_of(plan, owner).request.digest


def hear(agent: Agent, cast: Cast) -> None:
    """The agent hears that grants are new, and does what it does about it."""
    agent.granting.hear(len(cast.coordinator.notices))
    agent.granting.sync()


def with_ceilings(owner: Owner) -> None:
    owner.home.config_path.write_text(owner.home.config_path.read_text() + CEILINGS)


@pytest.fixture
def command(north: Owner) -> Iterator[GrantStore]:
    """What a person at north does in another process, with the same files."""
    with Journal(north.home.journal_path) as journal, GrantStore(north.home.grants_path, journal) as grants:
        yield grants


def journalled(agent: Agent) -> list[dict[str, Any]]:
    return [json.loads(entry.content) for entry in agent.journal.entries() if entry.kind == "grant"]


def test_a_grant_beyond_the_ceilings_waits_and_nothing_leaves(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.WAITING
    report = play(plan, agent, plan.order(Phase.CHECK, north))
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.GRANT_NOT_CONFIRMED)
    assert not north.home.run_directory(plan.run).exists()
    assert not cast.coordinator.artefacts


def test_a_grant_within_the_ceilings_takes_effect_as_it_arrives(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.IN_FORCE
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is None


def test_a_persons_confirmation_lets_it_run_and_the_coordinator_hears_of_it(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    command.confirm(digest_of(plan, north), "olga")
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.IN_FORCE
    for phase in (Phase.CHECK, Phase.TRAIN, Phase.EVALUATE):
        assert code_of(plan, agent, plan.order(phase, north)) is None


def test_limits_that_a_person_set_on_confirming_hold_though_more_was_granted(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    held = command.beginning_with(digest_of(plan, north)[:8])
    command.confirm(held.digest, "olga", held.narrowed(expires_at=int(time.time())))
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.GRANT_EXPIRED


def test_an_order_that_comes_before_the_notice_brings_the_grant_itself(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is None
    assert agent.grants.held(digest_of(plan, north)).signed == grant_of(plan, north).request


def test_orders_bring_no_grant_of_another_host_or_of_a_stranger(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    stranger = Grant.of(grant_of(plan, north).request.open(AccessRequest).signed_by(SigningKey.generate()))
    for grant in (stranger, grant_of(plan, cast.owners[1])):
        order = plan.order(Phase.CHECK, north, grant=grant)
        assert code_of(plan, agent, order) is RefusalCode.NOT_GRANTED
        cast.coordinator.reports.clear()
        assert agent.grants.all() == []
        plan = cast.spec(Protocol.LOCAL)


def test_the_coordinator_cannot_widen_a_grant_that_it_has_narrowed(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    grant = grant_of(plan, north)
    narrow = grant.model_copy(update={"minimum_owners": 3})
    cast.coordinator.notify(narrow, north.key)
    hear(agent, cast)
    cast.coordinator.notify(grant, north.key)
    hear(agent, cast)
    order = plan.order(Phase.CHECK, north)
    assert order.open(Order).grant == grant
    assert code_of(plan, agent, order) is RefusalCode.TOO_FEW_OWNERS


def test_a_grant_that_was_narrowed_to_the_ceilings_takes_effect_without_a_person(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    north.home.config_path.write_text(
        north.home.config_path.read_text() + CEILINGS.replace("releases = 5", "releases = 2")
    )
    grant = grant_of(plan, north)
    for releases, standing in ((5, Standing.WAITING), (2, Standing.IN_FORCE)):
        cast.coordinator.notify(grant.model_copy(update={"releases": releases}), north.key)
        hear(agent, cast)
        assert cast.coordinator.standing_of(grant) is standing


def test_the_coordinator_cannot_use_a_confirmed_grant_for_another_scientist(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore
) -> None:
    """Eve is a scientist of this host too, and signs the text of Sam's request as her own."""
    eve = SigningKey.generate()
    north.home.config_path.write_text(
        north.home.config_path.read_text()
        + f'[[scientists]]\nname = "eve"\nkey = "{eve.public}"\norganisation = "institute"\n'
    )
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    command.confirm(digest_of(plan, north), "olga")
    request = grant_of(plan, north).request.open(AccessRequest).signed_by(eve)
    assert request.digest == digest_of(plan, north)
    plan.signed = plan.spec.signed_by(eve)
    order = plan.order(
        Phase.CHECK, north, grant=grant_of(plan, north).model_copy(update={"request": request})
    )
    assert code_of(plan, agent, order) is RefusalCode.NOT_GRANTED
    cast.coordinator.notify(order.open(Order).grant or grant_of(plan, north), north.key)
    hear(agent, cast)
    assert agent.grants.held(request.digest).signed.signer == cast.sam.public


def test_a_revocation_at_the_coordinator_is_final_here_too(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    grant = grant_of(plan, north)
    cast.coordinator.notify(grant, north.key, revoked=True)
    hear(agent, cast)
    assert cast.coordinator.standing_of(grant) is Standing.REVOKED
    assert agent.grants.held(grant.request.digest).ruled_by == COORDINATOR
    cast.coordinator.notify(grant, north.key)
    hear(agent, cast)
    assert cast.coordinator.standing_of(grant) is Standing.REVOKED
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.GRANT_REVOKED


def test_a_grant_that_a_person_refused_here_is_refused_to_the_coordinator(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    command.refuse(digest_of(plan, north), "olga", "not for this")
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.REFUSED
    with_ceilings(north)
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.NOT_GRANTED


def test_a_restart_keeps_what_was_decided_and_tells_it_again(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore
) -> None:
    other = cast.spec(Protocol.LOCAL)
    for some in (plan, other):
        cast.coordinator.notify(grant_of(some, north), north.key)
    hear(agent, cast)
    command.confirm(digest_of(plan, north), "olga")
    command.revoke(digest_of(other, north), "olga")
    agent.granting.sync()
    told = [cast.coordinator.standing_of(grant_of(some, north)) for some in (plan, other)]
    before = [signed.text for signed in cast.coordinator.standings[-2:]]
    cast.coordinator.standings.clear()
    restarted = north.agent()
    restarted.granting.sync()
    assert [cast.coordinator.standing_of(grant_of(some, north)) for some in (plan, other)] == told
    assert sorted(signed.text for signed in cast.coordinator.standings) == sorted(before)
    assert code_of(plan, restarted, plan.order(Phase.CHECK, north)) is None
    assert code_of(other, restarted, other.order(Phase.CHECK, north)) is RefusalCode.GRANT_REVOKED
    restarted.close()


def test_a_host_whose_grants_were_lost_still_knows_what_was_revoked(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    agent.grants.revoke(digest_of(plan, north), "olga")
    for path in north.home.path.glob("grants.sqlite*"):
        path.unlink()
    restarted = north.agent()
    restarted.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.REVOKED
    assert code_of(plan, restarted, plan.order(Phase.CHECK, north)) is RefusalCode.GRANT_REVOKED
    restarted.close()


def test_an_edit_of_the_ceilings_changes_how_grants_stand(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    without = north.home.config_path.read_text()
    with_ceilings(north)
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.IN_FORCE
    north.home.config_path.write_text(without + "\n")
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.WAITING


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('purposes = ["security-research"]', 'purposes = ["research"]', "the purpose security-research"),
        ('protocols = ["local", "reference", "pooled", "shared"]', 'protocols = ["pooled"]', "none of local"),
        ('models = ["linear", "mlp"]', 'models = ["mlp"]', "none of linear"),
        ("[datasets.logs]", "[datasets.other]", "offers no dataset 'logs'"),
    ],
)
def test_a_grant_that_the_datasets_own_settings_never_allow_is_refused_whatever_is_confirmed(
    cast: Cast, agent: Agent, north: Owner, plan: Plan, command: GrantStore, old: str, new: str, why: str
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    command.confirm(digest_of(plan, north), "olga")
    north.home.config_path.write_text(north.home.config_path.read_text().replace(old, new))
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.REFUSED
    assert why in str(journalled(agent)[-1]["why"])


def test_a_grant_of_a_scientist_whom_the_policy_does_not_name_waits_for_the_owner_to_add_the_key(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    text = north.home.config_path.read_text()
    north.home.config_path.write_text(text.replace(cast.sam.public, SigningKey.generate().public))
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.WAITING
    assert "[[scientists]]" in str(journalled(agent)[-1]["why"])
    assert code_of(plan, agent, plan.order(Phase.CHECK, north)) is RefusalCode.UNKNOWN_SCIENTIST
    north.home.config_path.write_text(text)
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.IN_FORCE


def test_strangers_cannot_fill_the_disk_with_grants(
    cast: Cast, agent: Agent, north: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(granting, "MOST_OF_STRANGERS", 2)
    for _ in range(4):
        request = grant_of(cast.spec(Protocol.LOCAL), north).request.open(AccessRequest)
        cast.coordinator.notify(Grant.of(request.signed_by(SigningKey.generate())), north.key)
    hear(agent, cast)
    assert len(agent.grants.all()) == 2
    assert [entry["dropped"] for entry in journalled(agent) if "dropped" in entry] == [
        "unknown_scientist"
    ] * 2


def test_what_is_no_notice_of_this_host_from_its_coordinator_is_dropped_and_journalled(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    grant, south = grant_of(plan, north), cast.owners[1]
    forged = grant.request.model_copy(
        update={"text": grant.request.text.replace('"releases":5', '"releases":9')}
    )
    notices = [
        GrantNotice(audience=north.key, grant=grant).signed_by(SigningKey.generate()),
        GrantNotice(audience=south.key, grant=grant).signed_by(cast.coordinator.key),
        GrantNotice(audience=north.key, grant=grant_of(plan, south)).signed_by(cast.coordinator.key),
        GrantNotice(audience=north.key, grant=grant.model_copy(update={"request": forged})).signed_by(
            cast.coordinator.key
        ),
        GrantStanding(request="a" * 64, standing=Standing.IN_FORCE, decided_at=0).signed_by(
            cast.coordinator.key
        ),
    ]
    cast.coordinator.notices += [(north.key, signed) for signed in notices]
    hear(agent, cast)
    assert agent.grants.all() == []
    assert [entry["dropped"] for entry in journalled(agent)] == [
        *("unknown_signer", "wrong_audience", "wrong_audience", "bad_signature", "bad_signature")
    ]
    assert cast.coordinator.standings == []


def test_what_the_coordinator_could_not_hear_is_told_when_it_is_back(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    original, away = cast.coordinator._route, {"/api/host/grants?after=0", "/api/host/standings"}

    def route(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        return (503, {}, b"") if path in away else original(method, path, headers, body)

    cast.coordinator._route = route  # type: ignore[method-assign]
    for path in sorted(away):
        with pytest.raises(CoordinatorAway, match="answered 503"):
            agent.granting.sync()
        away.remove(path)
    agent.granting.sync()
    assert cast.coordinator.standing_of(grant_of(plan, north)) is Standing.WAITING


def test_a_standing_that_the_coordinator_does_not_take_is_not_sent_for_ever(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    cast.coordinator.notify(grant_of(plan, north), north.key)
    original = cast.coordinator._route

    def refuse(method: str, path: str, headers: dict[str, str], body: bytes) -> Any:
        return (409, {}, b"") if path.endswith("/standings") else original(method, path, headers, body)

    cast.coordinator._route = refuse  # type: ignore[method-assign]
    for _ in range(5):
        agent.granting.sync()
    asked = [path for _method, path in cast.coordinator.requests]
    assert asked.count("/api/host/standings") == 1


def test_a_coordinator_that_has_forgotten_is_asked_for_everything_again(
    cast: Cast, agent: Agent, north: Owner, plan: Plan
) -> None:
    agent.granting.hear(7)
    cast.coordinator.notices += [("another", grant_of(plan, north).request)] * 7
    agent.granting.sync()
    cast.coordinator.notices.clear()
    cast.coordinator.notify(grant_of(plan, north), north.key)
    hear(agent, cast)
    assert len(agent.grants.all()) == 1


def test_an_approval_takes_effect_within_a_second_while_the_host_polls_for_orders(
    cast: Cast, north: Owner, plan: Plan
) -> None:
    with_ceilings(north)
    agent = north.agent()
    running = threading.Thread(target=agent.run, daemon=True)
    running.start()
    until(lambda: any("/api/host/orders" in path for _method, path in cast.coordinator.requests))
    started = time.monotonic()
    cast.coordinator.notify(grant_of(plan, north), north.key)
    until(lambda: cast.coordinator.standing_of(grant_of(plan, north)))
    assert time.monotonic() - started < 2
    agent.stop()
    running.join(20)


def until(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.01)


class RevokingBell(InlineBell):
    """Revokes a grant when the first task is asked for, and does the task nevertheless."""

    def __init__(self, owner: Owner, grants: GrantStore, digest: str) -> None:
        super().__init__(owner.home)
        self._grants, self._digest = grants, digest

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        if not self._grants.is_over(self._digest):
            self._grants.revoke(self._digest, "olga", "at once")
        super().ring(kind, order_id, shard)


def test_a_revocation_while_rows_are_computed_lets_nothing_leave(
    cast: Cast, north: Owner, command: GrantStore
) -> None:
    for owner in cast.owners:
        with_ceilings(owner)
    plan = cast.spec(Protocol.POOLED)
    agents = [owner.agent() for owner in cast.owners]
    agree(plan, agents)
    agents[0].close()
    agent = north.agent(RevokingBell(north, command, digest_of(plan, north)))
    report = play(plan, agent, plan.order(Phase.PREPARE, north, evidence=plan.said(Phase.CONFIRM)))
    assert (report.status, report.code) == (Status.FAILED, RefusalCode.GRANT_REVOKED)
    assert not cast.coordinator.artefacts
    assert not north.home.spool_directory(report.order).exists()
    for some in (agent, agents[1]):
        some.close()


def prepared(cast: Cast) -> tuple[Plan, list[Agent], Any]:
    """A pooled run whose rows are to be prepared at north."""
    for owner in cast.owners:
        with_ceilings(owner)
    plan = cast.spec(Protocol.POOLED)
    agents = [owner.agent() for owner in cast.owners]
    agree(plan, agents)
    return plan, agents, plan.order(Phase.PREPARE, cast.owners[0], evidence=plan.said(Phase.CONFIRM))


def test_an_answer_that_was_computed_but_not_sent_stays_here_when_its_grant_is_revoked(
    cast: Cast, north: Owner, command: GrantStore
) -> None:
    plan, agents, order = prepared(cast)
    agent = agents[0]
    opened = order.open(Order)
    agent.store.claim(opened, order, 0)
    stored = agent._answering.answer(opened, order)
    assert (stored.life, stored.status) == (Life.STORED, Status.DONE)
    command.revoke(digest_of(plan, north), "olga")
    restarted = north.agent()
    restarted.resume()
    [report] = cast.coordinator.wait_for([order])
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.GRANT_REVOKED)
    assert not cast.coordinator.artefacts
    assert not north.home.spool_directory(report.order).exists()
    stored = restarted.store.find(report.order)
    assert stored is not None
    assert (stored.status, stored.report) == (Status.REFUSED, cast.coordinator.reports[report.order])
    for some in (*agents, restarted):
        some.close()


def test_an_answer_stays_here_when_its_grant_expires_before_it_is_sent(cast: Cast, north: Owner) -> None:
    """A coordinator that is away for long, or says so, gets nothing for it."""
    plan, agents, order = prepared(cast)
    opened = order.open(Order)
    agents[0].store.claim(opened, order, 0)
    agents[0]._answering.answer(opened, order)
    restarted = north.agent()
    restarted._answering._clock = lambda: grant_of(plan, north).expires_at  # type: ignore[method-assign]
    restarted.resume()
    [report] = cast.coordinator.wait_for([order])
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.GRANT_EXPIRED)
    assert not cast.coordinator.artefacts
    assert not north.home.spool_directory(report.order).exists()
    for some in (*agents, restarted):
        some.close()


def test_a_revocation_during_an_upload_stops_it(cast: Cast, north: Owner, command: GrantStore) -> None:
    plan, agents, order = prepared(cast)
    original, sent = cast.coordinator._artefact, []

    def revoke_first(method: str, *rest: Any) -> Any:
        if method == "HEAD" and not command.is_over(digest_of(plan, north)):
            command.revoke(digest_of(plan, north), "olga")
        sent.append(method)
        return original(method, *rest)

    cast.coordinator._artefact = revoke_first  # type: ignore[method-assign]
    report = play(plan, agents[0], order)
    assert (report.status, report.code) == (Status.REFUSED, RefusalCode.GRANT_REVOKED)
    assert sent == ["HEAD"]
    assert not cast.coordinator.artefacts
    for some in agents:
        some.close()


def test_what_left_before_a_revocation_does_not_leave_again(
    cast: Cast, north: Owner, command: GrantStore
) -> None:
    plan, agents, order = prepared(cast)
    assert play(plan, agents[0], order).status is Status.DONE
    before = len(cast.coordinator.every_report)
    agents[0].handle(order)
    assert len(cast.coordinator.every_report) == before + 1
    command.revoke(digest_of(plan, north), "olga")
    agents[0].handle(order)
    assert len(cast.coordinator.every_report) == before + 1
    assert not agents[0]._ask_again.is_set(), "it is not tried for ever"
    for some in agents:
        some.close()


def test_a_run_is_closed_though_its_grant_is_revoked(cast: Cast, north: Owner, command: GrantStore) -> None:
    plan, agents, _order = prepared(cast)
    command.revoke(digest_of(plan, north), "olga")
    do(plan, agents[:1], Phase.CLOSE)
    assert not north.home.run_directory(plan.run).exists()
    for some in agents:
        some.close()


def test_a_coordinator_whose_notices_never_end_keeps_the_host_from_nothing(
    agent: Agent, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def notices(after: int) -> Delivered:
        asked.append(after)
        return Delivered(after + 1, ())

    monkeypatch.setattr(agent.granting._api, "notices", notices)
    agent.granting.hear(1)
    agent.granting.sync()
    agent.granting.sync()
    assert asked == list(range(2 * MOST_PAGES)), "it goes on where it was, with a pause between"
    stopped = threading.Event()
    stopped.set()
    agent.granting._stopping = stopped
    agent.granting.sync()
    assert len(asked) == 2 * MOST_PAGES


def test_a_flood_of_bad_notices_is_counted_in_few_entries(agent: Agent, cast: Cast) -> None:
    for _ in range(EACH + 50):
        agent.granting._drop(None, WireError(RefusalCode.MALFORMED, "no"))
    assert len(journalled(agent)) == EACH
    agent.granting.close()
    assert journalled(agent)[-1] == {"besides": {"malformed": 50}}
