"""Steps and models from scikit-learn in a few lines: give the transformer or estimator, inherit the rest.

What is fitted travels as named arrays, the estimator's fitted attributes; estimators themselves are never
pickled. Classical models and their parameters are float64.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.backends import Operation
from fedcore.plugin_api.checks import check_finite, check_rows
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters, Progress, TrainingOutcome
from fedcore.plugin_api.plugins import InvalidOptions, SomeOptions
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.values import Features, Matrix, ValueKind
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Protocol, Training

if TYPE_CHECKING:
    import scipy.sparse


class SklearnStep(PreprocessingStep[SomeOptions]):
    """A step on matrices by a scikit-learn transformer that learns nothing, such as `Normalizer`."""

    takes = ValueKind.MATRIX
    gives = ValueKind.MATRIX

    @abstractmethod
    def transformer(self) -> Any:
        """The transformer, made from `self.options`."""

    def apply(self, value: Matrix) -> Matrix:
        return _transformed(self.transformer(), value)

    @classmethod
    def warm(cls) -> None:
        with suppress(InvalidOptions):
            cls().transformer()


class FittedSklearnStep(FittedStep[SomeOptions]):
    """A step on matrices by a scikit-learn transformer that is fitted from whole-number counts over all owners.

    `fitted` names the transformer's attributes that make up the state, such as `idf_`. A subclass gives
    `summarise` (the counts of a block) and `fit` (a transformer with those attributes, from the sums).
    """

    takes = ValueKind.MATRIX
    gives = ValueKind.MATRIX
    fitted: ClassVar[tuple[str, ...]]

    @abstractmethod
    def transformer(self) -> Any:
        """The transformer, made from `self.options`, before its attributes are set."""

    @abstractmethod
    def fit(self, sums: Sequence[Summary]) -> Any:
        """The transformer with its fitted attributes, from the sums of all rounds."""

    @classmethod
    def warm(cls) -> None:
        with suppress(InvalidOptions):
            cls().transformer()

    def finish(self, sums: Sequence[Summary]) -> State:
        return _exported(self.fit(sums), self.fitted)

    def apply_fitted(self, value: Matrix, state: State) -> Matrix:
        transformer = _restored(self.transformer(), self.fitted, state)
        return _transformed(transformer, value)


class SklearnModel(ModelType[SomeOptions]):
    """A model type by a scikit-learn classifier.

    `fitted` names the classifier's attributes that make up its parameters, such as `coef_` and `intercept_`. It
    fits from scratch: its initial parameters are empty. Of the training's words, seed and class weights
    apply; optimiser, scheduler, loss, batch size, epochs and early stopping are the estimator's own.
    """

    takes: ClassVar[frozenset[ValueKind]] = frozenset({ValueKind.MATRIX})
    operations: ClassVar[Mapping[Protocol, frozenset[Operation]]] = {
        Protocol.LOCAL: frozenset(),
        Protocol.REFERENCE: frozenset(),
        Protocol.POOLED: frozenset({Operation.EQUALITY}),
    }
    fitted: ClassVar[tuple[str, ...]]

    @abstractmethod
    def estimator(self) -> Any:
        """The classifier, made from `self.options`."""

    @classmethod
    def warm(cls) -> None:
        with suppress(InvalidOptions):
            cls().estimator()

    def initial(self, features: Features, classes: int, training: Training) -> Parameters:
        return {}

    def train(
        self,
        parameters: Parameters,
        rows: LabelledRows,
        classes: int,
        training: Training,
        progress: Progress | None = None,
    ) -> TrainingOutcome:
        from sklearn.metrics import log_loss

        check_rows(rows, classes)
        if len(np.unique(rows.labels)) != classes:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "a class does not occur in the training rows")
        estimator = self._configured(training, classes)
        inputs = _sparse(rows.features)
        estimator.fit(inputs, rows.labels)
        learnt = _exported(estimator, self.fitted)
        scores = self.scores(learnt, rows.features)
        check_finite({"scores": scores})
        loss = float(log_loss(rows.labels, _softmax(scores), labels=range(classes)))
        accuracy = float((scores.argmax(axis=1) == rows.labels).mean())
        if progress is not None:
            progress(1, 1, loss)
        epochs = int(np.max(getattr(estimator, "n_iter_", 1)))
        return TrainingOutcome(learnt, [loss], [accuracy], epochs)

    def scores(self, parameters: Parameters, features: Features) -> NDArray[np.float64]:
        inputs = _sparse(features)
        check_finite({"features": inputs.data, **parameters})
        estimator = _restored(self.estimator(), self.fitted, parameters)
        estimator.classes_ = np.arange(self.classes_of(parameters))
        estimator.n_features_in_ = inputs.shape[1]
        if not inputs.shape[0]:
            return np.empty((0, len(estimator.classes_)))
        if not hasattr(estimator, "decision_function"):
            return np.asarray(estimator.predict_log_proba(inputs), np.float64)
        decided = np.asarray(estimator.decision_function(inputs), np.float64)
        return np.stack([np.zeros_like(decided), decided], axis=1) if decided.ndim == 1 else decided

    def classes_of(self, parameters: Parameters) -> int:
        """The number of classes that parameters are for: the rows of the first one, of which one means two."""
        return max(2, len(parameters[self.fitted[0]]))

    def _configured(self, training: Training, classes: int) -> Any:
        estimator = self.estimator()
        known = estimator.get_params()
        weights: Any = training.class_weights
        if isinstance(weights, tuple):
            if len(weights) != classes:
                problem = f"{len(weights)} weights for {classes} classes: give one for each"
                raise InvalidOptions("training", {"class_weights": problem})
            weights = dict(enumerate(weights))
        if weights is not None and "class_weight" not in known:
            raise InvalidOptions("training", {"class_weights": f"model {self.name} takes none"})
        words = {"random_state": training.seed, "class_weight": weights}
        estimator.set_params(**{word: value for word, value in words.items() if word in known})
        return estimator


def matrix_of(found: Any) -> Matrix:
    """A sparse or dense scipy or numpy matrix as `Matrix`."""
    from scipy.sparse import csr_matrix

    rows = csr_matrix(found)
    rows.sum_duplicates()
    return Matrix(
        rows.indptr.astype(np.int64),
        rows.indices.astype(np.int32),
        rows.data.astype(np.float32),
        int(rows.shape[1]),
    )


def _transformed(transformer: Any, value: Matrix) -> Matrix:
    from scipy.sparse import csr_matrix

    if len(value):
        return matrix_of(transformer.transform(value.to_scipy().copy()))
    # scikit-learn refuses to transform nothing: a row of zeros tells how wide the result is.
    width = matrix_of(transformer.transform(csr_matrix((1, value.columns), dtype=np.float32))).columns
    return Matrix(value.indptr, value.indices, value.data, width)


def _sparse(features: Features) -> scipy.sparse.csr_matrix:
    if not isinstance(features, Matrix):
        raise WireError(RefusalCode.ARTEFACT_INVALID, "a classical model takes a matrix, not a sequence")
    return features.to_scipy().astype(np.float64)


def _exported(fitted: Any, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    return {name: np.array(getattr(fitted, name), np.float64) for name in names}


def _restored(empty: Any, names: tuple[str, ...], arrays: Mapping[str, NDArray[Any]]) -> Any:
    if set(arrays) != set(names):
        raise WireError(
            RefusalCode.ARTEFACT_INVALID,
            f"{type(empty).__name__} needs {sorted(names)}, got {sorted(arrays)[:8]}",
        )
    for name in names:
        setattr(empty, name, np.array(arrays[name]))
    return empty


def _softmax(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return shares
