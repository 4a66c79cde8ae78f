"""Peers that nothing but a benchmark needs: installed on first use into `benchmarks/.peers`, apart from all else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from benchmarks.benchmark import PeerAbsent

PEERS: Final = Path(__file__).parent / ".peers"
_INSTALL: Final = ("-m", "pip", "install", "--quiet", "--no-deps")


def with_peer(requirements: Sequence[str], install: bool = True) -> None:
    """Make the packages of these exact requirements importable here, and with `install` fetch them where they lack.

    What they need in turn comes from this environment. Raises `PeerAbsent`.
    """
    folder = PEERS / "+".join(requirements).replace("==", "-")
    if install and not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.new")
        _install(
            requirements, [sys.executable, *_INSTALL, "--upgrade", "--target", str(unfinished), *requirements]
        )
        unfinished.rename(folder)
    # At the end of the path: a peer never takes the place of a package that is here.
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def peer_python(requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment that has just these exact requirements, made where it lacks.

    For peers that need other versions than are here. Of what the requirements need in turn, nothing is installed that
    is not named too. Raises `PeerAbsent`.
    """
    pinned = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:8]
    folder = PEERS / f"{requirements[0].replace('==', '-')}-{pinned}"
    if not folder.exists():
        print(f"  making an environment for {requirements[0]} in {folder} (once) …", flush=True)
        unfinished = folder.with_name(f"{folder.name}.new")
        _install(requirements, [sys.executable, "-m", "venv", "--clear", str(unfinished)])
        _install(requirements, [str(_python_of(unfinished)), *_INSTALL, *requirements])
        unfinished.rename(folder)
    return _python_of(folder)


def _python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def _install(requirements: Sequence[str], command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise PeerAbsent(
            f"{' '.join(requirements)} cannot be installed ({last}); allow pip to reach its index"
        )
