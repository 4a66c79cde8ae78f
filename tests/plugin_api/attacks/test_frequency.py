"""Frequency analysis names what is unprotected, and under a key what is frequent: words less than pieces of them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api.attacks import UNNAMED, equal_numbers, frequency_analysis, recovery
from fedcore.plugin_api.rows import values_like
from fedcore.plugin_api.testing import tokens_of
from fedcore.plugin_api.values import Pseudonyms, ValueKind
from tests.plugin_api.attacks.stages import keyed, plain, plain_by_the_rule, records, tokens

ROWS = 3000


def pseudonyms(rows: list[list[int]]) -> Pseudonyms:
    value = values_like(ValueKind.PSEUDONYMS, rows)
    assert isinstance(value, Pseudonyms)
    return value


@lru_cache
def found(
    characters: bool, minimum_count: int = 1, protected: bool = True, exact: bool = False
) -> tuple[float, float]:
    """Shares of tokens and of known distinct tokens that the attack names; `exact`: it knows this very log."""
    mine = tokens(records(ROWS, 1), characters=characters)
    theirs = mine if exact else tokens(records(ROWS, 2), characters=characters)
    seen = keyed(mine, minimum_count) if protected else plain(mine)
    known = plain_by_the_rule(theirs, minimum_count)
    result = recovery(frequency_analysis(seen, known), seen, known, plain(mine), plain(theirs).ids)
    return result.tokens, result.types


@pytest.mark.parametrize("characters", [False, True])
def test_control_without_a_key_the_attacker_reads_all_that_it_knows(characters: bool) -> None:
    of_all, distinct = found(characters, protected=False)
    assert of_all >= 0.8
    assert distinct == 1.0


def test_control_frequencies_alone_name_most_tokens_of_a_log_that_the_attacker_knows_exactly() -> None:
    of_all, distinct = found(characters=True, exact=True)
    assert of_all >= 0.6
    assert distinct >= 0.05


def test_under_a_key_words_are_named_less_than_half_as_often_and_few_distinct_ones() -> None:
    of_all, distinct = found(characters=False)
    assert 0.1 < of_all < 0.5
    assert distinct < 0.15


def test_under_a_key_most_character_ngrams_are_still_read() -> None:
    of_all, distinct = found(characters=True)
    assert of_all > 0.5
    assert distinct < 0.2


def test_a_minimum_count_does_not_hide_what_is_frequent() -> None:
    """The rule is against rare tokens; that it is no defence against this attack is stated, and so measured."""
    without, _ = found(characters=True)
    with_rule, _ = found(characters=True, minimum_count=5)
    assert with_rule > 0.8 * without


def by_rank(seen: Pseudonyms, known: Pseudonyms) -> NDArray[np.int64]:
    """The oldest attack: the most frequent number is the most frequent token, and so on."""
    mine, theirs = (np.argsort(-np.bincount(rows.codes), kind="stable") for rows in (seen, known))
    guesses = np.full(len(mine), UNNAMED, np.int64)
    both = min(len(mine), len(theirs))
    guesses[mine[:both]] = theirs[:both]
    return guesses


@pytest.mark.parametrize("characters", [False, True])
def test_company_names_far_more_than_rank_alone_and_order_more_still(characters: bool) -> None:
    mine, theirs = (tokens(records(ROWS, seed), characters=characters) for seed in (1, 2))
    seen, known, truth = keyed(mine), plain(theirs), plain(mine)
    ranked, together, ordered = (
        recovery(guesses, seen, known, truth).tokens
        for guesses in (
            by_rank(seen, known),
            frequency_analysis(seen, known),
            frequency_analysis(seen, known, ordered=True),
        )
    )
    assert together > ranked + 0.1
    assert ordered > together + 0.01


def test_equal_numbers_are_a_dictionary() -> None:
    seen, known = pseudonyms([[5, 6, 7]]), pseudonyms([[7, 8, 5]])
    assert equal_numbers(seen, known).tolist() == [2, UNNAMED, 0]
    assert equal_numbers(seen, pseudonyms([[]])).tolist() == [UNNAMED] * 3


def test_a_wrong_guess_and_none_at_all_recover_nothing() -> None:
    seen, known = pseudonyms([[50, 51, 50]]), pseudonyms([[1, 2]])
    truth = pseudonyms([[1, 2, 1]])
    right = recovery(np.array([0, 1]), seen, known, truth)
    assert (right.tokens, right.types) == (1.0, 1.0)
    half = recovery(np.array([0, 0]), seen, known, truth)
    assert (half.tokens, half.types) == (pytest.approx(2 / 3), 0.5)
    none = recovery(np.array([UNNAMED, UNNAMED]), seen, known, truth)
    assert (none.tokens, none.types) == (0.0, 0.0)


def test_nothing_seen_or_nothing_known_gives_no_guess() -> None:
    nothing, something = keyed(tokens_of([[]])), plain(tokens_of([[b"a"]]))
    assert frequency_analysis(nothing, something).tolist() == []
    assert frequency_analysis(something, nothing).tolist() == [UNNAMED]
    assert recovery(np.empty(0, np.int64), nothing, something, nothing).tokens == 0.0
