"""Where there is no page, or none for whoever asks, people read why and find a way back."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.test import Client

pytestmark = pytest.mark.django_db


def way_back(answer):
    return 'href="/admin/"' in answer.content.decode()


@pytest.mark.parametrize("who", [None, "olga"])
def test_an_address_that_does_not_exist_is_told_to_people_in_words(cast, browser, client, who):
    answer = (browser(cast[who]) if who else client).get("/nowhere/")
    assert (answer.status_code, way_back(answer)) == (404, True)
    assert "There is no page at this address, or none that you may see." in answer.content.decode()


def test_what_a_role_does_not_allow_is_told_in_words(cast, browser):
    answer = browser(cast.olga).get("/admin/governance/person/add/")
    assert (answer.status_code, way_back(answer)) == (403, True)
    assert "Your roles do not allow this." in answer.content.decode()


def test_a_form_that_is_too_old_is_told_in_words(cast):
    client = Client(enforce_csrf_checks=True)
    client.force_login(cast.olga)
    answer = client.post("/admin/password_change/", {"old_password": "x"})
    assert (answer.status_code, way_back(answer)) == (403, True)
    assert "This form is too old" in answer.content.decode()


def test_an_unknown_host_name_is_answered_without_a_word_of_the_site(client):
    answer = client.get("/admin/", headers={"host": "elsewhere.example"})
    assert answer.status_code == 400
    assert "Not understood" in answer.content.decode()


def test_an_error_of_the_program_is_told_without_the_database(
    cast, browser, monkeypatch, django_assert_num_queries
):
    client = browser(cast.olga)
    client.raise_request_exception = False

    def broken(request, context):
        raise RuntimeError("a secret of the program")

    monkeypatch.setattr(admin.site, "each_context", broken)
    answer = client.get("/admin/security/")
    assert (answer.status_code, way_back(answer)) == (500, True)
    assert "Something went wrong" in answer.content.decode()
    assert "secret" not in answer.content.decode()


@pytest.mark.parametrize(("status", "path"), [(404, "/api/nowhere"), (400, "/api/health")])
def test_programs_get_the_shape_of_the_api(client, status, path):
    named = {"host": "elsewhere.example"} if status == 400 else {}
    answer = client.get(path, headers=named)
    assert answer.status_code == status
    assert set(answer.json()) == {"code", "detail"}
