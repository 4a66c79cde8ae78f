"""The way to the coordinator: resumed uploads, checked downloads, patience, and no trust in what comes back."""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import httpx
import pytest

from fedcore.owner import coordinator_api
from fedcore.owner.coordinator_api import CHUNK_BYTES, CoordinatorApi, CoordinatorAway, CoordinatorRefused
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import SigningKey
from fedcore.wire.orders import ArtefactRef
from fedcore.wire.reports import Announcement
from tests.owner.scripted import ScriptedCoordinator, Site

ORDER = "ab" * 16


@pytest.fixture
def coordinator() -> ScriptedCoordinator:
    return ScriptedCoordinator()


@pytest.fixture
def api(coordinator: ScriptedCoordinator, monkeypatch: pytest.MonkeyPatch) -> CoordinatorApi:
    monkeypatch.setattr(coordinator_api, "FIRST_WAIT", 0.001)
    key = SigningKey.generate()
    coordinator.hosts.add(key.public)
    return CoordinatorApi("http://127.0.0.1", key, transport=coordinator.transport())


def an_artefact(directory: Path, size: int) -> tuple[Path, ArtefactRef]:
    data = os.urandom(size)
    path = directory / "artefact"
    path.write_bytes(data)
    return path, ArtefactRef(role="features", digest=hashlib.sha256(data).hexdigest(), size=size)


def test_an_upload_arrives_whole_in_chunks(
    api: CoordinatorApi, coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    path, ref = an_artefact(tmp_path, CHUNK_BYTES + 1000)
    assert api.upload(ORDER, ref, path) == ref.size
    assert coordinator.artefacts[ref.digest] == path.read_bytes()
    assert [method for method, _ in coordinator.requests] == ["HEAD", "PATCH", "PATCH"]


def test_an_upload_goes_on_where_it_was_cut_off(
    api: CoordinatorApi, coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    path, ref = an_artefact(tmp_path, 5000)
    coordinator.artefacts[ref.digest] = path.read_bytes()[:3000]
    assert api.upload(ORDER, ref, path) == 2000
    assert coordinator.artefacts[ref.digest] == path.read_bytes()
    assert api.upload(ORDER, ref, path) == 0


@pytest.mark.parametrize("failures", [[503], [500, 429], [200, 0], [200, 0, 502, 0]])
def test_lost_answers_and_busy_servers_are_tried_again(
    api: CoordinatorApi, coordinator: ScriptedCoordinator, tmp_path: Path, failures: list[int]
) -> None:
    path, ref = an_artefact(tmp_path, 5000)
    if failures[0] == 200:
        coordinator.artefacts[ref.digest] = b""
        failures = failures[1:]
    coordinator.failures += failures
    api.upload(ORDER, ref, path)
    assert coordinator.artefacts[ref.digest] == path.read_bytes()


def test_a_download_has_the_digest_that_was_ordered(
    api: CoordinatorApi, coordinator: ScriptedCoordinator, tmp_path: Path
) -> None:
    path, ref = an_artefact(tmp_path, 5000)
    coordinator.artefacts[ref.digest] = path.read_bytes()
    api.download(ORDER, ref, tmp_path / "in" / "model")
    assert (tmp_path / "in" / "model").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1] + b"x", lambda data: data[:-1], lambda data: data + b"x"]
)
def test_a_download_with_other_bytes_leaves_no_file(
    api: CoordinatorApi, coordinator: ScriptedCoordinator, tmp_path: Path, change: object
) -> None:
    path, ref = an_artefact(tmp_path, 5000)
    coordinator.artefacts[ref.digest] = change(path.read_bytes())  # type: ignore[operator]
    with pytest.raises(WireError) as error:
        api.download(ORDER, ref, tmp_path / "model")
    assert error.value.code is RefusalCode.ARTEFACT_INVALID
    assert [file.name for file in tmp_path.iterdir()] == ["artefact"]


def test_a_download_goes_on_after_a_cut_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_api, "FIRST_WAIT", 0.001)
    path, ref = an_artefact(tmp_path, 5000)
    data, ranges = path.read_bytes(), []

    class Cut(httpx.SyncByteStream):
        def __iter__(self):  # type: ignore[no-untyped-def]
            yield data[:2000]
            raise httpx.ReadError("cut")

    def handle(request: httpx.Request) -> httpx.Response:
        ranges.append(request.headers.get("Range"))
        if ranges[-1] is None:
            return httpx.Response(200, stream=Cut())
        return httpx.Response(206, stream=httpx.ByteStream(data[2000:]))

    api = CoordinatorApi("http://127.0.0.1", SigningKey.generate(), transport=httpx.MockTransport(handle))
    api.download(ORDER, ref, tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == data
    assert ranges == [None, "bytes=2000-"]


def test_an_unknown_host_is_told_nothing_and_does_not_try_again(
    coordinator: ScriptedCoordinator,
) -> None:
    api = CoordinatorApi("http://127.0.0.1", SigningKey.generate(), transport=coordinator.transport())
    with pytest.raises(CoordinatorRefused) as refused:
        api.announce(Announcement(datasets=(), announced_at=0))
    assert refused.value.status == 401
    assert len(coordinator.requests) == 1


def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinator_api, "LONGEST_ORDERS", 1000)

    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, stream=httpx.ByteStream(b" " * 2000))

    api = CoordinatorApi("http://127.0.0.1", SigningKey.generate(), transport=httpx.MockTransport(handle))
    with pytest.raises(WireError) as error:
        api.orders(0, 0)
    assert error.value.code is RefusalCode.TOO_LARGE


def test_waiting_ends_when_the_host_stops() -> None:
    stop = threading.Event()

    def handle(request: httpx.Request) -> httpx.Response:
        stop.set()
        raise httpx.ConnectError("nobody there")

    api = CoordinatorApi("http://127.0.0.1", SigningKey.generate(), stop, httpx.MockTransport(handle))
    with pytest.raises(CoordinatorAway):
        api.announce(Announcement(datasets=(), announced_at=0))


def test_redirects_are_not_followed() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        return httpx.Response(307, headers={"Location": "http://elsewhere/"}, stream=httpx.ByteStream(b""))

    api = CoordinatorApi("http://127.0.0.1", SigningKey.generate(), transport=httpx.MockTransport(handle))
    with pytest.raises(CoordinatorRefused):
        api.announce(Announcement(datasets=(), announced_at=0))


def test_requests_are_good_over_a_real_socket_too(tmp_path: Path, coordinator: ScriptedCoordinator) -> None:
    site, key = Site(coordinator), SigningKey.generate()
    coordinator.hosts.add(key.public)
    api = CoordinatorApi(site.url, key)
    path, ref = an_artefact(tmp_path, 5000)
    api.upload(ORDER, ref, path)
    api.download(ORDER, ref, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == path.read_bytes()
    assert api.orders(0, 0).messages == ()
    api.close()
    site.close()
