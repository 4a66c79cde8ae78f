"""The directory of an owner host: policy, keys, journal, runs. Only its owner can read any of it.

Who can see what: everything in here is for the operating system's user that runs the agent and its workers.
Directories have mode 0700 and key files 0600; a home that others may enter is refused, not repaired,
because what they have read by then is read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Final

from fedcore.owner.config import Config, LedgerSettings, load_config
from fedcore.wire.keys import HostCard, KeyFileError, SealingKey, SigningKey, read_secret, write_secret

DEFAULT_HOME: Final = Path("~/.fedcore-owner")
DIRECTORY_MODE: Final = 0o700
SPLIT_KEY_BYTES: Final = 32
_HEXADECIMAL: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{64}")


class HomeError(Exception):
    """A home that cannot be used. The text names the place, the rule and the fix."""


class Home:
    """The layout of an owner host's directory. Nothing is made before `create` or the first use of a key."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()

    def __repr__(self) -> str:
        return f"<Home {self.path}>"

    @property
    def config_path(self) -> Path:
        return self.path / "owner.toml"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def journal_path(self) -> Path:
        return self.path / "journal.sqlite"

    @property
    def state_path(self) -> Path:
        """The agent's own database of orders."""
        return self.path / "state.sqlite"

    @property
    def grants_path(self) -> Path:
        """What this host has kept of every grant on its data, and what was decided here."""
        return self.path / "grants.sqlite"

    @property
    def ledger_path(self) -> Path:
        """The privacy ledger: what every run has cost."""
        return self.path / "ledger.sqlite"

    @property
    def witnessed_path(self) -> Path:
        """How far the ledgers of peers have come, as they have signed it."""
        return self.path / "witnessed.json"

    def counter_path(self, settings: LedgerSettings) -> Path:
        """Where the ledger's counter lies. Raises `HomeError` for a place within the home."""
        if settings.counter is not None:
            path = (self.path / Path(settings.counter).expanduser()).resolve()
        else:
            state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
            name = hashlib.sha256(self.signing_key.public.encode()).hexdigest()[:16]
            path = (state / "fedcore-owner" / f"{name}.counter").resolve()
        if path.is_relative_to(self.path.resolve()):
            raise HomeError(
                f"The ledger's counter {path} lies in the home, and a backup of the home would bring both back. Name "
                "a file elsewhere in [ledger] counter."
            )
        return path

    @property
    def dataset_cache_path(self) -> Path:
        return self.path / "datasets.json"

    @property
    def runs(self) -> Path:
        return self.path / "runs"

    @property
    def spool(self) -> Path:
        return self.path / "spool"

    @property
    def broker(self) -> Path:
        return self.path / "broker"

    @property
    def log(self) -> Path:
        return self.path / "log"

    def run_directory(self, run: str) -> Path:
        """Where the keys, states and models of one run lie (not made here). `run` is the run's digest."""
        return self.runs / _checked(run)

    def spool_directory(self, order: str) -> Path:
        """Where the work and the results of one order lie (not made here). `order` is the order's id."""
        return self.spool / _checked(order)

    def create(self) -> None:
        """Make all directories with mode 0700. Raises `HomeError` where the home is open to others."""
        for directory in (self.path, self.keys, self.runs, self.spool, self.broker, self.log):
            make_private_directory(directory)

    def check(self) -> None:
        """Raise `HomeError` unless the home exists and only its owner may enter it."""
        if not self.path.is_dir():
            raise HomeError(f"There is no owner's directory {self.path}. Run `fedcore-owner init`.")
        _refuse_open(self.path)

    def load_config(self) -> Config:
        """The policy. Raises `ConfigError` with every mistake: then nothing may run."""
        return load_config(self.config_path)

    @cached_property
    def signing_key(self) -> SigningKey:
        """The host's signing key, made on first use. Raises `KeyFileError`."""
        return SigningKey.load_or_create(self.keys / "signing.key")

    @cached_property
    def sealing_key(self) -> SealingKey:
        """The host's sealing key, made on first use. Raises `KeyFileError`."""
        return SealingKey.load_or_create(self.keys / "sealing.key")

    @cached_property
    def split_key(self) -> bytes:
        """32 secret bytes that choose the rows which are held out, made on first use. Raises `KeyFileError`."""
        path = self.keys / "split.key"
        if not path.exists():
            write_secret(path, os.urandom(SPLIT_KEY_BYTES))
        secret = read_secret(path)
        if len(secret) != SPLIT_KEY_BYTES:
            raise KeyFileError(
                f"Key file {path} holds {len(secret)} bytes, a key has {SPLIT_KEY_BYTES}. Restore it from a backup: "
                "with another key other rows are held out, and models may be judged on rows they were trained on."
            )
        return secret

    @property
    def card(self) -> HostCard:
        """The host's public keys, as other owners and the coordinator pin them."""
        return HostCard(self.signing_key.public, self.sealing_key.public)

    @contextmanager
    def only_agent(self) -> Iterator[None]:
        """Hold the home's lock, so that one agent runs. The system drops it when the process ends, however it ends.

        Raises `HomeError` if another process holds it.
        """
        make_private_directory(self.path)
        descriptor = os.open(self.path / "agent.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise HomeError(
                    f"Another agent runs on {self.path}: one home has one agent. Stop the other one first."
                ) from None
            yield
        finally:
            os.close(descriptor)


def make_private_directory(path: Path) -> None:
    """Make `path` with mode 0700 if it does not exist. Raises `HomeError` if others may enter it."""
    try:
        path.mkdir(parents=True, mode=DIRECTORY_MODE, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"Directory {path} cannot be made ({error.strerror}). Choose another --home."
        ) from None
    _refuse_open(path)


def _refuse_open(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        raise HomeError(
            f"Directory {path} has mode {mode:04o}: only its owner may enter it. Run `chmod 700 {path}`, and "
            "replace the keys in it if others may have read them."
        )


def _checked(name: str) -> str:
    """`name` if it is a digest or an order's id: nothing from a message becomes another path."""
    if not _HEXADECIMAL.fullmatch(name):
        raise ValueError(f"{name!r} is neither a digest nor the id of an order.")
    return name
