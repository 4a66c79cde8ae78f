"""The wiring: settings, limits, static files, schema, migrations, and the processes of one machine."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from asgiref.testing import ApplicationCommunicator
from django.conf import settings
from django.core.management import call_command
from django.test import AsyncClient

from project.data_directory import make_private, secret_of
from project.limits import limit_bodies

ROOT = Path(settings.BASE_DIR)


def run_manage(*arguments, tmp_path, **environment):
    variables = {**os.environ, "FEDCORE_DATA_DIR": str(tmp_path), **environment}
    variables.pop("DATABASE_URL", None)
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_models_and_migrations_agree(db, capsys):
    call_command("makemigrations", "--check", "--dry-run")
    assert capsys.readouterr().out == "No changes detected\n"


def test_the_api_describes_itself_without_a_warning(db, tmp_path):
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(tmp_path / "schema.yml"))
    assert "/api/runs/{run_id}" in (tmp_path / "schema.yml").read_text()


@pytest.mark.parametrize("address", ["/api/schema", "/api/docs"])
def test_what_describes_the_api_is_for_whoever_is_logged_in(cast, api, browser, client, address, settings):
    assert client.get(address).status_code == 401
    assert api(cast.sam).get(address).status_code == 200
    assert browser(cast.olga).get(address).status_code == 200
    settings.FEDCORE_SECOND_FACTOR = "required"
    assert browser(cast.olga).get(address).status_code == 401


def test_schema_and_documentation_are_served_without_any_address_elsewhere(cast, browser):
    client = browser(cast.sam)
    assert client.get("/api/schema").status_code == 200
    page = client.get("/api/docs").content.decode()
    assert "http://" not in page.replace("http://testserver", "")
    assert "https://" not in page


def test_production_settings_pass_djangos_own_check_list(tmp_path):
    done = run_manage(
        *("check", "--deploy", "--fail-level", "WARNING", "--tag", "security"),
        tmp_path=tmp_path,
        FEDCORE_PRODUCTION="true",
        ALLOWED_HOSTS="fedcore.example",
    )
    assert done.returncode == 0, done.stderr


def test_debug_in_production_does_not_start(tmp_path):
    done = run_manage("check", tmp_path=tmp_path, FEDCORE_PRODUCTION="true", DEBUG="true")
    assert done.returncode != 0
    assert "DEBUG shows settings and source to visitors" in done.stderr


def test_celery_reads_json_only_keeps_no_results_and_never_runs_eagerly():
    from project.celery import app

    assert app.conf.accept_content == ["json"]
    assert app.conf.task_serializer == "json"
    assert app.conf.task_ignore_result
    assert not app.conf.task_always_eager


def test_the_data_directory_and_its_secrets_are_private(tmp_path):
    folder = make_private(tmp_path / "data")
    secret = secret_of(folder / "keys" / "django.key")
    assert secret == secret_of(folder / "keys" / "django.key")
    assert len(secret) >= 50
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (folder / "keys").iterdir()] == [0o600]


async def _whole_body(scope, receive, send):
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": str(len(body)).encode()})


def _send(headers, chunks):
    async def conversation():
        scope = {"type": "http", "headers": headers, "method": "POST", "path": "/"}
        talk = ApplicationCommunicator(limit_bodies(_whole_body, limit=10), scope)
        for number, chunk in enumerate(chunks, start=1):
            await talk.send_input({"type": "http.request", "body": chunk, "more_body": number < len(chunks)})
        start = await talk.receive_output(timeout=2)
        return start["status"], (await talk.receive_output(timeout=2))["body"]

    return asyncio.run(conversation())


@pytest.mark.parametrize("headers", [[], [(b"content-length", b"10")]])
def test_a_body_within_the_limit_passes(headers):
    assert _send(headers, [b"12345", b"67890"]) == (200, b"10")


@pytest.mark.parametrize(
    ("headers", "chunks"),
    [([(b"content-length", b"11")], [b""]), ([], [b"12345", b"678901"]), ([], [b"1" * 11])],
)
def test_a_body_beyond_the_limit_is_refused_while_it_arrives(headers, chunks):
    status, body = _send(headers, chunks)
    assert status == 413
    assert json.loads(body)["code"] == "too_large"


@pytest.mark.parametrize("path", ["/static/governance/coordinator.css", "/static/unfold/css/styles.css"])
def test_static_files_are_served_without_collecting_them_first(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("text/css")


def test_static_files_are_served_under_asgi_too(db):
    async def fetch():
        answer = await AsyncClient().get("/static/governance/coordinator.css")
        return answer.status_code, answer.streaming

    assert asyncio.run(fetch()) == (200, False)


def test_a_static_file_that_does_not_exist_is_not_found(client, db):
    assert client.get("/static/../settings.py").status_code == 404


def test_no_middleware_forces_long_polls_into_threads():
    from django.utils.module_loading import import_string

    assert all(getattr(import_string(path), "async_capable", False) for path in settings.MIDDLEWARE)


def _free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def _health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=2) as answer:
            return json.load(answer)
    except (urllib.error.URLError, OSError):
        return None


@pytest.mark.processes
def test_start_runs_everything_and_one_interrupt_stops_everything(tmp_path):
    port = _free_port()
    variables = {**os.environ, "FEDCORE_DATA_DIR": str(tmp_path)}
    variables = {
        name: value for name, value in variables.items() if name not in ("BROKER_URL", "DATABASE_URL")
    }
    command = [sys.executable, "manage.py", "start", "--port", str(port), "--concurrency", "1"]
    with open(tmp_path / "log", "wb") as log:
        started = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=log, stderr=log)
    try:
        until = time.monotonic() + 60
        while _health(port) is None and time.monotonic() < until and started.poll() is None:
            time.sleep(0.2)
        assert _health(port) == {"status": "ok", "database": True}, (tmp_path / "log").read_text()
        assert (tmp_path / "broker" / "broker.sock").exists() or (tmp_path / "broker" / "broker.log").exists()
        children = _descendants(started.pid)
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 0, (tmp_path / "log").read_text()
        assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]
    finally:
        if started.poll() is None:
            started.kill()


@pytest.mark.processes
def test_a_process_that_is_killed_is_started_again_and_one_that_always_ends_stops_all(tmp_path, caplog):
    from fedcore.coordinator.processes import ENDS_ALLOWED, Command, run_together

    starts = tmp_path / "starts"
    script = f"open({str(starts)!r}, 'a').write('x'); raise SystemExit(3)"
    steady = Command("steady", [sys.executable, "-c", "import time; time.sleep(60)"])
    broken = Command("broken", [sys.executable, "-c", script])
    assert run_together([steady, broken], None, tmp_path) == "broken"
    assert starts.read_text() == "x" * ENDS_ALLOWED
    assert "The broken process ended with status 3." in caplog.text


def _descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def test_the_command_for_the_broker_says_where_it_is(tmp_path, monkeypatch):
    from fedcore.coordinator import processes

    monkeypatch.setattr(processes, "run_broker", lambda directory: None)
    monkeypatch.setattr(
        "fedcore.coordinator.governance.management.commands.broker.run_broker", lambda directory: None
    )
    out = io.StringIO()
    call_command("broker", stdout=out)
    assert str(tmp_path / "broker") in out.getvalue()
