"""The record of processing activities (GDPR, Article 30) of organisations whose data is used, from what is stored here.

It says what the coordinator knows. What the law asks for besides, such as the controller's address, the data protection
officer and the categories of people in the data, the organisation adds itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.utils import timezone

from fedcore.coordinator import plugins
from fedcore.coordinator.governance.models import AccessRequest, Dataset, Grant, Organisation, OwnerHost
from fedcore.coordinator.runs.models import Run

RETENTION = (
    "Protected rows at the coordinator: deleted when their run ends.",
    "A model: until its scientist deletes the run.",
    "A merged pseudonymised dataset: while every owner's grant allows its download.",
    "Entries of the audit: not deleted. Names and addresses in it are erased on request.",
)


def record_of_processing(organisations: Iterable[Organisation]) -> dict[str, Any]:
    """What is processed of each organisation's data, as values of JSON, with no person's name in it."""
    records = [_of(organisation) for organisation in organisations]
    return {
        "made_at": timezone.now().isoformat(timespec="seconds"),
        "operator": _operator(),
        "organisations": [found for found in records if found["categories_of_data"]],
    }


def _operator() -> str:
    name = settings.FEDCORE_OPERATOR_ORGANISATION
    title: str | None = Organisation.objects.filter(name=name).values_list("title", flat=True).first()
    return title or name


def _of(organisation: Organisation) -> dict[str, Any]:
    datasets = Dataset.objects.filter(host__organisation=organisation).select_related("host")
    joined = ("request__dataset__host", "request__requested_by__organisation")
    grants = list(
        Grant.objects.filter(request__dataset__in=datasets).select_related(*joined).order_by("approved_at")
    )
    runs = {grant.digest: _runs(grant) for grant in grants}
    return {
        "controller": organisation.title,
        "hosts": sorted(organisation.hosts.values_list("name", flat=True)),
        "purposes": sorted({grant.request.purpose for grant in grants}),
        "categories_of_data": [_dataset(dataset) for dataset in datasets],
        "recipients": _recipients(grants, [run for found in runs.values() for run in found]),
        "retention": list(RETENTION),
        "safeguards": _safeguards(grant.request for grant in grants),
        "grants": [_grant(grant, runs[grant.digest]) for grant in grants],
    }


def _dataset(dataset: Dataset) -> dict[str, Any]:
    return {
        "name": str(dataset),
        "title": dataset.title,
        "description": dataset.description,
        "columns": list(dataset.columns),
        "classes": list(dataset.classes),
        "rows": dataset.rows,
        "offered": dataset.is_offered,
    }


def _runs(grant: Grant) -> list[Run]:
    found = Run.objects.filter(datasets__request=grant.request).order_by("created_at")
    return list(found.select_related("reference_host__organisation", "dealer__organisation"))


def _recipients(grants: Iterable[Grant], runs: Iterable[Run]) -> list[dict[str, str]]:
    """Who gets something of the data, in whatever form, and as what."""
    found = {(str(grant.request.requested_by.organisation), "employs the scientist") for grant in grants}
    for run in runs:
        if run.reference_host is not None:
            found.add((run.reference_host.organisation.title, "runs the reference host"))
        if run.dealer is not None:
            found.add((run.dealer.organisation.title, "deals randomness for the training on shares"))
            compute = OwnerHost.objects.filter(signing_key__in=run.spec.compute_owners)
            found |= {
                (host.organisation.title, "holds shares of the rows, and trains on them") for host in compute
            }
        if run.protocol == "pooled":
            found.add((_operator(), "runs the coordinator, which trains on protected rows"))
    return [{"organisation": name, "as": part} for name, part in sorted(found)]


def _safeguards(requests: Iterable[AccessRequest]) -> list[dict[str, Any]]:
    """The protections that were granted, with what each of them declares to leak and whom it trusts."""
    pairs = {
        (protocol, name) for asked in requests for protocol in asked.protocols for name in asked.backends
    }
    return [_safeguard(protocol, name) for protocol, name in sorted(pairs)]


def _safeguard(protocol: str, name: str) -> dict[str, Any]:
    backend = plugins.backend(name)
    rows_leave = protocol != "local"
    return {
        "protocol": protocol,
        "backend": name,
        "pseudonymised": bool(backend and backend.renames_only and rows_leave),
        "leakage": plugins.leakage_of(backend) if backend and rows_leave else [],
        "trust": list(backend.trust) if backend and rows_leave else [],
    }


def _grant(grant: Grant, runs: Iterable[Run]) -> dict[str, Any]:
    asked = grant.request
    return {
        "request": asked.digest,
        "dataset": str(asked.dataset),
        "purpose": asked.purpose,
        "recipient": str(asked.requested_by.organisation),
        "approved": _day(grant.approved_at),
        "expires": _day(grant.expires_at),
        "revoked": _day(grant.revoked_at),
        "releases": grant.releases,
        "releases_used": grant.releases_used,
        "download": grant.download,
        "runs": [_run(run, grant) for run in runs],
    }


def _run(run: Run, grant: Grant) -> dict[str, Any]:
    owners = (run.report or {}).get("owners", [])
    own: dict[str, Any] = next(
        (part for part in owners if part["host_name"] == grant.request.dataset.host.name), {}
    )
    return {
        "run": run.pk,
        "title": run.title,
        "protocol": run.protocol,
        "backend": run.backend,
        "state": run.get_state_display(),
        "submitted": _day(run.created_at),
        "ended": _day(run.finished_at),
        "rows": own.get("rows_trained"),
        "bytes_sent": own.get("bytes_sent"),
    }


def _day(moment: Any) -> str | None:
    return moment.isoformat(timespec="seconds") if moment else None
