"""Everything that runs before the story begins: keys, coordinator, hosts with their policies, people logged in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from examples.demo.coordinator import Coordinator, start_coordinator
from examples.demo.errors import DemoError
from examples.demo.hosts import init_hosts, owner_toml, start_host
from examples.demo.offer import Offer
from examples.demo.organisations import Cast, Person
from examples.demo.processes import Processes, program
from fedcore.client import FedcoreError, Session

START_SECONDS: Final = 180.0


def start_everything(cast: Cast, offers: Sequence[Sequence[Offer]], processes: Processes) -> Coordinator:
    """Start coordinator and hosts, and wait until the catalogue has everything that the owners offer.

    `offers` are the datasets of each owner, in the order of `cast.owners`.
    """
    cards = init_hosts(cast.hosts, processes)
    coordinator = start_coordinator(cast, cards, processes)
    key = _sams_key(cast, coordinator, processes)
    for host, offered in zip(cast.hosts, [*offers, ()], strict=True):
        policy = owner_toml(host, cast, coordinator, cards, key, offered)
        (host.home / "owner.toml").write_text(policy)
        start_host(host, processes)
    clara = session_of(cast, coordinator, cast.person("clara"))
    number = sum(map(len, offers))
    processes.wait_until(
        "The owners' hosts announce their datasets",
        lambda: len(clara.datasets()) == number,
        START_SECONDS,
    )
    return coordinator


def session_of(cast: Cast, coordinator: Coordinator, person: Person) -> Session:
    """A session in which a person has logged in. Raises `DemoError`."""
    organisation = next(some for some in cast.organisations if some.name == person.organisation)
    session = Session(coordinator.url, organisation.directory / "people" / person.username)
    try:
        session.log_in(person.username, person.password)
    except FedcoreError as error:
        raise DemoError(
            f"{person.username} cannot log in: {error}", "Look at the coordinator's log."
        ) from None
    return session


def _sams_key(cast: Cast, coordinator: Coordinator, processes: Processes) -> str:
    """Sam logs in from the university, which makes Sam's signing key; Sam tells the owners the public part."""
    university, sam = cast.university, cast.person("sam")
    fedcore = program("fedcore")
    log = university.log / "commands.log"
    login = [fedcore, "login", coordinator.url, "--username", sam.username]
    with_password = university.environment(FEDCORE_PASSWORD=sam.password)
    processes.run("fedcore login", university.name, login, with_password, log)
    output = processes.run("fedcore keys", university.name, [fedcore, "keys"], university.environment(), log)
    return output.split()[2]
