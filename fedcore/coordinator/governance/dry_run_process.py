"""The process of one dry run: a job on standard input, and on standard output a line for each trial that has ended.

    python -m fedcore.coordinator.governance.dry_run_process < job > trials

It knows no database, no key and no setting, and ends by itself with its worker or when its time is over.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from fedcore.wire.catalogue import MAXIMUM_MOCK_BYTES, MockSample
from fedcore.wire.dry_runs import DryRunPlan
from fedcore.wire.encoding import MAXIMUM_MESSAGE_BYTES, Message

_NICE: Final = 10
"""Runs go first."""

_PR_SET_PDEATHSIG: Final = 1
LARGEST_JOB: Final = MAXIMUM_MESSAGE_BYTES + 2 * 16 * MAXIMUM_MOCK_BYTES


class DryRunJob(Message):
    """All that the process gets. `samples` are those of the plan's datasets, in their order; `parent` is its worker."""

    plan: DryRunPlan
    samples: Annotated[tuple[MockSample, ...], Field(min_length=1, max_length=16)]
    distributions: tuple[str, ...]
    parent: Annotated[int, Field(ge=1)]
    seconds: Annotated[int, Field(ge=1)]
    memory_mb: Annotated[int, Field(ge=1)]


def main() -> None:
    """Perform the job on standard input."""
    answers = _own_output()
    job = DryRunJob.parse(sys.stdin.buffer.read(LARGEST_JOB + 1), LARGEST_JOB)
    _die_with(job.parent)
    os.nice(_NICE)
    signal.alarm(job.seconds)
    _limit(resource.RLIMIT_CPU, job.seconds)
    from fedcore.coordinator.governance.trials import trials
    from fedcore.plugin_api.registry import AllowedDistribution, Registry

    registry = Registry.of_distributions(AllowedDistribution(name) for name in job.distributions)
    _warm()
    _limit(resource.RLIMIT_AS, _address_space() + job.memory_mb * 1024 * 1024)
    for trial in trials(registry, job.plan, job.samples):
        os.write(answers, trial.encode().encode() + b"\n")


def _own_output() -> int:
    """Where the answers go. What plugins print goes to the log instead."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its worker (Linux; elsewhere its time does)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)


def _warm() -> None:
    """Import what takes address space, before it is limited."""
    import sklearn.metrics  # noqa: F401
    import torch

    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])


def _limit(what: int, amount: int) -> None:
    hard = resource.getrlimit(what)[1]
    resource.setrlimit(what, (amount if hard == resource.RLIM_INFINITY else min(amount, hard), hard))


def _address_space() -> int:
    statm = Path("/proc/self/statm")
    return int(statm.read_text().split()[0]) * resource.getpagesize() if statm.exists() else 0


if __name__ == "__main__":
    main()
