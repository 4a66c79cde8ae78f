"""Nobody grants more than they hold: the rule itself, the form that offers, and the server that refuses the rest."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.hashers import make_password
from django.urls import reverse

from fedcore.coordinator.governance import rights
from fedcore.coordinator.governance.decisions import DecisionError
from fedcore.coordinator.governance.models import Organisation, Person, Role

ADMINISTRATOR, OWNER, SCIENTIST, AUDITOR = (
    frozenset({role}) for role in (Role.ADMINISTRATOR, Role.DATA_OWNER, Role.DATA_SCIENTIST, Role.AUDITOR)
)


@pytest.fixture
def bill(cast):
    """A colleague of Paul's, who has no role yet."""
    return Person.objects.create_user("bill", organisation=cast.paul.organisation)


def roles_of(person):
    return Person.objects.get(pk=person.pk).roles


def change(person):
    return reverse("admin:governance_person_change", args=(person.pk,))


def form(person, *roles, **changes):
    entered = {"organisation": person.organisation_id, "is_active": "on", "roles": roles}
    return entered | {f"keys-{part}_FORMS": "0" for part in ("TOTAL", "INITIAL")} | changes


def refused(by, person, roles):
    with pytest.raises(DecisionError, match="not yours to give or take") as error:
        rights.appoint(by, person, roles)
    return error.value.code == "not_to_give"


def test_an_administrator_gives_and_takes_roles_that_they_hold(cast, bill):
    rights.appoint(cast.paul, bill, OWNER | ADMINISTRATOR)
    assert roles_of(bill) == OWNER | ADMINISTRATOR
    rights.appoint(cast.paul, bill, OWNER)
    assert roles_of(bill) == OWNER


def test_an_administrator_gives_no_role_that_they_do_not_hold(cast, bill):
    assert refused(cast.paul, bill, SCIENTIST)
    assert refused(cast.paul, bill, OWNER | AUDITOR)
    assert not roles_of(bill)


def test_an_administrator_takes_no_role_that_they_do_not_hold(cast, bill):
    rights.set_roles(bill, AUDITOR)
    assert refused(cast.paul, bill, frozenset())
    assert roles_of(bill) == AUDITOR


def test_an_administrator_gives_nothing_in_another_organisation(cast):
    assert refused(cast.paul, cast.sam, SCIENTIST | OWNER)


def test_who_is_no_administrator_gives_nothing(cast):
    colleague = Person.objects.create_user("oscar", organisation=cast.olga.organisation)
    assert refused(cast.olga, colleague, OWNER)


def test_nobody_changes_their_own_roles(cast):
    root = Person.objects.create_superuser("root", password="x", organisation=cast.ada.organisation)
    assert refused(cast.paul, cast.paul, ADMINISTRATOR)
    assert refused(cast.ada, cast.ada, ADMINISTRATOR | OWNER)
    assert refused(root, root, ADMINISTRATOR)


def test_the_operators_administrators_appoint_the_first_holder_of_a_role_and_no_second(cast):
    carl = Person.objects.create_user("carl", organisation=cast.olga.organisation)
    rights.appoint(cast.ada, carl, ADMINISTRATOR)
    assert roles_of(carl) == ADMINISTRATOR
    assert refused(cast.ada, carl, ADMINISTRATOR | OWNER)
    other = Person.objects.create_user("other", organisation=cast.olga.organisation)
    assert refused(cast.ada, other, ADMINISTRATOR)


def test_a_holder_who_is_disabled_does_not_count(cast):
    carl = Person.objects.create_user("carl", organisation=cast.olga.organisation)
    # As if disabled by other means, which leave the role.
    Person.objects.filter(pk=cast.olga.pk).update(is_active=False)
    rights.appoint(cast.ada, carl, OWNER)
    assert roles_of(carl) == OWNER


def test_the_operators_administrators_take_nothing_in_other_organisations(cast):
    assert refused(cast.ada, cast.olga, frozenset())


def test_a_superuser_gives_any_role_to_anybody_else(cast):
    root = Person.objects.create_superuser("root", password="x")
    rights.appoint(root, cast.olga, OWNER | AUDITOR)
    assert roles_of(cast.olga) == OWNER | AUDITOR


def test_who_is_disabled_or_belongs_nowhere_gets_no_role(cast, bill):
    bill.is_active = False
    rights.save(bill)
    assert refused(cast.paul, bill, OWNER)
    drifter = Person.objects.create_user("drifter")
    assert refused(Person.objects.create_superuser("root", password="x"), drifter, OWNER)


def test_no_administrator_changes_a_superusers_roles(cast):
    root = Person.objects.create_superuser("root", password="x", organisation=cast.ada.organisation)
    assert refused(cast.ada, root, ADMINISTRATOR)


