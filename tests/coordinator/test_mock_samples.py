"""Announced metadata, versions that stay known, and mock samples that hosts bring."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from datetime import date

import pytest

from fedcore.coordinator.governance import announcements
from fedcore.coordinator.governance.models import Dataset, DatasetVersion, MockSample
from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES, ColumnKind, MockRef, Sensitivity
from fedcore.wire.catalogue import MockSample as Sample
from fedcore.wire.keys import SigningKey
from fedcore.wire.reports import Announcement, DatasetOffer
from fedcore.wire.requests import sign_request
from fedcore.wire.signing import Signed, signed_bytes

from .conftest import VERSION

SAMPLE = Sample(
    columns={"request": ("/a", "/b?<script>", "/c")}, classes=("benign", "attack"), labels=(0, 1, 0)
)
CONTENT = SAMPLE.encode().encode()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OFFER = DatasetOffer(
    name="access-2026",
    version=VERSION,
    title="Requests of 2026",
    reader="labelled_lines",
    columns=("request",),
    column_kinds={"request": ColumnKind.TEXT},
    column_notes={"request": "the request line"},
    classes=("benign", "attack"),
    rows=62000,
    licence="CC BY-NC 4.0",
    terms="Name us.",
    sensitivity=Sensitivity.SPECIAL,
    price="free for research",
    contact="data-office@north.example",
    retention=date(2027, 12, 31),
    mock=MockRef(digest=DIGEST, size=len(CONTENT)),
)


@pytest.fixture
def host(cast, client):
    return Host(cast.north_key, client)


class Host:
    """Olga's host, or another with its key: what it sends is signed."""

    def __init__(self, key, client):
        self.key, self.client, self.now = key, client, int(time.time())

    def send(self, method, path, body=b""):
        signed = sign_request(self.key, method, path, body, int(time.time()))
        return self.client.generic(method, path, body, content_type="application/json", headers=signed)

    def announce(self, *offers):
        self.now += 10
        message = Announcement(datasets=offers, announced_at=self.now)
        answer = self.send("POST", "/api/host/announcements", message.signed_by(self.key).encode().encode())
        assert answer.status_code == 200, answer.content
        return answer

    def wanted(self):
        return self.send("GET", "/api/host/mocks").json()["wanted"]

    def bring(self, content=CONTENT, digest=None):
        return self.send("PUT", f"/api/host/mocks/{digest or hashlib.sha256(content).hexdigest()}", content)


def changed(**more):
    return OFFER.model_copy(update=more)


def test_the_catalogue_shows_what_the_owner_tells(cast, api, host):
    host.announce(OFFER)
    [item] = api(cast.sam).get("/api/datasets").json()
    told = ("licence", "terms", "sensitivity", "price", "contact", "retention")
    assert {name: item[name] for name in told} == {
        "licence": "CC BY-NC 4.0",
        "terms": "Name us.",
        "sensitivity": "special",
        "price": "free for research",
        "contact": "data-office@north.example",
        "retention": "2027-12-31",
    }
    assert item["column_kinds"] == {"request": "text"}
    assert item["column_notes"] == {"request": "the request line"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"licence": "x" * 201},
        {"terms": "x" * 4001},
        {"sensitivity": "secret"},
        {"contact": "two\nlines"},
        {"column_notes": {"other": "no such column"}},
        {"column_notes": {"request": "x" * 201}},
        {"column_kinds": {"request": "picture"}},
        {"mock": {"digest": DIGEST, "size": MAXIMUM_MOCK_BYTES + 1}},
        {"retention": "soon"},
    ],
)
def test_an_announcement_beyond_its_bounds_is_refused_whole(host, wrong):
    content = json.loads(Announcement(datasets=(OFFER,), announced_at=int(time.time())).encode())
    content["datasets"][0] |= wrong
    text = json.dumps(content)
    signature = base64.b64encode(host.key.sign(signed_bytes(Announcement.KIND, text))).decode()
    signed = Signed(text=text, signer=host.key.public, signature=signature)
    answer = host.send("POST", "/api/host/announcements", signed.encode().encode())
    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert Dataset.objects.get().licence == ""


def test_versions_stay_known_with_their_first_and_last_announcement(cast, api, host):
    host.announce(OFFER)
    host.announce(changed(version="cd" * 32, rows=70_000))
    host.announce(changed(version="cd" * 32, rows=70_000, licence="CC0"))
    known = api(cast.sam).get("/api/datasets/north/access-2026").json()
    later, earlier = known["versions"]
    assert (later["version"], later["rows"]) == ("cd" * 32, 70_000)
    assert (earlier["version"], earlier["rows"]) == (VERSION, 62_000)
    assert later["first_announced"] < later["last_announced"]
    assert earlier["first_announced"] == earlier["last_announced"] < later["first_announced"]
    assert (known["version"], known["licence"]) == ("cd" * 32, "CC0")


