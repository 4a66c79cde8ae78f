"""The owners' protected rows as one dataset: owners in the order of the spec, parts in their order."""

from __future__ import annotations

import numpy as np

from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs import storage
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.serialise import unpack_features
from fedcore.plugin_api.values import Features, Matrix, Sequence
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Prepared


class BadContribution(Exception):
    """What one owner host sent cannot be used."""

    def __init__(self, host: OwnerHost, code: RefusalCode, detail: str) -> None:
        super().__init__(f"{host.name}: {detail}")
        self.host = host
        self.code = code


def merged_rows(run: Run) -> LabelledRows:
    """The rows of all owners, checked whole. Raises `BadContribution` with the owner that sent bad bytes."""
    orders = {order.host_id: order for order in run.orders.filter(phase=Phase.PREPARE).select_related("host")}
    in_order = [orders[host] for host in run.datasets.values_list("host_id", flat=True)]
    parts: list[LabelledRows] = []
    for order in in_order:
        parts += _parts_of(order, len(run.classes), parts[0].features if parts else None)
    labels = np.concatenate([part.labels for part in parts])
    return LabelledRows(_concatenate([part.features for part in parts]), labels)


def _parts_of(order: RunOrder, classes: int, like: Features | None) -> list[LabelledRows]:
    result = order.reported.result
    assert isinstance(result, Prepared)
    parts = []
    for ref in sorted(order.reported.artefacts, key=lambda ref: ref.part):
        rows = _read(order, ref, classes)
        like = rows.features if like is None else like
        if _form(rows.features) != _form(like) or rows.features.columns != result.columns:
            raise BadContribution(order.host, RefusalCode.ARTEFACT_INVALID, "its features have another form")
        parts.append(rows)
    if sum(len(part.labels) for part in parts) != result.rows:
        raise BadContribution(
            order.host, RefusalCode.ARTEFACT_INVALID, "another number of rows than reported"
        )
    return parts


def _read(order: RunOrder, ref: ArtefactRef, classes: int) -> LabelledRows:
    artefact = Artefact.objects.filter(order=order, digest=ref.digest, complete=True, deleted_at=None).first()
    if artefact is None:
        raise BadContribution(order.host, RefusalCode.ARTEFACT_INVALID, f"artefact {ref.digest} is gone")
    try:
        return unpack_features(storage.file_of(artefact).read_bytes(), classes)
    except OSError as error:
        raise BadContribution(order.host, RefusalCode.STORAGE_FAILED, str(error)) from None
    except WireError as error:
        raise BadContribution(order.host, error.code, error.detail) from None


def _form(features: Features) -> tuple[type, int, int]:
    size = features.size if isinstance(features, Sequence) else 0
    return type(features), features.columns, size


def _concatenate(parts: list[Features]) -> Features:
    matrices = [part for part in parts if isinstance(part, Matrix)]
    if matrices:
        return Matrix.concatenate(matrices)
    return Sequence.concatenate([part for part in parts if isinstance(part, Sequence)])
