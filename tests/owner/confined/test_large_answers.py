"""How much a confined process can make the agent hold is bounded by what was asked, not by what it likes to send."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcore.owner.confined.calling import LARGEST_ANSWER, MOMENT_ANSWERS, PluginStopped, Terms, calling
from fedcore.owner.confined.frames import Frame, named
from fedcore.owner.confined.plugins import plugins_of
from fedcore.owner.confined.remembered import Remembered
from fedcore.owner.description import Distribution
from fedcore.plugin_api import Text
from fedcore.plugin_api.registry import AllowedDistribution
from fedcore.plugin_api.serialise_values import value_arrays
from fedcore.wire.codes import RefusalCode
from tests.owner.third_party import install, installations, step

FLOOD = """
import os
for fd in range(3, 64):
    try:
        if os.fstat(fd).st_mode & 0o170000 == 0o140000: break
    except OSError: pass
os.write(fd, ({size}).to_bytes(8, "little"))
for _ in range(64):
    left = memoryview(bytes(2**20))
    while left: left = left[os.write(fd, left):]
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with installations(tmp_path_factory.mktemp("flooding")) as folder:
        install(folder, "flooding-loaded", FLOOD.format(size="64 * 2**20"))
        lines = FLOOD.format(size="300 * 2**20").strip().splitlines()
        install(folder, "flooding-rows", step("flood", *lines))
        yield folder


def terms(memory_mb: int = 256) -> Terms:
    return Terms(memory_mb, 30, Path("/nowhere"))


def test_a_package_that_answers_too_much_when_it_is_described_is_left_out(installed: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    registry = plugins_of((Distribution(name="flooding-loaded"),), terms())
    assert "exceed the limit of 65536" in registry.not_loaded[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


def test_no_answer_is_larger_than_the_memory_that_the_process_may_use(installed: Path) -> None:
    facts = {"group": "preprocessing", "name": "flood", "options": {}}
    arrays, texts = named("value", *value_arrays(Text.from_rows([b"x"])))
    with (
        calling(AllowedDistribution("flooding-rows"), terms()) as child,
        pytest.raises(PluginStopped, match=f"exceed the limit of {256 * 2**20}") as stopped,
    ):
        child.call(Frame("apply", arrays, texts, facts), "flood")
    assert stopped.value.code is RefusalCode.PLUGIN_CONFINED


def test_what_the_agent_itself_asks_for_is_small() -> None:
    assert MOMENT_ANSWERS.keys() >= {"start", "describe", "options", "verdict", "shards", "read", "mock"}
    assert max(MOMENT_ANSWERS.values()) <= LARGEST_ANSWER // 32


def test_answers_are_remembered_up_to_so_many_bytes_and_the_latest_used_stay() -> None:
    known = Remembered(1000)
    known.keep("a", 1, 100)
    known.keep("b", 2, 100)
    known.keep("b", 2, 100)
    known.keep("c", 3, 100)
    assert known.get("a") == 1
    known.keep("d", 4, 100)
    assert [known.get(name) for name in "abcd"] == [1, None, 3, 4]
    known.keep("e", 5, 2000)
    assert known.get("e") is None
    assert known.size <= 1000
