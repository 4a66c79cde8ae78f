"""Example plugins: what the entry point of this package names, and what fedcore finds here."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import EncryptionBackend, ModelType, PreprocessingStep, hookimpl
from fedcore_example_plugins.blake2_tokens import Blake2Tokens
from fedcore_example_plugins.length_bucket import LengthBucket
from fedcore_example_plugins.logistic_regression import LogisticRegressionModel


@hookimpl
def fedcore_preprocessing_steps() -> list[type[PreprocessingStep[Any]]]:
    return [LengthBucket]


@hookimpl
def fedcore_encryption_backends() -> list[type[EncryptionBackend[Any]]]:
    return [Blake2Tokens]


@hookimpl
def fedcore_model_types() -> list[type[ModelType[Any]]]:
    return [LogisticRegressionModel]
