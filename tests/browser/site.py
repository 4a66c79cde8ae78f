"""A small site for the browser: people, hosts and a catalogue, requests in all states and runs in three.

Run as `python -m tests.browser.site FACTS`, in a process of its own whose `FEDCORE_DATA_DIR` is the test's; it makes
the database and writes to `FACTS` where things are. Everything goes the way that it goes in use: the site from a
TOML file, announcements and reports signed by hosts, requests and specs signed by Sam, decisions by Olga and Paul.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any, Final

import django

PASSWORD: Final = "correct horse battery"
ORGANISATIONS: Final = {
    "north-hospital": "North Hospital",
    "south-bank": "South Bank",
    "university": "University",
    "institute": "Institute",
    "cloud-house": "Cloud House",
}
PEOPLE: Final = {
    "olga": ("Olga", "Owner", "north-hospital", "data_owner"),
    "paul": ("Paul", "Pound", "south-bank", "data_owner"),
    "sam": ("Sam", "Scientist", "university", "data_scientist"),
    "eve": ("Eve", "Else", "institute", "data_owner"),
    "ada": ("Ada", "Admin", "cloud-house", "administrator"),
    "vera": ("Vera", "Viewer", "institute", "auditor"),
}
HOSTS: Final = {"north": "north-hospital", "south": "south-bank", "lab": "institute"}


def build(facts: Path) -> None:
    """Make the site, and write what the tests have to know."""
    from django.core.management import call_command

    from fedcore.wire.keys import fingerprint

    call_command("migrate", verbosity=0, interactive=False)
    world = _world(facts.parent)
    found = {
        "fingerprint": fingerprint(world.sam_key.public),
        "requests": _requests(world),
        "runs": _runs(world),
    }
    facts.write_text(json.dumps(found))


def _world(folder: Path) -> Any:
    from django.core.management import call_command

    from fedcore.coordinator.governance.models import OwnerHost, Person
    from fedcore.wire.keys import HostCard, SealingKey, SigningKey
    from tests.coordinator.runs.conftest import World
    from tests.coordinator.runs.scripted_host import PEER_SEALING_KEYS, ScriptedHost

    keys = {name: (SigningKey.generate(), SealingKey.generate()) for name in HOSTS}
    cards = {name: str(HostCard(key.public, sealing.public)) for name, (key, sealing) in keys.items()}
    (folder / "site.toml").write_text(_site(cards))
    os.environ["PASSWORD_OF_EVERYONE"] = PASSWORD
    call_command("setup_site", str(folder / "site.toml"), stdout=sys.stderr)
    hosts = {
        name: ScriptedHost(OwnerHost.objects.get(name=name), *keys[name], seed)
        for seed, name in enumerate(HOSTS, 1)
    }
    PEER_SEALING_KEYS.update((key.public, sealing.public) for key, sealing in keys.values())
    for name in ("north", "south"):
        _announce(hosts[name], ORGANISATIONS[HOSTS[name]])
    people = {person.username: person for person in Person.objects.all()}
    return World(
        sam=people["sam"],
        sam_key=_key_of(people["sam"]),
        eve=people["eve"],
        owners={"north": people["olga"], "south": people["paul"]},
        deal=hosts["lab"],
        rung=[],
        **hosts,
    )


def _site(cards: dict[str, str]) -> str:
    lines = []
    for name, title in ORGANISATIONS.items():
        lines += ["[[organisations]]", f'name = "{name}"', f'title = "{title}"']
    for username, (first, last, organisation, role) in PEOPLE.items():
        lines += [
            "[[people]]",
            f'username = "{username}"',
            f'first_name = "{first}"',
            f'last_name = "{last}"',
        ]
        lines += [f'organisation = "{organisation}"', f'roles = ["{role}"]']
        lines += ['password_env = "PASSWORD_OF_EVERYONE"']
    for name, organisation in HOSTS.items():
        lines += [
            "[[hosts]]",
            f'name = "{name}"',
            f'organisation = "{organisation}"',
            f'card = "{cards[name]}"',
        ]
        lines += [f"reference = {str(name == 'lab').lower()}"]
    return "\n".join(lines)


def _announce(host: Any, owner: str) -> None:
    """Announce a host's dataset with all that its owner tells of it, and bring its mock sample."""
    from fedcore.owner import mocks
    from fedcore.wire.catalogue import ColumnKind, Sensitivity
    from fedcore.wire.reports import DatasetOffer
    from plugins.readers.labelled_lines import LabelledLines

    sample = mocks.generated(LabelledLines())
    assert sample is not None
    offer = DatasetOffer(
        name="access-2026",
        version=hashlib.sha256(host.row.name.encode()).hexdigest(),
        title=f"Access log of {owner}, 2026",
        description="Requests to the public web server, one in each line, labelled by the security team.",
        reader="labelled_lines",
        columns=("request",),
        column_kinds={"request": ColumnKind.TEXT},
        column_notes={"request": "path and query as the server received them"},
        classes=("benign", "attack"),
        rows=62_000,
        licence="For research on attacks only",
        terms="Results are published with the owners' names.\nNo attempt to recognise a visitor.",
        sensitivity=Sensitivity.SPECIAL if host.row.name == "north" else Sensitivity.CONFIDENTIAL,
        price="free of charge for universities",
        contact=f"data-office@{host.row.name}.example",
        retention=date(2099, 12, 31),
        mock=mocks.ref_of(sample),
    )
    earlier = offer.model_copy(update={"version": hashlib.sha256(b"earlier").hexdigest(), "rows": 41_000})
    for number, announced in enumerate((earlier, offer)):
        answer = host.announce(announced, at=int(time.time()) - 10 + number)
        assert answer.status_code == 200, answer.content
    answer = host.send("PUT", f"/api/host/mocks/{mocks.ref_of(sample).digest}", sample)
    assert answer.status_code == 200, answer.content


