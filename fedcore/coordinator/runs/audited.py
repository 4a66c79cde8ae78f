"""What the audit says of runs, orders and artefacts: whom they concern, and that a run was deleted."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import pre_delete

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, Subject, Thing, mark, subject_of
from fedcore.coordinator.runs.models import Artefact, Run, RunOrder


@subject_of.register
def subject_of_run(run: Run) -> Subject:
    """A run concerns its scientist, and the datasets, grants, hosts and organisations of its owners."""
    concerns = {mark(Thing.PERSON, run.scientist_id)}
    for entry in run.datasets.select_related("request__dataset__host"):
        concerns |= subject_of(entry.request).concerns
    return Subject(Thing.RUN, run.pk, frozenset(concerns))


def stopped_run(run: Run) -> Subject:
    """A run that was stopped, with a code: where one host was the reason, not of the other owners' concern."""
    if run.culprit is None:
        return subject_of(run)
    concerns = subject_of(run.culprit).concerns | {mark(Thing.PERSON, run.scientist_id)}
    own = run.datasets.filter(host=run.culprit).select_related("request__dataset__host").first()
    return Subject(Thing.RUN, run.pk, concerns | (subject_of(own.request).concerns if own else frozenset()))


@subject_of.register
def _order(order: RunOrder) -> Subject:
    """An order concerns its run and its host; not the other owners of the run."""
    host = subject_of(order.host).concerns
    own = order.run.datasets.filter(host=order.host_id).select_related("request__dataset__host").first()
    dataset = subject_of(own.request).concerns if own else frozenset()
    return Subject(Thing.ORDER, order.pk, host | dataset | {mark(Thing.RUN, order.run_id)})


@subject_of.register
def _artefact(artefact: Artefact) -> Subject:
    """An artefact concerns whom its order concerns, or its run where the coordinator has made it."""
    source: RunOrder | Run = artefact.order or artefact.run
    return Subject(Thing.ARTEFACT, artefact.id.hex, subject_of(source).concerns)


def facts_of(artefact: Artefact, role: str | None = None) -> dict[str, Any]:
    """What an entry says about an artefact. Its role is known once the report that names it is accepted."""
    return {"role": artefact.role if role is None else role, "digest": artefact.digest, "size": artefact.size}


def _deleted(sender: Any, instance: Run, **context: Any) -> None:
    audit.record(Action.DELETE_RUN, instance)


def watch() -> None:
    """Record every run that is deleted, by whatever way, before its parts are gone."""
    pre_delete.connect(_deleted, sender=Run, dispatch_uid="audit")
