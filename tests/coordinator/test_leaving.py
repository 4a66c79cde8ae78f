"""Who moves to another organisation, is disabled or loses a role loses every right of before, at once.

The old token and the old session are tried through the real endpoints.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse
from rest_framework.test import APIClient

from fedcore.coordinator.governance import decisions, rights
from fedcore.coordinator.governance.decisions import DecisionError
from fedcore.coordinator.governance.models import AccessRequest, Notice, Person, PersonKey, Role
from fedcore.coordinator.runs.advance import advance
from fedcore.coordinator.runs.models import Run

from .conftest import proof
from .runs.conftest import World, rung, world  # noqa: F401 (fixtures)


def change(person: Person) -> str:
    return reverse("admin:governance_person_change", args=(person.pk,))


def entered(person: Person, **changes: Any) -> dict[str, Any]:
    facts = {"organisation": person.organisation_id, "is_active": "on"} | changes
    counts = {f"keys-{part}_FORMS": "0" for part in ("TOTAL", "INITIAL")}
    return {name: value for name, value in facts.items() if value is not None} | counts


def disable(by: Any, person: Person) -> None:
    assert by.post(change(person), entered(person, is_active=None)).status_code == 302


def move(by: Any, person: Person, organisation: Any) -> None:
    assert by.post(change(person), entered(person, organisation=organisation.pk)).status_code == 302


@pytest.fixture(params=["moved", "disabled"])
def leaves(request, cast, browser):
    """Sam leaves, by Ada's hand in the admin."""

    def leave() -> None:
        if request.param == "moved":
            move(browser(cast.ada), cast.sam, cast.eve.organisation)
        else:
            disable(browser(cast.ada), cast.sam)

    return leave


def test_the_old_token_is_worth_nothing(cast, api, leaves):
    client = api(cast.sam)
    assert client.get("/api/me").status_code == 200
    leaves()
    assert client.get("/api/me").status_code == 401
    assert not cast.sam.auth_token_set.exists()


def test_the_old_session_is_worth_nothing(cast, browser, leaves):
    client = browser(cast.sam)
    assert client.get("/admin/").status_code == 200
    leaves()
    assert client.get("/admin/").url.startswith("/admin/login/")
    assert not cast.sam.sessions.exists()


def test_roles_go(cast, leaves):
    leaves()
    assert not Person.objects.get(pk=cast.sam.pk).roles


def test_keys_sign_nothing_any_more(cast, api, message, leaves):
    leaves()
    assert not PersonKey.objects.active().filter(person=cast.sam).exists()
    rights.save(as_before(cast.sam))
    rights.set_roles(cast.sam, frozenset({Role.DATA_SCIENTIST}))
    answer = api(cast.sam).post(
        "/api/requests", message().signed_by(cast.sam_key).encode(), content_type="application/json"
    )
    assert answer.json()["code"] == "unknown_signer"


def as_before(person: Person) -> Person:
    """The person as they were when the test began: in the old organisation, enabled."""
    found = Person.objects.get(pk=person.pk)
    found.is_active, found.organisation = True, person.organisation
    return found


def test_a_request_of_before_cannot_be_approved(cast, api, asked, leaves):
    leaves()
    answer = api(cast.olga).post(f"/api/requests/{asked.pk}/approve", {}, format="json")
    assert answer.json()["code"] == "scientist_left"
    assert AccessRequest.objects.get(pk=asked.pk).state == "waiting"


def test_others_stay_as_they_are(cast, api, leaves):
    client = api(cast.eve)
    leaves()
    assert client.get("/api/me").json()["roles"] == ["data_scientist"]


def test_who_is_enabled_again_has_no_role(cast, browser):
    disable(browser(cast.ada), cast.sam)
    browser(cast.ada).post(change(cast.sam), entered(cast.sam))
    sam = Person.objects.get(pk=cast.sam.pk)
    assert sam.is_active
    assert not sam.roles


def test_roles_given_while_somebody_is_disabled_do_not_come_back_with_them(cast):
    cast.sam.is_active = False
    rights.save(cast.sam)
    cast.sam.memberships.create(role=Role.AUDITOR)
    cast.sam.is_active = True
    rights.save(cast.sam)
    assert not Person.objects.get(pk=cast.sam.pk).roles


def test_what_was_ticked_for_the_old_place_is_not_given_in_the_new_one(cast, browser):
    elsewhere = entered(cast.sam, organisation=cast.ada.organisation_id, roles=["administrator"])
    browser(cast.ada).post(change(cast.sam), elsewhere)
    sam = Person.objects.get(pk=cast.sam.pk)
    assert sam.organisation == cast.ada.organisation
    assert not sam.roles


def test_another_name_or_address_ends_nothing(cast, api, browser):
    client = api(cast.sam)
    browser(cast.ada).post(change(cast.sam), entered(cast.sam, first_name="Samuel"))
    assert client.get("/api/me").json()["name"] == "Samuel"
    assert client.get("/api/me").json()["roles"] == ["data_scientist"]


