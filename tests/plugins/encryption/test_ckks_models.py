"""What CKKS is strong at: ridge regression from added statistics, scores of encrypted rows; and one gradient step."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import KeyPair
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.ckks import Ckks, CkksSums
from plugins.encryption.ckks.cipher import CkksPublic
from plugins.encryption.ckks.gradient import opened_gradient, residual_products, step
from plugins.encryption.ckks.opening import CkksSecret
from plugins.encryption.ckks.prediction import encrypted_columns, scores
from plugins.encryption.ckks.statistics import RidgeStatistics, added
from plugins.encryption.paillier import Paillier

Reals = NDArray[np.float64]


@cache
def keys(kind: type[Ckks | CkksSums], **options: int) -> tuple[KeyPair, CkksPublic, CkksSecret]:
    backend = kind(options)
    pair = backend.generate_keys()
    return pair, backend.public(pair.public), backend.secret(pair)


def rows(seed: int, length: int = 500, columns: int = 12) -> tuple[Reals, Reals]:
    chance = np.random.default_rng(seed)
    features = chance.uniform(-1, 1, (length, columns))
    targets = np.clip(features @ np.linspace(-0.3, 0.3, columns) + chance.normal(0, 0.1, length), -1, 1)
    return features, targets


def refused(caught: pytest.ExceptionInfo[WireError], code: RefusalCode) -> bool:
    return caught.value.code is code


# Ridge regression.


@pytest.mark.parametrize("kind", [CkksSums, Ckks])
@pytest.mark.parametrize("owners", [2, 5])
def test_ridge_over_owners_is_ridge_on_all_their_rows(kind: type[Ckks | CkksSums], owners: int) -> None:
    _, public, secret = keys(kind)
    held = [rows(seed) for seed in range(owners)]
    agreed = RidgeStatistics(columns=12, rows=500)
    sent = [public.encrypt(agreed.packed(*own)).pack() for own in held]
    total = public.unpack(added(public, [public.unpack(own) for own in sent]).pack())
    weights = agreed.solved(secret.decrypt(total), penalty=1.0)
    features, targets = (np.concatenate(parts) for parts in zip(*held, strict=True))
    expected = np.linalg.solve(features.T @ features + np.eye(12), features.T @ targets)
    assert np.abs(weights - expected).max() < (1e-5 if kind is Ckks else 1e-7)


def test_statistics_are_the_upper_triangle_and_the_products_with_the_targets() -> None:
    features, targets = np.array([[1.0, 2.0], [0.0, -2.0]]), np.array([2.0, 1.0])
    agreed = RidgeStatistics(columns=2, rows=4, largest=2.0)
    assert agreed.length == 5
    assert (agreed.packed(features, targets) * 16).tolist() == [1.0, 2.0, 8.0, 2.0, 2.0]


def test_no_owners_statistics_exceed_one() -> None:
    agreed = RidgeStatistics(columns=3, rows=50, largest=7.0)
    assert np.abs(agreed.packed(np.full((50, 3), -7.0), np.full(50, 7.0))).max() == 1.0


@pytest.mark.parametrize(
    ("features", "targets", "code"),
    [
        (np.ones((3, 2)), np.ones(2), RefusalCode.ARTEFACT_INVALID),
        (np.ones((3, 4)), np.ones(3), RefusalCode.ARTEFACT_INVALID),
        (np.ones(3), np.ones(3), RefusalCode.ARTEFACT_INVALID),
        (np.ones((0, 2)), np.ones(0), RefusalCode.ARTEFACT_INVALID),
        (np.ones((6, 2)), np.ones(6), RefusalCode.OUT_OF_RANGE),
        (np.full((3, 2), 1.5), np.ones(3), RefusalCode.OUT_OF_RANGE),
        (np.ones((3, 2)), np.full(3, -1.5), RefusalCode.OUT_OF_RANGE),
        (np.full((3, 2), np.nan), np.ones(3), RefusalCode.NOT_FINITE),
        (np.ones((3, 2)), np.full(3, np.inf), RefusalCode.NOT_FINITE),
    ],
)
def test_rows_that_were_not_agreed_on_are_refused(features: Reals, targets: Reals, code: RefusalCode) -> None:
    with pytest.raises(WireError) as caught:
        RidgeStatistics(columns=2, rows=5).packed(features, targets)
    assert refused(caught, code)


def test_statistics_without_one_minimum_are_refused() -> None:
    agreed = RidgeStatistics(columns=2, rows=5)
    with pytest.raises(WireError, match="raise the penalty"):
        agreed.solved(np.array([0.0, 0.0, 0.0, 1.0, 1.0]), penalty=0.0)
    with pytest.raises(WireError, match="not 5 numbers"):
        agreed.solved(np.ones(6), penalty=1.0)


def test_no_statistics_cannot_be_added() -> None:
    _, public, _ = keys(CkksSums)
    with pytest.raises(WireError, match="no statistics"):
        added(public, [])


def test_statistics_are_added_under_another_backend_too() -> None:
    """They use the plugin API only, so an exact backend gives them as well."""
    backend = Paillier()
    pair = backend.generate_keys()
    public, agreed = backend.public(pair.public), RidgeStatistics(columns=12, rows=500)
    total = added(public, [public.encrypt(agreed.packed(*rows(seed))) for seed in range(2)])
    found = backend.secret(pair).decrypt(total)
    assert np.abs(found - sum(agreed.packed(*rows(seed)) for seed in range(2))).max() < 1e-6


# Scores.


def test_encrypted_scores_are_the_scores() -> None:
    _, public, secret = keys(Ckks, summands=64)
    features, _ = rows(1, length=5000)
    weights, intercepts = np.random.default_rng(2).normal(size=(12, 2)), np.array([0.25, -1.5])
    sent = [column.pack() for column in encrypted_columns(public, features)]
    found = scores(public, [public.unpack(column) for column in sent], weights, intercepts)
    opened = np.stack([secret.decrypt(public.unpack(score.pack())) for score in found], axis=1)
    assert np.abs(opened - (features @ weights + intercepts)).max() <= 2.0**-24


def test_columns_that_a_score_does_not_use_change_nothing() -> None:
    _, public, secret = keys(Ckks, summands=64)
    features, _ = rows(3)
    weights = np.zeros((12, 1))
    weights[4] = 2.0
    (found,) = scores(public, encrypted_columns(public, features), weights, np.zeros(1))
    assert np.abs(secret.decrypt(found) - 2 * features[:, 4]).max() <= 2.0**-24


def test_scores_that_do_not_fit_are_refused() -> None:
    _, public, _ = keys(Ckks, summands=64)
    columns = encrypted_columns(public, rows(1)[0])
    for weights, intercepts, code in [
        (np.ones((11, 1)), np.zeros(1), RefusalCode.ARTEFACT_INVALID),
        (np.ones(12), np.zeros(1), RefusalCode.ARTEFACT_INVALID),
        (np.ones((12, 1)), np.zeros(2), RefusalCode.ARTEFACT_INVALID),
        (np.full((12, 1), 6.0), np.zeros(1), RefusalCode.OUT_OF_RANGE),
        (np.full((12, 1), np.nan), np.zeros(1), RefusalCode.NOT_FINITE),
        (np.ones((12, 1)), np.full(1, np.nan), RefusalCode.NOT_FINITE),
    ]:
        with pytest.raises(WireError) as caught:
            scores(public, columns, weights, intercepts)
        assert refused(caught, code)
    (spent,) = scores(public, columns[:1], np.ones((1, 1)), np.zeros(1))
    with pytest.raises(WireError, match="raise the option depth"):
        scores(public, [spent], np.ones((1, 1)), np.zeros(1))


@pytest.mark.parametrize("features", [np.ones(3), np.ones((0, 2)), np.ones((2, 0))])
def test_what_are_no_rows_and_columns_is_not_encrypted(features: Reals) -> None:
    _, public, _ = keys(Ckks, summands=64)
    with pytest.raises(WireError, match="no rows and columns"):
        encrypted_columns(public, features)


# One gradient step.


def test_encrypted_steps_are_the_plaintext_steps() -> None:
    _, public, secret = keys(Ckks, depth=2, precision=20)
    features, targets = rows(4, length=300, columns=4)
    weights = expected = np.array([0.5, -0.25, 0.0, 1.0])
    columns, encrypted = encrypted_columns(public, features), public.encrypt(targets)
    for _ in range(2):
        products = residual_products(public, columns, encrypted, weights)
        weights = step(weights, opened_gradient(secret, products), 0.5)
        expected = expected - 0.5 * features.T @ (features @ expected - targets) / len(targets)
    assert np.abs(weights - expected).max() < 1e-5


def test_a_step_needs_two_levels_and_targets_for_each_row() -> None:
    _, public, _ = keys(Ckks, summands=64)
    columns = encrypted_columns(public, rows(4, columns=2)[0])
    targets = public.encrypt(np.ones(500))
    with pytest.raises(WireError, match="raise the option depth"):
        residual_products(public, columns, targets, np.ones(2))
    with pytest.raises(WireError, match="do not go together"):
        residual_products(public, columns, public.encrypt(np.ones(499)), np.ones(2))
    with pytest.raises(WireError, match="for 2 encrypted columns"):
        residual_products(public, columns, targets, np.ones(3))
