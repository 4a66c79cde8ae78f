"""The whole demonstration, over real processes of five organisations."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from examples.demo.processes import processes_at_home_in

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.xdist_group("processes")
def test_the_demonstration_runs_to_its_end_and_leaves_nothing_running(tmp_path: Path) -> None:
    work = tmp_path / "demo"
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=os.environ | {"ONCE": "1", "FEDCORE_DEMO_ROWS": "3000", "FEDCORE_DEMO_DIR": str(work)},
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    for text in ("Olga Owner approved", "none is shared", "lines look like attacks", "/admin/"):
        assert text in done.stdout
    reports = json.loads((work / "university" / "reports.json").read_text())
    assert [report["protocol"] for report in reports] == ["local", "reference", "pooled"]
    assert reports[2]["backend"]["pseudonymised"]
    assert reports[0]["owners"][0]["bytes_sent"] == 0
    assert (work / "report.html").stat().st_size > 100_000
    assert not list(processes_at_home_in(work))


def test_mistakes_in_the_settings_end_with_status_1_and_the_remedy(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo"],
        cwd=ROOT,
        env=os.environ | {"LOG": "/nowhere.log", "FEDCORE_DEMO_DIR": str(tmp_path / "demo")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 1
    assert "there is no such file" in done.stdout
    assert "Correct the path in LOG." in done.stdout
    assert not (tmp_path / "demo").exists()
