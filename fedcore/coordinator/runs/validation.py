"""Taking a run: every rule is checked once, when the signed spec is submitted, and all mistakes are answered."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action, Subject, Thing
from fedcore.coordinator.governance.models import Person, PersonKey, Release, Role
from fedcore.coordinator.governance.problems import DecisionError
from fedcore.coordinator.plugins import installed
from fedcore.coordinator.runs.bell import ring
from fedcore.coordinator.runs.checks_columns import check_columns
from fedcore.coordinator.runs.checks_data import (
    Catalogue,
    check_datasets,
    check_dealer,
    check_grants,
    check_organisations,
    check_owners,
    check_reference,
)
from fedcore.coordinator.runs.checks_plugins import PluginChecks
from fedcore.coordinator.runs.flow import Who, needs_agreement, stages
from fedcore.coordinator.runs.models import Run, RunDataset, RunEvent
from fedcore.coordinator.runs.problems import Problem, Problems, Refused
from fedcore.plugin_api.pipeline import pins_of
from fedcore.plugin_api.private_training import hindrances
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.signing import Signed
from fedcore.wire.spec import RunSpec

CLOCK_TOLERANCE: Final = timedelta(minutes=5)
SUBMIT_WITHIN: Final = timedelta(days=1)
"""How old a signed spec may be: what was signed long ago may no longer be what the scientist wants."""

LONGEST_RUN: Final = timedelta(days=365)

MAXIMUM_EVIDENCE: Final = 128
"""As many reports fit into one order (`Order.evidence`)."""


def submit(person: Person, signed: Signed) -> tuple[Run, bool]:
    """The run of a signed spec, and whether it is new: the same spec again gives the same run.

    Raises `Refused` with every mistake, `WireError` for what is no validly signed spec, and `DecisionError` for
    whoever is no data scientist and for the spec of a run that was deleted.
    """
    with audit.refusals(Action.SUBMIT_RUN, Subject(Thing.RUN, signed.digest), by=person):
        return _submit(person, signed)


def _submit(person: Person, signed: Signed) -> tuple[Run, bool]:
    if not PersonKey.objects.active().filter(person=person, public_key=signed.signer).exists():
        raise WireError(
            RefusalCode.UNKNOWN_SIGNER, "the key is not registered by the person who is logged in"
        )
    if not person.has_role(Role.DATA_SCIENTIST):
        raise DecisionError("not_data_scientist", _("Only data scientists submit runs."))
    spec = signed.open(RunSpec)
    known = Run.objects.filter(pk=signed.digest, scientist=person).first()
    if known is not None:
        return known, False
    _check_not_deleted(signed.digest)
    now = timezone.now()
    catalogue = Catalogue.of(spec, person)
    plugins = PluginChecks(installed(), spec, len(catalogue.classes))
    problems = [
        *_check_times(spec, now),
        *check_datasets(spec, catalogue),
        *check_reference(spec, catalogue),
        *check_dealer(spec, catalogue),
        *check_grants(spec, signed.signer, catalogue, now),
        *check_owners(spec, plugins.backend.minimum_owners if plugins.backend else 1),
        *(check_organisations(spec, catalogue, person) if plugins.owners_hold_key else ()),
        *_check_privacy(spec, plugins),
        *plugins.problems,
        *check_columns(plugins.pipeline, catalogue.datasets.values()),
        *_check_evidence(spec, plugins),
    ]
    if problems:
        raise Refused(problems)
    try:
        return _create(person, signed, spec, catalogue, plugins), True
    except IntegrityError:  # The same spec arrived twice at the same time.
        return Run.objects.get(pk=signed.digest, scientist=person), False


def _check_not_deleted(digest: str) -> None:
    """A release is for one run: the spec of one that was deleted would run again under the release that it used."""
    if Release.objects.filter(run=digest).exists():
        raise DecisionError(
            "run_deleted",
            _(
                "The run %(run)s was run and deleted, and a spec runs once. Submit the plan again: it is signed anew, "
                "and uses another release."
            )
            % {"run": digest[:12]},
        )


def _check_times(spec: RunSpec, now: datetime) -> Problems:
    # Compared as numbers: the wire's seconds go beyond what a calendar has.
    earliest, latest = now - SUBMIT_WITHIN, now + CLOCK_TOLERANCE
    if not earliest.timestamp() <= spec.submitted_at <= latest.timestamp():
        limits = f"between {earliest:%Y-%m-%d %H:%M} and {latest:%Y-%m-%d %H:%M} UTC"
        detail = f"The spec was not signed {limits}: sign it anew, with a right clock."
        yield Problem(RefusalCode.EXPIRED, detail)
    if spec.deadline <= now.timestamp():
        yield Problem(RefusalCode.EXPIRED, "The deadline has passed. Sign the spec anew with a later one.")
    if spec.deadline > (now + LONGEST_RUN).timestamp():
        detail = (
            f"A run may take {LONGEST_RUN.days} days at most. Sign the spec anew with an earlier deadline."
        )
        yield Problem(RefusalCode.MALFORMED, detail)


def _check_privacy(spec: RunSpec, plugins: PluginChecks) -> Problems:
    """An epsilon is taken where something keeps it: the owners' hosts look at the same rules again."""
    if spec.privacy.epsilon_micro == "none" or plugins.pipeline is None or plugins.model is None:
        return
    for why in hindrances(spec, plugins.model, plugins.pipeline.gives, bool(plugins.fitted)):
        yield Problem(RefusalCode.EPSILON_NOT_ALLOWED, f"This run cannot keep an epsilon: {why}.")


