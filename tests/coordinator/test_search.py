"""Finding datasets: by words, by what they have, page by page; and never what is hidden."""

from __future__ import annotations

import re

import pytest
from django.utils import timezone

from fedcore.coordinator.governance.models import Dataset


@pytest.fixture
def shelf(cast):
    """Olga's requests, and two datasets of Paul's."""
    Dataset.objects.update(licence="CC BY-NC 4.0", contact="data-office@north.example")
    common = {"host": cast.south, "announced_at": timezone.now(), "current_version": "cd" * 32}
    Dataset.objects.create(
        **common,
        name="payments",
        title="Payments",
        description="Card payments, 100 % of them.",
        reader="csv",
        columns=["amount", "card_type"],
        column_notes={"amount": "in euro"},
        classes=["honest", "fraud"],
        rows=9_000,
        sensitivity="special",
        terms="Name us.",
    )
    Dataset.objects.create(
        **common,
        name="logs",
        title="Requests to the bank",
        reader="apache_combined",
        columns=["target", "agent", "cardXtype"],
        classes=["benign", "attack"],
        rows=70_000,
        sensitivity="internal",
        price="worth 10,000 euro",
    )
    return cast


def found(client, query):
    answer = client.get(f"/api/datasets?{query}")
    assert answer.status_code == 200, answer.content
    return [item["name"] for item in answer.json()]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["access-2026", "logs", "payments"]),
        ("search=requests", ["access-2026", "logs"]),
        ("search=requests bank", ["logs"]),
        ("search=euro", ["logs", "payments"]),
        ("search=by-nc", ["access-2026"]),
        ("search=data-office", ["access-2026"]),
        ("search=us.", ["payments"]),
        ("search=fraud", ["payments"]),
        ("search=card_type", ["payments"]),
        ("search=100 %25", ["payments"]),
        ("search=north-hospital", ["access-2026"]),
        ("search=nothing", []),
        ("organisation=south-bank", ["logs", "payments"]),
        ("sensitivity=special", ["payments"]),
        ("class=attack", ["access-2026", "logs"]),
        ("class=att", []),
        ("reader=csv", ["payments"]),
        ("column=target&column=agent", ["logs"]),
        ("column=target&column=amount", []),
        ("column=card_type", ["payments"]),
        ("min_rows=9000", ["access-2026", "logs", "payments"]),
        ("min_rows=9001", ["access-2026", "logs"]),
        ("search=requests&class=attack&min_rows=65000", ["logs"]),
        ("ordering=rows", ["logs", "access-2026", "payments"]),
        ("ordering=title", ["payments", "access-2026", "logs"]),
        ("ordering=newest", ["logs", "payments", "access-2026"]),
    ],
)
def test_datasets_are_found_by_words_and_by_what_they_have(shelf, api, query, names):
    assert found(api(shelf.sam), query) == names


@pytest.mark.parametrize(
    "query",
    [
        "sensitivity=secret",
        "min_rows=many",
        "min_rows=-1",
        "ordering=secret",
        f"search={'x' * 201}",
        "cursor=x",
    ],
)
def test_what_cannot_be_looked_for_is_told(shelf, api, query):
    answer = api(shelf.sam).get(f"/api/datasets?{query}")
    assert answer.status_code in (400, 404)
    assert set(answer.json()) == {"code", "detail"}


def test_every_page_links_to_the_next_one_and_nothing_is_lost_between_them(shelf, api, cast):
    client = api(cast.sam)
    seen, address = [], "/api/datasets?page_size=2&search=e"
    while address:
        answer = client.get(address)
        seen += [item["name"] for item in answer.json()]
        link = re.search(r'<([^>]*)>; rel="next"', answer.headers.get("Link", ""))
        address = link and link[1]
        # What is offered meanwhile moves nothing that is still to come.
        Dataset.objects.get_or_create(
            host=cast.south,
            name="aaa",
            defaults={"title": "e", "reader": "csv", "rows": 1, "announced_at": timezone.now()},
        )
    assert seen == ["access-2026", "logs", "payments"]


@pytest.mark.parametrize(
    "query", ["search=payments", "organisation=south-bank", "class=fraud", "column=amount"]
)
def test_hidden_datasets_are_not_found(shelf, api, query):
    Dataset.objects.filter(name="payments").update(is_offered=False)
    assert "payments" not in found(api(shelf.sam), query)
    Dataset.objects.filter(name="payments").update(is_offered=True)
    assert "payments" in found(api(shelf.sam), query)
    shelf.south.is_active = False
    shelf.south.save()
    assert found(api(shelf.sam), query) == []


def test_a_person_without_a_role_finds_nothing(shelf, api):
    assert found(api(shelf.nobody), "search=requests") == []


@pytest.mark.parametrize(("word", "shown"), [("by-nc", True), ("data-office", True), ("payments", False)])
def test_the_admin_searches_what_owners_tell(shelf, browser, word, shown):
    page = browser(shelf.sam).get(f"/admin/governance/dataset/?q={word}").content.decode()
    assert ("Requests of 2026" in page) == shown


def test_the_admin_finds_hidden_datasets_only_for_those_who_oversee_them(shelf, browser):
    Dataset.objects.filter(name="payments").update(is_offered=False)
    for person, shown in ((shelf.sam, False), (shelf.olga, False), (shelf.paul, True), (shelf.ada, True)):
        page = browser(person).get("/admin/governance/dataset/?q=payments").content.decode()
        assert ("Card payments" in page or "payments</" in page) == shown
