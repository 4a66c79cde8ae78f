"""The first administrator: made once, by whoever has the code; no account comes with the program."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from fedcore.coordinator.governance import first_run
from fedcore.coordinator.governance.models import (
    ApiToken,
    Membership,
    Organisation,
    OwnerHost,
    Person,
    PersonKey,
    SecondFactor,
    StoredSession,
)

PAGE = reverse("first-run")


def entered(**changes: Any) -> dict[str, Any]:
    facts = {"username": "clara", "password": "staple of batteries", "again": "staple of batteries"}
    return {"code": first_run.code(), "title": "Cloud House", **facts, **changes}


def test_a_fresh_database_has_no_person_no_token_and_no_key(db):
    for model in (
        Person,
        Membership,
        Organisation,
        OwnerHost,
        PersonKey,
        ApiToken,
        SecondFactor,
        StoredSession,
    ):
        assert not model.objects.exists(), model


@pytest.mark.parametrize("address", ["/", "/admin/", "/admin/login/", "/admin/governance/person/"])
def test_while_there_is_nobody_every_page_leads_to_the_first_run(db, client, address):
    assert client.get(address, follow=True).redirect_chain[-1][0] == PAGE


def test_the_code_lies_in_a_private_file_and_stays_the_same(db, client):
    client.get(PAGE)
    path = first_run.code_file()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text() == first_run.code()
    assert list(path.parent.glob("first-run.code*")) == [path]


def test_the_page_does_not_show_the_code(db, client):
    assert first_run.code() not in client.get(PAGE).content.decode()


def test_the_code_makes_an_administrator_of_the_operator_who_logs_in(db, client):
    assert client.post(PAGE, entered()).url == "/admin/login/"
    clara = Person.objects.get()
    assert clara.administers_everything
    assert not clara.is_superuser
    assert (clara.organisation.name, clara.organisation.title) == ("cloud-house", "Cloud House")
    client.post("/admin/login/", {"username": "clara", "password": "staple of batteries"})
    assert client.get("/admin/").status_code == 200


def test_the_code_may_be_typed_without_dashes_and_in_capitals(db, client):
    client.post(PAGE, entered(code=first_run.code().replace("-", " ").upper()))
    assert Person.objects.exists()


@pytest.mark.parametrize("code", ["aaaa-bbbb-cccc-dddd", "ä"])
def test_a_wrong_code_makes_nobody(db, client, code):
    answer = client.post(PAGE, entered(code=code))
    assert "This is not the code" in answer.content.decode()
    assert not Person.objects.exists()
    assert not Organisation.objects.exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"again": "something else 12"}, "The two passwords differ"),
        ({"password": "short", "again": "short"}, "too short"),
        (
            {"password": "clara clara clara", "again": "clara clara clara", "username": "clara clara clara"},
            "valid",
        ),
        (
            {"username": "claraclaraclara", "password": "claraclaraclara", "again": "claraclaraclara"},
            "too similar",
        ),
        ({"title": ""}, "This field is required"),
    ],
)
def test_a_mistake_is_named_and_nobody_is_made(db, client, changes, said):
    assert said in client.post(PAGE, entered(**changes)).content.decode()
    assert not Person.objects.exists()


def test_the_page_and_the_code_are_gone_once_there_is_somebody(db, client):
    given = entered()
    client.post(PAGE, given)
    assert not first_run.code_file().exists()
    assert client.get(PAGE).status_code == 404
    assert client.post(PAGE, given | {"username": "eve"}).status_code == 404
    assert Person.objects.count() == 1


def test_the_page_is_gone_after_createsuperuser_too(db, client):
    given = entered()
    Person.objects.create_superuser("root", password="x")
    assert client.get(PAGE).status_code == 404
    assert client.post(PAGE, given).status_code == 404
    with pytest.raises(first_run.Closed):
        first_run.make_administrator(given["code"], "eve", "staple of batteries", "Eve's")
    assert Person.objects.count() == 1


def test_an_organisation_that_is_there_already_keeps_its_title(db, client):
    Organisation.objects.create(name="cloud-house", title="House of Clouds")
    client.post(PAGE, entered())
    assert Person.objects.get().organisation.title == "House of Clouds"


ATTEMPT = """
import sys, time
from pathlib import Path
from fedcore.coordinator.governance import first_run
code = first_run.code()
Path(sys.argv[1]).touch()
while not Path("{go}").exists():
    time.sleep(0.001)
try:
    first_run.make_administrator(code, Path(sys.argv[1]).name, "staple of batteries", "Cloud House")
    print("made")
except (first_run.Closed, first_run.WrongCode):
    print("refused")
"""


@pytest.mark.processes
def test_of_several_at_the_same_time_one_becomes_the_administrator(tmp_path):
    left_out = ("BROKER_URL", "DATABASE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in left_out}
    environment |= {"FEDCORE_DATA_DIR": str(tmp_path), "DJANGO_SETTINGS_MODULE": "project.settings"}
    run: dict[str, Any] = {"cwd": settings.BASE_DIR, "env": environment, "text": True}
    subprocess.run([sys.executable, "manage.py", "migrate", "-v", "0"], check=True, **run)
    go, ready = tmp_path / "go", [tmp_path / f"clara-{number}" for number in range(4)]
    script = f"import django; django.setup(){ATTEMPT.format(go=go)}"
    attempts = [
        subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, **run)
        for path in ready
    ]
    until = time.monotonic() + 60
    while not all(path.exists() for path in ready) and time.monotonic() < until:
        time.sleep(0.05)
    go.touch()
    answers = sorted(attempt.communicate(timeout=60)[0].strip() for attempt in attempts)
    assert answers == ["made", "refused", "refused", "refused"]


def test_whoever_comes_between_the_look_and_the_lock_makes_nobody(db, monkeypatch):
    """The look before the lock says that there is nobody; the look after it finds somebody."""
    code = first_run.code()
    looks = iter([True, False])
    monkeypatch.setattr(first_run, "is_open", lambda: next(looks))
    with pytest.raises(first_run.Closed):
        first_run.make_administrator(code, "eve", "staple of batteries", "Eve's")
    assert not Person.objects.exists()


def test_the_command_that_starts_the_site_prints_address_and_code(db, capsys, monkeypatch):
    from fedcore.coordinator import processes

    monkeypatch.setattr(processes, "run_together", lambda *arguments: None)
    call_command("start", "--port", "8123")
    said = capsys.readouterr().out
    assert f"http://127.0.0.1:8123{PAGE}" in said
    assert first_run.code() in said
    Person.objects.create_user("somebody", date_joined=timezone.now())
    call_command("start")
    assert first_run.code() not in capsys.readouterr().out
