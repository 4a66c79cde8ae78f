"""Warming a worker before it forks: what the first task would import, compile or load is there already."""

from __future__ import annotations

import logging
import time

import numpy as np

from fedcore.owner.confined.proxies import ConfinedPlugin
from fedcore.owner.home import Home
from fedcore.owner.installed import allowed_registry
from fedcore.plugin_api.models import LabelledRows, ModelType
from fedcore.plugin_api.registry import GROUPS, PluginError, Registry
from fedcore.plugin_api.values import Matrix, ValueKind
from fedcore.wire.spec import Training

logger = logging.getLogger(__name__)


def warm(home: Home) -> None:
    """Load the policy's plugins, torch with one thread, compiled code, and train one step of each model type.

    What cannot be warmed is logged and fails, if it does, in the task that needs it.
    """
    started = time.perf_counter()
    policy = home.load_config()
    try:
        registry = allowed_registry(policy, home.path)
    except PluginError:
        logger.exception("The plugins that the policy names cannot be loaded")
        return
    warm_plugins(registry)
    logger.info("Warmed in %.1f s.", time.perf_counter() - started)


def warm_plugins(registry: Registry) -> None:
    """Warm every plugin of a registry, and torch, in this process."""
    import torch

    import fedcore.sharing.kernels  # noqa: F401  Compiled here, or taken from the disk.

    torch.set_num_threads(1)
    for group in GROUPS:
        for name in registry.names(group):
            _warm_plugin(registry, group, name)


def _warm_plugin(registry: Registry, group: str, name: str) -> None:
    plugin = registry.get(group, name)
    try:
        if issubclass(plugin, ConfinedPlugin):
            return
        plugin.warm()
        if issubclass(plugin, ModelType) and ValueKind.MATRIX in plugin.takes:
            _train_one_step(plugin())
    except Exception:
        logger.exception("Plugin %s/%s could not be warmed", group, name)


def _train_one_step(model: ModelType) -> None:  # type: ignore[type-arg]
    features = Matrix(np.arange(3, dtype=np.int64), np.arange(2, dtype=np.int32), np.ones(2, np.float32), 2)
    rows = LabelledRows(features, np.arange(2, dtype=np.int64))
    training = Training(batch_size=2, epochs=1)
    outcome = model.train(model.initial(features, 2, training), rows, 2, training)
    model.scores(outcome.parameters, features)
