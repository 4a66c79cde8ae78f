"""What every answer tells browsers: nothing is loaded from elsewhere, and no script that stands in a page runs."""

from __future__ import annotations

import asyncio
import re

import pytest
from django.test import AsyncClient

PAGES = (
    "/admin/login/",
    "/admin/",
    "/admin/security/",
    "/api/docs",
    "/api/health",
    "/api/me",
    "/no-such-page",
)


def policy(answer):
    return dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))


@pytest.mark.parametrize("address", PAGES)
def test_every_answer_has_the_policy(cast, browser, address):
    found = policy(browser(cast.olga).get(address))
    assert found["default-src"] == "'none'"
    assert "'unsafe-inline'" not in found["script-src"]
    assert found["frame-ancestors"] == "'none'"
    assert not [
        source for part in found.values() for source in part.split() if "http" in source or "*" in source
    ]


def test_answers_under_asgi_have_it_too(db):
    async def fetch():
        return await AsyncClient().get("/static/governance/coordinator.css")

    assert policy(asyncio.run(fetch()))["base-uri"] == "'none'"


@pytest.mark.parametrize("address", ["/admin/", "/admin/security/", "/admin/governance/person/", "/api/docs"])
def test_no_page_has_a_script_that_the_policy_would_stop(cast, browser, address):
    text = browser(cast.ada).get(address).content.decode()
    assert not re.findall(r"<script(?![^>]*\bsrc=)(?![^>]*application/json)", text)
    assert not re.findall(r"\son(?:click|load|submit|change)=", text)
