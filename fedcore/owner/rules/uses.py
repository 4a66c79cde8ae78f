"""Rules on what is done with the data: by policy and grant, and by what the backend shows."""

from __future__ import annotations

from collections.abc import Sequence

from fedcore.owner.facts import Decision, Refused
from fedcore.owner.rules.case import OwnerWork, listed, require
from fedcore.plugin_api.backends import BackendStatus, Leak
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Protocol


def purpose_is_allowed(work: OwnerWork) -> Decision:
    asked, code = work.facts.spec.purpose, RefusalCode.PURPOSE_NOT_ALLOWED
    return _in_policy_and_grant(work, "purpose", asked, work.offer.purposes, (work.request.purpose,), code)


def protocol_is_allowed(work: OwnerWork) -> Decision:
    asked, code = work.facts.spec.protocol, RefusalCode.PROTOCOL_NOT_ALLOWED
    return _in_policy_and_grant(work, "protocol", asked, work.offer.protocols, work.limits.protocols, code)


def backend_is_allowed(work: OwnerWork) -> Decision:
    asked, code = work.facts.spec.backend.name, RefusalCode.BACKEND_NOT_ALLOWED
    return _in_policy_and_grant(work, "backend", asked, work.offer.backends, work.limits.backends, code)


def model_is_allowed(work: OwnerWork) -> Decision:
    asked, code = work.facts.spec.model.name, RefusalCode.MODEL_NOT_ALLOWED
    return _in_policy_and_grant(work, "model", asked, work.offer.models, work.limits.models, code)


def pipeline_is_granted(work: OwnerWork) -> Decision:
    asked = work.facts.spec.pipeline.digest
    return require(
        asked in {pipeline.digest for pipeline in work.request.pipelines},
        RefusalCode.PIPELINE_NOT_GRANTED,
        f"The granted request covers no pipeline {asked}. Request access for this pipeline, step by step the same.",
    )


def plaintext_goes_to_the_reference_host_only(work: OwnerWork) -> Decision:
    shows_plaintext = Leak.PLAINTEXT in work.plugins.backend.leakage
    return require(
        not shows_plaintext or work.facts.spec.protocol in {Protocol.LOCAL, Protocol.REFERENCE},
        RefusalCode.BACKEND_NOT_ALLOWED,
        f"Backend {work.facts.spec.backend.name} shows plaintext, and protocol {work.facts.spec.protocol} would hand "
        "it to the coordinator. Choose a backend that protects, or protocol local or reference.",
    )


def reference_host_is_trusted(work: OwnerWork) -> Decision:
    spec = work.facts.spec
    peer = None if spec.reference_host is None else work.policy.peer(spec.reference_host)
    return require(
        spec.protocol is not Protocol.REFERENCE
        or (peer is not None and peer.reference and spec.reference_host not in spec.hosts),
        RefusalCode.REFERENCE_NOT_TRUSTED,
        f"Reference host {spec.reference_host} must be a [[peers]] entry with reference = true and bring no data to "
        "the run itself. Pin it so, or run under another protocol.",
    )


def shares_are_trained_on_as_shares(work: OwnerWork) -> Decision:
    protocol, name = work.facts.spec.protocol, work.facts.spec.backend.name
    return require(
        work.plugins.backend.shares == (protocol is Protocol.SHARED),
        RefusalCode.BACKEND_NOT_ALLOWED,
        f"Backend {name} and protocol {protocol} do not go together: under shared, rows leave in shares, and only "
        "there. Choose protocol shared with a backend that shares, or neither.",
    )


def dealer_is_trusted(work: OwnerWork) -> Decision:
    spec = work.facts.spec
    peer = None if spec.dealer is None else work.policy.peer(spec.dealer)
    return require(
        spec.protocol is not Protocol.SHARED
        or (peer is not None and peer.dealer and spec.dealer not in spec.hosts),
        RefusalCode.DEALER_NOT_TRUSTED,
        f"Dealer {spec.dealer} must be a [[peers]] entry with dealer = true and bring no data to the run itself. Pin "
        "it so, or name another dealer.",
    )


def dealer_and_compute_owners_are_strangers(work: OwnerWork) -> Decision:
    """Two of the three together read every row, so no organisation may be two of them."""
    spec = work.facts.spec
    three = [
        work.organisation_of(host) for host in (*spec.compute_owners, *([spec.dealer] if spec.dealer else []))
    ]
    return require(
        len(set(three)) == len(three),
        RefusalCode.SAME_ORGANISATION,
        f"Compute owners and dealer belong to {listed(map(str, three))}: two of them in one organisation, and it could "
        "read every row. Name three organisations.",
    )


def enough_rows_are_in_a_batch(work: OwnerWork) -> Decision:
    """With a large learning rate the model shows the last batch. (No batch is smaller than the spec says.)"""
    size, least = work.facts.spec.training.batch_size, work.offer.minimum_rows
    return require(
        work.facts.spec.protocol is not Protocol.SHARED or size >= least,
        RefusalCode.TOO_FEW_ROWS,
        f"A batch of {size} rows could show in the model, {work.subject} minimum_rows is {least}. Train with larger "
        "batches, or lower the minimum.",
    )


def character_steps_are_named(work: OwnerWork) -> Decision:
    unnamed = [step for step in work.plugins.character_steps if step not in work.offer.character_steps]
    return require(
        not work.plugins.backend.renames_only or not unnamed,
        RefusalCode.STEP_NOT_ALLOWED,
        f"Backend {work.facts.spec.backend.name} only renames tokens, and the steps {listed(unnamed)} make tokens of "
        f"characters, which renaming hardly hides. Name them in character_steps of {work.subject}, or use words.",
    )


def teaching_backend_is_named(work: OwnerWork) -> Decision:
    name = work.facts.spec.backend.name
    return require(
        work.plugins.backend.status is not BackendStatus.TEACHING or name in work.offer.teaching_backends,
        RefusalCode.BACKEND_NOT_ALLOWED,
        f"Backend {name} is for teaching only: known attacks break it. Choose a backend that is not, or, where the "
        f"data is nobody's secret, name it in teaching_backends of {work.subject} too.",
    )


def _in_policy_and_grant(
    case: OwnerWork,
    noun: str,
    asked: str,
    allowed: Sequence[str],
    granted: Sequence[str],
    code: RefusalCode,
) -> Decision:
    if asked not in allowed:
        return Refused(
            code,
            f"{case.subject} allows the {noun}s {listed(allowed)}, and the run's is {asked!r}. Add it to {noun}s in "
            "the policy, or submit a run with another.",
        )
    return require(
        asked in granted,
        code,
        f"The grant covers the {noun}s {listed(granted)}, and the run's is {asked!r}. Request access for it.",
    )