def test_the_form_offers_what_may_be_given_and_names_what_may_not(cast, browser, bill):
    rights.set_roles(bill, AUDITOR)
    text = browser(cast.paul).get(change(bill)).content.decode()
    for role in ("administrator", "data_owner"):
        assert f'value="{role}"' in text
    for role in ("data_scientist", "auditor"):
        assert f'value="{role}"' not in text
    assert "Also: auditor. Not yours to give or take." in text


def test_the_form_gives_what_was_ticked_and_keeps_what_was_not_offered(cast, browser, bill):
    rights.set_roles(bill, AUDITOR)
    assert browser(cast.paul).post(change(bill), form(bill, "data_owner")).status_code == 302
    assert roles_of(bill) == OWNER | AUDITOR
    browser(cast.paul).post(change(bill), form(bill))
    assert roles_of(bill) == AUDITOR


def test_a_role_that_was_not_offered_is_refused_by_the_server(cast, browser, bill):
    answer = browser(cast.paul).post(change(bill), form(bill, "data_scientist"))
    assert "Select a valid choice" in answer.content.decode()
    assert not roles_of(bill)


def test_the_own_page_offers_no_roles_and_takes_none(cast, browser):
    text = browser(cast.paul).get(change(cast.paul)).content.decode()
    assert 'name="roles"' not in text
    browser(cast.paul).post(change(cast.paul), form(cast.paul, "auditor"))
    assert roles_of(cast.paul) == OWNER | ADMINISTRATOR


def test_nobody_disables_or_moves_themselves(cast, browser):
    entered = form(cast.ada, organisation=cast.olga.organisation_id)
    del entered["is_active"]
    browser(cast.ada).post(change(cast.ada), entered)
    ada = Person.objects.get(pk=cast.ada.pk)
    assert ada.is_active
    assert ada.organisation_id == cast.ada.organisation_id


def test_there_is_no_form_for_superusers_even_for_a_superuser(cast, browser, bill):
    root = Person.objects.create_superuser("root", password="x")
    text = browser(root).get(change(bill)).content.decode()
    assert 'name="is_superuser"' not in text
    browser(root).post(change(bill), form(bill, is_superuser="on"))
    assert not Person.objects.get(pk=bill.pk).is_superuser


@pytest.mark.parametrize("who", ["paul", "ada"])
def test_no_administrator_edits_a_superuser(cast, browser, who):
    root = Person.objects.create_superuser("root", password="x", organisation=cast[who].organisation)
    answer = browser(cast[who]).post(change(root), form(root, first_name="Changed"))
    assert answer.status_code == 403
    assert not Person.objects.get(pk=root.pk).first_name


def test_people_are_never_deleted(cast, browser, bill):
    address = reverse("admin:governance_person_delete", args=(bill.pk,))
    assert browser(cast.ada).post(address, {"post": "yes"}).status_code == 403
    assert Person.objects.filter(pk=bill.pk).exists()


def test_an_organisation_keeps_its_name_which_requests_and_settings_use(cast, browser):
    hospital = cast.olga.organisation
    address = reverse("admin:governance_organisation_change", args=(hospital.pk,))
    browser(cast.ada).post(address, {"name": "cloud-castle", "title": "Hospital of the North"})
    hospital.refresh_from_db()
    assert (hospital.name, hospital.title) == ("north-hospital", "Hospital of the North")


def test_an_administrator_makes_people_in_the_own_organisation_only(cast, browser):
    address = reverse("admin:governance_person_add")
    browser(cast.paul).post(address, {"username": "new", "organisation": cast.olga.organisation_id})
    assert not Person.objects.filter(username="new").exists()
    browser(cast.paul).post(address, {"username": "new", "organisation": cast.paul.organisation_id})
    new = Person.objects.get(username="new")
    assert new.organisation == cast.paul.organisation
    assert not new.roles
    assert not new.has_usable_password()


def off_and_on(client, person):
    client.post(change(person), form(person, is_active=[]))
    client.post(change(person), form(person))
    found = Person.objects.get(pk=person.pk)
    assert (found.is_active, found.roles) == (True, frozenset())
    return found


def test_nobody_takes_somebody_over_by_disabling_them(cast, browser):
    """Olga's roles end; that she had them counts. Ada appoints her again, and cannot log in as her."""
    olga = off_and_on(browser(cast.ada), cast.olga)
    assert reset(browser(cast.ada), olga).status_code == 403
    olga = off_and_on(browser(cast.ada), olga)
    assert reset(browser(cast.ada), olga).status_code == 403
    assert olga.has_usable_password()
    rights.appoint(cast.ada, olga, OWNER)
    assert reset(browser(cast.ada), olga).status_code == 403
    root = Person.objects.create_superuser("root", password="x")
    assert reset(browser(root), olga).status_code == 200