def _check_evidence(spec: RunSpec, plugins: PluginChecks) -> Problems:
    agreement = needs_agreement(spec.protocol, plugins.owners_hold_key, plugins.fitted)
    owners = len(spec.datasets)
    for stage in stages(spec.protocol, agreement, plugins.fitted):
        reports = sum(1 if earlier.who is Who.REFERENCE else owners for earlier in stage.evidence)
        if reports > MAXIMUM_EVIDENCE:
            detail = f"An order of the phase {stage.phase} would carry {reports} reports, the limit is "
            yield Problem(
                RefusalCode.TOO_LARGE, f"{detail}{MAXIMUM_EVIDENCE}. Use fewer owners or fitted steps."
            )
            return


@audit.atomic()
def _create(
    person: Person, signed: Signed, spec: RunSpec, catalogue: Catalogue, plugins: PluginChecks
) -> Run:
    pins = pins_of(installed(), spec.pipeline, spec.backend, spec.model)
    run = Run.objects.create(
        id=signed.digest,
        scientist=person,
        title=spec.title,
        protocol=spec.protocol,
        backend=spec.backend.name,
        model_type=spec.model.name,
        envelope=signed.encode(),
        pins=[pin.model_dump(mode="json") for pin in pins],
        plan={
            "agreement": needs_agreement(spec.protocol, plugins.owners_hold_key, plugins.fitted),
            "fitted": [{"place": step.place, "rounds": step.rounds} for step in plugins.fitted],
        },
        classes=catalogue.classes,
        reference_host=catalogue.reference,
        dealer=catalogue.dealer,
        message="The run was submitted.",
        deadline=datetime.fromtimestamp(spec.deadline, UTC),
    )
    RunDataset.objects.bulk_create(
        RunDataset(
            run=run,
            position=position,
            host=catalogue.datasets[wanted].host,
            name=wanted.name,
            version=wanted.version,
            request=catalogue.requests[grant],
        )
        for position, (wanted, grant) in enumerate(zip(spec.datasets, spec.grants, strict=True))
    )
    RunEvent.objects.create(run=run, state=run.state, text=run.message)
    facts = {"protocol": run.protocol, "backend": run.backend, "model": run.model_type}
    audit.record(Action.SUBMIT_RUN, run, by=person, **facts)
    transaction.on_commit(lambda: ring(run.id))
    return run
