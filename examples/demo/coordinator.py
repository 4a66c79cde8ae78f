"""Cloud House runs the coordinator: database, broker, web process, worker."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final

import httpx

from examples.demo.errors import DemoError
from examples.demo.organisations import Cast, Organisation, Person, as_toml
from examples.demo.processes import Processes, free_port

START_SECONDS: Final = 120.0


@dataclass(frozen=True)
class Coordinator:
    """The running coordinator: its address, and the public key that owners pin."""

    url: str
    key: str


def start_coordinator(cast: Cast, cards: dict[str, str], processes: Processes) -> Coordinator:
    """Make the site with its people and hosts, and start its processes. `cards`: organisation to host card."""
    house, port = cast.operator, free_port()
    environment = environment_of(house)
    site = house.directory / "site.toml"
    site.write_text(site_toml(cast, cards))
    passwords = {_password_variable(person): person.password for person in cast.people}
    manage, log = [sys.executable, "manage.py"], house.log / "setup.log"
    processes.run("manage.py migrate", house.name, [*manage, "migrate", "--verbosity", "0"], environment, log)
    setup = [*manage, "setup_site", str(site)]
    processes.run("manage.py setup_site", house.name, setup, environment | passwords, log)
    start = [*manage, "start", "--port", str(port), "--concurrency", "1"]
    processes.start("manage.py start", house.name, start, environment, house.log / "coordinator.log")
    url = f"http://127.0.0.1:{port}"
    processes.wait_until("The coordinator answers", lambda: answers(url), START_SECONDS)
    return Coordinator(url, _key(url))


def environment_of(house: Organisation) -> dict[str, str]:
    """The environment of the coordinator's processes and commands."""
    return house.environment(FEDCORE_DATA_DIR=str(house.home), FEDCORE_OPERATOR_ORGANISATION=house.name)


def site_toml(cast: Cast, cards: dict[str, str]) -> str:
    """The coordinator's first organisations, people and hosts, as `manage.py setup_site` reads them."""
    organisations = [_table("organisations", name=some.name, title=some.title) for some in cast.organisations]
    people = [
        _table(
            "people",
            username=person.username,
            first_name=person.first_name,
            last_name=person.last_name,
            organisation=person.organisation,
            roles=list(person.roles),
            password_env=_password_variable(person),
        )
        for person in cast.people
    ]
    hosts = [
        _table(
            "hosts",
            name=host.name,
            organisation=host.name,
            card=cards[host.name],
            reference=host is cast.reference,
            dealer=host is cast.reference,
        )
        for host in cast.hosts
    ]
    return "\n".join([*organisations, *people, *hosts])


def answers(url: str) -> bool:
    """Whether the coordinator at `url` is up."""
    try:
        return httpx.get(f"{url}/api/health", timeout=5).is_success
    except httpx.HTTPError:
        return False


def _key(url: str) -> str:
    try:
        return str(httpx.get(f"{url}/api/coordinator", timeout=10).raise_for_status().json()["key"])
    except (httpx.HTTPError, KeyError, ValueError) as error:
        raise DemoError(
            f"The coordinator at {url} does not tell its key ({error}).", "See its log."
        ) from None


def _password_variable(person: Person) -> str:
    return f"PASSWORD_OF_{person.username.upper()}"


def _table(table: str, /, **values: object) -> str:
    return f"[[{table}]]\n" + "".join(f"{key} = {as_toml(value)}\n" for key, value in values.items())
