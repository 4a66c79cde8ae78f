from __future__ import annotations

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from fedcore.coordinator.governance.models import Organisation, OwnerHost, Person
from fedcore.wire.keys import HostCard, SealingKey, SigningKey

SITE = """
[[organisations]]
name = "north-hospital"
title = "North Hospital"

[[people]]
username = "olga"
organisation = "north-hospital"
roles = ["data_owner", "administrator"]
first_name = "Olga"
password_env = "OLGA_PASSWORD"

[[people]]
username = "sam"
organisation = "north-hospital"
roles = ["data_scientist"]
password_file = "sam.password"

[[hosts]]
name = "north"
organisation = "north-hospital"
card = "{card}"
"""


@pytest.fixture
def site(tmp_path, monkeypatch, db) -> Path:
    monkeypatch.setenv("OLGA_PASSWORD", "a password of olga's")
    (tmp_path / "sam.password").write_text("a password of sam's\n")
    card = HostCard(SigningKey.generate().public, SealingKey.generate().public)
    path = tmp_path / "site.toml"
    path.write_text(SITE.replace("{card}", str(card)))
    return path


def set_up(path):
    out = io.StringIO()
    call_command("setup_site", path, stdout=out)
    return out.getvalue()


def test_a_file_makes_organisations_people_and_hosts_and_says_so(site):
    said = set_up(site)
    for line in (
        "Made organisation north-hospital.",
        "Made olga of north-hospital.",
        "Made owner host north (",
    ):
        assert line in said
    assert "olga is now: administrator, data_owner." in said
    assert "password of olga's" not in said
    assert Person.objects.get(username="olga").check_password("a password of olga's")
    assert Person.objects.get(username="sam").check_password("a password of sam's")
    assert OwnerHost.objects.get().card in site.read_text()


def test_a_second_time_changes_nothing(site):
    set_up(site)
    assert set_up(site) == "Nothing to do: everything is as the file says.\n"


def test_two_approvers_are_asked_for_in_the_file_and_left_alone_where_it_says_nothing(site):
    text = site.read_text()
    title = 'title = "North Hospital"'
    for said, two in (("two_approvers = true", True), ("", True), ("two_approvers = false", False)):
        site.write_text(text.replace(title, f"{title}\n{said}"))
        set_up(site)
        assert Organisation.objects.get(name="north-hospital").two_approvers is two


def test_what_differs_is_corrected(site):
    set_up(site)
    site.write_text(
        site.read_text().replace('"data_owner", "administrator"', '"auditor"').replace("Olga", "Olya")
    )
    assert set_up(site) == "Changed olga.\nolga is now: auditor.\n"
    assert Person.objects.get(username="olga").first_name == "Olya"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[[people]]", "[[people", "cannot be read as TOML"),
        ('roles = ["data_scientist"]', 'roles = ["king"]', "people.1.roles.0"),
        ('first_name = "Olga"', 'password = "x"', "people.0.password: Extra inputs are not permitted"),
        ('card = "fedcore-host:', 'card = "x:', "hosts.north: A host card is one line"),
        ("OLGA_PASSWORD", "NO_SUCH_VARIABLE", "the variable NO_SUCH_VARIABLE is not set"),
        ("sam.password", "nothing.password", "people.sam: [Errno 2]"),
        (
            'organisation = "north-hospital"\ncard',
            'organisation = "south"\ncard',
            "there is no organisation south",
        ),
    ],
)
def test_a_mistake_is_named_and_nothing_is_changed(site, old, new, said):
    site.write_text(site.read_text().replace(old, new))
    with pytest.raises(CommandError) as refused:
        set_up(site)
    assert said in str(refused.value)
    assert not Organisation.objects.exists()


def test_a_weak_password_is_refused(site, monkeypatch):
    monkeypatch.setenv("OLGA_PASSWORD", "olga")
    with pytest.raises(CommandError, match=r"people.olga: .*too short"):
        set_up(site)


def test_two_hosts_of_a_file_never_share_a_card(site):
    host = site.read_text()[site.read_text().index("[[hosts]]") :]
    site.write_text(site.read_text() + host.replace('"north"', '"second"'))
    with pytest.raises(CommandError, match=r"hosts.second: another host has this card"):
        set_up(site)