def _key_of(person: Any) -> Any:
    import base64

    from fedcore.coordinator.governance import submissions
    from fedcore.wire.keys import SigningKey

    key = SigningKey.generate()
    proof = base64.b64encode(key.sign(submissions.KEY_PROOF + person.username.encode())).decode()
    submissions.register_key(person, key.public, proof)
    return key


def _requests(world: Any) -> dict[str, str]:
    """Sam's requests: four for Olga's data, of which three wait and one is granted, and Paul's in other states."""
    from fedcore.coordinator.governance import decisions, trying
    from fedcore.wire.spec import Protocol

    asked = {
        "to approve": world.ask(
            world.north,
            reason="One detector of malicious requests for all of us.",
            pipelines=(_with_characters(world.pipeline()),),
            protocols=(Protocol.POOLED,),
            backends=("keyed_tokens",),
            models=("linear",),
        ),
        "to keep": world.ask(world.north, reason="For another study.", minimum_owners=2),
        "to refuse": world.ask(world.north, reason="Everything, please.", releases=50),
        "to revoke": world.ask(
            world.north, reason="A first look.", protocols=(Protocol.LOCAL,), download=False
        ),
    }
    decisions.approve(
        asked["to revoke"], world.owners["north"], decisions.Limits(releases=2), "For a first look."
    )
    asked |= _in_other_states(world)
    for name in ("to approve", "does not fit"):
        trying.perform(asked[name].dry_run.pk)
    return {name: str(request.pk) for name, request in asked.items()}


def _in_other_states(world: Any) -> dict[str, Any]:
    """Requests for Paul's data, one in each state that a request can be in without a second approver."""
    from fedcore.coordinator.governance import decisions
    from fedcore.wire.spec import PluginChoice

    paul, nowhere = world.owners["south"], PluginChoice(name="fields", options={"names": ["nowhere"]})
    steps = (nowhere, *world.pipeline().steps[1:])
    changes: dict[str, dict[str, Any]] = {
        "asked back": {},
        "refused": {},
        "tightened": {},
        "revoked": {},
        "withdrawn": {},
        "does not fit": {"pipelines": (world.pipeline().model_copy(update={"steps": steps}),)},
    }
    asked = {name: world.ask(world.south, reason=f"A study: {name}.", **changes[name]) for name in changes}
    soon = int(time.time()) + 4
    asked["expired"] = world.ask(world.south, reason="A study: expired.", expires_at=soon)
    decisions.ask(asked["asked back"], paul, "Which of our sites is this about?")
    decisions.refuse(asked["refused"], paul, "Ask again with one protocol only.")
    for name in ("tightened", "revoked"):
        decisions.approve(asked[name], paul, reason="Welcome.")
        assert world.south.stand(asked[name].pk).status_code == 200
    decisions.tighten(asked["tightened"], paul, decisions.Limits(releases=1), "One run is enough.")
    decisions.revoke(asked["revoked"], paul, "The contract has ended.")
    decisions.withdraw(asked["withdrawn"], world.sam, "Not needed any more.")
    time.sleep(max(0.0, soon - time.time()))
    return asked


def _with_characters(pipeline: Any) -> Any:
    """The pipeline with pieces of words for words."""
    from fedcore.wire.spec import PluginChoice

    steps = [PluginChoice(name="char_ngrams") if step.name == "words" else step for step in pipeline.steps]
    return pipeline.model_copy(update={"steps": tuple(steps)})


def _runs(world: Any) -> dict[str, str]:
    """A finished run, one that South Bank's host has stopped, and one that waits for its owners' rows."""
    from fedcore.wire.codes import RefusalCode
    from fedcore.wire.orders import Phase

    finished = world.drive(world.submit(title="Malicious requests, pooled"))
    assert finished.state == "finished", finished.message
    running = world.at(world.submit(title="Malicious requests, once more"), Phase.PREPARE)
    failed = world.submit(title="Malicious requests, too few rows")
    world.drive(failed, lambda run: run.phase == Phase.CHECK, rounds=2)
    for order in world.south.orders(after=0):
        if order.run == failed.pk:
            world.south.refuse(order, RefusalCode.TOO_FEW_ROWS)
    world.drive(failed)
    return {"finished": finished.pk, "running": running.pk, "failed": failed.pk}


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    django.setup()
    build(Path(sys.argv[1]))
