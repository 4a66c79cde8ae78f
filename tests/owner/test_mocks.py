"""Mock samples: made from the schema, never from rows, or of the files that Olga names for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fedcore.owner import mocks
from fedcore.owner.announcing import Announcing
from fedcore.owner.booking import Booking
from fedcore.owner.checkup import check_host
from fedcore.owner.config import Config, parse_config
from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.coordinator_api import CoordinatorApi, CoordinatorRefused
from fedcore.owner.datasets import Datasets
from fedcore.owner.deciding import Governing
from fedcore.owner.home import Home
from fedcore.owner.installed import allowed_registry
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.ledger import open_ledger
from fedcore.owner.mocks import MockProblem
from fedcore.owner.orders import OrderStore
from fedcore.plugin_api import MockFile
from fedcore.wire.catalogue import ColumnKind, MockSample, Sensitivity
from fedcore.wire.codes import RefusalCode
from fedcore.wire.reports import Announcement, DatasetOffer
from tests.owner.scripted import ScriptedCoordinator
from tests.owner.test_config import VALID, problem

CANARY = "CANARY-7f3a9c51"
LOGS = """
[[plugins]]
distribution = "fedcore"

[datasets.logs]
title = "Logs"
reader = "{reader}"
files = [{{path = "{name}.txt", label = "attack"}}]
releases = 5
retention = 2027-12-31
"""
COMMON = f'10.1.1.1 - {CANARY} [05/Jan/2026:08:00:03 +0000] "GET /{CANARY} HTTP/1.1" 200 5'
LINES = {
    "labelled_lines": f"/{CANARY}/x?id={CANARY}",
    "apache_combined": f'{COMMON} "-" "{CANARY}"',
    "apache_common": COMMON,
}
Offering = Callable[..., "Offered"]


class Offered:
    """A home with one dataset, `logs`."""

    def __init__(self, home: Home, policy: Config) -> None:
        self.home, self.policy = home, policy
        self.datasets = Datasets(home, policy, allowed_registry(policy, home.path))

    @property
    def offer(self) -> DatasetOffer:
        (offer,), problems = self.datasets.offers("2027-01-01")
        assert problems == ()
        return offer

    @property
    def sample(self) -> MockSample:
        content = self.datasets.mock("logs")
        assert content is not None
        return MockSample.parse(content)


@pytest.fixture
def offering(tmp_path: Path) -> Offering:
    def make(more: str = "", reader: str = "labelled_lines", lines: int = 150, name: str = "real") -> Offered:
        home = Home(tmp_path / name)
        home.create()
        (home.path / f"{name}.txt").write_text(f"{LINES[reader]}\n" * lines)
        own = VALID[: VALID.index("[datasets")] + LOGS.format(reader=reader, name=name) + more
        home.config_path.write_text(own)
        return Offered(home, parse_config(own))

    return make


@pytest.mark.parametrize("reader", LINES)
def test_no_row_of_the_dataset_is_in_its_mock_sample_or_its_offer(offering: Offering, reader: str) -> None:
    offered = offering(reader=reader)
    assert CANARY in (offered.home.path / "real.txt").read_text()
    assert CANARY not in offered.sample.encode()
    assert CANARY not in offered.offer.encode()


@pytest.mark.parametrize("reader", LINES)
def test_two_datasets_of_one_schema_have_the_same_mock_sample(offering: Offering, reader: str) -> None:
    one, other = offering(reader=reader), offering(reader=reader, lines=700, name="other")
    assert one.offer.version != other.offer.version
    assert one.offer.mock == other.offer.mock
    assert one.sample == other.sample


def test_a_mock_sample_is_made_without_the_datasets_files(offering: Offering) -> None:
    offered = offering()
    before = offered.sample
    (offered.home.path / "real.txt").unlink()
    mocks._generated.cache_clear()
    assert offered.sample == before


def test_a_mock_sample_has_the_schema_of_the_dataset(offering: Offering) -> None:
    offered = offering(reader="apache_combined")
    assert tuple(offered.sample.columns) == offered.offer.columns
    assert offered.sample.classes == offered.offer.classes
    assert set(offered.sample.labels) == {0, 1}
    assert offered.offer.mock == mocks.ref_of(offered.sample.encode().encode())
    assert offered.offer.column_kinds["user"] is ColumnKind.IDENTIFIER


def test_too_large_a_sample_is_made_with_fewer_rows(
    monkeypatch: pytest.MonkeyPatch, offering: Offering
) -> None:
    rows = len(offering().sample.labels)
    monkeypatch.setattr("fedcore.plugin_api.mocks.MAXIMUM_MOCK_BYTES", 8_000)
    mocks._generated.cache_clear()
    assert rows > len(offering().sample.labels) > 50
    mocks._generated.cache_clear()


def test_the_owner_may_want_no_mock_sample(offering: Offering) -> None:
    offered = offering('[datasets.logs.catalogue]\nmock = "none"')
    assert offered.datasets.mock("logs") is None
    assert offered.offer.mock is None


OWN = """
[datasets.logs.catalogue]
mock = "file"
mock_files = [{path = "a.txt", label = "benign"}, {path = "b.txt", label = "attack"}]
"""


def test_the_owner_may_name_files_that_are_published_whole(offering: Offering) -> None:
    offered = offering(OWN)
    (offered.home.path / "a.txt").write_bytes(b"/one\n/tw\xff\n")
    (offered.home.path / "b.txt").write_bytes(b"/three\n")
    assert offered.sample.columns == {"request": ("/one", "/tw\ufffd", "/three")}
    assert offered.sample.labels == (0, 0, 1)
    assert offered.offer.mock is not None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (OWN, "a file of mock_files cannot be read (No such file or directory)"),
        (
            OWN.replace('"a.txt"', '"big.txt"').replace('"b.txt"', '"real.txt"'),
            "at most 262144 bytes, the files have",
        ),
        (
            OWN.replace('"a.txt"', '"real.txt"').replace('"b.txt", label = "attack"', '"real.txt"'),
            "has no label",
        ),
        ('[datasets.logs.catalogue]\nmock = "file"', "names no file"),
    ],
)
def test_a_mock_sample_that_cannot_be_made_is_told_and_keeps_nothing_from_being_offered(
    offering: Offering, more: str, told: str
) -> None:
    offered = offering(more)
    (offered.home.path / "big.txt").write_bytes(b"/x\n" * 100_000)
    with pytest.raises(MockProblem, match=told.replace("(", r"\(").replace(")", r"\)")):
        offered.datasets.mock("logs")
    assert offered.offer.mock is None
    (found,) = check_host(offered.home, offered.policy)
    assert found.place == "[datasets.logs.catalogue] mock"
    assert told in str(found)


@pytest.mark.parametrize(
    "error", [KeyError("made-up"), PluginStopped(RefusalCode.PLUGIN_CONFINED, "made-up")]
)
def test_a_reader_that_fails_at_it_keeps_nothing_from_being_offered(
    offering: Offering, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*arguments: int) -> list[MockFile]:
        raise error

    offered = offering()
    reader = offered.datasets.open("logs").reader
    monkeypatch.setattr(type(reader), "mock", fail)
    mocks._generated.cache_clear()
    assert offered.offer.mock is None
    (found,) = check_host(offered.home, offered.policy)
    assert "makes no usable mock sample" in str(found)
    assert "made-up" in str(found)


def test_files_that_would_not_be_used_are_a_mistake() -> None:
    wrong = OWN.replace('mock = "file"', 'mock = "generated"').replace("logs", "access-2026")
    assert problem(VALID + wrong) == (
        '[datasets.access-2026] catalogue mock_files: Files for the mock sample are read with mock = "file" only. '
        "Write it, or remove them."
    )


def test_an_offer_carries_what_the_owner_says(offering: Offering) -> None:
    offer = offering(
        """
        [datasets.logs.catalogue]
        licence = "CC BY-NC 4.0"
        terms = "Name us."
        sensitivity = "special"
        price = "free for research"
        contact = "data-office@north.example"
        columns = {request = "the request line"}
        """
    ).offer
    assert (offer.licence, offer.terms, offer.price) == ("CC BY-NC 4.0", "Name us.", "free for research")
    assert (offer.sensitivity, offer.contact) == (Sensitivity.SPECIAL, "data-office@north.example")
    assert (offer.column_notes, str(offer.retention)) == ({"request": "the request line"}, "2027-12-31")


def test_what_the_catalogue_says_is_no_part_of_the_version(offering: Offering) -> None:
    plain, told = offering(), offering('[datasets.logs.catalogue]\nlicence = "CC0"')
    assert plain.offer.version == told.offer.version


def test_a_note_on_an_unknown_column_is_told_and_left_out(offering: Offering) -> None:
    offered = offering('[datasets.logs.catalogue]\ncolumns = {reqest = "the request line"}')
    assert offered.offer.column_notes == {}
    (found,) = check_host(offered.home, offered.policy)
    assert str(found).startswith(
        "[datasets.logs.catalogue] columns: the reader labelled_lines has no column 'reqest'"
    )


class Telling:
    """An announcer of a home, and the coordinator that it tells."""

    def __init__(self, home: Home) -> None:
        self.coordinator = ScriptedCoordinator(hosts={home.card.signing})
        self.api = CoordinatorApi(
            "http://127.0.0.1", home.signing_key, transport=self.coordinator.transport()
        )
        self.journal = Journal(home.journal_path)
        self.now = 1_790_000_000.0
        booking = Booking(open_ledger(home), OrderStore(home.state_path), lambda: None)
        self.announcing = Announcing(home, self.api, Governing(home), self.journal, booking, lambda: self.now)

    def puts(self) -> list[str]:
        return [path for method, path in self.coordinator.requests if method == "PUT"]

    def sent(self) -> list[str]:
        entries = (
            json.loads(entry.content) for entry in self.journal.entries() if entry.kind == EntryKind.EVENT
        )
        return [entry["mock_sample"] for entry in entries if "mock_sample" in entry]


def test_an_announced_mock_sample_is_sent_once_and_journalled(offering: Offering) -> None:
    offered = offering()
    telling = Telling(offered.home)
    telling.announcing.announce()
    (message,) = telling.coordinator.announcements.values()
    (offer,) = message.open(Announcement).datasets
    assert offer.mock is not None
    assert MockSample.parse(telling.coordinator.mocks[offer.mock.digest]) == offered.sample
    telling.now += 3600
    telling.announcing.announce()
    assert telling.puts() == [f"/api/host/mocks/{offer.mock.digest}"]
    assert telling.sent() == [offer.mock.digest]


def test_only_a_sample_that_was_announced_is_sent_whatever_the_coordinator_wants(
    offering: Offering, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = Telling(offering().home)
    monkeypatch.setattr(telling.coordinator, "_wanted_mocks", lambda host: ["0" * 64])
    telling.announcing.announce()
    assert telling.puts() == []


def test_a_sample_is_sent_with_the_next_look_where_it_failed(
    offering: Offering, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling = Telling(offering().home)
    wanted = telling.coordinator._wanted_mocks
    failing = [409]

    def wanted_and_refused(host: str) -> list[str]:
        telling.coordinator.failures, failing[:] = failing[:], []
        return wanted(host)

    monkeypatch.setattr(telling.coordinator, "_wanted_mocks", wanted_and_refused)
    with pytest.raises(CoordinatorRefused, match="409"):
        telling.announcing.announce()
    assert telling.coordinator.mocks == {}
    telling.announcing.announce()
    assert len(telling.coordinator.mocks) == 1
    assert len(telling.coordinator.announcements) == 1
