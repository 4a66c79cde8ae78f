"""What holds for all tests: two run at a time on a small machine, and CI skips nothing that it should have."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path
from typing import Final

import pytest

NEEDED_IN_CI: Final = ("browser", "processes", "services")

# Read by the numerical libraries when they are first imported. More threads than cores only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[Path]:
    """Hosts keep their ledgers' counters below this directory: the account's own stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("state")
        patch.setenv("XDG_STATE_HOME", str(directory))
        yield directory


def counts_as_failure(item: pytest.Item) -> bool:
    """Whether a skip of this test is a failure: it needs what a machine of CI has to have."""
    return bool(os.environ.get("CI")) and any(item.get_closest_marker(name) for name in NEEDED_IN_CI)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The long runs are for the night: they are left out unless `-m` names them."""
    if "nightly" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and counts_as_failure(item):
        report.outcome = "failed"
        report.longrepr = f"Skipped, but CI has to run it: {report.longrepr}"
    return report
