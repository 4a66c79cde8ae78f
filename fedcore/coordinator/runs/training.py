"""Pooled training at the coordinator: one model on the merged, protected rows of all owners.

Who can see what: this process sees the owners' features as the backend protects them, and labels. Under
`keyed_tokens` that is equality, frequency and co-occurrence of tokens, not the tokens. Every value is checked
before it reaches the model. The result is a function of the rows and the run spec alone, so that a training that
lost its worker is simply done again.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any, Final
from uuid import uuid4

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.plugins import installed
from fedcore.coordinator.runs import ending, storage
from fedcore.coordinator.runs.bell import ring
from fedcore.coordinator.runs.joining import joined_model
from fedcore.coordinator.runs.lease import Lease, Superseded, claim, kept_alive
from fedcore.coordinator.runs.merging import BadContribution, merged_rows
from fedcore.coordinator.runs.models import Run
from fedcore.coordinator.runs.orders import DATASET, MODEL, stages_of
from fedcore.coordinator.runs.rights import rights_of
from fedcore.plugin_api.models import LabelledRows, ModelType, TrainingDiverged, TrainingOutcome
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.serialise import StoredModel, pack_features, pack_model
from fedcore.plugin_api.values import KIND_OF, Features, Sequence
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.spec import Protocol

logger = logging.getLogger(__name__)

CURVE_POINTS: Final = 2000
TELL_SECONDS: Final = 1.0


def train(run_id: str) -> None:
    """Train the model of a run that waits for it. Runs that do not, or that another worker has, are left alone."""
    lease = claim(run_id)
    if lease is None:
        return
    try:
        with kept_alive(lease):
            _train(lease)
    except Superseded:
        logger.info("Run %s: the training was given up, it is no longer this worker's.", run_id[:8])
    except BadContribution as error:
        _stop(lease, error, error.code, error.host)
    except TrainingDiverged as error:
        _stop(lease, error, RefusalCode.NOT_FINITE, detail=str(error))
    except InvalidOptions as error:
        _stop(lease, error, RefusalCode.INVALID_OPTIONS, detail=str(error))
    except WireError as error:
        _stop(lease, error, error.code)
    except MemoryError as error:
        _stop(lease, error, RefusalCode.RESOURCE_LIMIT)
    except Exception:
        lease.release()
        raise  # Celery logs it; the sweep tries again, and gives the run up after some attempts.


def _train(lease: Lease) -> None:
    run = Run.objects.get(pk=lease.run_id)
    started = time.perf_counter()
    model: ModelType[Any] = installed().of_type(ModelType, run.model_type)(run.spec.model.options)  # type: ignore[type-abstract]
    _limit_threads()
    if run.protocol_kind is Protocol.SHARED:
        stored, facts = joined_model(run, model)
        _keep(
            lease, {MODEL: pack_model(stored)}, facts | {"seconds": round(time.perf_counter() - started, 6)}
        )
        return
    rows = merged_rows(run)
    classes, training = len(run.classes), run.spec.training
    parameters = model.initial(rows.features, classes, training)
    outcome = model.train(parameters, rows, classes, training, _Progress(lease, run))
    stored = StoredModel(
        model=run.spec.model,
        classes=classes,
        kind=KIND_OF[type(rows.features)],
        columns=rows.features.columns,
        size=_size(rows.features),
        parameters=outcome.parameters,
    )
    products = {MODEL: pack_model(stored)}
    if rights_of(run, timezone.now()).download_dataset:
        products[DATASET] = pack_features(rows.features, rows.labels)
    _keep(lease, products, _curve(outcome, rows, time.perf_counter() - started))


class _Progress:
    """Tells how far the training is, at most once a second."""

    def __init__(self, lease: Lease, run: Run) -> None:
        stages = stages_of(run)
        before = next(number for number, stage in enumerate(stages) if stage.phase is Phase.TRAIN)
        self._lease, self._before, self._stages = lease, before, len(stages)
        self._told = time.monotonic()

    def __call__(self, done: int, steps: int, loss: float) -> None:
        now = time.monotonic()
        if now - self._told < TELL_SECONDS:
            return
        self._told = now
        progress = round((self._before + done / max(steps, 1)) / self._stages, 4)
        self._lease.tell(f"Training: step {done} of {steps}, loss {loss:.4g}.", progress)


def _limit_threads() -> None:
    import torch

    torch.set_num_threads(settings.FEDCORE_TORCH_THREADS)


def _size(features: Features) -> int:
    return features.size if isinstance(features, Sequence) else 0


def _curve(outcome: TrainingOutcome, rows: LabelledRows, seconds: float) -> dict[str, Any]:
    every = max(1, math.ceil(len(outcome.loss) / CURVE_POINTS))
    return {
        "rows": len(rows.labels),
        "epochs": outcome.epochs,
        "steps": len(outcome.loss),
        "every": every,
        "loss": outcome.loss[::every],
        "accuracy": outcome.accuracy[::every],
        "seconds": round(seconds, 6),
    }


def _keep(lease: Lease, products: dict[str, bytes], curve: dict[str, Any]) -> None:
    """Store the model durably, then let the run go on, in one transaction."""
    run = Run.objects.get(pk=lease.run_id)
    artefacts = [storage.put(run, role, data, uuid4()) for role, data in products.items()]
    try:
        with transaction.atomic():
            run = lease.locked_run()
            for artefact in artefacts:
                artefact.save(force_insert=True)
            run.training, run.lease = curve, ""
            run.save(update_fields=["training", "lease"])
            transaction.on_commit(lambda: ring(lease.run_id))
    except Superseded:
        storage.unlink(artefacts)
        raise


@audit.atomic()
def _stop(
    lease: Lease, error: Exception, code: RefusalCode, host: OwnerHost | None = None, detail: str = ""
) -> None:
    logger.warning("Run %s: the training failed: %s", lease.run_id[:8], error)
    try:
        run = lease.locked_run()
    except Superseded:
        return  # It was cancelled meanwhile, or another worker decides.
    ending.stop(run, code, timezone.now(), host=host, detail=detail)
