from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from fedcore.coordinator.runs import bell


def test_nobody_waits_for_a_broker_that_is_away(
    settings: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    app = Celery("away", set_as_current=False)
    app.conf.update(
        broker_url=f"redis+socket://{tmp_path}/nobody.sock",
        broker_transport_options=settings.CELERY_BROKER_TRANSPORT_OPTIONS,
    )
    monkeypatch.setattr(bell, "current_app", app)
    begun = time.monotonic()
    bell.ring("ab" * 32)
    assert time.monotonic() - begun < 3
    assert "run abababab waits for the sweep" in caplog.text
