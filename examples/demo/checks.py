"""What must hold after the runs: the organisations share nothing, and protection cost no quality."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from examples.demo.errors import DemoError
from examples.demo.organisations import Cast, Organisation
from examples.demo.processes import processes_at_home_in

F1_TOLERANCE: Final = 0.03
AUC_TOLERANCE: Final = 0.005


def check_quality(reports: Sequence[Mapping[str, Any]]) -> str:
    """The pooled model is as good as the reference. Raises `DemoError`; returns a sentence with the figures."""
    metrics = {report["protocol"]: report["metrics"] for report in reports}
    f1 = metrics["pooled"]["f1"] - metrics["reference"]["f1"]
    auc = metrics["pooled"]["roc_auc"] - metrics["reference"]["roc_auc"]
    text = f"pooled − reference: F1 {f1:+.4f}, ROC AUC {auc:+.5f}"
    if f1 < -F1_TOLERANCE or auc < -AUC_TOLERANCE:
        raise DemoError(
            f"The protected model is worse than the reference ({text}).",
            f"Allowed are {F1_TOLERANCE} and {AUC_TOLERANCE}. With few rows chance may do it: give more.",
        )
    if metrics["pooled"]["f1"] <= metrics["pooled"]["majority_f1"]:
        raise DemoError("The protected model has learnt nothing.", "Check the labels of the data.")
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
    return f"{len(processes)} processes, {keys} keys and {brokers} brokers: none shared between organisations"


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
    sockets = Path("/proc/net/unix").read_text().split()
    heard = {Path(word) for word in sockets if word.startswith("/")}
    count = Counter(
        organisation.name
        for path in heard
        for organisation in cast.organisations
        if path.is_relative_to(organisation.directory)
    )
    missing = [some.name for some in (cast.operator, *cast.hosts) if not count[some.name]]
    if missing:
        raise DemoError(f"No broker of its own runs for {', '.join(missing)}.", "Look at its log.")
    return len(count)
