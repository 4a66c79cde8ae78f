"""A coordinator in the attacker's hands: its real key, its real endpoint, and north's real agent on the other side.

Home, keys, policy, journal, workers and rows of north are real; south is an honest owner and the referee an honest
reference host. Everything that north sends is kept, byte for byte, so that a test can say what left and what did not.
Journal and orders are kept in memory by the system (no sync to the disk for each entry), which changes when something
is durable and nothing else.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from fedcore.owner.agent import Agent
from fedcore.owner.cli import app
from fedcore.owner.datasets import Datasets
from fedcore.owner.journal import Entry
from fedcore.owner.tasks import InlineBell
from fedcore.plugin_api.pipeline import pins_of
from fedcore.plugin_api.registry import PluginError
from fedcore.wire.access import AccessRequest, Grant, GrantNotice
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import Order, Phase, order_id
from fedcore.wire.requests import KEY_HEADER
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Protocol, RunSpec
from tests.faults.wrong_orders import Wrong
from tests.owner.cast import PLAIN, SHARING, Cast, Owner, Plan
from tests.owner.scripted import Answer, ScriptedCoordinator

AT_WORK = (
    *(Phase.CHECK, Phase.OFFER, Phase.SUMMARISE, Phase.PREPARE),
    *(Phase.DEAL, Phase.TRAIN, Phase.EVALUATE),
)
"""What a coordinator would try, one after the other, to get anything out of a run."""


@dataclass(frozen=True)
class Sent:
    """One request of a host, as it came."""

    host: str
    method: str
    path: str
    body: bytes


@dataclass
class ListeningCoordinator(ScriptedCoordinator):
    """Keeps everything that hosts send."""

    sent: list[Sent] = field(default_factory=list)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        lower = {name.lower(): value for name, value in headers.items()}
        self.sent.append(Sent(lower.get(KEY_HEADER.lower(), ""), method, path, body))
        return super().answer(method, path, headers, body)


@dataclass(frozen=True)
class Told:
    """What the coordinator says of a grant, signed, among its orders."""

    notice: Signed


Delivered = Signed | bytes | Told


class CountingBell(InlineBell):
    """Has each task done at once, and counts them."""

    rings = 0

    def ring(self, kind: str, order_id: str, shard: int) -> None:
        self.rings += 1
        super().ring(kind, order_id, shard)


@dataclass
class Watched:
    """What north has done since somebody began to watch."""

    sent: list[Sent] = field(default_factory=list)
    journal: list[Entry] = field(default_factory=list)
    tasks: int = 0
    files: set[Path] = field(default_factory=set)
    delivered: list[Delivered] = field(default_factory=list)

    def bodies(self, method: str) -> list[bytes]:
        return [one.body for one in self.sent if one.method == method]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """The reports that were posted, as the coordinator reads them."""
        return self._posted("/api/host/reports")

    @property
    def standings(self) -> list[dict[str, Any]]:
        """What the coordinator was told of grants."""
        return self._posted("/api/host/standings")

    def _posted(self, path: str) -> list[dict[str, Any]]:
        texts = [json.loads(one.body)["text"] for one in self.sent if one.path == path]
        return [json.loads(text) for text in texts]

    def journalled(self) -> list[dict[str, Any]]:
        return [json.loads(entry.content) for entry in self.journal]


@dataclass
class Scene:
    """The federation, and what the attacker does to north in it."""

    cast: Cast
    agents: list[Agent]
    bell: CountingBell
    shift: list[float]
    """Seconds by which north's clock is ahead."""
    eve: SigningKey = field(default_factory=SigningKey.generate)
    sybil: SigningKey = field(default_factory=SigningKey.generate)
    delivered: list[Delivered] = field(default_factory=list)
    undo: ExitStack = field(default_factory=ExitStack)
    """What an attack has changed at north besides its orders; `undoing` puts it back."""

    @property
    def north(self) -> Owner:
        return self.cast.owners[0]

    @property
    def south(self) -> Owner:
        return self.cast.owners[1]

    @property
    def referee(self) -> Owner:
        assert self.cast.referee is not None
        return self.cast.referee

    @property
    def agent(self) -> Agent:
        return self.agents[0]

    @property
    def coordinator(self) -> ListeningCoordinator:
        assert isinstance(self.cast.coordinator, ListeningCoordinator)
        return self.cast.coordinator

    def honest(self, protocol: Protocol = Protocol.POOLED, **more: Any) -> Plan:
        """A run as it should be, with grants for it."""
        backends = {Protocol.LOCAL: PLAIN, Protocol.REFERENCE: PLAIN, Protocol.SHARED: SHARING}
        if protocol in backends:
            more = {"backend": backends[protocol], **more}
        return self.cast.spec(protocol, **more)

    def forged(
        self, wrong: Wrong, protocol: Protocol = Protocol.POOLED, phases: tuple[Phase, ...] = AT_WORK
    ) -> list[Signed]:
        """Orders of one new run, in which this is wrong and all the rest fits, signed by the coordinator's key."""
        plan, host = self.honest(protocol), self.north.key
        asked = plan.grants[host].request.open(AccessRequest).model_copy(update=wrong.request)
        request = asked.signed_by(wrong.requester or self.cast.sam)
        datasets = wrong.spec.get("datasets", plan.spec.datasets)
        named = tuple(request.digest if dataset.host == host else "d" * 64 for dataset in datasets)
        spec = plan.spec.model_copy(update={"grants": named, "nonce": secrets.token_hex(16), **wrong.spec})
        signed = spec.signed_by(wrong.scientist or self.cast.sam)
        facts = {
            "run": signed.digest,
            "spec": signed,
            "grant": Grant.of(request).model_copy(update=wrong.grant),
            "pins": self._pins(spec),
            "audience": host,
            **wrong.order,
        }
        return [self.signed({"phase": phase, **facts}) for phase in phases]

    def signed(self, facts: dict[str, Any], key: SigningKey | None = None) -> Signed:
        """An order of these facts, with the id of its work and an expiry in ten minutes where they name none."""
        step, round = facts.get("step", 0), facts.get("round", 0)
        due = order_id(facts["run"], facts["phase"], step, round, facts["audience"])
        now = int(time.time())
        times = {"issued_at": now, "expires_at": now + 600}
        order = Order.model_construct(**{"id": due, **times, **facts})
        return order.signed_by(key or self.coordinator.key)

    def under(self, pretext: Callable[[Order], dict[str, Any]], signed: Signed) -> Signed:
        """An order for the same work that says something else."""
        order = signed.open(Order)
        return order.model_copy(update=pretext(order)).signed_by(self.coordinator.key)

    def _pins(self, spec: RunSpec) -> Any:
        try:
            return tuple(pins_of(self.cast.registry, spec.pipeline, spec.backend, spec.model))
        except PluginError:
            return ()

    def version_of(self, dataset: str) -> str:
        """The version of a dataset that north's policy offers now."""
        policy = self.north.home.load_config()
        return Datasets(self.north.home, policy, self.cast.registry).look(dataset).version

    def deliver(self, *messages: Delivered) -> None:
        """Give north these orders and words on grants, one answer each, and wait until it has done with them."""
        for message in messages:
            self.delivered.append(message)
            if isinstance(message, Told):
                self.tell(message)
                continue
            envelope = message if isinstance(message, bytes) else message.encode().encode()
            self.answer_with(b'{"cursor":1,"grants":%d,"orders":[%s]}' % (self._serial, envelope))
            self.settle()

    def tell(self, told: Told) -> None:
        """Have north hear what the coordinator says of a grant, and do what it does about it."""
        self.coordinator.notices.append((self.north.key, told.notice))
        self.answer_with(b'{"cursor":1,"grants":%d,"orders":[]}' % self._serial)
        self.agent.granting.sync()

    def told(self, grant: Grant, revoked: bool = False) -> Told:
        notice = GrantNotice(audience=self.north.key, grant=grant, revoked=revoked)
        return Told(notice.signed_by(self.coordinator.key))

    @property
    def _serial(self) -> int:
        return len(self.coordinator.notices)

    def person(self, *words: str) -> str:
        """What a person at north types after `fedcore-owner`, and what is shown."""
        result = CliRunner().invoke(app, [*words, "--home", str(self.north.home.path)])
        assert result.exit_code == 0, result.output
        return result.output

    def answer_with(self, body: bytes) -> None:
        """North asks for orders, and gets this."""
        self.coordinator._orders = lambda *_: (200, {}, body)  # type: ignore[method-assign]
        try:
            self.agent.ask(0)
        finally:
            del self.coordinator._orders

    def settle(self) -> None:
        until = time.monotonic() + 60
        while self.agent._in_hand and time.monotonic() < until:
            time.sleep(0.002)
        assert not self.agent._in_hand

    def carry_out(self, *orders: Signed) -> None:
        """North does as these orders say."""
        for order in orders:
            self.agent.handle(order)
            report = self.coordinator.report_on(order)
            assert report.status == "done", report

    def play(self, plan: Plan, phase: Phase, **content: Any) -> None:
        """Both owners do a phase as they should."""
        for agent, order in zip(self.agents, plan.orders(phase, **content), strict=False):
            agent.handle(order)
            report = self.coordinator.report_on(order)
            assert report.status == "done", report

    def agree(self, plan: Plan) -> None:
        """The owners agree on the run's key."""
        self.play(plan, Phase.CHECK)
        self.play(plan, Phase.OFFER)
        self.play(plan, Phase.SHARE, evidence=plan.said(Phase.OFFER))
        self.play(plan, Phase.CONFIRM, evidence=plan.said(Phase.OFFER) + plan.said(Phase.SHARE))

    @contextmanager
    def watched(self) -> Iterator[Watched]:
        """What north does inside the block."""
        watched, sent, entries = Watched(), len(self.coordinator.sent), self._entries()
        files, rings, delivered = self._files(), self.bell.rings, len(self.delivered)
        yield watched
        self.settle()
        watched.sent = [one for one in self.coordinator.sent[sent:] if one.host == self.north.key]
        watched.journal = self._entries()[len(entries) :]
        watched.files = self._files() - files
        watched.tasks = self.bell.rings - rings
        watched.delivered = self.delivered[delivered:]

    def _entries(self) -> list[Entry]:
        return list(self.agent.journal.entries())

    def _files(self) -> set[Path]:
        home = self.north.home
        return {path for folder in (home.runs, home.spool) for path in folder.rglob("*") if path.is_file()}

    @contextmanager
    def undoing(self) -> Iterator[None]:
        """Whatever is left to `undo` inside the block is undone when it ends."""
        with self.undo:
            yield

    def restart(self, meanwhile: Callable[[], object] = lambda: None) -> None:
        """North's agent ends, something happens to its files, and another agent begins."""
        self.agent.close()
        try:
            meanwhile()
        finally:
            self.agents[0] = agent_of(self.north, self.bell, self.shift)

    @contextmanager
    def policy(self, change: Callable[[str], str]) -> Iterator[None]:
        """North's owner.toml is edited inside the block."""
        path = self.north.home.config_path
        before = path.read_text()
        after = change(before)
        assert after != before, "the policy has no such line"
        path.write_text(after)
        try:
            yield
        finally:
            path.write_text(before)


def left_before(scene: Scene, plan: Plan) -> set[bytes]:
    """Every body that north has sent about a run."""
    about = [
        one for one in scene.coordinator.sent if one.host == scene.north.key and plan.run.encode() in one.body
    ]
    return {one.body for one in about}


@contextmanager
def scene_in(directory: Path) -> Iterator[Scene]:
    """A federation of two owners and a reference host, with their agents."""
    cast = Cast(directory, coordinator=ListeningCoordinator())
    cast.settle_in(["north", "south"], rows=200, reference=True)
    shift = [0.0]
    bell = CountingBell(cast.owners[0].home)
    agents = [agent_of(cast.owners[0], bell, shift), *(agent_of(owner) for owner in cast.everyone[1:])]
    yield Scene(cast, agents, bell, shift)
    for agent in agents:
        agent.close()


def agent_of(owner: Owner, bell: CountingBell | None = None, shift: Sequence[float] = (0.0,)) -> Agent:
    """An agent whose clock is ahead by `shift`, and whose journal and orders are not synced to the disk."""
    agent = owner.agent(bell, clock=lambda: time.time() + shift[0])
    agent.journal._database.execute("PRAGMA synchronous = OFF")
    agent.store._database.execute("PRAGMA synchronous = OFF")
    return agent
