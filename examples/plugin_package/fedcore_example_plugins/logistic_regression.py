"""A model type: scikit-learn's logistic regression."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from fedcore.plugin_api import Options
from fedcore.plugin_api.sklearn_plugins import SklearnModel


class LogisticRegressionOptions(Options):
    """Options of `logistic_regression`."""

    c: Annotated[float, Field(gt=0, le=1e9, description="The inverse of the strength of regularisation")] = (
        10.0
    )
    iterations: Annotated[int, Field(ge=1, le=100_000, description="The most iterations of the solver")] = (
        1000
    )


class LogisticRegressionModel(SklearnModel[LogisticRegressionOptions]):
    """Fitted to convergence by L-BFGS, with L2 regularisation."""

    name = "logistic_regression"
    version = "1"
    summary = "Logistic regression by scikit-learn."
    Options = LogisticRegressionOptions
    fitted = ("coef_", "intercept_")

    def estimator(self) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(C=self.options.c, max_iter=self.options.iterations, tol=1e-6)
