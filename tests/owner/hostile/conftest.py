"""The scene of all attacks: made once for a file, and left as it was by each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.owner.hostile.scene import Scene, scene_in


@pytest.fixture(scope="module")
def shared_scene(tmp_path_factory: pytest.TempPathFactory, warmed: None) -> Iterator[Scene]:
    with scene_in(tmp_path_factory.mktemp("hostile")) as scene:
        yield scene


@pytest.fixture
def scene(shared_scene: Scene) -> Iterator[Scene]:
    """The scene with its files as they were."""
    log = shared_scene.north.home.path / "bad.txt"
    before = log.read_bytes()
    yield shared_scene
    shared_scene.shift[0] = 0.0
    log.write_bytes(before)
