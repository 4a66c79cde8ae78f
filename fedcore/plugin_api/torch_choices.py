"""Optimisers, schedulers and losses of torch by name, as a run spec writes them.

A name is that of torch's class, in any case and with or without underscores: `adam`, `sgd`,
`cosine_annealing_lr`. Every mistake is one entry of `InvalidOptions`, with what exists beside it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.wire.spec import PluginChoice, Training

if TYPE_CHECKING:
    import torch

    Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """Mean loss of a batch from logits (rows, classes) and class numbers (rows,)."""

_NEEDS_SPARSE_GRADIENTS: Final = {"SparseAdam"}
_NEEDS_FUNCTIONS_OR_OBJECTS: Final = {"LambdaLR", "MultiplicativeLR", "ChainedScheduler", "SequentialLR"}
_STEPS_PER_BATCH: Final = {"OneCycleLR", "CyclicLR"}
ITERATIONS: Final = ("max_iter", "max_eval")
"""Options of optimisers that iterate within one step."""
MAXIMUM_ITERATIONS: Final = 1000
LOSSES: Final = ("cross_entropy", "hinge", "multi_margin", "squared_error")


def optimisers() -> dict[str, type[torch.optim.Optimizer]]:
    """The optimisers that can be chosen, by lower-case name."""
    import torch

    return _classes(torch.optim, torch.optim.Optimizer, _NEEDS_SPARSE_GRADIENTS)


def schedulers() -> dict[str, type[torch.optim.lr_scheduler.LRScheduler]]:
    """The learning-rate schedulers that can be chosen, by lower-case name."""
    import torch

    base = torch.optim.lr_scheduler.LRScheduler
    return _classes(torch.optim.lr_scheduler, base, _NEEDS_FUNCTIONS_OR_OBJECTS)


def make_optimiser(network: torch.nn.Module, choice: PluginChoice) -> torch.optim.Optimizer:
    """The optimiser over a network's parameters. Raises `InvalidOptions`."""
    import torch

    found = _find("optimiser", optimisers(), choice)
    dtype = next(network.parameters()).dtype
    rehearsed = torch.nn.Parameter(torch.ones(2, 2, dtype=dtype))
    rehearsed.grad = torch.zeros(2, 2, dtype=dtype)
    with _as_invalid_options("optimiser", found):
        # Some options are only looked at in a step: one that changes nothing shows them before training.
        found([rehearsed], **choice.options).step(lambda: torch.zeros((), dtype=dtype))
        optimiser: torch.optim.Optimizer = found(network.parameters(), **choice.options)
    return optimiser


class Schedule:
    """A learning-rate scheduler that is stepped where torch says: after each epoch, or after each batch."""

    def __init__(self, optimiser: torch.optim.Optimizer, choice: PluginChoice | None, steps: int) -> None:
        """`steps` is the number of batches of the whole training. Raises `InvalidOptions`."""
        self._scheduler: Any = None
        self._per_batch = False
        self._takes_loss = False
        if choice is None:
            return
        found = _find("scheduler", schedulers(), choice)
        options = dict(choice.options)
        if found.__name__ == "OneCycleLR" and not {"epochs", "total_steps"} & set(options):
            options["total_steps"] = steps
        self._per_batch = found.__name__ in _STEPS_PER_BATCH
        self._takes_loss = found.__name__ == "ReduceLROnPlateau"
        self._found = found
        with _as_invalid_options("scheduler", found):
            self._scheduler = found(optimiser, **options)

    def after_batch(self) -> None:
        if self._per_batch:
            self._step()

    def after_epoch(self, loss: float) -> None:
        """`loss` is the epoch's, for the scheduler that looks at it."""
        if self._scheduler is None or self._per_batch:
            return
        self._step(*([loss] if self._takes_loss else []))

    def _step(self, *metrics: float) -> None:
        with _as_invalid_options("scheduler", self._found):
            self._scheduler.step(*metrics)


def make_loss(training: Training, labels: NDArray[np.int64], classes: int, dtype: torch.dtype) -> Loss:
    """The loss with its class weights. Raises `InvalidOptions`.

    `squared_error` is the squared distance of the outputs to the one-hot class, summed over the classes;
    `hinge` (also `multi_margin`) is torch's multi-class margin loss. All are means over the rows.
    """
    from torch import nn

    weight = _class_weights(training, labels, classes, dtype)
    if training.loss == "cross_entropy":
        return nn.CrossEntropyLoss(weight)
    if training.loss in ("hinge", "multi_margin"):
        return nn.MultiMarginLoss(weight=weight)
    if training.loss != "squared_error":
        raise InvalidOptions("training", {"loss": f"{training.loss!r} is none of {', '.join(LOSSES)}"})

    def squared_error(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        errors = (outputs - nn.functional.one_hot(targets, classes)).square().sum(dim=1)
        return errors.mean() if weight is None else (errors * weight[targets]).mean()

    return squared_error


def _class_weights(
    training: Training, labels: NDArray[np.int64], classes: int, dtype: torch.dtype
) -> torch.Tensor | None:
    import torch

    weights = training.class_weights
    if weights is None:
        return None
    if weights == "balanced":
        counts = np.maximum(np.bincount(labels, minlength=classes), 1)
        return torch.tensor(len(labels) / (classes * counts), dtype=dtype)
    if len(weights) != classes:
        raise InvalidOptions(
            "training", {"class_weights": f"{len(weights)} weights for {classes} classes: give one for each"}
        )
    return torch.tensor(weights, dtype=dtype)


def _classes(module: Any, base: type, without: set[str]) -> dict[str, Any]:
    found = inspect.getmembers(module, inspect.isclass)
    return {
        name.lower(): member
        for name, member in found
        if issubclass(member, base) and member is not base and name not in without and name[0] != "_"
    }


def _find(what: str, known: Mapping[str, Any], choice: PluginChoice) -> Any:
    wanted = choice.name.replace("_", "").replace("-", "").lower()
    found = known.get(wanted) or known.get(f"{wanted}lr")
    if found is None:
        raise InvalidOptions("training", {what: f"{choice.name!r} is none of {', '.join(sorted(known))}"})
    options = list(inspect.signature(found).parameters)[1:]
    unknown = sorted(set(choice.options) - set(options))
    if unknown:
        problem = f"is no option of {found.__name__} (there are: {', '.join(options)})"
        raise InvalidOptions("training", {f"{what}.{name}": problem for name in unknown})
    _check_iterations(what, choice)
    return found


def _check_iterations(what: str, choice: PluginChoice) -> None:
    # Within a step nothing notices that a run was cancelled, or that its time is over.
    given = {name: choice.options[name] for name in ITERATIONS if choice.options.get(name) is not None}
    problem = f"is a whole number from 1 to {MAXIMUM_ITERATIONS}"
    wrong = [name for name, value in given.items() if not _is_iterations(value)]
    if wrong:
        raise InvalidOptions("training", {f"{what}.{name}": problem for name in wrong})


def _is_iterations(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAXIMUM_ITERATIONS


@contextmanager
def _as_invalid_options(what: str, found: type) -> Iterator[None]:
    """What torch itself does not accept in its options is the scientist's to correct."""
    try:
        yield
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidOptions("training", {what: f"{found.__name__}: {error}"}) from None
