"""Aggregators: how the updates of several owners become one."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.plugins import Plugin, SomeOptions


class Aggregator(Plugin[SomeOptions]):
    """Combines one update of every owner into the update of the round."""

    @abstractmethod
    def aggregate(self, updates: Sequence[NDArray[np.float64]], weights: Sequence[float]) -> NDArray[Any]:
        """One array of the updates' common shape. `weights` are the owners' shares, positive and finite."""
