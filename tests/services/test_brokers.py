"""Real runs over brokers that organisations run themselves: coordinator, hosts and workers are processes.

No two organisations share a broker: each gets a Redis database of its own, and RabbitMQ, whose default account has one
virtual host, serves one of them at a time. The others use their embedded brokers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from examples.demo.coordinator import Coordinator, start_coordinator
from examples.demo.data import make_offers
from examples.demo.hosts import init_host, owner_toml, start_host
from examples.demo.organisations import PURPOSE, Cast, Organisation, make_cast
from examples.demo.processes import Processes
from examples.demo.settings import Settings
from fedcore.client import RunPlan, Session
from fedcore.client.session import END_STATES
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.spec import Pipeline, PluginChoice, Training

pytestmark = [
    pytest.mark.services,
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.xdist_group("services"),
]

ROWS: Final = 2_000
SECONDS: Final = 120.0
RABBITMQ: Final = "amqp://guest:guest@127.0.0.1:5672//"
QUEUES: Final = ("celery", "fedcore")
PLAN: Final = RunPlan(
    title="Malicious requests",
    purpose=PURPOSE,
    pipeline=Pipeline(
        steps=(
            PluginChoice(name="fields", options={"names": ["target"]}),
            *(PluginChoice(name=name) for name in ("url_decode", "lower", "words", "protect")),
            PluginChoice(name="hash_columns", options={"columns": 1024}),
        )
    ),
    training=Training(optimiser=PluginChoice(name="adam", options={"lr": 0.05}), batch_size=128, epochs=5),
    minimum_owners=2,
)


@dataclass(frozen=True)
class OnBroker(Organisation):
    """An organisation whose processes use a broker of its own choice."""

    broker: str = ""

    def environment(self, **more: str) -> dict[str, str]:
        return super().environment(**({"BROKER_URL": self.broker} if self.broker else {}) | more)


@pytest.fixture
def redis_addresses() -> Iterator[list[str]]:
    """Three Redis databases that nobody uses, empty again at the end."""
    from redis import Redis
    from redis.exceptions import RedisError

    def connect(number: int) -> Any:
        return Redis(host="127.0.0.1", port=6379, db=number, socket_connect_timeout=3)

    try:
        count = int(connect(0).config_get("databases")["databases"])
        free = [number for number in reversed(range(1, count)) if connect(number).dbsize() == 0][:3]
    except RedisError as reason:
        pytest.skip(f"No Redis server answers at 127.0.0.1:6379: {reason}")
    if len(free) < 3:
        pytest.skip("The Redis server at 127.0.0.1:6379 has no three empty databases.")
    yield [f"redis://127.0.0.1:6379/{number}" for number in free]
    for number in free:
        connect(number).flushdb()


@pytest.fixture
def rabbitmq() -> Iterator[str]:
    """The virtual host of RabbitMQ's default account, without what former processes left in fedcore's queues."""
    from kombu import Connection
    from kombu.exceptions import OperationalError

    try:
        with Connection(RABBITMQ, connect_timeout=3, transport_options={"max_retries": 0}) as connection:
            connection.connect()
    except (OperationalError, OSError) as reason:
        pytest.skip(f"No RabbitMQ server answers at 127.0.0.1:5672: {reason}")
    _delete_queues()
    yield RABBITMQ
    _delete_queues()


def test_every_organisation_works_on_a_redis_database_of_its_own(
    redis_addresses: list[str], tmp_path: Path
) -> None:
    _run(tmp_path, *redis_addresses)


def test_the_coordinator_works_on_rabbitmq(rabbitmq: str, tmp_path: Path) -> None:
    _run(tmp_path, rabbitmq, "", "")


def test_an_owner_works_on_rabbitmq(rabbitmq: str, tmp_path: Path) -> None:
    _run(tmp_path, "", rabbitmq, "")


def _run(folder: Path, coordinator: str, north: str, south: str) -> None:
    """A pooled run of Sam over two owners, on these brokers; an empty address is the embedded broker."""
    cast = _cast(folder / "organisations", coordinator, north, south)
    with Processes(folder) as processes:
        session, running = _start(cast, processes)
        report = _pooled(cast, session, running, processes)
    assert {owner["host_name"] for owner in report["owners"]} == {owner.name for owner in cast.owners}
    assert all(owner["rows_trained"] > 0 for owner in report["owners"])
    assert report["metrics"]["roc_auc"] > 0.8
    embedded = {
        some.name for some in (cast.operator, *cast.owners) if (some.home / "broker" / "broker.conf").exists()
    }
    assert embedded == {some.name for some in (cast.operator, *cast.owners) if not _broker_of(some)}


def _cast(root: Path, coordinator: str, north: str, south: str) -> Cast:
    root.mkdir()
    cast = make_cast(root)
    first, second = cast.owners
    return dataclasses.replace(
        cast,
        operator=_on(cast.operator, coordinator),
        owners=(_on(first, north), _on(second, south)),
    )


def _on(organisation: Organisation, broker: str) -> OnBroker:
    return OnBroker(organisation.name, organisation.title, organisation.directory, broker)


def _broker_of(organisation: Organisation) -> str:
    return organisation.broker if isinstance(organisation, OnBroker) else ""


def _start(cast: Cast, processes: Processes) -> tuple[Session, Coordinator]:
    """Coordinator and both owners as processes, and Sam logged in. The reference host has a card and never comes."""
    cards = {owner.name: init_host(owner, processes) for owner in cast.owners}
    cards[cast.reference.name] = str(HostCard(SigningKey.generate().public, SealingKey.generate().public))
    coordinator = start_coordinator(cast, cards, processes)
    sam = _session(cast, coordinator, "sam")
    offers = make_offers(
        Settings(once=True, good=None, bad=None, log=None, rows=ROWS),
        (cast.owners[0].directory, cast.owners[1].directory),
    )
    for owner, offer in zip(cast.owners, offers, strict=True):
        policy = owner_toml(owner, cast, coordinator, cards, sam.key.public, [offer])
        (owner.home / "owner.toml").write_text(policy)
        start_host(owner, processes)
    processes.wait_until("The owners announce", lambda: len(sam.datasets()) == 2, SECONDS)
    return sam, coordinator


def _pooled(cast: Cast, sam: Session, coordinator: Coordinator, processes: Processes) -> dict[str, Any]:
    datasets = sam.datasets()
    grants = [sam.request_access(dataset, [PLAN], purpose=PURPOSE) for dataset in datasets]
    for username in ("olga", "otto"):
        owner = _session(cast, coordinator, username)
        for item in owner.requests():
            owner.decide(item["digest"], "approve")
    run = sam.submit(PLAN, datasets, grants)
    processes.wait_until("The run ends", lambda: sam.run(run)["state"] in END_STATES, SECONDS)
    assert sam.run(run)["state"] == "finished", sam.run(run)["message"]
    return sam.report(run)


def _session(cast: Cast, coordinator: Coordinator, username: str) -> Session:
    session = Session(coordinator.url, cast.university.directory / "people" / username)
    session.log_in(username, cast.person(username).password)
    return session


def _delete_queues() -> None:
    from kombu import Connection

    with Connection(RABBITMQ) as connection:
        for queue in QUEUES:
            connection.default_channel.queue_delete(queue)
