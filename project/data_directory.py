"""The coordinator's data directory: private to its user, with the secrets made on first use."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from fedcore.wire.keys import read_secret, write_secret


def make_private(path: Path) -> Path:
    """`path` as an absolute directory that only its user may enter, made if it is missing."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & 0o077:
        path.chmod(0o700)
    return path.resolve()


def secret_of(path: Path) -> str:
    """The text in the secret file `path`, made there (mode 0600) on first use. Raises `KeyFileError`."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        write_secret(draft, secrets.token_urlsafe(48).encode())
        # A link appears whole or not at all, and the first of several processes makes it.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return read_secret(path).decode()
