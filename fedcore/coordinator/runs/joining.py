"""The model of a run on shares: both compute owners' shares of its weights, added up.

Who can see what: each share alone is uniformly random. Their sum is the model, which is what the run is for: the
coordinator keeps it, gives it to the scientist, and sends it to the owners for their held-out rows.
"""

from __future__ import annotations

from typing import Any

from fedcore.coordinator.plugins import installed
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.merging import BadContribution
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder
from fedcore.plugin_api.backends import ShareBackend
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.ring import RingVector
from fedcore.plugin_api.serialise import StoredModel
from fedcore.plugin_api.values import ValueKind
from fedcore.sharing.joining import (
    CLASSES,
    final_parameters,
    initial_parameters,
    linear_names,
    unpack_weights,
)
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Prepared, Trained


def joined_model(run: Run, model: ModelType[Any]) -> tuple[StoredModel, dict[str, Any]]:
    """The model, and the facts of its training. Raises `BadContribution`, and `WireError` for a sum out of range."""
    orders = {
        order.host.signing_key: order for order in run.orders.filter(phase=Phase.TRAIN).select_related("host")
    }
    first, second = (orders[host] for host in run.spec.compute_owners)
    backend: ShareBackend[Any] = installed().of_type(ShareBackend, run.backend)(run.spec.backend.options)  # type: ignore[type-abstract]
    columns = _columns(run)
    initial = initial_parameters(model, columns, run.spec.training)
    parameters = final_parameters(
        (_share(first, columns), _share(second, columns)),
        initial,
        linear_names(model),
        Scales.of(backend),
    )
    stored = StoredModel(run.spec.model, CLASSES, ValueKind.MATRIX, columns, 0, parameters)
    return stored, _facts(run, first)


def _columns(run: Run) -> int:
    prepared = run.orders.filter(phase=Phase.PREPARE)[0]
    result = prepared.reported.result
    assert isinstance(result, Prepared)
    return result.columns


def _share(order: RunOrder, columns: int) -> RingVector:
    artefact = Artefact.objects.filter(order=order, complete=True, deleted_at=None).first()
    if artefact is None:
        raise BadContribution(order.host, RefusalCode.ARTEFACT_INVALID, "its share of the weights is gone")
    try:
        return unpack_weights(storage.file_of(artefact).read_bytes(), columns)
    except OSError as error:
        raise BadContribution(order.host, RefusalCode.STORAGE_FAILED, str(error)) from None
    except WireError as error:
        raise BadContribution(order.host, error.code, error.detail) from None


def _facts(run: Run, order: RunOrder) -> dict[str, Any]:
    """What is known of a training that nobody watched: no loss, no accuracy."""
    result = order.reported.result
    assert isinstance(result, Trained)
    epochs = run.spec.training.epochs
    return {"rows": result.rows, "epochs": epochs, "steps": 0, "every": 1, "loss": [], "accuracy": []}
