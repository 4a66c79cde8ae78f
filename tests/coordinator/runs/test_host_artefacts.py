"""Artefacts: resumable uploads, digests that are checked, and who may fetch what."""

from __future__ import annotations

import hashlib
import os
import time
from typing import Any

import pytest

from fedcore.coordinator.runs import ending, storage
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder
from fedcore.coordinator.runs.sweeping import tidy_artefacts
from fedcore.wire.orders import Order, Phase
from fedcore.wire.spec import Protocol

DATA = bytes(range(256)) * 40
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def order(world: Any, pooled: Run) -> Order:
    """North's order to prepare."""
    world.at(pooled, Phase.PREPARE)
    found: Order = next(o for o in world.north.orders(after=0) if o.phase is Phase.PREPARE)
    return found


def head(world: Any, order: Order, digest: str = DIGEST) -> Any:
    return world.north.send("HEAD", f"/api/host/artefacts/{order.id}/{digest}")


def test_an_upload_in_chunks_is_complete_when_all_bytes_are_there(world: Any, order: Order) -> None:
    assert head(world, order).status_code == 404
    first = world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA[:1000])
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "1000")
    assert head(world, order).headers["Upload-Offset"] == "1000"
    assert not Artefact.objects.get().complete
    world.north.upload_chunk(order.id, DIGEST, 1000, len(DATA), DATA[1000:])
    artefact = Artefact.objects.get()
    assert artefact.complete
    assert storage.file_of(artefact).read_bytes() == DATA
    assert storage.file_of(artefact).stat().st_mode & 0o777 == 0o600
    assert artefact.id.hex not in (DIGEST, order.id)


def test_a_wrong_offset_is_answered_with_the_right_one(world: Any, order: Order) -> None:
    world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA[:1000])
    for offset in (0, 999, 1001):
        answer = world.north.upload_chunk(order.id, DIGEST, offset, len(DATA), DATA[offset : offset + 10])
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (409, "1000")


def test_bytes_beyond_what_the_database_knows_are_overwritten(world: Any, order: Order) -> None:
    """The process was killed after writing, before the database knew."""
    world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA[:1000])
    part = storage.file_of(Artefact.objects.get()).with_suffix(".part")
    with part.open("ab") as file:
        file.write(b"garbage" * 5000)
    assert world.north.upload_chunk(order.id, DIGEST, 1000, len(DATA), DATA[1000:]).status_code == 204
    assert storage.file_of(Artefact.objects.get()).read_bytes() == DATA


def test_an_upload_goes_on_after_a_crash_between_renaming_and_the_database(world: Any, order: Order) -> None:
    world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA[:1000])
    world.north.upload_chunk(order.id, DIGEST, 1000, len(DATA), DATA[1000:])
    Artefact.objects.update(offset=1000, complete=False)
    assert world.north.upload_chunk(order.id, DIGEST, 1000, len(DATA), DATA[1000:]).status_code == 204
    assert storage.file_of(Artefact.objects.get()).read_bytes() == DATA


def test_bytes_with_another_digest_are_dropped(world: Any, order: Order) -> None:
    answer = world.north.upload_chunk(order.id, "ab" * 32, 0, len(DATA), DATA)
    assert (answer.status_code, answer.json()["code"]) == (422, "artefact_invalid")
    assert not Artefact.objects.exists()
    assert [path for path in storage.folder().iterdir() if not path.name.startswith(".lock")] == []


def test_more_bytes_than_announced_are_refused(world: Any, order: Order) -> None:
    answer = world.north.upload_chunk(order.id, DIGEST, 0, 10, DATA)
    assert answer.status_code == 413
    answer = world.north.upload_chunk(order.id, DIGEST, 0, 11, DATA[:1])
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_a_chunk_above_four_mebibytes_is_refused(world: Any, order: Order) -> None:
    answer = world.north.upload_chunk(order.id, DIGEST, 0, 2**23, b"a" * (2**22 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert not Artefact.objects.exists()


def test_an_order_has_a_limit_for_all_its_uploads(world: Any, order: Order, settings: Any) -> None:
    settings.FEDCORE_ORDER_UPLOAD_BYTES = len(DATA)
    assert world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA[:10]).status_code == 204
    assert world.north.upload_chunk(order.id, "ab" * 32, 0, 1, b"a").status_code == 413
    assert world.north.upload_chunk(order.id, "ab" * 32, 0, 2**40, b"a").status_code == 413


def test_uploads_end_with_the_order(world: Any, order: Order) -> None:
    result, refs = world.north.do(order)
    world.north.answer(order, result, refs)
    assert world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA).status_code == 409


def test_a_phase_without_artefacts_takes_no_uploads(world: Any) -> None:
    run = world.submit()
    world.at(run, Phase.CHECK)
    [order] = world.north.orders(after=0)
    assert world.north.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA).status_code == 409


