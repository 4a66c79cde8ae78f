"""What was computed of files that have not changed since, so that a look at a large dataset costs nothing."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Final, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

_SETTLED_NANOSECONDS: Final = 2_000_000_000
"""A file changed this recently may change again within one tick of the file system's clock, unseen."""


class FileIdentity(NamedTuple):
    """What changes when a file is written or replaced: times in nanoseconds, device and inode."""

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    device: int
    inode: int


class _Known(BaseModel):
    model_config = ConfigDict(extra="forbid")

    digests: dict[str, tuple[FileIdentity, str]] = {}
    rows: dict[str, int] = {}


class DatasetCache:
    """Digests of files by identity, and numbers of rows by dataset version, in one JSON file of mode 0600.

    Losing it costs time only: a file that cannot be read as a cache is computed anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._known = _load(path)

    def digest(self, identity: FileIdentity) -> str | None:
        """The SHA-256 of the file's content, if it is known and the file is the same."""
        known = self._known.digests.get(identity.path)
        return known[1] if known is not None and known[0] == identity else None

    def note_digest(self, identity: FileIdentity, digest: str) -> None:
        if time.time_ns() - max(identity.mtime_ns, identity.ctime_ns) > _SETTLED_NANOSECONDS:
            with self._lock:
                self._known.digests[identity.path] = (identity, digest)
                self._save()

    def rows(self, version: str) -> int | None:
        """The number of rows of this version of a dataset, if it is known."""
        return self._known.rows.get(version)

    def note_rows(self, version: str, rows: int) -> None:
        with self._lock:
            self._known.rows[version] = rows
            self._save()

    def _save(self) -> None:
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=".datasets-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(self._known.model_dump_json())
            os.replace(temporary, self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


def _load(path: Path) -> _Known:
    try:
        return _Known.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, ValidationError):
        return _Known()
