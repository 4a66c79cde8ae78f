"""The contract tests tell bad plugins from good ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import (
    DatasetReader,
    Leak,
    MockFile,
    Options,
    Parameters,
    PreprocessingStep,
    Pseudonyms,
    Records,
    Shard,
    SourceFile,
    Text,
    Tokens,
    ValueKind,
)
from fedcore.plugin_api.testing import (
    EncryptionBackendContract,
    ModelTypeContract,
    ReaderContract,
    StepContract,
)
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.plaintext import Plaintext
from plugins.models.linear import Linear

VALUE = Text.from_rows([b"one", b"two", b"three", b"four"])


class BadStep(PreprocessingStep[Options]):
    name = "bad"
    version = "1"
    summary = "Does one thing wrong."
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def __init__(self, wrong: Callable[[Text], Any]) -> None:
        super().__init__()
        self._wrong = wrong

    def apply(self, value: Text) -> Any:
        return self._wrong(value)


def written_over(value: Text) -> Text:
    data = np.array(value.data)
    object.__setattr__(value, "data", np.zeros_like(data))
    return Text(data, value.offsets)


CASES: list[tuple[str, Callable[[Text], Any]]] = [
    ("test_rows_keep_their_number", lambda value: value.take(np.arange(len(value) - 1))),
    ("test_the_step_gives_the_kind_that_it_declares", lambda value: Tokens(value.data, value.offsets, value)),
    ("test_the_input_stays_as_it_was", written_over),
    (
        "test_the_same_input_gives_the_same_output",
        lambda value: Text.from_rows([np.random.default_rng().bytes(8) for _ in value]),
    ),
    (
        "test_blocks_give_what_the_whole_gives",
        lambda value: Text.from_rows([b"%d" % len(value) for _ in value]),
    ),
    ("test_rows_do_not_influence_each_other", lambda value: Text.from_rows(sorted(value))),
    ("test_a_block_without_rows_is_a_block", lambda value: Text.from_rows([next(iter(value)) for _ in [0]])),
]


@pytest.mark.parametrize(("test", "wrong"), CASES, ids=[test for test, _ in CASES])
def test_a_step_that_breaks_a_rule_fails_the_test_of_that_rule(
    test: str, wrong: Callable[[Text], Any]
) -> None:
    value = Text.from_rows(VALUE)
    with pytest.raises((AssertionError, StopIteration)):
        getattr(StepContract(), test)(BadStep(wrong), value)


class Ordered(KeyedTokens):
    """Numbers tokens in their order of appearance, and says nothing of it."""

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        found = super().protect(tokens, key)
        return Pseudonyms(found.codes, found.offsets, np.sort(found.ids))


class Long(KeyedTokens):
    """Shows the length of each token in the low bits, and says nothing of it."""

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        found = super().protect(tokens, key)
        lengths = np.diff(tokens.spellings.offsets).astype(np.uint64)
        return Pseudonyms(found.codes, found.offsets, (found.ids >> np.uint64(8) << np.uint64(8)) | lengths)


class Keyless(KeyedTokens):
    """Protects with a fixed key when it gets none."""

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        return super().protect(tokens, bytes(32))


class Silent(Plaintext):
    """Plaintext that declares less than it shows."""

    leakage = frozenset({Leak.SIZES})


@pytest.mark.parametrize(
    ("backend", "test"),
    [
        (Ordered(), "test_what_is_not_declared_does_not_show"),
        (Long(), "test_what_is_not_declared_does_not_show"),
        (Keyless(), "test_another_key_gives_other_numbers"),
        (Keyless(), "test_one_changed_bit_of_the_key_changes_half_of_all_bits"),
        (Silent(), "test_the_backend_says_who_it_is_and_what_it_shows"),
    ],
)
def test_a_backend_that_shows_more_than_it_declares_fails(backend: Any, test: str) -> None:
    with pytest.raises(AssertionError):
        getattr(EncryptionBackendContract(), test)(backend)


def test_a_backend_that_accepts_a_missing_key_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        EncryptionBackendContract().test_a_missing_or_wrong_key_is_refused(Keyless())


class Random(Linear):
    """Starts from other weights each time."""

    def initial(self, *arguments: Any) -> Parameters:
        found = super().initial(*arguments)
        return {name: array + np.float32(np.random.default_rng().random()) for name, array in found.items()}


def test_a_model_that_does_not_follow_the_seed_fails() -> None:
    with pytest.raises(AssertionError):
        ModelTypeContract().test_the_same_seed_gives_the_same_model(Random())


class BadReader(DatasetReader[Any]):
    """Reads lines, and does one thing wrong about its mock sample."""

    name = "bad_reader"
    version = "1"
    summary = "Does one thing wrong."
    columns = ("request",)

    class Options(Options):
        wrong: str = ""

    def shards(self, files: Sequence[SourceFile], size: int) -> list[Shard]:
        return [Shard(number, 0, file.path.stat().st_size) for number, file in enumerate(files)]

    def read(self, files: Sequence[SourceFile], shard: Shard, labelled: bool = True) -> Iterator[Records]:
        lines = files[shard.file].path.read_bytes().splitlines()
        label = self.classes.index(str(files[shard.file].label))
        yield Records({"request": Text.from_rows(lines)}, np.full(len(lines), label))

    def mock(self, rows: int, seed: int) -> list[MockFile]:
        match self.options.model_dump()["wrong"]:
            case "looks":
                seed = len(Path(__file__).read_bytes()) + seed
            case "one class":
                return [MockFile(b"/%d\n" % seed * rows, "benign")]
            case "few rows":
                rows = 2
            case "other each time":
                seed = int(np.random.default_rng().integers(2**32))
            case "always the same":
                seed = 0
            case "none":
                return []
        return [MockFile(b"/%d\n" % seed * (rows // 2), label) for label in self.classes]


READER_CASES = [
    ("test_a_mock_sample_is_made_without_opening_a_file", "looks"),
    ("test_every_class_occurs_often_enough_in_a_mock_sample", "one class"),
    ("test_it_reads_its_own_mock_sample", "few rows"),
    ("test_it_reads_its_own_mock_sample", "none"),
    ("test_a_mock_sample_follows_from_its_arguments", "other each time"),
    ("test_a_mock_sample_follows_from_its_arguments", "always the same"),
]


def check_mock(reader: DatasetReader[Any], test: str, folder: Path, patch: pytest.MonkeyPatch) -> None:
    getattr(ReaderContract(), test)(reader, patch if test.endswith("opening_a_file") else folder)


@pytest.mark.parametrize("test", sorted({test for test, _ in READER_CASES}))
def test_a_good_reader_passes_the_rules_of_mock_samples(
    test: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_mock(BadReader(), test, tmp_path, monkeypatch)


@pytest.mark.parametrize(("test", "wrong"), READER_CASES)
def test_a_reader_that_breaks_a_rule_of_mock_samples_fails_the_test_of_that_rule(
    test: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AssertionError, PermissionError)):
        check_mock(BadReader({"wrong": wrong}), test, tmp_path, monkeypatch)
