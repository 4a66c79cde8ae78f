"""Servers of the system that somebody may run fedcore on, found where they listen by default."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _one_at_a_time() -> Iterator[None]:
    """The servers are shared by all checkouts on this machine: two tests with the same queues would meet there."""
    with (Path(tempfile.gettempdir()) / f"fedcore-services-{os.getuid()}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
