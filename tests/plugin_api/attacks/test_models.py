"""Attacks on finished models: who was in the training, and what a class looks like."""

from __future__ import annotations

from functools import lru_cache
from math import e
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import LabelledRows, Matrix, Parameters, Training
from fedcore.plugin_api.attacks import (
    judged,
    likelihood_ratio,
    likely_tokens,
    loss_threshold,
    losses,
    margins,
    typical_tokens,
)
from fedcore.plugin_api.private_training import fit_privately, private_scores
from fedcore.plugin_api.rows import values_like
from fedcore.plugin_api.values import Pseudonyms, ValueKind
from fedcore.privacy.planning import local_plan
from fedcore.wire.spec import PluginChoice
from plugins.models.linear import Linear
from plugins.preprocessing.hash_columns import HashColumns
from tests.plugin_api.attacks.stages import keyed, plain, records, tokens

MEMBERS = 300
BY_HEART = Training(
    optimiser=PluginChoice(name="adam", options={"lr": 0.1}), batch_size=32, epochs=40, seed=1
)


@lru_cache
def rows_at_random() -> LabelledRows:
    """Rows whose labels are thrown: whatever a model knows of them it has learnt by heart."""
    features = HashColumns({"columns": 2048}).apply(
        plain(tokens(records(2 * MEMBERS, 1), ("user", "time", "target")))
    )
    return LabelledRows(features, np.random.default_rng(2).integers(0, 2, 2 * MEMBERS))


def trained(rows: LabelledRows, which: Any, training: Training = BY_HEART) -> Parameters:
    own = LabelledRows(rows.features.take(which), rows.labels[which])
    return Linear().train(Linear().initial(own.features, 2, training), own, 2, training).parameters


def test_control_a_model_that_learnt_its_rows_by_heart_tells_who_they_are() -> None:
    rows = rows_at_random()
    scored = losses(Linear().scores(trained(rows, np.arange(MEMBERS)), rows.features), rows.labels)
    found = loss_threshold(scored[:MEMBERS], scored[MEMBERS:])
    assert found.auc >= 0.8


def test_under_an_epsilon_of_one_the_same_rows_are_hardly_told_and_the_bound_holds() -> None:
    rows, plan = rows_at_random(), local_plan(1_000_000, 1e-6, 20, 2)
    own = LabelledRows(rows.features.take(np.arange(MEMBERS)), rows.labels[:MEMBERS])
    parameters = fit_privately(Linear(), own, 2, BY_HEART, plan.training)
    scored = losses(private_scores(Linear(), parameters, rows.features), rows.labels)
    found = loss_threshold(scored[:MEMBERS], scored[MEMBERS:])
    assert found.auc < 0.6 < e / (1 + e)
    assert found.at_few < 0.05


def test_control_shadow_models_tell_members_better_than_the_loss_alone() -> None:
    rows, random = rows_at_random(), np.random.default_rng(5)
    everyone = np.arange(2 * MEMBERS)
    target = random.permutation(everyone)[:MEMBERS]
    inside = np.isin(everyone, target)
    mine = Linear().scores(trained(rows, np.sort(target)), rows.features)
    with_row, without = [], []
    for half in [random.permutation(everyone)[:MEMBERS] for _ in range(6)]:
        # Each half and the other one: so every row has models of both kinds.
        for chosen in (np.isin(everyone, half), ~np.isin(everyone, half)):
            shadow = margins(Linear().scores(trained(rows, everyone[chosen]), rows.features), rows.labels)
            with_row.append(np.where(chosen, shadow, np.nan))
            without.append(np.where(chosen, np.nan, shadow))
    ratio = likelihood_ratio(margins(mine, rows.labels), np.array(with_row), np.array(without))
    found, alone = judged(ratio[inside], ratio[~inside]), losses(mine, rows.labels)
    assert found.auc >= 0.8
    assert found.auc > loss_threshold(alone[inside], alone[~inside]).auc


def test_a_likelihood_ratio_needs_a_model_of_either_kind_for_each_row() -> None:
    some, none = np.array([[0.5, 1.0]]), np.array([[0.5, np.nan]])
    for pair in ((some, none), (none, some)):
        with pytest.raises(ValueError, match="with, and one without, each row"):
            likelihood_ratio(np.zeros(2), *pair)


def test_losses_are_cross_entropies_and_margins_differences() -> None:
    scores, labels = np.array([[2.0, 0.0, -1.0], [1e4, -1e4, 0.0]]), np.array([1, 0])
    assert losses(scores, labels)[0] == pytest.approx(np.log(np.exp(scores[0]).sum()) - 0.0)
    assert losses(scores, labels)[1] == 0.0
    assert margins(scores, labels).tolist() == [-2.0, 1e4]


def test_membership_is_judged_by_pairs_with_ties_as_halves_and_by_few_false_alarms() -> None:
    members, others = np.array([3.0, 2.0, 2.0]), np.array([2.0, 1.0])
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    assert judged(members, others).auc == pytest.approx(np.mean(pairs))
    assert judged(members, others).at_few == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="rows of both kinds"):
        judged(members, np.empty(0))


def one_word_rows(of: Pseudonyms) -> Matrix:
    count = len(of.ids)
    alone = Pseudonyms(np.arange(count, dtype=np.int32), np.arange(count + 1, dtype=np.int64), of.ids)
    return HashColumns().apply(alone)


def pictured(protected: bool) -> tuple[float, float]:
    """Of the words that the weights name for attacks, how many are typical of them, and of all frequent words. The
    attacker has no key."""
    of = records(3000, 1)
    words = tokens(of)
    rows, labels = plain(words), of.labels
    assert labels is not None
    features = HashColumns().apply(keyed(words) if protected else rows)
    training = BY_HEART.model_copy(update={"epochs": 10})
    weight = trained(LabelledRows(features, labels), np.arange(len(labels)), training)["linear.weight"]
    frequent = np.bincount(rows.codes) >= 5
    listed = Pseudonyms(np.empty(0, np.int32), np.zeros(1, np.int64), rows.ids[frequent])
    likely = likely_tokens(weight, one_word_rows(listed), 1, 30)
    typical = typical_tokens(rows, labels, 1)[frequent]
    return float(typical[likely].mean()), float(typical.mean())


def test_control_the_weights_of_a_plain_model_name_what_attacks_have() -> None:
    named, of_all = pictured(protected=False)
    assert named >= 0.9
    assert named > of_all + 0.3


def test_without_the_key_the_weights_name_no_more_than_chance_does() -> None:
    named, of_all = pictured(protected=True)
    assert named < of_all + 0.15


def test_the_likeliest_words_come_first_and_words_without_a_column_never() -> None:
    weight = np.array([[0.0, 1.0, 3.0], [0.0, 0.0, 1.0]])
    words = Matrix(np.array([0, 1, 1, 2]), np.array([1, 2], np.int32), np.ones(2, np.float32), 3)
    assert likely_tokens(weight, words, 0, 5).tolist() == [2, 0]
    assert likely_tokens(weight, words, 0, 1).tolist() == [2]


def test_typical_is_what_a_class_has_often_and_twice_as_often_as_others() -> None:
    rows = values_like(ValueKind.PSEUDONYMS, [[1, 2], [1, 2], [1, 2, 4], [2], [2, 1], [2], [2], [2], [2]])
    assert isinstance(rows, Pseudonyms)
    labels = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0])
    assert rows.ids[typical_tokens(rows, labels, 1)].tolist() == [1]
