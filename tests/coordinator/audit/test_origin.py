"""Who, and from where: noted beside the call, for sync and async views, commands and workers."""

from __future__ import annotations

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import AnonymousUser
from django.http import HttpResponse
from django.test import AsyncRequestFactory, Client, RequestFactory
from django.urls import reverse

from fedcore.coordinator.governance import audit, submissions
from fedcore.coordinator.governance.audit import Action, Kind, origin
from fedcore.coordinator.governance.audit.origin import (
    Channel,
    Origin,
    address_of,
    from_origin,
    here,
    noting_origin,
)
from fedcore.coordinator.governance.models import AuditAddress, AuditEntry, PersonKey
from tests.coordinator.conftest import PASSWORD


def test_without_a_request_the_system_acts_by_a_command(cast, since):
    submissions.revoke_key(PersonKey.objects.get(person=cast.sam))
    [entry] = since()
    assert (entry.who, entry.person, entry.channel, entry.origin) == ("system", None, "command", None)


def test_what_the_admin_does_is_recorded_with_person_and_address(cast, browser, since):
    key = PersonKey.objects.get(person=cast.sam)
    address = reverse("admin:governance_personkey_revoke", args=(key.pk,))
    browser(cast.sam).post(address, {"_form_submitted": "on"}, REMOTE_ADDR="203.0.113.9")
    [entry] = since(action="revoke_key")
    assert (entry.who, entry.person, entry.channel) == ("person", cast.sam, "admin")
    assert entry.origin.address == "203.0.113.9"


def test_what_the_api_does_is_recorded_with_the_person_of_the_token(cast, api, since):
    api(cast.sam).post("/api/logout")
    [made, ended, left] = since(action__in=["make_token", "end_token", "log_out"])
    assert made.who == "system", "The test made the token without a request."
    assert (ended.person, ended.channel, left.person, left.channel) == (cast.sam, "api", cast.sam, "api")


def test_an_address_is_kept_once_and_an_entry_has_only_its_commitment(cast, since):
    for _ in range(3):
        Client().post("/admin/login/", {"username": "sam", "password": PASSWORD})
    rows = AuditAddress.objects.filter(person=cast.sam)
    assert {entry.origin_id for entry in since()} == {rows.get().pk}
    assert "127.0.0.1" not in str(list(AuditEntry.objects.values()))


@pytest.mark.parametrize(
    ("behind", "header", "address"),
    [
        (False, "203.0.113.7", "127.0.0.1"),
        (True, "203.0.113.7", "203.0.113.7"),
        (True, "198.51.100.1, 203.0.113.7", "203.0.113.7"),
        (True, "", "127.0.0.1"),
    ],
)
def test_only_what_ones_own_proxy_says_is_believed(settings, behind, header, address):
    settings.FEDCORE_BEHIND_PROXY = behind
    request = RequestFactory().get("/", headers={"X-Forwarded-For": header} if header else {})
    assert address_of(request) == address


def test_lockouts_go_by_the_same_address(cast, settings):
    from axes.models import AccessAttempt

    settings.FEDCORE_BEHIND_PROXY = True
    Client().post(
        "/admin/login/",
        {"username": "sam", "password": "wrong"},
        headers={"X-Forwarded-For": "1.2.3.4, 203.0.113.7"},
    )
    assert AccessAttempt.objects.get().ip_address == "203.0.113.7"


@pytest.mark.parametrize(
    ("path", "channel"),
    [("/admin/", Channel.ADMIN), ("/api/runs", Channel.API), ("/api/host/orders", Channel.HOST)],
)
def test_the_channel_follows_from_the_address_that_was_asked(path, channel):
    seen = []

    def view(request):
        seen.append(here())
        return HttpResponse()

    noting_origin(view)(RequestFactory().get(path))
    assert [found.channel for found in seen] == [channel]
    assert here() == Origin(), "Nothing is left behind for the next request."


def test_async_views_and_the_threads_that_they_use_know_their_own_request():
    async def view(request):
        await asyncio.sleep(0.01)
        in_thread = await sync_to_async(here)()
        assert in_thread.request is request
        return HttpResponse(here().request.GET["number"])

    async def ask_all():
        requests = [AsyncRequestFactory().get(f"/api/runs?number={number}") for number in range(5)]
        answers = await asyncio.gather(*(noting_origin(view)(request) for request in requests))
        return [answer.content.decode() for answer in answers]

    assert asyncio.run(ask_all()) == list("01234")


def test_whoever_has_not_logged_in_is_unknown():
    request = RequestFactory().get("/api/login")
    request.user = AnonymousUser()
    assert Origin(Channel.API, "", request).actor is Kind.UNKNOWN


def test_a_celery_task_is_done_by_the_system_in_a_worker(cast, since):
    from celery.signals import task_prerun

    assert origin.from_worker in task_prerun._live_receivers(None)
    with from_origin(Origin()):
        origin.from_worker()
        audit.record(Action.LOG_OUT, cast.sam)
    assert [(entry.who, entry.channel) for entry in since()] == [("system", "worker")]
