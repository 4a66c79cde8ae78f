"""The owner's Celery worker: `celery -A fedcore.owner.worker worker`, on any number of machines of the owner.

It finds its host by `FEDCORE_OWNER_HOME`. Before it forks its processes it is warmed: torch imported and one
training step done, compiled code loaded. Each task forks again and computes in a process of its own, so a task
starts in milliseconds, and nothing that one task does is left for the next. The worker holds no signing key.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from celery.signals import worker_init

from fedcore.owner.celery_app import make_app
from fedcore.owner.home import DEFAULT_HOME, Home
from fedcore.owner.isolation import die_with_parent
from fedcore.owner.tasks import compute_task
from fedcore.owner.warming import warm

Function = TypeVar("Function", bound=Callable[..., Any])

HOME_VARIABLE: Final = "FEDCORE_OWNER_HOME"
PARENT_VARIABLE: Final = "FEDCORE_OWNER_AGENT"
"""The process that started this worker and that it ends with; unset for a worker of its own."""

home = Home(Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME))
app = make_app(home.broker)


def task(name: str) -> Callable[[Function], Function]:
    """Register a function as the Celery task of this name."""
    register: Callable[[Function], Function] = app.task(name=name)
    return register


@task("fedcore.prepare")
def prepare(*, order_id: str, shard: int) -> None:
    """Read, preprocess and protect one shard of the training rows."""
    compute_task(home, "prepare", order_id, shard)


@task("fedcore.summarise")
def summarise(*, order_id: str, shard: int) -> None:
    """Summarise one shard of the training rows for a fitted step."""
    compute_task(home, "summarise", order_id, shard)


@task("fedcore.settle")
def settle(*, order_id: str, shard: int) -> None:
    """Compute the state of a fitted step from the sums over all owners."""
    compute_task(home, "settle", order_id, shard)


@task("fedcore.mask")
def mask(*, order_id: str, shard: int) -> None:
    """Read, preprocess and mask one shard of the training rows for the compute owners."""
    compute_task(home, "mask", order_id, shard)


@task("fedcore.deal")
def deal(*, order_id: str, shard: int) -> None:
    """Deal one block of randomness for a training on shares."""
    compute_task(home, "deal", order_id, shard)


@task("fedcore.train_shares")
def train_shares(*, order_id: str, shard: int) -> None:
    """Train on shares with the other compute owner."""
    compute_task(home, "train_shares", order_id, shard)


@task("fedcore.train")
def train(*, order_id: str, shard: int) -> None:
    """Train the run's model."""
    compute_task(home, "train", order_id, shard)


@task("fedcore.evaluate")
def evaluate(*, order_id: str, shard: int) -> None:
    """Score one shard of the held-out rows."""
    compute_task(home, "evaluate", order_id, shard)


@task("fedcore.predict")
def predict(*, order_id: str, shard: int) -> None:
    """Score one shard of any log of the owner."""
    compute_task(home, "predict", order_id, shard)


def before_forking(**_: Any) -> None:
    """Warm this process, from which all worker processes are forked, and tie it to the agent that started it."""
    agent = os.environ.get(PARENT_VARIABLE, "")
    if agent.isdigit():
        die_with_parent(int(agent), signal.SIGTERM)
    warm(home)


worker_init.connect(before_forking, weak=False)