@pytest.mark.parametrize("digest", ["..", "%2e%2e", "A" * 64, "ab", "ab" * 40])
def test_what_is_no_digest_is_not_found(world: Any, order: Order, digest: str) -> None:
    for method in ("HEAD", "GET", "PATCH"):
        path = f"/api/host/artefacts/{order.id}/{digest}"
        headers = {"Upload-Offset": "0", "Upload-Length": "1"}
        assert world.north.send(method, path, b"a" if method == "PATCH" else b"", **headers).status_code in (
            *(401, 404),
        )
    assert not Artefact.objects.exists()


def test_nobody_uploads_for_or_looks_into_the_order_of_another_host(world: Any, order: Order) -> None:
    assert world.south.upload_chunk(order.id, DIGEST, 0, len(DATA), DATA).status_code == 404
    world.north.upload(order, DATA)
    path = f"/api/host/artefacts/{order.id}/{DIGEST}"
    assert world.south.send("HEAD", path).status_code == 404
    assert world.south.send("GET", path).status_code == 404


def test_features_for_the_coordinator_are_fetched_by_no_host(world: Any, pooled: Run) -> None:
    run = world.at(pooled, Phase.EVALUATE)
    [order] = [o for o in world.south.orders(after=0) if o.phase is Phase.EVALUATE]
    for artefact in Artefact.objects.filter(run=run, role="features"):
        assert world.south.fetch(order, artefact.digest).status_code == 404
    assert world.south.fetch(order, order.artefacts[0].digest).status_code == 200


def test_what_is_sealed_to_one_host_is_fetched_by_no_other(world: Any) -> None:
    run = world.submit(Protocol.REFERENCE)
    world.at(run, Phase.EVALUATE)
    [mine] = [o for o in world.north.orders(after=0) if o.phase is Phase.EVALUATE]
    models = Artefact.objects.filter(run=run, role="model")
    for artefact in models:
        expected = 200 if artefact.audience == world.north.key.public else 404
        assert world.north.fetch(mine, artefact.digest).status_code == expected
    assert models.count() == 2
    for artefact in Artefact.objects.filter(run=run, role="features"):
        assert world.north.fetch(mine, artefact.digest).status_code == 404


def test_artefacts_of_another_run_are_not_found(world: Any) -> None:
    first, second = world.submit(), world.submit()
    world.at(first, Phase.EVALUATE)
    [order] = [o for o in world.north.orders(after=0) if o.run == first.pk and o.phase is Phase.EVALUATE]
    world.at(second, Phase.CHECK)
    for other in world.north.orders(after=0):
        if other.run == second.pk:
            assert world.north.fetch(other, order.artefacts[0].digest).status_code == 404


def test_an_interrupted_download_goes_on_where_it_was_cut(world: Any, pooled: Run) -> None:
    world.at(pooled, Phase.EVALUATE)
    [order] = [o for o in world.north.orders(after=0) if o.phase is Phase.EVALUATE]
    digest = order.artefacts[0].digest
    whole = world.north.fetched(order, digest)
    path = f"/api/host/artefacts/{order.id}/{digest}"
    part = world.north.send("GET", path, Range="bytes=100-199")
    assert (part.status_code, part.headers["Content-Range"]) == (206, f"bytes 100-199/{len(whole)}")
    assert b"".join(part.streaming_content) == whole[100:200]
    rest = world.north.send("GET", path, Range="bytes=200-")
    assert b"".join(rest.streaming_content) == whole[200:]
    assert world.north.send("GET", path, Range=f"bytes={len(whole)}-").status_code == 416


def test_an_empty_artefact_is_complete_with_an_empty_chunk(world: Any, order: Order) -> None:
    world.north.upload(order, b"")
    assert Artefact.objects.get().complete


def test_a_second_upload_of_the_same_bytes_takes_no_more_room(world: Any, order: Order) -> None:
    world.north.upload(order, DATA)
    answer = world.north.upload_chunk(order.id, DIGEST, len(DATA), len(DATA), b"")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(DATA)))
    assert Artefact.objects.count() == 1


def test_files_that_belong_to_nothing_are_deleted_after_an_hour(world: Any, order: Order) -> None:
    world.north.upload(order, DATA)
    kept = storage.file_of(Artefact.objects.get())
    orphan = storage.folder() / ("ab" * 16)
    for path in (orphan, kept):
        path.write_bytes(DATA)
        os.utime(path, (time.time() - 7200,) * 2)
    fresh = storage.folder() / ("cd" * 16 + ".part")
    fresh.write_bytes(b"")
    assert storage.collect_garbage() == 1
    assert (orphan.exists(), kept.exists(), fresh.exists()) == (False, True, True)


def test_an_upload_that_begins_while_its_run_ends_does_not_stay(
    world: Any, order: Order, django_capture_on_commit_callbacks: Any
) -> None:
    """The host's leave to upload was checked, and the run was cancelled before the first byte was taken."""
    row = RunOrder.objects.select_related("run").get(pk=order.id)
    ending.cancel(row.run_id)
    begun = storage.append(storage.begin(row, DIGEST, len(DATA)), 0, DATA)
    assert storage.file_of(begun).exists()
    with django_capture_on_commit_callbacks(execute=True):
        tidy_artefacts()
    assert not storage.file_of(begun).exists()
    assert not Artefact.objects.filter(deleted_at=None).exists()
