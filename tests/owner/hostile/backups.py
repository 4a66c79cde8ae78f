"""Backups of north's files, and putting them back: an owner may do so in good faith, and a coordinator wait for it."""

from __future__ import annotations

from pathlib import Path

from tests.owner.hostile.scene import Scene

Backup = dict[Path, bytes]
"""What each file held."""


def files_of_grants(scene: Scene) -> Backup:
    """The grants of north, as they are now."""
    return _copied(scene, scene.north.home.grants_path)


def files_of_ledger(scene: Scene, *, with_counter: bool = False) -> Backup:
    """The privacy ledger of north, as it is now; with its counter, as in a copy of the whole machine."""
    return _copied(scene, scene.north.home.ledger_path, *([counter_of(scene)] if with_counter else []))


def counter_of(scene: Scene) -> Path:
    home = scene.north.home
    return home.counter_path(home.load_config().ledger)


def put_back(scene: Scene, backup: Backup) -> None:
    """North's agent finds these older files when it begins again. When the attack is over all is as before it."""
    home = scene.north.home
    now = _copied(scene, home.grants_path, home.ledger_path, counter_of(scene))
    scene.undo.callback(scene.restart, lambda: _write(now))
    scene.restart(lambda: _write(backup))


def _copied(scene: Scene, *paths: Path) -> Backup:
    """The files while no agent has them open, so that each is whole."""
    found: Backup = {}
    scene.restart(lambda: found.update({path: path.read_bytes() for path in paths}))
    return found


def _write(backup: Backup) -> None:
    for path, content in backup.items():
        for beside in path.parent.glob(f"{path.name}-*"):
            beside.unlink()
        path.write_bytes(content)
