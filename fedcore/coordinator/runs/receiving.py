"""Accepting reports: each is verified against the order that it answers, and stored exactly as it came."""

from __future__ import annotations

from typing import Any

from django.db import transaction
from django.utils import timezone

from fedcore.coordinator.governance import audit
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import OwnerHost
from fedcore.coordinator.runs.bell import ring
from fedcore.coordinator.runs.models import Artefact, Run, RunEvent, RunOrder
from fedcore.plugin_api.evaluation import from_evaluated
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Evaluated, Report, Spent, Status, Trained
from fedcore.wire.signing import Signed
from fedcore.wire.spec import Privacy, Protocol

ROLES = {Phase.SUMMARISE: "summary", Phase.PREPARE: "features", Phase.DEAL: "dealt", Phase.TRAIN: "model"}
"""What the artefacts of each phase are; under `shared`, `OF_SHARES` comes first. Other phases have none."""

OF_SHARES = {Phase.PREPARE: "shares", Phase.TRAIN: "weights"}

MAXIMUM_ROWS = 10**12
"""As many rows as one owner may count, so that the sums over all owners stay exact."""


def uploads_allowed(order: RunOrder) -> bool:
    """Whether a host may upload artefacts for this order now."""
    return not order.answered and not order.run.ended and Phase(order.phase) in ROLES


def accept(host: OwnerHost, signed: Signed) -> None:
    """Take a host's report. The same report again changes nothing.

    Raises `WireError`: `bad_signature`, `unknown_signer` and the codes of parsing; `wrong_audience` for an order
    that is not this host's; `out_of_order` for a report of other work than was ordered; `conflict` when another
    report was accepted before; `artefact_invalid` for artefacts that are not here, or not of this phase.
    """
    report = signed.open(Report, signer=host.signing_key)
    with audit.atomic():
        order = _locked_order(host, report)
        if order.answered:
            if order.signed_report.text != signed.text:
                raise WireError(RefusalCode.CONFLICT, f"order {order.id} was answered differently before")
            return
        if not order.run.ended:
            _check_result(order, report)
            _take_artefacts(order, report)
            _note(order, report)
        _store(order, signed, report)
        if report.status is not Status.DONE:
            audit.record(Action.ANSWER_ORDER, order, by=host, refused=order.code, **_answered(report))
        transaction.on_commit(lambda: ring(order.run_id))


def _locked_order(host: OwnerHost, report: Report) -> RunOrder:
    known = RunOrder.objects.filter(pk=report.order, host=host).first()
    if known is None:
        raise WireError(RefusalCode.WRONG_AUDIENCE, f"order {report.order} is not for this host")
    run = Run.objects.select_for_update().get(pk=known.run_id)
    order: RunOrder = RunOrder.objects.select_related("host").get(pk=known.pk)
    order.run = run
    if (report.run, (report.phase, report.step, report.round)) != (order.run_id, order.key):
        raise WireError(RefusalCode.OUT_OF_ORDER, f"the report is not about order {order.id}")
    return order


def _check_result(order: RunOrder, report: Report) -> None:
    privacy = order.run.spec.privacy
    if isinstance(report.result, Trained):
        _check_trained(order.run, report.result, privacy)
    elif isinstance(report.result, Evaluated):
        _check_counts(order.run, report.result)
        _check_spent(report.result.spent, privacy)


def _check_trained(run: Run, trained: Trained, privacy: Privacy) -> None:
    if run.protocol_kind is Protocol.SHARED:
        if trained.curve is not None:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "a training on shares shows no curve")
        return
    silent = trained.curve is None and trained.rows == 0
    if privacy.epsilon_micro == "none":
        if trained.curve is None:
            raise WireError(RefusalCode.ARTEFACT_INVALID, "a training without an epsilon has a curve")
    elif not silent:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "a training with an epsilon says nothing about rows")


def _check_counts(run: Run, evaluated: Evaluated) -> None:
    counts = from_evaluated(evaluated)
    if len(counts.confusion) != len(run.classes):
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"counts of {len(counts.confusion)} classes")
    if evaluated.rows > MAXIMUM_ROWS:
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"counts of {evaluated.rows} rows")