def test_a_file_that_moves_somebody_ends_the_same(cast, api, tmp_path):
    client = api(cast.sam)
    lines = ["[[people]]", 'username = "sam"', 'organisation = "institute"', 'roles = ["data_scientist"]']
    (tmp_path / "site.toml").write_text("\n".join(lines))
    call_command("setup_site", str(tmp_path / "site.toml"))
    assert client.get("/api/me").status_code == 401
    assert not PersonKey.objects.active().filter(person=cast.sam).exists()
    assert Person.objects.get(pk=cast.sam.pk).roles == {Role.DATA_SCIENTIST}


def test_a_file_gives_no_role_to_whoever_is_disabled(cast, tmp_path):
    cast.sam.is_active = False
    rights.save(cast.sam)
    lines = ["[[people]]", 'username = "sam"', 'organisation = "university"', 'roles = ["data_scientist"]']
    (tmp_path / "site.toml").write_text("\n".join(lines))
    call_command("setup_site", str(tmp_path / "site.toml"))
    assert not cast.sam.memberships.exists()


def goes_elsewhere(person: Person, organisation: Any) -> None:
    """The person works as a data scientist elsewhere, with a new key."""
    person.organisation = organisation
    rights.save(person)
    rights.set_roles(person, frozenset({Role.DATA_SCIENTIST}))


def submitted(world: World) -> tuple[int, Any]:  # noqa: F811
    client = APIClient()
    from fedcore.coordinator.governance.models import ApiToken

    client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.objects.create(user=world.sam)[1]}")
    spec = world.spec().signed_by(world.sam_key).encode()
    answer = client.post("/api/runs", spec, content_type="application/json")
    return answer.status_code, answer.json()


def test_a_grant_given_to_the_old_organisation_starts_no_run_from_the_new_one(world: World) -> None:  # noqa: F811
    world.spec()
    goes_elsewhere(world.sam, world.eve.organisation)
    # The same key, as if the person could still sign with it.
    PersonKey.objects.filter(person=world.sam).update(revoked_at=None)
    status, answer = submitted(world)
    assert status == 400
    assert {problem["code"] for problem in answer["problems"]} == {"scientist_left"}


def test_a_grant_serves_nobody_who_is_no_scientist_any_more(world: World) -> None:  # noqa: F811
    request = world.grant(world.north)
    assert not request.has_lapsed
    world.sam.memberships.all().delete()
    assert AccessRequest.objects.get(pk=request.pk).has_lapsed


@pytest.mark.parametrize("change", ["disabled", "moved", "demoted"])
def test_open_runs_of_a_scientist_who_leaves_are_cancelled_at_once(
    world: World,  # noqa: F811
    django_capture_on_commit_callbacks: Any,
    change: str,
) -> None:
    run = world.submit()
    with django_capture_on_commit_callbacks(execute=True):
        if change == "demoted":
            rights.set_roles(world.sam, frozenset())
        else:
            world.sam.is_active = change != "disabled"
            world.sam.organisation = world.eve.organisation if change == "moved" else world.sam.organisation
            rights.save(world.sam)
    run.refresh_from_db()
    assert (run.state, run.code) == ("cancelled", "scientist_left")
    [told] = Notice.objects.filter(person=world.sam, about="stopped")
    assert told.text == "Your run Detector is cancelled."


def test_a_run_that_was_missed_stops_at_its_next_step(world: World) -> None:  # noqa: F811
    run = world.submit()
    advance(run.pk)
    Person.objects.filter(pk=world.sam.pk).update(is_active=False)
    advance(run.pk)
    run.refresh_from_db()
    assert (run.state, run.code) == ("failed", "scientist_left")


def test_a_run_of_somebody_else_goes_on(world: World, django_capture_on_commit_callbacks: Any) -> None:  # noqa: F811
    run = world.submit()
    with django_capture_on_commit_callbacks(execute=True):
        world.eve.is_active = False
        rights.save(world.eve)
    assert not Run.objects.get(pk=run.pk).ended


@pytest.mark.parametrize("what", ["model", "dataset"])
def test_what_was_trained_for_the_old_organisation_stays_there(world: World, what: str) -> None:  # noqa: F811
    run = world.drive(world.submit())
    from fedcore.coordinator.governance.models import ApiToken

    goes_elsewhere(world.sam, world.eve.organisation)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Token {ApiToken.objects.create(user=world.sam)[1]}")
    assert client.get(f"/api/runs/{run.pk}/{what}").status_code == 403


def test_an_approval_is_refused_in_the_domain_too(cast, asked):
    cast.sam.memberships.all().delete()
    with pytest.raises(DecisionError, match="no longer works for"):
        decisions.approve(AccessRequest.objects.get(pk=asked.pk), cast.olga)


def test_a_new_key_can_be_registered_in_the_new_organisation(cast, api):
    from fedcore.wire.keys import SigningKey

    goes_elsewhere(cast.sam, cast.eve.organisation)
    key = SigningKey.generate()
    answer = api(cast.sam).post(
        "/api/keys", {"public_key": key.public, "signature": proof(key, "sam")}, format="json"
    )
    assert answer.status_code == 201
