from __future__ import annotations

import pytest

from fedcore.coordinator.governance.models import Dataset


def names(client, query=""):
    return [item["name"] for item in client.get(f"/api/datasets{query}").json()]


def test_a_dataset_is_described_with_its_host_and_version(cast, api):
    [item] = api(cast.sam).get("/api/datasets").json()
    assert item["host"] == cast.north.signing_key
    assert item["host_name"] == "north"
    assert item["host_card"] == cast.north.card
    assert item["organisation"] == "north-hospital"
    assert item["version"] == "ab" * 32
    assert (item["columns"], item["classes"], item["rows"]) == (["request"], ["benign", "attack"], 62000)


@pytest.mark.parametrize(("search", "found"), [("2026", 1), ("REQUESTS", 1), ("nothing", 0), ("", 1)])
def test_datasets_are_searched_by_words(cast, api, search, found):
    assert len(names(api(cast.sam), f"?search={search}")) == found


def test_eve_sees_the_catalogue_and_a_person_without_a_role_does_not(cast, api):
    assert names(api(cast.eve)) == ["access-2026"]
    assert names(api(cast.nobody)) == []
    assert api(cast.nobody).get("/api/hosts").json() == []


def test_what_an_owner_withdrew_is_not_in_the_catalogue(cast, api):
    Dataset.objects.update(is_offered=False)
    assert names(api(cast.sam)) == []
    assert names(api(cast.olga)) == []


def test_a_host_that_is_not_active_and_its_datasets_are_not_in_the_catalogue(cast, api):
    cast.north.is_active = False
    cast.north.save()
    assert names(api(cast.sam)) == []
    assert [host["name"] for host in api(cast.sam).get("/api/hosts").json()] == ["south"]


def test_hosts_are_shown_with_card_fingerprint_and_last_contact(cast, api):
    north, _south = api(cast.sam).get("/api/hosts").json()
    assert north == {
        "name": "north",
        "organisation": "north-hospital",
        "card": cast.north.card,
        "fingerprint": cast.north.fingerprint,
        "is_reference": False,
        "is_dealer": False,
        "last_contact": None,
        "away": True,
    }


def test_plugins_come_with_options_and_with_what_backends_leak(cast, api):
    described = api(cast.sam).get("/api/plugins").json()
    backend = next(item for item in described["encryption"] if item["name"] == "keyed_tokens")
    assert backend["pseudonymised"] is True
    assert "how often each token occurs" in backend["leakage"]
    assert backend["trust"]
    step = next(item for item in described["preprocessing"] if item["name"] == "hash_columns")
    assert "columns" in step["options"]["properties"]


def test_whoever_asks_learns_the_coordinators_key_and_operator(db, api):
    answer = api(None).get("/api/coordinator").json()
    assert len(answer["key"]) == 43
    assert answer["operator"] == "cloud-house"
    assert answer == api(None).get("/api/coordinator").json()


def test_health_says_whether_the_database_answers(db, api):
    assert api(None).get("/api/health").json() == {"status": "ok", "database": True}