def test_nobody_takes_somebody_over_by_moving_them_to_oneself(cast, browser):
    client = browser(cast.ada)
    client.post(change(cast.olga), form(cast.olga, organisation=cast.ada.organisation_id))
    olga = Person.objects.get(pk=cast.olga.pk)
    assert olga.organisation == cast.ada.organisation
    assert reset(client, olga).status_code == 403
    client.post(change(olga), form(olga, organisation=cast.olga.organisation_id))
    assert reset(client, olga).status_code == 403


def test_who_was_disabled_is_let_in_again_by_a_colleague_who_holds_the_roles_that_were_lost(
    cast, browser, bill
):
    rights.set_roles(bill, AUDITOR)
    off_and_on(browser(cast.paul), bill)
    assert reset(browser(cast.paul), bill).status_code == 403
    rights.set_roles(bill, frozenset())
    rights.set_roles(cast.paul, cast.paul.roles | AUDITOR)
    assert reset(browser(cast.paul), bill).status_code == 200


def test_a_change_in_the_admin_undoes_nothing_that_was_saved_meanwhile(cast, browser, monkeypatch):
    """Between reading the row and saving it, somebody resets the password: it stays reset."""
    saved = rights.save

    def meanwhile(person, fields=None):
        Person.objects.filter(pk=cast.olga.pk).update(password="!reset", last_name="Meanwhile")
        saved(person, fields)

    monkeypatch.setattr(rights, "save", meanwhile)
    browser(cast.ada).post(change(cast.olga), form(cast.olga) | {"first_name": "Olga"})
    olga = Person.objects.get(pk=cast.olga.pk)
    assert (olga.first_name, olga.last_name, olga.password) == ("Olga", "Meanwhile", "!reset")


def test_who_was_disabled_meanwhile_stays_disabled(cast):
    stale = Person.objects.get(pk=cast.olga.pk)
    Person.objects.filter(pk=cast.olga.pk).update(is_active=False)
    stale.first_name = "Olga"
    rights.save(stale, ["first_name"])
    assert not Person.objects.get(pk=cast.olga.pk).is_active


@pytest.mark.parametrize("lookup", ["password__startswith", "password"])
def test_nobody_finds_a_hash_by_filtering_for_its_beginning(cast, browser, lookup):
    address = reverse("admin:governance_person_changelist")
    answer = browser(cast.ada).get(address, {lookup: make_password("x")[:4]})
    assert answer.status_code == 400


def reset(client, person):
    address = reverse("admin:governance_person_reset_password", args=(person.pk,))
    return client.post(address, {"_form_submitted": "on"})


def test_a_password_is_reset_only_by_who_holds_every_role_of_the_person(cast, browser, bill):
    """Whoever sets somebody's password can become them."""
    rights.set_roles(bill, AUDITOR)
    assert reset(browser(cast.paul), bill).status_code == 403
    rights.set_roles(bill, OWNER)
    assert reset(browser(cast.paul), bill).status_code == 200
    assert not Person.objects.get(pk=bill.pk).has_usable_password()


@pytest.mark.parametrize("target", ["olga", "sam", "paul"])
def test_the_operators_administrators_reset_nobodys_password_who_has_roles_elsewhere(cast, browser, target):
    assert reset(browser(cast.ada), cast[target]).status_code == 403
    assert Person.objects.get(pk=cast[target].pk).has_usable_password()


def test_the_same_role_in_another_organisation_does_not_count(cast, browser):
    carl = Person.objects.create_user("carl", password="x", organisation=cast.olga.organisation)
    rights.set_roles(carl, ADMINISTRATOR)
    assert reset(browser(cast.ada), carl).status_code == 403


def test_a_new_person_elsewhere_who_has_no_role_gets_another_link(cast, browser):
    carl = Person.objects.create_user("carl", organisation=cast.olga.organisation)
    assert reset(browser(cast.ada), carl).status_code == 200


def test_nobody_resets_their_own_password_or_factor_without_knowing_it(cast, browser):
    assert reset(browser(cast.paul), cast.paul).status_code == 403


def test_the_operators_organisation_is_where_its_name_says(cast):
    assert Organisation.objects.get(name="cloud-house").is_operator


def test_nobody_adds_a_key_for_somebody_else(cast, browser, bill):
    public_key = "A" * 43
    keys = {"keys-TOTAL_FORMS": "1", "keys-INITIAL_FORMS": "0", "keys-0-public_key": public_key}
    browser(cast.paul).post(change(bill), form(bill) | keys | {"keys-0-person": bill.pk})
    assert not bill.keys.exists()
    bill.keys.create(public_key="B" * 43)
    text = browser(cast.paul).get(change(bill)).content.decode()
    assert re.search(r'name="keys-MAX_NUM_FORMS" value="0"', text)
    browser(cast.paul).post(change(bill), form(bill) | keys | {"keys-0-person": bill.pk})
    assert bill.keys.count() == 1
