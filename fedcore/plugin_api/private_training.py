"""Training and scoring under an epsilon: which runs can, and how a model type's parameters come of it.

The mechanism is fedcore's own (`fedcore.privacy.linear`); a model type only says which of its parameters are the
weight and the bias of a linear model. A run's words for training keep their meaning where noise leaves them one:
`epochs` are passes over all rows, each one step of Adam.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters
from fedcore.plugin_api.values import Features, Matrix, ValueKind
from fedcore.privacy.linear import PrivateTraining, from_parameters, margins, to_parameters, train
from fedcore.privacy.mechanisms import DiscreteGaussian
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Protocol, RunSpec, Training

MOST_PASSES: Final = 1000
"""Noise is drawn for every weight in every pass."""


def hindrances(spec: RunSpec, model: ModelType[Any], gives: ValueKind, fitted: bool) -> list[str]:
    """Why nothing bounds what this run tells of a row; empty where its epsilon can be kept.

    `gives` is what the pipeline ends in, `fitted` whether one of its steps learns from rows.
    """
    return [*_of_the_run(spec, fitted), *_of_the_model(model, gives), *_of_the_training(spec.training)]


def _of_the_run(spec: RunSpec, fitted: bool) -> Iterator[str]:
    if spec.protocol is not Protocol.LOCAL:
        yield f"protocol {spec.protocol} bounds no epsilon: of those here only `local` does"
    if spec.privacy.delta <= 0:
        yield "training needs a delta above 0, such as 1e-6"
    if spec.first_rows is not None:
        yield "a selection of first rows lets another row in for each that is left out: use all rows"
    if fitted:
        yield "a fitted step of the pipeline shows its rows without noise: use hash_columns, say"


def _of_the_model(model: ModelType[Any], gives: ValueKind) -> Iterator[str]:
    if model.linear_parameters is None or gives is not ValueKind.MATRIX:
        yield f"model {model.name} on a {gives} is not linear: use model linear on a matrix"


def _of_the_training(training: Training) -> Iterator[str]:
    if training.optimiser.name != "adam" or set(training.optimiser.options) - {"lr"}:
        yield "noisy steps are taken by adam with a learning rate (lr) alone"
    if training.epochs > MOST_PASSES:
        yield f"noise is drawn for {MOST_PASSES} epochs at most"
    others: Mapping[str, bool] = {
        "a scheduler": training.scheduler is not None,
        "early stopping": training.early_stopping is not None,
        "balanced class weights (give numbers)": training.class_weights == "balanced",
        f"the loss {training.loss} (cross_entropy does)": training.loss != "cross_entropy",
    }
    yield from (f"{word} has no meaning under an epsilon" for word, given in others.items() if given)


def fit_privately(
    model: ModelType[Any], rows: LabelledRows, classes: int, training: Training, noise: DiscreteGaussian
) -> Parameters:
    """The model's parameters, trained on these rows under this noise; exact in float32."""
    rate = training.optimiser.options.get("lr", 1e-3)
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 1e3:
        raise WireError(RefusalCode.INVALID_OPTIONS, f"the learning rate {rate!r} is no number above 0")
    weights = training.class_weights
    if isinstance(weights, tuple) and len(weights) != classes:
        # Asked before any row is looked at: a row of a class without a weight must not show by a failure.
        raise WireError(RefusalCode.INVALID_OPTIONS, f"{len(weights)} class weights for {classes} classes")
    allowed = PrivateTraining(noise, float(rate), weights if isinstance(weights, tuple) else None)
    trained = train(_matrix(rows.features), rows.labels, classes, allowed)
    return dict(zip(_names(model), to_parameters(trained), strict=True))


def private_scores(model: ModelType[Any], parameters: Parameters, features: Features) -> NDArray[np.float64]:
    """Scores of shape (rows, classes), each from its own row alone, to the last bit."""
    weight, bias = (parameters[name] for name in _names(model))
    return margins(_matrix(features), from_parameters(weight, bias))


def _names(model: ModelType[Any]) -> tuple[str, str]:
    names = model.linear_parameters
    if names is None:
        raise WireError(RefusalCode.EPSILON_NOT_ALLOWED, f"model {model.name} is not linear")
    return names


def _matrix(features: Features) -> Any:
    if not isinstance(features, Matrix):
        raise WireError(RefusalCode.EPSILON_NOT_ALLOWED, "the features are no matrix")
    return features.to_scipy().tocsr()
