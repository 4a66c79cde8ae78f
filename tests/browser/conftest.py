"""A coordinator as a process of its own, and a browser in which people look at it.

Every page that a test opens is watched: it asks no other host for anything, and its scripts report no error.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.parse import urlsplit

import pytest

from tests.browser.looks import DESKTOP, PHONE
from tests.browser.site import PASSWORD

__all__ = ["DESKTOP", "PHONE"]

ROOT: Final = Path(__file__).resolve().parents[2]
BROWSERS: Final = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
START_SECONDS: Final = 90.0


@dataclass(frozen=True)
class Site:
    """The running coordinator, and where things are in it."""

    url: str
    fingerprint: str = ""
    requests: dict[str, str] = field(default_factory=dict)
    runs: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, Any] = field(default_factory=dict)

    def request(self, name: str) -> str:
        return f"{self.url}/admin/governance/accessrequest/{self.requests[name]}/change/"

    def run(self, name: str) -> str:
        return f"{self.url}/admin/runs/run/{self.runs[name]}/change/"

    def list(self, model: str) -> str:
        application = "runs" if model == "run" else "governance"
        return f"{self.url}/admin/{application}/{model}/"


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of `tests.browser.site`, served by uvicorn from a data directory of its own."""
    _need_browser()
    folder = tmp_path_factory.mktemp("site")
    facts = folder / "facts.json"
    _make(folder, "-m", "tests.browser.site", str(facts))
    with _served(folder) as url:
        yield Site(url, **json.loads(facts.read_text()))


@pytest.fixture(scope="module")
def empty_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """The address and the data directory of a site in which there is nobody yet."""
    _need_browser()
    folder = tmp_path_factory.mktemp("empty")
    _make(folder, "manage.py", "migrate", "-v", "0")
    with _served(folder) as url:
        yield url, folder / "data"


def _make(folder: Path, *arguments: str) -> None:
    made = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(folder) | {"ALLOWED_HOSTS": "testserver"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert made.returncode == 0, made.stderr


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    """The address of the site in this folder, while it is served."""
    port = _free_port()
    command = [sys.executable, "-m", "uvicorn", "project.asgi:application", "--port", str(port)]
    with (folder / "web.log").open("wb") as log:
        web = subprocess.Popen(
            [*command, "--log-level", "warning"], cwd=ROOT, env=_environment(folder), stdout=log, stderr=log
        )
    try:
        _wait_for(web, f"http://127.0.0.1:{port}", folder / "web.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        web.terminate()
        web.wait(20)


@dataclass
class Visitors:
    """Opens pages for people, who are logged in, and watches what the pages do."""

    site: Site
    browser: Any
    contexts: list[Any] = field(default_factory=list)
    other_sites: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def __call__(self, username: str | None, size: dict[str, int] = DESKTOP, **more: Any) -> Any:
        """A page of a window of its own, for a person or for nobody."""
        cookies = self._cookies_of(username) if username else None
        return self._window(viewport=size, storage_state=cookies, **more)

    def _window(self, **options: Any) -> Any:
        context = self.browser.new_context(**options)
        context.set_default_timeout(20_000)
        self.contexts.append(context)
        page = context.new_page()
        page.on("request", self._look_at_request)
        page.on("console", self._look_at_message)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def _cookies_of(self, username: str) -> Any:
        if username not in self.site.cookies:
            page = self._window(viewport=DESKTOP)
            log_in(page, self.site, username)
            self.site.cookies[username] = page.context.storage_state()
        return self.site.cookies[username]

    def _look_at_request(self, request: Any) -> None:
        own = {urlsplit(url).netloc for url in (self.site.url, *self.other_sites)}
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob") and address.netloc not in own:
            self.elsewhere.append(request.url)

    def _look_at_message(self, message: Any) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} ({message.location})")


@pytest.fixture
def visit(site: Site, chromium: Any) -> Iterator[Visitors]:
    with watched(site, chromium) as visitors:
        yield visitors


@contextmanager
def watched(site: Site, browser: Any) -> Iterator[Visitors]:
    """Windows of visitors of a site, none of which may ask elsewhere, or report an error."""
    visitors = Visitors(site, browser)
    yield visitors
    for context in visitors.contexts:
        context.close()
    assert visitors.elsewhere == []
    assert visitors.errors == []


# Playwright keeps an event loop in this thread, in which Django would refuse to use the database for other tests: it
# must end with the module.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    _need_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_browser(), args=list(ARGUMENTS))
        yield browser
        browser.close()


def log_in(page: Any, site: Site, username: str, password: str = PASSWORD) -> None:
    page.goto(f"{site.url}/admin/")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()


def _need_browser() -> None:
    if _browser() is None:
        pytest.skip(f"No browser: none of {', '.join(BROWSERS)} is on the PATH.")


def _browser() -> str | None:
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def _environment(folder: Path) -> dict[str, str]:
    left_out = ("BROKER_URL", "DATABASE_URL", "DJANGO_SETTINGS_MODULE")
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    return kept | {
        "FEDCORE_DATA_DIR": str(folder / "data"),
        "FEDCORE_OPERATOR_ORGANISATION": "cloud-house",
        "LOG_LEVEL": "ERROR",
        "PYTHONPATH": str(ROOT),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(web: subprocess.Popen[bytes], url: str, log: Path) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert web.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(f"{url}/api/health", timeout=5):
                return
        except (URLError, TimeoutError):
            time.sleep(0.1)
    raise AssertionError(f"The coordinator does not answer: {log.read_text()}")
