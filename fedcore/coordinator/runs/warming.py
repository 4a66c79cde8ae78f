"""Importing early what takes seconds to import, so that the first run does not wait for it."""

from __future__ import annotations

import threading
from typing import Any

from celery.signals import worker_init

from fedcore.coordinator.plugins import installed


def warm() -> None:
    """Import the plugins, torch with an optimiser, and scikit-learn's metrics. Nothing is computed.

    A Celery worker does this before it forks, so that all its processes share the memory. No training step is made
    here: a process that has made one on a graphics card cannot fork.
    """
    import sklearn.metrics  # noqa: F401
    import torch

    installed()
    torch.optim.Adam([torch.zeros(1)])


def warm_in_background() -> None:
    """The same, beside a process that already answers."""
    threading.Thread(target=warm, name="warm", daemon=True).start()


@worker_init.connect(weak=False)
def _warm_worker(**context: Any) -> None:
    warm()
