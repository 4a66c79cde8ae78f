"""Model types: what is trained."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import ModelType, hookimpl
from plugins.models.linear import Linear
from plugins.models.mlp import MultilayerPerceptron


@hookimpl
def fedcore_model_types() -> list[type[ModelType[Any]]]:
    return [Linear, MultilayerPerceptron]
