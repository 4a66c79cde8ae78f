"""What is sent to change something: always valid in itself, so that only the sender's rights decide."""

from __future__ import annotations

import base64
import json
import secrets
import time
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.utils import timezone

from fedcore.coordinator.governance import submissions
from fedcore.coordinator.governance.models import Organisation, OwnerHost, Person
from fedcore.coordinator.runs.models import RunOrder
from fedcore.wire.access import GrantStanding, Standing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.dry_runs import DryRunPlan
from fedcore.wire.heads import HeadReceipt, LedgerHead
from fedcore.wire.keys import HostCard, SealingKey, SigningKey
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Announcement, DatasetOffer, Report, Status
from fedcore.wire.spec import PluginChoice
from tests.coordinator.permissions.asking import Body
from tests.coordinator.permissions.who import HOSTS, NO_HOSTS
from tests.coordinator.permissions.world import (
    PASSWORD,
    Federation,
    Thing,
    World,
    access_request,
    mock_sample,
    run_spec,
)

NEW_PASSWORD = "battery staple horse 7"
STRANGER = SigningKey.generate()


def as_json(content: Any) -> Body:
    return Body(json.dumps(content).encode())


def as_form(**fields: Any) -> Body:
    return Body(urlencode(fields, doseq=True).encode(), "application/x-www-form-urlencoded")


def key_of(world: World, who: str) -> SigningKey:
    """The sender's own key, or one of a stranger."""
    if who in HOSTS | NO_HOSTS:
        return world.hosts[who].key
    return world.keys.get(who, STRANGER)


def _name(world: World, who: str) -> str:
    return who if who in world.people else "sam"


# -- the API for people


def login(world: World, who: str, thing: Thing) -> Body:
    right = PASSWORD if who in world.people else "a wrong password"
    return as_json({"username": _name(world, who), "password": right})


def new_key(world: World, who: str, thing: Thing) -> Body:
    key = SigningKey.generate()
    proof = base64.b64encode(key.sign(submissions.KEY_PROOF + _name(world, who).encode())).decode()
    return as_json({"public_key": key.public, "signature": proof})


def signed_request(world: World, who: str, thing: Thing) -> Body:
    message = access_request(world, _name(world, who), world.hosts["north"])
    return Body(message.signed_by(key_of(world, who)).encode().encode())


def signed_spec(world: World, who: str, thing: Thing) -> Body:
    return Body(run_spec(world).signed_by(key_of(world, who)).encode().encode())


def approval(world: World, who: str, thing: Thing) -> Body:
    return as_json({"releases": 1})


def tightening(world: World, who: str, thing: Thing) -> Body:
    return as_json({"releases": 4, "reason": "Because."})


def nothing_in_json(world: World, who: str, thing: Thing) -> Body:
    return as_json({})


def text(world: World, who: str, thing: Thing) -> Body:
    return as_json({"text": "What for?"})


def plan_to_try(world: World, who: str, thing: Thing) -> Body:
    plan = DryRunPlan(
        datasets=(world.federation.dataset(world.hosts["north"]),),
        pipelines=(Federation.pipeline(),),
        backends=(PluginChoice(name="plaintext"),),
        models=(PluginChoice(name="linear"),),
    )
    return Body(plan.encode().encode())


def reason(world: World, who: str, thing: Thing) -> Body:
    return as_json({"reason": "Because."})


# -- the endpoints of hosts


def report(world: World, who: str, thing: Thing) -> Body:
    """A report on the order, refusing it, signed by whoever sends it."""
    order = RunOrder.objects.filter(pk=thing.key).first() or RunOrder.objects.order_by("serial")[0]
    content = Report(
        order=thing.key,
        run=order.run_id,
        phase=Phase(order.phase),
        status=Status.REFUSED,
        code=RefusalCode.TOO_FEW_ROWS,
        finished_at=int(time.time()),
    )
    return Body(content.signed_by(key_of(world, who)).encode().encode())


def standing(world: World, who: str, thing: Thing) -> Body:
    """That the grant is in force, said once more and later, by whoever sends it."""
    request = "0" * 64 if thing.is_missing else thing.key
    message = GrantStanding(request=request, standing=Standing.IN_FORCE, decided_at=int(time.time()) + 5)
    return Body(message.signed_by(key_of(world, who)).encode().encode())


def mock(world: World, who: str, thing: Thing) -> Body:
    return Body(world.mocks.get(thing.key) or mock_sample(thing.name))


def announcement(world: World, who: str, thing: Thing) -> Body:
    offer = DatasetOffer(
        name="new", version="9" * 64, title="New", reader="labelled_lines", columns=("request",),
        classes=("a", "b"), rows=100,
    )  # fmt: skip
    message = Announcement(datasets=(offer,), announced_at=int(time.time()) + 5)
    return Body(message.signed_by(key_of(world, who)).encode().encode())