def _check_spent(spent: Spent | None, privacy: Privacy) -> None:
    """What a report calls bounded is bounded as the scientist signed, and nothing else is."""
    if (spent is None) != (privacy.epsilon_micro == "none"):
        raise WireError(RefusalCode.ARTEFACT_INVALID, "counts have a cost where the run has an epsilon")
    if spent is None or privacy.epsilon_micro == "none":
        return
    if spent.epsilon_micro > privacy.epsilon_micro or spent.delta > privacy.delta:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the counts cost more privacy than the run may")


def _take_artefacts(order: RunOrder, report: Report) -> None:
    """Check that the report's artefacts are those of its phase and complete; note what they are."""
    by_digest: dict[str, ArtefactRef] = {}
    for ref in report.artefacts:
        other = by_digest.setdefault(ref.digest, ref)
        if (ref.role, ref.audience, ref.size) != (other.role, other.audience, other.size):
            raise WireError(RefusalCode.ARTEFACT_INVALID, f"{ref.digest} is named for two purposes")
    if report.status is Status.DONE:
        _check_roles(order, report)
    for ref in by_digest.values():
        taken = Artefact.objects.filter(
            order=order, digest=ref.digest, size=ref.size, complete=True, deleted_at=None
        ).update(role=ref.role, audience=ref.audience or "")
        if not taken:
            raise WireError(RefusalCode.ARTEFACT_INVALID, f"{ref.digest} is not uploaded completely")


def _check_roles(order: RunOrder, report: Report) -> None:
    run, refs = order.run, report.artefacts
    expected = _expected_audiences(run, report.phase, order.host)
    if any(ref.role != _role(run, report.phase) for ref in refs):
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"{report.phase} has no artefacts of these roles")
    if {ref.audience for ref in refs} != expected:
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"{report.phase} has artefacts for other audiences")
    if len({(ref.audience, ref.part) for ref in refs}) != len(refs):
        raise WireError(RefusalCode.ARTEFACT_INVALID, "two artefacts have the same part number")


def _role(run: Run, phase: Phase) -> str | None:
    own = OF_SHARES if run.protocol_kind is Protocol.SHARED else {}
    return own.get(phase) or ROLES.get(phase)


def _expected_audiences(run: Run, phase: Phase, host: OwnerHost) -> set[str | None]:
    if phase is Phase.SUMMARISE:
        return {None}
    if run.protocol_kind is Protocol.SHARED:
        return _audiences_of_shares(run, phase, host)
    if phase is Phase.PREPARE:
        return {run.reference_host.signing_key if run.reference_host else None}
    if phase is Phase.TRAIN and run.protocol_kind is Protocol.REFERENCE:
        return set(run.spec.hosts)
    return set()


def _audiences_of_shares(run: Run, phase: Phase, host: OwnerHost) -> set[str | None]:
    """Shares go to the compute owners, but a compute owner keeps its own; keys go to the dealer."""
    match phase:
        case Phase.PREPARE:
            return {*run.spec.compute_owners, run.spec.dealer} - {host.signing_key}
        case Phase.DEAL:
            return set(run.spec.compute_owners)
        case Phase.TRAIN:
            return {None}
        case _:
            return set()


def _store(order: RunOrder, signed: Signed, report: Report) -> None:
    order.report = signed.encode()
    order.status = report.status
    order.code = report.code or ""
    order.reported_at = timezone.now()
    order.save(update_fields=["report", "status", "code", "reported_at"])


def _answered(report: Report) -> dict[str, Any]:
    """What the audit says of an order that was not carried out."""
    return {"phase": report.phase, "step": report.step, "round": report.round, "status": report.status}


def _note(order: RunOrder, report: Report) -> None:
    if report.status is Status.DONE:
        text = f"{order.host.name}: {report.phase} done"
    else:
        text = f"{order.host.name}: {report.phase} {report.status}, {report.code}"
    run = order.run
    RunEvent.objects.create(run=run, state=run.state, text=text, host=order.host, progress=run.progress)
