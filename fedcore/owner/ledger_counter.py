"""The counter: how far the ledger has come, in a file of its own that no backup of the home brings back.

What holds: it never goes back, and is on the disk before anything leaves the host. A ledger that does not contain
what the counter says was put back from an older copy. What does not hold: an older copy of the whole machine brings
both back; that is what the receipts of other hosts are for.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fedcore.owner.chain import Head


class CounterError(Exception):
    """The counter cannot be read or written. Nothing may leave the host until it can."""


class Counter:
    """The highest serial of a ledger and the digest there, in one file of mode 0600."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Head | None:
        """How far the ledger has come, or None where there is no counter. Raises `CounterError`."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(error) from error
        try:
            values: dict[str, Any] = json.loads(text)
            return Head(int(values["serial"]), str(values["digest"]))
        except (ValueError, KeyError, TypeError) as error:
            raise self._unusable(error) from error

    def advance(self, head: Head) -> None:
        """Note that the ledger has come as far as `head`; a lower serial changes nothing. Raises `CounterError`."""
        try:
            self.path.parent.mkdir(parents=True, mode=0o700, exist_ok=True)
            with self._alone():
                known = self.read()
                if known is None or known.serial < head.serial:
                    self._write(head)
        except OSError as error:
            raise self._unusable(error) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(
            self.path.with_name(f"{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _write(self, head: Head) -> None:
        temporary = self.path.with_name(f"{self.path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, json.dumps(head._asdict()).encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, self.path)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _unusable(self, error: Exception) -> CounterError:
        return CounterError(
            f"The ledger's counter {self.path} cannot be used ({error}), and without it nothing may leave this host. "
            "Make room on the disk, or correct [ledger] counter."
        )
