"""The files of artefacts: uploads that can be resumed, digests that are checked, and what is deleted when.

Bytes are written to `<id>.part`; when all are there and their SHA-256 fits, the file is synced and renamed
to `<id>`. The database says how far an upload is, never the file: after a crash at any point the sender
continues at the offset that the database knows.

What is kept for how long: features, summaries and models that were sealed for owners are deleted when the run
ends. The model of a run under `pooled` or `shared` stays until the run itself is deleted or one of its grants is
revoked. The merged pseudonymised features of a finished pooled run stay only while every owner's grant allows
`download`, and go when one of them expires or is revoked. What a scientist has downloaded by then cannot be called
back.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.runs.audited import facts_of
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import MAXIMUM_ARTEFACT_BYTES

_BLOCK: Final = 1024 * 1024
_ORPHAN_SECONDS: Final = 3600
"""A file without a row is deleted only when it is older than this: its row may be about to be committed."""


class UploadRefused(Exception):
    """A chunk that was not taken. `offset` is where to go on, if the upload is still good."""

    def __init__(self, code: RefusalCode, detail: str, offset: int | None = None) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.offset = offset


def folder() -> Path:
    """Where artefacts lie; only the coordinator's own account may enter."""
    path = Path(settings.FEDCORE_DATA_DIR) / "artefacts"
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    return path


def file_of(artefact: Artefact) -> Path:
    """The file of a complete artefact."""
    return folder() / artefact.id.hex


def begin(order: RunOrder, digest: str, size: int) -> Artefact:
    """The upload of these bytes for an order, new or as far as it has come. Raises `UploadRefused`."""
    known = Artefact.objects.filter(order=order, digest=digest).first()
    if known is None:
        _check_room(order, size)
        try:
            with transaction.atomic():
                return Artefact.objects.create(run_id=order.run_id, order=order, digest=digest, size=size)
        except IntegrityError:  # Two first chunks at the same time: the other one was quicker.
            known = Artefact.objects.get(order=order, digest=digest)
    if known.size != size:
        raise UploadRefused(
            RefusalCode.CONFLICT, f"The upload began with {known.size} bytes, not {size}.", known.offset
        )
    return known


def append(artefact: Artefact, offset: int, data: bytes) -> Artefact:
    """Add `data` at `offset`, and complete the artefact when all bytes are there. Raises `UploadRefused`.

    A chunk that was taken before is refused with the offset to go on at, so that repeating it does no harm.
    """
    with _alone(artefact):
        artefact.refresh_from_db()
        _check_chunk(artefact, offset, data)
        if artefact.complete:
            return artefact
        _write(artefact, offset, data)
        artefact.offset = offset + len(data)
        artefact.complete = artefact.offset == artefact.size
        if artefact.complete and not _complete(artefact):
            artefact.delete()
            raise UploadRefused(
                RefusalCode.ARTEFACT_INVALID, "The bytes do not have the digest: send them again."
            )
        with audit.atomic():
            artefact.save(update_fields=["offset", "complete"])
            if artefact.complete and artefact.order is not None:
                audit.record(Action.RECEIVE_ARTEFACT, artefact, by=artefact.order.host, **facts_of(artefact))
    return artefact


def put(run: Run, role: str, data: bytes, artefact_id: UUID) -> Artefact:
    """An artefact of the coordinator's own, durably written; the caller saves the row."""
    artefact = Artefact(
        id=artefact_id, run=run, role=role, digest=hashlib.sha256(data).hexdigest(), size=len(data),
        offset=len(data), complete=True,
    )  # fmt: skip
    _write(artefact, 0, data)
    _publish(artefact)
    return artefact


def discard(artefacts: Iterable[Artefact]) -> None:
    """Mark artefacts as deleted, and delete their files once that is committed."""
    found = list(artefacts)
    whole = [artefact for artefact in found if artefact.complete]
    for run_id, run in Run.objects.in_bulk({artefact.run_id for artefact in whole}).items():
        digests = tuple(artefact.digest for artefact in whole if artefact.run_id == run_id)
        audit.record(Action.DELETE_ARTEFACTS, run, artefacts=digests)
    Artefact.objects.filter(pk__in=[artefact.pk for artefact in found]).update(
        deleted_at=timezone.now(), complete=False
    )
    transaction.on_commit(lambda: unlink(found))


def collect_garbage() -> int:
    """Delete files that no live artefact has: left by a crash, or by the deletion of a run."""
    live = {id.hex for id in Artefact.objects.filter(deleted_at=None).values_list("id", flat=True)}
    oldest = time.time() - _ORPHAN_SECONDS
    dead = [
        path
        for path in folder().iterdir()
        if not path.name.startswith(".lock-")
        and path.name.removesuffix(".part") not in live
        and path.stat().st_mtime < oldest
    ]
    for path in dead:
        path.unlink(missing_ok=True)
    return len(dead)


def _check_room(order: RunOrder, size: int) -> None:
    begun = list(Artefact.objects.filter(order=order).values_list("size", flat=True))
    limit = settings.FEDCORE_ORDER_UPLOAD_BYTES
    if size > MAXIMUM_ARTEFACT_BYTES or sum(begun) + size > limit or len(begun) >= 10_000:
        raise UploadRefused(
            RefusalCode.TOO_LARGE,
            f"One order may upload {limit} bytes in 10000 artefacts of at most {MAXIMUM_ARTEFACT_BYTES} bytes.",
        )


def _check_chunk(artefact: Artefact, offset: int, data: bytes) -> None:
    if offset != artefact.offset:
        raise UploadRefused(RefusalCode.CONFLICT, f"Continue at byte {artefact.offset}.", artefact.offset)
    if offset + len(data) > artefact.size:
        raise UploadRefused(RefusalCode.TOO_LARGE, f"The upload is {artefact.size} bytes long.", offset)


@contextmanager
def _alone(artefact: Artefact) -> Iterator[None]:
    # Locks are files of their own: the upload's file changes its name when it is complete.
    with (folder() / f".lock-{artefact.id.hex[:2]}").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _part_of(artefact: Artefact) -> Path:
    return file_of(artefact).with_suffix(".part")


def _write(artefact: Artefact, offset: int, data: bytes) -> None:
    part = _part_of(artefact)
    if not part.exists() and file_of(artefact).exists():
        # The process ended after the renaming and before the database knew: go on from there.
        os.replace(file_of(artefact), part)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.seek(offset)
        file.truncate()
        file.write(data)


def _complete(artefact: Artefact) -> bool:
    digest = hashlib.sha256()
    with _part_of(artefact).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != artefact.digest:
        unlink([artefact])
        return False
    _publish(artefact)
    return True


def _publish(artefact: Artefact) -> None:
    with _part_of(artefact).open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(_part_of(artefact), file_of(artefact))
    descriptor = os.open(folder(), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unlink(artefacts: Iterable[Artefact]) -> None:
    """Delete the files of these artefacts."""
    for artefact in artefacts:
        file_of(artefact).unlink(missing_ok=True)
        _part_of(artefact).unlink(missing_ok=True)
