"""The process of one dry run: a job on standard input, and on standard output a line for each trial that has ended.

    python -m fedcore.coordinator.governance.dry_run_process < job > trials

It knows no database, no key and no setting, and ends by itself when its time is over.
"""

from __future__ import annotations

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

LARGEST_JOB: Final = MAXIMUM_MESSAGE_BYTES + 2 * 16 * MAXIMUM_MOCK_BYTES


class DryRunJob(Message):
    """All that the process gets. `samples` are those of the plan's datasets, in their order."""

    plan: DryRunPlan
    samples: Annotated[tuple[MockSample, ...], Field(min_length=1, max_length=16)]
    distributions: tuple[str, ...]
    seconds: Annotated[int, Field(ge=1)]
    memory_mb: Annotated[int, Field(ge=1)]


def main() -> None:
    """Perform the job on standard input."""
    answers = _own_output()
    job = DryRunJob.parse(sys.stdin.buffer.read(LARGEST_JOB + 1), LARGEST_JOB)
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
