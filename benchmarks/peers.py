"""Peers that nothing but a benchmark needs: installed on first use into `benchmarks/.peers`, apart from all else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.benchmark import PeerAbsent

PEERS: Final = Path(__file__).parent / ".peers"


def with_peer(requirements: Sequence[str], install: bool = True) -> None:
    """Make the packages of these exact requirements importable here, and with `install` fetch them where they lack.

    What they need in turn comes from this environment. Raises `PeerAbsent`.
    """
    folder = PEERS / "+".join(requirements).replace("==", "-")
    if install and not folder.exists():
        _install(requirements, folder)
    # At the end of the path: a peer never takes the place of a package that is here.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _install(requirements: Sequence[str], folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.new")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
    done = subprocess.run(
        [*command, "--target", str(unfinished), *requirements], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerAbsent(
            f"{' '.join(requirements)} cannot be installed ({last}); allow pip to reach its index"
        )
    unfinished.rename(folder)
