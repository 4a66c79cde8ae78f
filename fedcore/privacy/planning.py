"""Which mechanisms keep a run's epsilon: chosen before the run, by its spec alone.

A run under `local` with an epsilon trains with noise on its gradients and evaluates with noise on its counts. A row
is either a training row or held out, so each of the two may cost the whole epsilon.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from fedcore.privacy.accounting import gaussian_variance
from fedcore.privacy.linear import SENSITIVITY
from fedcore.privacy.mechanisms import MICRO, DiscreteGaussian, DiscreteLaplace, Mechanism, Rows


@dataclass(frozen=True)
class LocalPlan:
    """The noise of a run's training passes, and of its counts of scores."""

    training: DiscreteGaussian
    counts: DiscreteLaplace

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (self.training, self.counts)


@lru_cache(maxsize=64)
def local_plan(epsilon_micro: int, delta: float, passes: int, classes: int) -> LocalPlan:
    """The mechanisms of a run under `local`. Raises `ValueError` for a delta of 0."""
    variance = gaussian_variance(epsilon_micro, delta, SENSITIVITY, passes)
    return LocalPlan(
        training=DiscreteGaussian(variance, SENSITIVITY, passes, Rows.TRAINING),
        counts=count_noise(epsilon_micro, changed_cells(classes), Rows.HELD_OUT),
    )


def count_noise(epsilon_micro: int, cells: int, rows: Rows) -> DiscreteLaplace:
    """The noise with which counts, of which one row changes `cells`, cost exactly this epsilon."""
    return DiscreteLaplace(Fraction(cells * MICRO, epsilon_micro), cells, rows)


def changed_cells(classes: int) -> int:
    """How many counts of an evaluation one row changes, each by one.

    With two classes there is one histogram, from which the confusion matrix follows; with more, one histogram for
    each class and the confusion matrix beside them.
    """
    return 1 if classes == 2 else classes + 1