def head(world: World, who: str, thing: Thing) -> Body:
    """How far the sender's ledger has come."""
    message = LedgerHead(serial=1, digest="1" * 64, nonce=secrets.token_hex(16), at=int(time.time()) + 5)
    return Body(message.signed_by(key_of(world, who)).encode().encode())


def head_receipt(world: World, who: str, thing: Thing) -> Body:
    """A receipt for what the sender itself asks: it changes nothing."""
    message = LedgerHead(serial=1, digest="1" * 64, nonce=secrets.token_hex(16), at=int(time.time()))
    asked = message.signed_by(key_of(world, who))
    receipt = HeadReceipt(asked=asked.digest, latest=asked, at=int(time.time()))
    return Body(receipt.signed_by(key_of(world, who)).encode().encode())


def chunk(world: World, who: str, thing: Thing) -> Body:
    """The second half of what north has begun to upload; for other orders the first half."""
    offset = "50" if thing.name == "norths" else "0"
    return Body(b"x" * 50, headers={"Upload-Offset": offset, "Upload-Length": "100"})


# -- pages of the admin


def login_form(world: World, who: str, thing: Thing) -> Body:
    right = PASSWORD if who in world.people else "a wrong password"
    return as_form(username=_name(world, who), password=right)


def look_up_people(world: World, who: str, thing: Thing) -> Body:
    """What a form asks that offers people to choose from."""
    field = {"app_label": "governance", "model_name": "accessrequest", "field_name": "requested_by"}
    return Body(query="?" + urlencode({**field, "term": "canary-s"}))


def new_password(world: World, who: str, thing: Thing) -> Body:
    return as_form(old_password=PASSWORD, new_password1=NEW_PASSWORD, new_password2=NEW_PASSWORD)


def code(world: World, who: str, thing: Thing) -> Body:
    """A code of no second factor."""
    return as_form(code="123456", password=PASSWORD)


def first_run(world: World, who: str, thing: Thing) -> Body:
    return as_form(code="0000", username="first", password=NEW_PASSWORD, again=NEW_PASSWORD, title="Mine")


def all_others(world: World, who: str, thing: Thing) -> Body:
    """End every session and token but the one of the request."""
    return replace(as_form(), query="?others")


def export(world: World, who: str, thing: Thing) -> Body:
    return as_form(format="jsonl")


def exported(thing: Thing) -> str:
    return f'"serial": {thing.key},'


def whole_list(world: World, who: str, thing: Thing) -> Body:
    """A list without pages, so that everything in it is looked at."""
    return Body(query="?all=")


def dialog(world: World, who: str, thing: Thing) -> Body:
    """Confirmed with everything that any dialog asks for: limits that are lower than any, and texts."""
    later = timezone.now() + timedelta(hours=12)
    limits = {
        "protocols": ["pooled"],
        "backends": ["keyed_tokens"],
        "model_types": ["linear"],
        "releases": "2" if thing.name == "renewal" else "4",
        "minimum_owners": "1",
        "epsilon_micro": "none",
        "expires_at": f"{later:%Y-%m-%d}",
    }
    return as_form(_form_submitted="on", reason="Because.", text="What for?", **limits)


def nothing(world: World, who: str, thing: Thing) -> Body:
    return as_form()


def yes(world: World, who: str, thing: Thing) -> Body:
    return as_form(post="yes")


def delete_from_list(kind: str) -> Any:
    """The list's own action, on the row that nothing depends on, or on the first there is."""

    def send(world: World, who: str, thing: Thing) -> Body:
        things = world.things[kind]
        chosen = things.get("spare") or next(iter(things.values()))
        return as_form(action="delete_selected", _selected_action=chosen.key, post="yes")

    return send


def organisation(world: World, who: str, thing: Thing) -> Body:
    return as_form(name=f"new-{thing.name}", title="Another title")


def host(world: World, who: str, thing: Thing) -> Body:
    """A host of the sender's own organisation, or the host as it is with another name."""
    known = OwnerHost.objects.filter(pk=thing.key if thing.key.isdigit() else None).first()
    owner = known.organisation_id if known else _own_organisation(world, who)
    card = HostCard(SigningKey.generate().public, SealingKey.generate().public)
    return as_form(
        organisation=owner, name=f"new-{thing.name.replace(' ', '-')}", card=str(card), is_active="on"
    )


def person(world: World, who: str, thing: Thing) -> Body:
    known = Person.objects.filter(pk=thing.key if thing.key.isdigit() else None).first()
    owner = known.organisation_id if known else _own_organisation(world, who)
    counts = {f"keys-{part}_FORMS": "0" for part in ("TOTAL", "INITIAL")}
    username = known.username if known else "new"
    return as_form(username=username, organisation=owner, is_active="on", first_name="Another", **counts)


def _own_organisation(world: World, who: str) -> Any:
    known = world.people.get(who)
    if known is not None and known.organisation_id is not None:
        return known.organisation_id
    return Organisation.objects.get(name="north-hospital").pk
