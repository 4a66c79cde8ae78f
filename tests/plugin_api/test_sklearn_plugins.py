"""Transformers and classifiers of scikit-learn become steps and models in a few lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import InvalidOptions, LabelledRows, Matrix, ModelType, Options, Summary, ValueKind
from fedcore.plugin_api.rows import rows_of
from fedcore.plugin_api.sklearn_plugins import FittedSklearnStep, SklearnModel, SklearnStep
from fedcore.plugin_api.testing import ModelTypeContract, StepContract, separable_rows
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Training

MATRIX = Matrix(
    np.array([0, 2, 2, 5, 6], np.int64),
    np.array([0, 1, 0, 2, 3, 1], np.int32),
    np.array([3, 4, 1, 2, 2, 5], np.float32),
    4,
)


class UnitLength(SklearnStep[Options]):
    name = "unit_length"
    version = "1"
    summary = "Rows of length 1."

    def transformer(self) -> Any:
        from sklearn.preprocessing import Normalizer

        return Normalizer()


class InverseFrequency(FittedSklearnStep[Options]):
    """Weights by how rare a column is over all owners: `n` rows are counted under the key 2^32."""

    name = "inverse_frequency"
    version = "1"
    summary = "Columns weighted by inverse document frequency."
    fitted = ("idf_",)
    columns = 4

    def transformer(self) -> Any:
        from sklearn.feature_extraction.text import TfidfTransformer

        return TfidfTransformer(norm=None)

    def summarise(self, value: Matrix, so_far: Sequence[Summary]) -> Summary:
        occurring, counts = np.unique(value.indices, return_counts=True)
        keys = np.append(occurring.astype(np.uint64), np.uint64(2**32))
        return Summary(keys, np.append(counts, len(value)).astype(np.int64))

    def fit(self, sums: Sequence[Summary]) -> Any:
        counts = dict(zip(sums[0].keys.tolist(), sums[0].counts.tolist(), strict=True))
        frequencies = np.array([counts.get(column, 0) for column in range(self.columns)])
        transformer = self.transformer()
        transformer.idf_ = np.log((1 + counts[2**32]) / (1 + frequencies)) + 1
        return transformer


class Bayes(SklearnModel[Options]):
    name = "bayes"
    version = "1"
    summary = "Bernoulli naive Bayes."
    fitted = ("feature_log_prob_", "class_log_prior_")

    def estimator(self) -> Any:
        from sklearn.naive_bayes import BernoulliNB

        return BernoulliNB()


class Margins(SklearnModel[Options]):
    name = "margins"
    version = "1"
    summary = "A linear support vector machine by stochastic gradient descent."
    fitted = ("coef_", "intercept_")

    def estimator(self) -> Any:
        from sklearn.linear_model import SGDClassifier

        return SGDClassifier()


class TestUnitLength(StepContract):
    @pytest.fixture
    def step(self) -> Any:
        return UnitLength()

    @pytest.fixture
    def value(self) -> Matrix:
        return MATRIX


class TestInverseFrequency(StepContract):
    @pytest.fixture
    def step(self) -> Any:
        return InverseFrequency()

    @pytest.fixture
    def value(self) -> Matrix:
        return MATRIX


class TestModels(ModelTypeContract):
    @pytest.fixture(params=[Bayes(), Margins()], ids=["bayes", "margins"])
    def model(self, request: pytest.FixtureRequest) -> ModelType[Any]:
        model: ModelType[Any] = request.param
        return model


def test_a_fitted_transformer_gives_what_scikit_learn_fits_itself() -> None:
    from sklearn.feature_extraction.text import TfidfTransformer

    step = InverseFrequency()
    found = step.apply_fitted(MATRIX, step.finish([step.summarise(MATRIX, [])]))
    expected = TfidfTransformer(norm=None).fit_transform(MATRIX.to_scipy())
    np.testing.assert_allclose(found.to_scipy().toarray(), expected.toarray(), rtol=1e-6)


def test_rows_become_of_length_one() -> None:
    assert rows_of(UnitLength().apply(MATRIX))[0] == pytest.approx({0: 0.6, 1: 0.8})


def test_scores_are_those_of_the_estimator() -> None:
    from sklearn.linear_model import SGDClassifier

    rows = separable_rows(ValueKind.MATRIX)
    model = Margins()
    training = Training(seed=9, class_weights="balanced")
    parameters = model.train({}, rows, 2, training).parameters
    inputs = rows.features.to_scipy().astype(np.float64)  # type: ignore[union-attr]
    peer = SGDClassifier(random_state=9, class_weight="balanced").fit(inputs, rows.labels)
    scores = model.scores(parameters, rows.features)
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], peer.decision_function(inputs))


def test_three_classes_have_three_scores() -> None:
    rows = separable_rows(ValueKind.MATRIX)
    labels = np.arange(400) % 3
    model = Margins()
    parameters = model.train({}, LabelledRows(rows.features, labels), 3, Training()).parameters
    assert model.scores(parameters, rows.features).shape == (400, 3)


def test_class_weights_are_checked_against_the_estimator_and_the_classes() -> None:
    rows = separable_rows(ValueKind.MATRIX)
    with pytest.raises(InvalidOptions, match="takes none"):
        Bayes().train({}, rows, 2, Training(class_weights="balanced"))
    with pytest.raises(InvalidOptions, match="3 weights for 2 classes"):
        Margins().train({}, rows, 2, Training(class_weights=(1.0, 2.0, 3.0)))


def test_a_class_that_does_not_occur_and_a_sequence_are_refused() -> None:
    rows = separable_rows(ValueKind.MATRIX)
    with pytest.raises(WireError, match="does not occur"):
        Margins().train({}, rows, 3, Training())
    with pytest.raises(WireError, match="takes a matrix"):
        Margins().train({}, separable_rows(ValueKind.SEQUENCE), 2, Training())