def test_a_version_that_comes_back_keeps_its_first_announcement(host):
    host.announce(OFFER)
    first = DatasetVersion.objects.get().first_announced
    host.announce(changed(version="cd" * 32))
    host.announce(OFFER)
    latest = DatasetVersion.objects.first()
    assert (latest.digest, latest.first_announced) == (VERSION, first)
    assert DatasetVersion.objects.count() == 2


def test_versions_that_requests_name_are_kept_however_many_follow(cast, asked, host, monkeypatch):
    monkeypatch.setattr(announcements, "KEPT_VERSIONS", 2)
    host.announce(OFFER)
    for number in range(6):
        host.announce(changed(version=f"{number:064x}"))
    kept = list(DatasetVersion.objects.values_list("digest", flat=True))
    assert kept == [*(f"{number:064x}" for number in (5, 4, 3)), VERSION]
    assert asked.dataset_version == VERSION


def test_a_host_brings_the_mock_sample_that_it_announced_and_people_fetch_it(cast, api, host):
    host.announce(OFFER)
    assert host.wanted() == [DIGEST]
    assert api(cast.sam).get("/api/datasets/north/access-2026").json()["mock"] is None
    assert host.bring().status_code == 200
    assert host.wanted() == []
    assert api(cast.sam).get("/api/datasets").json()[0]["mock"] == DIGEST
    answer = api(cast.sam).get("/api/datasets/north/access-2026/mock")
    assert answer.content == CONTENT
    assert answer["ETag"] == f'"{DIGEST}"'
    assert host.bring().status_code == 200
    assert MockSample.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "digest", "code"),
    [
        (CONTENT[:-1], DIGEST, "artefact_invalid"),
        (CONTENT, "0" * 64, "artefact_invalid"),
        (CONTENT + b" ", None, "unknown_dataset"),
        (b"x" * (MAXIMUM_MOCK_BYTES + 1), None, "too_large"),
    ],
)
def test_bytes_that_were_not_announced_are_refused(host, content, digest, code):
    host.announce(OFFER)
    answer = host.bring(content, digest)
    assert answer.json()["code"] == code
    assert MockSample.objects.count() == 0


@pytest.mark.parametrize(
    "content",
    [
        b"{}",
        b'{"columns":{"request":["/a"]},"classes":["benign"],"labels":[1]}',
        b'{"columns":{"request":["/a"]},"classes":["benign","attack"],"labels":[0,0]}',
        b'{"columns":{"other":["/a"]},"classes":["benign","attack"],"labels":[0]}',
        b'{"columns":{"request":["/a"]},"classes":["attack","benign"],"labels":[0]}',
        b'{"columns":{"request":["/a"]},"classes":["benign","attack"],"labels":[0],"more":1}',
    ],
)
def test_a_sample_of_another_form_or_schema_is_refused(host, content):
    digest = hashlib.sha256(content).hexdigest()
    host.announce(changed(mock=MockRef(digest=digest, size=len(content))))
    assert host.bring(content).status_code in (400, 422)
    assert MockSample.objects.count() == 0


def test_eves_host_brings_nothing_for_olgas_dataset(cast, client, host):
    host.announce(OFFER)
    answer = Host(SigningKey.generate(), client).bring()
    assert answer.status_code == 401
    assert MockSample.objects.count() == 0


def test_another_owners_host_brings_nothing_for_olgas_dataset(cast, client, host):
    host.announce(OFFER)
    paul = SigningKey.generate()
    cast.south.signing_key = paul.public
    cast.south.save()
    south = Host(paul, client)
    assert south.wanted() == []
    assert south.bring().json()["code"] == "unknown_dataset"
    assert MockSample.objects.count() == 0


def test_a_mock_sample_that_no_version_names_any_more_is_deleted(host):
    host.announce(OFFER)
    host.bring()
    host.announce(changed(version="cd" * 32, mock=None))
    assert MockSample.objects.count() == 0
    assert DatasetVersion.objects.filter(digest=VERSION).exists()


def test_the_sample_of_a_version_that_a_request_names_is_kept(cast, api, asked, host):
    host.announce(OFFER)
    host.bring()
    host.announce(changed(version="cd" * 32, mock=None))
    client = api(cast.sam)
    assert client.get("/api/datasets/north/access-2026/mock").status_code == 404
    assert client.get(f"/api/datasets/north/access-2026/mock?version={VERSION}").content == CONTENT


def test_hidden_datasets_and_their_samples_are_only_for_those_who_oversee_them(cast, api, host):
    host.announce(OFFER)
    host.bring()
    host.announce()
    for path in ("/api/datasets/north/access-2026", "/api/datasets/north/access-2026/mock"):
        assert api(cast.sam).get(path).status_code == 404
        assert api(cast.eve).get(path).status_code == 404
        assert api(cast.olga).get(path).status_code == 200
        assert api(cast.anna).get(path).status_code == 200


def test_a_person_without_a_role_gets_no_sample(cast, api, host):
    host.announce(OFFER)
    host.bring()
    assert api(cast.nobody).get("/api/datasets/north/access-2026/mock").status_code == 404
    assert api(None).get("/api/datasets/north/access-2026/mock").status_code == 401
