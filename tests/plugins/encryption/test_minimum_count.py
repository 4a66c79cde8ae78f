"""The minimum count of `keyed_tokens`: what is rare over all owners becomes one common token, at every owner alike."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import (
    InvalidOptions,
    PreprocessingStep,
    Pseudonyms,
    Records,
    State,
    Summary,
    Text,
    Tokens,
)
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.protection import RARE, ProtectFrequent, rows_with
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.testing import StepContract, tokens_of
from fedcore.wire.spec import Pipeline, PluginChoice
from plugins import encryption, preprocessing
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.plaintext import Plaintext

KEY = bytes(range(32))
REGISTRY = Registry([encryption, preprocessing])
NORTH = [[b"index", b"anna"], [b"index", b"cart"], [b"index", b"sid", b"sid", b"sid"], [b"cart"]]
SOUTH = [[b"cart", b"ben"], [b"index"], [], [b"sid"]]


def step(minimum_count: int, key: bytes = KEY) -> ProtectFrequent:
    return ProtectFrequent(KeyedTokens({"minimum_count": minimum_count}), key)


def fitted(protect: ProtectFrequent, *owners: list[list[bytes]]) -> State:
    return protect.finish([Summary.add([protect.summarise(tokens_of(rows), []) for rows in owners])])


def number_of(token: bytes, key: bytes = KEY) -> int:
    return int(KeyedTokens().protect(tokens_of([[token]]), key).ids[0])


def plainly(rows: list[list[bytes]], everyone: list[list[bytes]], least: int) -> list[tuple[int, ...]]:
    """The same the slow way: count the rows that have a token, name the rare ones alike."""
    counts = Counter(token for row in everyone for token in set(row))
    return [tuple(number_of(token if counts[token] >= least else RARE) for token in row) for row in rows]


@pytest.mark.parametrize("least", [2, 3, 4])
def test_tokens_in_fewer_rows_of_all_owners_become_one_and_the_others_keep_their_numbers(least: int) -> None:
    protect = step(least)
    state = fitted(protect, NORTH, SOUTH)
    for rows in (NORTH, SOUTH):
        found = protect.apply_fitted(tokens_of(rows), state)
        assert rows_of(found) == plainly(rows, NORTH + SOUTH, least)
        assert len(np.unique(found.ids)) == len(found.ids)


def test_equal_words_get_equal_numbers_at_every_owner_however_often_each_has_them() -> None:
    protect = step(3)
    state = fitted(protect, NORTH, SOUTH)
    north, south = (protect.apply_fitted(tokens_of([[b"cart", b"anna"]]), state) for _ in range(2))
    assert rows_of(north) == rows_of(south) == [(number_of(b"cart"), number_of(RARE))]
    assert number_of(b"cart") not in fitted(protect, NORTH)["kept"]  # Not frequent enough at one owner alone.


def test_a_row_counts_once_however_often_it_repeats_a_token() -> None:
    assert number_of(b"sid") not in fitted(step(3), NORTH, SOUTH)["kept"]
    assert rows_with(tokens_of(NORTH)).tolist() == [3, 1, 2, 1]


def test_tokens_that_training_never_saw_become_the_common_one() -> None:
    protect = step(2)
    found = protect.apply_fitted(tokens_of([[b"zoe", b"index", b"yves"]]), fitted(protect, NORTH, SOUTH))
    assert rows_of(found) == [(number_of(RARE), number_of(b"index"), number_of(RARE))]


def test_the_common_number_is_under_the_key_like_any_other() -> None:
    other = bytes(range(1, 33))
    public = int(Plaintext().protect(tokens_of([[RARE]]), None).ids[0])
    assert len({number_of(RARE), number_of(RARE, other), public}) == 3
    found = step(2, other).apply_fitted(tokens_of([[b"zoe"]]), {"kept": np.array([1], np.uint64)})
    assert found.ids.tolist() == [number_of(RARE, other)]


def test_what_owners_sum_and_agree_on_holds_protected_numbers_only() -> None:
    protect = step(2)
    summary, state = protect.summarise(tokens_of(NORTH), []), fitted(protect, NORTH, SOUTH)
    ours = {number_of(token) for row in NORTH for token in row}
    assert set(summary.keys.tolist()) == ours
    assert set(state) == {"kept"}
    assert state["kept"].dtype == np.uint64
    assert state["kept"].tolist() == sorted(number_of(token) for token in (b"index", b"cart", b"sid"))


def test_a_minimum_that_no_token_reaches_is_told() -> None:
    with pytest.raises(InvalidOptions, match="no token is in 9 rows or more; choose less"):
        fitted(step(9), NORTH, SOUTH)


@pytest.mark.parametrize("wrong", [0, -1, 1_000_001, "many", 2.5, None])
def test_a_minimum_count_that_is_none_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidOptions, match="minimum_count"):
        KeyedTokens({"minimum_count": wrong})


def built(options: dict[str, Any]) -> BuiltPipeline:
    steps = (("fields", {"names": ["request"]}), ("words", {}), ("protect", {}), ("hash_columns", {}))
    pipeline = Pipeline(steps=tuple(PluginChoice(name=name, options=given) for name, given in steps))
    return BuiltPipeline(REGISTRY, pipeline, PluginChoice(name="keyed_tokens", options=options), KEY)


def test_without_the_rule_nothing_is_counted_and_with_it_protect_is_a_fitted_step() -> None:
    assert KeyedTokens().minimum_count == 1
    assert built({}).fitted == built({"minimum_count": 1}).fitted == []
    assert built({"minimum_count": 2}).fitted == [2]


def test_a_pipeline_makes_the_same_column_of_all_rare_words() -> None:
    records = Records({"request": Text.from_rows([b"/a/x", b"/a/y", b"/a/z"])})
    pipeline = built({"minimum_count": 2})
    features = pipeline.features(records, pipeline.fit([records]))
    one, *others = rows_of(features)
    assert len(one) == 2
    assert others == [one, one]


class TestProtectFrequent(StepContract):
    @pytest.fixture
    def step(self) -> PreprocessingStep[Any]:
        return step(2)

    @pytest.fixture
    def value(self) -> Tokens:
        return tokens_of(NORTH + SOUTH)


def test_nothing_is_changed_where_every_token_is_frequent() -> None:
    rows = [[b"a"], [b"a"]]
    found = step(2).apply_fitted(tokens_of(rows), fitted(step(2), rows))
    assert isinstance(found, Pseudonyms)
    assert rows_of(found) == [(number_of(b"a"),)] * 2
