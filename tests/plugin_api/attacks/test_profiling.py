"""Rows, and the sites that they are from, are recognised by their size; hiding sizes hides them."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api.attacks import equal_rows, outlines, recognise_site, recognised
from fedcore.plugin_api.testing import tokens_of
from fedcore.plugin_api.values import Tokens
from plugins.readers.apache.generator import SITES
from tests.plugin_api.attacks.stages import keyed, plain, records, tokens

COLUMNS = ("user", "time", "target")


@lru_cache
def distinct(characters: bool) -> Tokens:
    return tokens(records(1500, 1), COLUMNS, characters)


@pytest.mark.parametrize("characters", [False, True])
def test_control_where_lengths_and_order_show_most_rows_are_recognised(characters: bool) -> None:
    rows = distinct(characters)
    full = outlines(rows, np.diff(rows.spellings.offsets), ordered=True)
    assert recognised(full, full, np.arange(len(rows))) >= 0.6


def test_under_a_key_words_hide_which_text_a_row_is_and_character_ngrams_hardly() -> None:
    shares = {}
    for characters in (False, True):
        rows = distinct(characters)
        shares[characters] = recognised(outlines(keyed(rows)), outlines(rows), np.arange(len(rows)))
    assert shares[False] < 0.2
    assert shares[True] > 0.6


def test_a_key_does_not_hide_an_outline() -> None:
    rows = distinct(False)
    assert outlines(keyed(rows)) == outlines(rows) == outlines(plain(rows))


def test_an_outline_counts_repeats_and_has_lengths_and_order_where_they_show() -> None:
    rows = tokens_of([[b"aa", b"b", b"aa"], [b"c", b"d", b"d"], []])
    lengths = np.diff(rows.spellings.offsets)
    assert outlines(rows) == [((2,), (1,)), ((2,), (1,)), ()]
    assert outlines(rows, lengths) == [((2, 2), (1, 1)), ((2, 1), (1, 1)), ()]
    assert outlines(rows, ordered=True) == [((0,), (1,), (0,)), ((0,), (1,), (1,)), ()]


def test_of_texts_with_one_outline_one_is_drawn_and_an_unknown_outline_is_no_text() -> None:
    one, other = ((1,),), ((2,),)
    assert recognised([one, one, other], [one, one], np.array([0, 1, 0])) == pytest.approx(1 / 3)
    assert recognised([], [one], np.empty(0, np.int64)) == 0.0


def test_rows_that_are_equal_show_under_any_key() -> None:
    rows = tokens_of([[b"a", b"b"], [b"b", b"a"], [b"a", b"b"], [b"c"]])
    assert equal_rows(keyed(rows)) == equal_rows(plain(rows)) == 0.5
    assert equal_rows(keyed(tokens_of([]))) == 0.0


def sizes(site: str, seed: int, rows: int) -> NDArray[np.int64]:
    return np.diff(keyed(tokens(records(rows, seed, site), characters=True)).offsets)


def test_control_a_site_is_told_from_the_sizes_of_its_rows_and_not_where_all_are_cut_alike() -> None:
    known = {site: sizes(site, 1, 3000) for site in SITES}
    cases = [(site, sizes(site, seed, 1000)) for site in SITES for seed in (5, 6)]
    right = np.mean([recognise_site(rows, known) == site for site, rows in cases])
    assert right >= 0.9
    alike = {site: np.full_like(theirs, 8) for site, theirs in known.items()}
    hidden = np.mean([recognise_site(np.full_like(rows, 8), alike) == site for site, rows in cases])
    assert hidden <= 1 / len(SITES)


def test_a_size_that_a_site_never_had_does_not_rule_it_out() -> None:
    known = {"here": np.array([3] * 50), "there": np.array([4] * 50)}
    assert recognise_site(np.array([3, 3, 3, 9]), known) == "here"


def test_without_a_site_there_is_none_to_recognise() -> None:
    with pytest.raises(ValueError, match="at least one site must be known"):
        recognise_site(np.array([3]), {})
