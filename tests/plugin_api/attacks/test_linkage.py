"""Who knows user, date and hour of a request finds it in plain rows, and less often under a key, with words."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from fedcore.plugin_api.attacks import UNNAMED, frequency_analysis, linkage
from fedcore.plugin_api.attacks.targets import Facts, facts_of
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.testing import tokens_of
from fedcore.plugin_api.values import Records, Text
from tests.plugin_api.attacks.stages import keyed, plain, plain_by_the_rule, records, tokens

COLUMNS = ("user", "time", "target")
ROWS = 3000


@lru_cache
def found(characters: bool, minimum_count: int = 1, protected: bool = True) -> float:
    """How often the row that the attacker takes is one of the person's."""
    mine, theirs = (tokens(records(ROWS, seed), COLUMNS, characters) for seed in (1, 2))
    seen = keyed(mine, minimum_count) if protected else plain(mine)
    known = plain_by_the_rule(theirs, minimum_count if protected else 1)
    facts = facts_of(records(ROWS, 1), ["user"], "time", seed=0)
    assert facts is not None
    assert 0 < facts.truly.mean() < 0.05
    of_them = facts.known(lambda filled: plain(tokens(filled, COLUMNS, characters)))
    return linkage(seen, frequency_analysis(seen, known), known, of_them, facts.truly)


@pytest.mark.parametrize("characters", [False, True])
def test_control_in_plain_rows_the_person_is_found(characters: bool) -> None:
    assert found(characters, protected=False) >= 0.95


def test_under_a_key_words_hide_most_persons() -> None:
    assert found(characters=False) < 0.3


def test_under_a_key_and_a_minimum_count_words_hide_them_too() -> None:
    assert found(characters=False, minimum_count=5) < 0.3


def test_under_a_key_character_ngrams_hide_persons_less_than_words() -> None:
    assert found(characters=False) + 0.4 < found(characters=True) <= found(characters=True, protected=False)


def test_a_fact_that_few_rows_have_weighs_more_than_one_that_many_have() -> None:
    rows = plain(tokens_of([[b"get", b"jan"], [b"anna"], [b"get", b"jan"], [b"get"], [b"jan"], [b"jan"]]))
    facts = plain(tokens_of([[b"anna", b"get"]]))
    truly = np.array([[False, True, False, False, False, False]])
    assert linkage(rows, np.full(len(rows.ids), UNNAMED), rows, facts, truly) == 1.0


def test_of_rows_that_are_alike_one_is_drawn() -> None:
    rows = plain(tokens_of([[b"anna", b"a"], [b"anna", b"b"], [b"c"]]))
    truly = np.array([[True, False, False]])
    assert linkage(rows, np.full(4, UNNAMED), rows, plain(tokens_of([[b"anna"]])), truly) == 0.5


def test_a_wrong_name_leads_to_the_wrong_row() -> None:
    rows, known = keyed(tokens_of([[b"anna"], [b"ben"]])), plain(tokens_of([[b"anna", b"ben"]]))
    facts, truly = plain(tokens_of([[b"anna"]])), np.array([[True, False]])
    assert linkage(rows, np.array([0, 1]), known, facts, truly) == 1.0
    assert linkage(rows, np.array([1, 0]), known, facts, truly) == 0.0
    assert linkage(rows, np.array([UNNAMED, UNNAMED]), known, facts, truly) == 0.5


def test_nothing_seen_or_nobody_sought_is_nothing_found() -> None:
    rows, nothing = plain(tokens_of([[b"a"]])), plain(tokens_of([]))
    assert linkage(nothing, np.empty(0, np.int64), rows, rows, np.empty((1, 0), np.bool_)) == 0.0
    assert linkage(rows, np.array([0]), rows, nothing, np.empty((0, 1), np.bool_)) == 0.0


def people(*rows: tuple[bytes, bytes]) -> Records:
    users, times = zip(*rows, strict=True)
    return Records({"user": Text.from_rows(users), "time": Text.from_rows(times)})


def test_facts_are_the_person_the_date_and_the_hour_and_nobody_is_no_target() -> None:
    rows = people(
        (b"anna", b"05/Jan/2026:08:00:03 +0000"),
        (b"-", b"05/Jan/2026:08:00:03 +0000"),
        (b"anna", b"05/Jan/2026:08:59:03 +0000"),
        (b"anna", b"05/Jan/2026:09:00:03 +0000"),
    )
    facts = facts_of(rows, ["user"], "time", seed=1)
    assert facts is not None
    assert facts.fillings is not None
    assert facts.what == "user, date and hour"
    assert sorted(facts.fillings[0].columns["time"]) == [b"05/Jan/2026:08"] * 2 + [b"05/Jan/2026:09"]
    assert facts.truly.sum(axis=1).tolist().count(2) == 2
    assert not facts.truly[:, 1].any()


@pytest.mark.parametrize("time", [b"2026-01-05T08:00:03Z", b"2026-01-05 08:00:03"])
def test_the_hour_is_found_in_other_notations_of_time(time: bytes) -> None:
    facts = facts_of(people((b"anna", time)), ["user"], "time", seed=1)
    assert facts is not None
    assert facts.fillings is not None
    assert list(facts.fillings[0].columns["time"]) == [time[:13]]


@pytest.mark.parametrize("characters", [False, True])
def test_what_is_around_the_facts_is_no_fact(characters: bool) -> None:
    rows = people((b"anna", b"05/Jan/2026:08:00:03 +0000"))
    facts = facts_of(rows, ["user"], "time", seed=1)
    assert facts is not None
    (known,) = rows_of(facts.known(lambda filled: plain(tokens(filled, ("user", "time"), characters))))
    (all_of_it,) = rows_of(plain(tokens(rows, ("user", "time"), characters)))
    assert len(known) > 4
    assert set(known) < set(all_of_it)


def test_equal_scores_are_equal_whatever_the_order_of_their_sum() -> None:
    facts = [b"%d" % number for number in range(12)]
    orders = [np.random.default_rng(seed).permutation(facts).tolist() for seed in range(30)]
    others = [[fact] * 2 for number, fact in enumerate(facts) for _ in range(number)]
    rows, known = plain(tokens_of(orders + others)), plain(tokens_of([facts]))
    truly = np.arange(len(rows))[None, :] == 0
    assert linkage(rows, np.full(len(rows.ids), UNNAMED), rows, known, truly) == pytest.approx(1 / 30)


def test_without_persons_the_facts_are_some_tokens_of_a_row() -> None:
    rows = plain(tokens_of([[b"a", b"b", b"c"], [], [b"a", b"b", b"c", b"d"], [b"e"]]))
    assert facts_of(people((b"-", b"")), ["user"], None, seed=1) is None
    assert facts_of(people((b"anna", b"")), [], None, seed=1) is None
    facts = Facts.of_tokens(rows, seed=1)
    assert facts.tokens is not None
    assert len(facts.tokens) == 3
    assert sorted(facts.truly.sum(axis=1).tolist()) == [1, 1, 2]
