"""`python -m benchmarks [name …]`: run benchmarks, print a row for each comparison, exit 1 if a goal is missed.

All rows also go to `benchmarks/results.json`.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import platform
import sys
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import benchmarks
from benchmarks.benchmark import Benchmark, Comparison, PeerAbsent

RESULTS: Final = Path(__file__).parent / "results.json"


def discovered() -> dict[str, Benchmark]:
    """Every module's `BENCHMARK`, by name."""
    found: dict[str, Benchmark] = {}
    for module in pkgutil.iter_modules(benchmarks.__path__):
        if module.name.startswith("_"):
            continue
        benchmark = getattr(importlib.import_module(f"benchmarks.{module.name}"), "BENCHMARK", None)
        if benchmark is None:
            continue
        if benchmark.name in found:
            raise ValueError(f"Two benchmarks are named {benchmark.name!r}: rename one.")
        found[benchmark.name] = benchmark
    return found


def main(names: Sequence[str]) -> int:
    """Run the named benchmarks, or all. 0: all goals met; 1: one is missed; 2: a name that does not exist."""
    known = discovered()
    unknown = [name for name in names if name not in known]
    if unknown:
        print(
            f"There is no benchmark {', '.join(unknown)}. There are: {', '.join(sorted(known))}.",
            file=sys.stderr,
        )
        return 2
    rows: list[dict[str, Any]] = []
    for name in names or sorted(known):
        print(f"\n{name}: {known[name].summary}", flush=True)
        for comparison in _measured(known[name]):
            rows.append({"benchmark": name} | _as_data(comparison))
            print(_as_text(comparison), flush=True)
    _write(rows)
    short = [row for row in rows if row["verdict"] == "short"]
    print(f"\n{len(rows) - len(short)} of {len(rows)} goals met. All figures: {RESULTS}")
    return 1 if short else 0


def _measured(benchmark: Benchmark) -> Iterator[Comparison]:
    """All comparisons of a benchmark; those that it could not make follow as missed, with the reason."""
    seen: set[str] = set()
    reason = "not measured"
    try:
        for comparison in benchmark.measure():
            seen.add(comparison.name)
            yield comparison
    except PeerAbsent as absent:
        reason = f"peer absent: {absent}"
    except Exception as error:
        traceback.print_exc()
        reason = f"failed: {error}"
    for name, goal in benchmark.goals.items():
        if name not in seen:
            yield Comparison(name, {"reason": reason}, None, goal)


def _as_data(comparison: Comparison) -> dict[str, Any]:
    return {
        "name": comparison.name,
        "figures": dict(comparison.figures),
        "value": comparison.value,
        "unit": comparison.goal.unit,
        "goal": str(comparison.goal),
        "verdict": "ok" if comparison.ok else "short",
        "details": dict(comparison.details),
    }


def _as_text(comparison: Comparison) -> str:
    figures = ", ".join(f"{name} {figure}" for name, figure in comparison.figures.items())
    value = "none" if comparison.value is None else f"{comparison.value:.4g} {comparison.goal.unit}"
    verdict = "ok" if comparison.ok else "SHORT"
    return f"  {comparison.name} | {figures} | {value} | {comparison.goal} | {verdict}"


def _write(rows: list[dict[str, Any]]) -> None:
    machine = {"python": platform.python_version(), "system": platform.platform(), "cores": os.cpu_count()}
    report = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine, "rows": rows}
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
