"""Checks of a submitted run against catalogue and grants: the data, who may use it, and who would hold the key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from fedcore.coordinator.governance.models import AccessRequest, Dataset, Organisation, OwnerHost, Person
from fedcore.coordinator.runs.coverage import check_request
from fedcore.coordinator.runs.problems import Problem, Problems
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import DatasetVersion, Protocol, RunSpec

MINIMUM_CLASSES: Final = 2


@dataclass(frozen=True)
class Catalogue:
    """What the database knows about a spec's datasets, requests and reference host."""

    datasets: Mapping[DatasetVersion, Dataset]
    requests: Mapping[str, AccessRequest]
    reference: OwnerHost | None
    dealer: OwnerHost | None

    @classmethod
    def of(cls, spec: RunSpec, person: Person) -> Catalogue:
        """Read all that the checks need. Requests of other people and datasets that are not offered are not looked at:
        they do not exist here."""
        offered = Dataset.objects.offered().filter(host__signing_key__in=spec.hosts)
        known = offered.select_related("host__organisation")
        by_name = {(dataset.host.signing_key, dataset.name): dataset for dataset in known}
        requests = AccessRequest.objects.filter(pk__in=spec.grants, requested_by=person)
        return cls(
            datasets={
                wanted: by_name[wanted.host, wanted.name]
                for wanted in spec.datasets
                if (wanted.host, wanted.name) in by_name
            },
            requests={
                request.pk: request
                for request in requests.select_related("dataset__host", "grant", "requested_by__organisation")
            },
            reference=_host(spec.reference_host),
            dealer=_host(spec.dealer),
        )

    @property
    def classes(self) -> list[str]:
        """The classes that all datasets have; empty where they differ."""
        found = {tuple(dataset.classes) for dataset in self.datasets.values()}
        return list(found.pop()) if len(found) == 1 else []


def _host(signing_key: str | None) -> OwnerHost | None:
    known = OwnerHost.objects.select_related("organisation")
    return known.filter(signing_key=signing_key).first() if signing_key else None


def check_datasets(spec: RunSpec, catalogue: Catalogue) -> Problems:
    """Known, offered now, in this version, at active hosts, and with the same classes."""
    for wanted in spec.datasets:
        dataset = catalogue.datasets.get(wanted)
        if dataset is None:
            detail = f"There is no dataset {wanted.name} at the host {wanted.host}. Look into the catalogue."
            yield Problem(RefusalCode.UNKNOWN_DATASET, detail)
        elif dataset.current_version != wanted.version:
            yield Problem.of(RefusalCode.DATASET_CHANGED, str(dataset))
    if len(catalogue.datasets) == len(spec.datasets) and len(catalogue.classes) < MINIMUM_CLASSES:
        listed = "; ".join(f"{d}: {', '.join(d.classes) or 'none'}" for d in catalogue.datasets.values())
        detail = f"All datasets need the same classes, two or more. They have: {listed}."
        yield Problem(RefusalCode.UNKNOWN_DATASET, detail)


def check_reference(spec: RunSpec, catalogue: Catalogue) -> Problems:
    """The reference host is one, is active, and is none of the owners."""
    if spec.protocol is not Protocol.REFERENCE:
        return
    host = catalogue.reference
    if host is None or not host.is_active or not host.is_reference:
        yield Problem(
            RefusalCode.REFERENCE_NOT_TRUSTED,
            f"The host {spec.reference_host} is no active reference host. Take one from the list of hosts.",
        )
    elif spec.reference_host in spec.hosts:
        yield Problem(
            RefusalCode.REFERENCE_NOT_TRUSTED,
            f"{host.name} brings a dataset to this run, so it cannot be its reference host. Take another.",
        )


def check_dealer(spec: RunSpec, catalogue: Catalogue) -> Problems:
    """The dealer is one, is active, and no two of dealer and compute owners belong to one organisation."""
    if spec.protocol is not Protocol.SHARED:
        return
    host = catalogue.dealer
    if host is None or not host.is_active or not host.is_dealer:
        yield Problem(
            RefusalCode.DEALER_NOT_TRUSTED,
            f"The host {spec.dealer} is no active dealer. Take one from the list of hosts.",
        )
        return
    named = {wanted.host: dataset.host for wanted, dataset in catalogue.datasets.items()}
    three = [host, *(named[key] for key in spec.compute_owners if key in named)]
    if len({each.organisation_id for each in three}) < len(three):
        names = ", ".join(f"{each.name} ({each.organisation.name})" for each in three)
        detail = f"Dealer and compute owners are {names}: each must be of another organisation"
        yield Problem.of(RefusalCode.SAME_ORGANISATION, detail)


def check_owners(spec: RunSpec, backend_minimum: int) -> Problems:
    """As many owners as the run and the backend want. What the grants want is checked with them."""
    number = len(spec.datasets)
    if number < spec.minimum_owners:
        yield Problem(
            RefusalCode.TOO_FEW_OWNERS, f"The run asks for {spec.minimum_owners} owners and has {number}."
        )
    if number < backend_minimum:
        detail = f"The backend {spec.backend.name} needs {backend_minimum} owners, the run has {number}."
        yield Problem(RefusalCode.TOO_FEW_OWNERS, detail)


def check_organisations(spec: RunSpec, catalogue: Catalogue, person: Person) -> Problems:
    """Neither the scientist nor the coordinator's operator works for an owner that holds the run's key."""
    owners = {dataset.host.organisation for dataset in catalogue.datasets.values()}
    operator = next((organisation for organisation in owners if organisation.is_operator), None)
    roles: list[tuple[str, Organisation | None]] = [
        ("scientist", person.organisation),
        ("operator", operator),
    ]
    for role, organisation in roles:
        if organisation is not None and organisation in owners:
            detail = f"The {role} belongs to {organisation}, an owner of this run"
            yield Problem.of(RefusalCode.SAME_ORGANISATION, detail)


def check_grants(spec: RunSpec, signer: str, catalogue: Catalogue, now: datetime) -> Problems:
    """For each dataset a request of this scientist that covers the run, within all limits of its grant."""
    for wanted, digest in zip(spec.datasets, spec.grants, strict=True):
        request = catalogue.requests.get(digest)
        if request is None or request.signer != signer:
            detail = f"Dataset {wanted.name}: there is no request {digest[:8]} that was signed with this key."
            yield Problem(RefusalCode.NOT_GRANTED, f"{detail} Request access to the dataset.")
            continue
        yield from check_request(request, spec, wanted, now)
