"""A process in which everything is loaded, and which forks an owner's agent whenever it is told to: for many kills.

It reads lines from its standard input: the name of a point at which the agent kills itself, or nothing. It writes the
agent's process id, and `ended` when the agent is gone.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fedcore.owner.agent import Agent
from fedcore.owner.coordinator_api import CoordinatorApi
from fedcore.owner.home import Home
from fedcore.owner.journal import Journal
from fedcore.owner.ledger import Ledger
from fedcore.owner.ledger_counter import Counter
from fedcore.owner.orders import OrderStore
from fedcore.owner.tasks import InlineBell
from fedcore.owner.warming import warm_plugins
from fedcore.plugin_api.registry import AllowedDistribution, Registry

POINTS: Final[dict[str, tuple[type, str, bool]]] = {
    "before the ledger reserves": (Ledger, "reserve", False),
    "after the ledger has reserved": (Ledger, "reserve", True),
    "before the counter follows": (Counter, "advance", False),
    "after the counter has followed": (Counter, "advance", True),
    "after the order is reserved": (OrderStore, "reserve", True),
    "before the answer is stored": (OrderStore, "store", False),
    "after the answer is stored": (OrderStore, "store", True),
    "before the ledger notes the release": (Ledger, "release", False),
    "after the ledger has noted the release": (Ledger, "release", True),
    "after the journal is written": (Journal, "append", True),
    "before the answer is sent": (CoordinatorApi, "report", False),
    "after the answer is sent": (CoordinatorApi, "report", True),
    "before the order is released": (OrderStore, "release", False),
    "before the ledger settles": (Ledger, "settle", False),
    "after the ledger has settled": (Ledger, "settle", True),
}
"""Where an agent kills itself: a method, and whether before or after it."""


def deadly(method: Callable[..., Any], afterwards: bool) -> Callable[..., Any]:
    @functools.wraps(method)
    def killing(*args: Any, **kwargs: Any) -> Any:
        if not afterwards:
            os.kill(os.getpid(), signal.SIGKILL)
        found = method(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)
        return found

    return killing


def live(home: Home, point: str) -> None:
    """Be the agent of this home until somebody kills it."""
    if point:
        owner, name, afterwards = POINTS[point]
        setattr(owner, name, deadly(getattr(owner, name), afterwards))
    api = CoordinatorApi(home.load_config().coordinator.url, home.signing_key)
    Agent(home, api, InlineBell(home)).run()


def main(home: Home) -> None:
    logging.disable(logging.CRITICAL)
    warm_plugins(Registry.of_distributions([AllowedDistribution("fedcore")]))
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if not pid:
            live(home, line.strip())
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)
        print("ended", flush=True)


if __name__ == "__main__":
    main(Home(Path(sys.argv[1])))
