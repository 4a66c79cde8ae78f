"""The owners' hosts and the reference host, which also deals: `fedcore-owner init`, `owner.toml`, `fedcore-owner
run`."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from examples.demo.coordinator import Coordinator
from examples.demo.errors import DemoError
from examples.demo.offer import Offer
from examples.demo.organisations import CLOUD_HOUSE, PURPOSE, UNIVERSITY, Cast, Organisation, as_toml
from examples.demo.processes import Process, Processes, program

USES: Final[dict[str, object]] = {
    "purposes": [PURPOSE],
    "protocols": ["local", "reference", "pooled", "shared"],
    "backends": ["plaintext", "keyed_tokens", "secret_sharing"],
    "models": ["linear", "mlp"],
    "character_steps": ["char_ngrams"],
    "releases": 50,
    "download": True,
}
RULES: Final = USES | {"minimum_owners": 2}
"""The absolute limits of a dataset."""
CEILINGS: Final = USES | {"days": 31, "epsilon": "none"}
"""What an owner approves at the coordinator takes effect at once, as far as this goes."""
SCORES: Final = "scores.csv"
_CARD: Final = re.compile(r"fedcore-host:[\w-]{43}:[\w-]{43}")


def init_hosts(hosts: Sequence[Organisation], processes: Processes) -> dict[str, str]:
    """Make the hosts' directories and keys, at the same time; returns their cards by the hosts' names."""
    begun = {host.name: _start_init(host, processes) for host in hosts}
    return {host.name: _card_of(host, processes.finish(begun[host.name])) for host in hosts}


def init_host(host: Organisation, processes: Processes) -> str:
    """Make a host's directory and keys; returns its card."""
    return init_hosts([host], processes)[host.name]


def _start_init(host: Organisation, processes: Processes) -> Process:
    command, log = [program("fedcore-owner"), "init", "--home", str(host.home)], host.log / "init.log"
    return processes.start("fedcore-owner init", host.name, command, host.environment(), log)


def _card_of(host: Organisation, output: str) -> str:
    found = _CARD.search(output)
    if found is None:
        raise DemoError(f"`fedcore-owner init` of {host.name} printed no host card.", f"It printed: {output}")
    return found.group()


def start_host(host: Organisation, processes: Processes) -> Process:
    """Start a host's agent, worker and broker."""
    command = [program("fedcore-owner"), "run", "--home", str(host.home)]
    return processes.start("fedcore-owner run", host.name, command, host.environment(), host.log / "host.log")


def start_predict(host: Organisation, run: str, log: Path, processes: Processes) -> Process:
    """Start scoring the lines of a log at the host, with the model and the key that it has kept."""
    command = [program("fedcore-owner"), "predict", "--home", str(host.home), "--run", run]
    command += ["--out", str(host.directory / SCORES), str(log)]
    output = host.log / "predict.log"
    return processes.start("fedcore-owner predict", host.name, command, host.environment(), output)


def scores_of(host: Organisation) -> list[dict[str, str]]:
    """What came of it: each line has `class`, `probability` and `line`. Nothing of it has left the host."""
    with (host.directory / SCORES).open(newline="", errors="replace") as file:
        return list(csv.DictReader(file))


def owner_toml(
    host: Organisation,
    cast: Cast,
    coordinator: Coordinator,
    cards: Mapping[str, str],
    scientist: str,
    offers: Sequence[Offer],
) -> str:
    """A host's policy. The reference host has no `offers`: it serves, and owns no data."""
    lines = [
        f"organisation = {as_toml(host.name)}",
        *_section("[coordinator]", url=coordinator.url, key=coordinator.key, organisation=CLOUD_HOUSE),
        *_section("[[scientists]]", name="sam", key=scientist, organisation=UNIVERSITY),
    ]
    for peer in cast.hosts:
        if peer is not host:
            values = {"name": peer.name, "card": cards[peer.name], "organisation": peer.name}
            lines += _section(
                "[[peers]]", **values, reference=peer is cast.reference, dealer=peer is cast.reference
            )
    lines += _section("[[plugins]]", distribution="fedcore")
    if not offers:
        lines += _section("[reference]", serves=True)
        lines += _section("[dealer]", serves=True)
    for offer in offers:
        lines += _section(f"[datasets.{offer.name}]", **_dataset(host, offer))
        lines.append(f"retention = {(datetime.now(UTC) + timedelta(days=365)).date().isoformat()}")
        lines += _section(f"[datasets.{offer.name}.ceilings]", **CEILINGS | dict(offer.ceilings))
    lines += _section("[worker]", processes=2 if offers else 1)
    return "\n".join(lines) + "\n"


def _dataset(host: Organisation, offer: Offer) -> dict[str, object]:
    files = [
        {"path": str(host.directory / name)} | ({} if label is None else {"label": label})
        for name, label in offer.files.items()
    ]
    what = {
        "title": offer.title,
        "description": offer.description,
        "reader": offer.reader,
        "reader_options": offer.reader_options,
        "files": files,
    }
    return what | RULES | dict(offer.rules)


def _section(heading: str, /, **values: object) -> list[str]:
    return ["", heading, *(f"{key} = {as_toml(value)}" for key, value in values.items())]
