"""What must hold after the runs: the organisations share nothing, and protection cost no quality."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from examples.demo.errors import DemoError
from examples.demo.organisations import Cast, Organisation
from examples.demo.processes import processes_at_home_in

AUC_TOLERANCE: Final = 0.005
F1_TOLERANCE: Final = 0.01
DEVIATIONS: Final = 2.0
PROTECTED: Final = ("shared", "pooled")


def check_quality(reports: Sequence[Mapping[str, Any]]) -> list[str]:
    """The protected models are as good as the reference. Raises `DemoError`; returns a sentence on each, with figures.

    All have the same columns, so pooled and reference should be equal. A training on shares rounds by chance, which
    moves the scores near the threshold: F1 may differ by some standard deviations of a share of the attacks that were
    held out.
    """
    metrics = {report["protocol"]: report["metrics"] for report in reports}
    reference = metrics["reference"]
    return [_compared(name, metrics[name], reference) for name in PROTECTED]


def _compared(name: str, protected: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    f1, auc = protected["f1"] - reference["f1"], protected["roc_auc"] - reference["roc_auc"]
    attacks = sum(protected["confusion"][1])
    allowed = F1_TOLERANCE + DEVIATIONS * math.sqrt(reference["f1"] * (1 - reference["f1"]) / max(attacks, 1))
    text = f"{name} less reference: F1 {f1:+.4f} (chance: {allowed:.3f}), ROC AUC {auc:+.4f}"
    if f1 < -allowed or auc < -AUC_TOLERANCE:
        raise DemoError(
            f"A protected model is worse than the reference ({text}).",
            "With few rows chance may do it: give more, or try again.",
        )
    if protected["f1"] <= protected["majority_f1"]:
        raise DemoError(f"The model of the run {name} has learnt nothing.", "Check the labels of the data.")
    return text


def check_separation(cast: Cast) -> str:
    """No directory, key or broker serves two organisations, and no process holds a file of another's.

    Raises `DemoError`; returns a sentence with the numbers.
    """
    keys = _check_keys(cast.organisations)
    brokers = _check_brokers(cast)
    processes = [
        (some, found) for some in cast.organisations for found in processes_at_home_in(some.directory)
    ]
    for organisation, found in processes:
        others = [other.directory for other in cast.organisations if other is not organisation]
        for path in found.held:
            if any(path.is_relative_to(other) for other in others):
                raise DemoError(
                    f"Process {found.pid} of {organisation.name} holds {path} open.", "Report it."
                )
    return f"{len(processes)} processes, {keys} keys, {brokers} brokers: none is shared"


def _check_keys(organisations: Sequence[Organisation]) -> int:
    owners: dict[str, str] = {}
    for organisation in organisations:
        if organisation.directory.stat().st_mode & 0o077:
            raise DemoError(f"{organisation.directory} is open to others.", "Its mode must be 0700.")
        for path in organisation.directory.rglob("*.key"):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            owner = owners.setdefault(digest, organisation.name)
            # The run's key is the one secret that owners share: it is what they agreed on.
            if owner != organisation.name and path.name != "run.key":
                raise DemoError(f"{owner} and {organisation.name} share the key {path.name}.", "Report it.")
    return len(owners)


def _check_brokers(cast: Cast) -> int:
    """Every organisation that computes has a broker that listens on a socket of its own; returns how many."""
    heard = set(Path("/proc/net/unix").read_text().split())
    sockets: dict[str, str] = {}
    for organisation in (cast.operator, *cast.hosts):
        configuration = organisation.home / "broker" / "broker.conf"
        found = re.search(r'^unixsocket "(.*)"$', configuration.read_text(), re.MULTILINE)
        if found is None or found[1] not in heard:
            raise DemoError(
                f"No broker of its own runs for {organisation.name}.", f"Look at {configuration.parent}."
            )
        other = sockets.setdefault(found[1], organisation.name)
        if other != organisation.name:
            raise DemoError(f"{other} and {organisation.name} share the broker {found[1]}.", "Report it.")
    return len(sockets)
