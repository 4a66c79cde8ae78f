"""Rules on where an order comes from and when: for every order, for all work, and for the reference host."""

from __future__ import annotations

from fedcore.owner.facts import Decision, Done, Refused
from fedcore.owner.phases import required_before
from fedcore.owner.rules.case import Case, Work, listed, require
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase, order_id
from fedcore.wire.spec import Protocol


def order_is_for_this_host(case: Case) -> Decision:
    audience = case.facts.order.audience
    return require(
        audience == case.facts.host,
        RefusalCode.WRONG_AUDIENCE,
        f"The order is addressed to {audience}, this host is {case.facts.host}. Send it to its audience.",
    )


def order_comes_from_the_pinned_coordinator(case: Case) -> Decision:
    return require(
        case.facts.order_signer == case.policy.coordinator.key,
        RefusalCode.UNKNOWN_SIGNER,
        f"The order is signed by {case.facts.order_signer}, and [coordinator] key is {case.policy.coordinator.key}. "
        "Pin the new key if the coordinator has changed it, after comparing fingerprints.",
    )


def run_is_the_signed_spec(case: Case) -> Decision:
    order = case.facts.order
    return require(
        order.run == order.spec.digest,
        RefusalCode.CONFLICT,
        f"The order is for run {order.run} and carries the spec of {order.spec.digest}. Send the spec of the run.",
    )


def order_has_the_id_of_its_work(case: Case) -> Decision:
    """One piece of work has one id, so that it can never be answered twice under two ids."""
    order = case.facts.order
    due = order_id(order.run, order.phase, order.step, order.round, order.audience)
    return require(
        order.id == due,
        RefusalCode.CONFLICT,
        f"Order {order.id} should have the id {due} by its run, phase, step, round and audience. Send it under that.",
    )


def run_is_not_closed(case: Case) -> Decision:
    return require(
        Done(Phase.CLOSE) not in case.facts.done,
        RefusalCode.OUT_OF_ORDER,
        f"Run {case.facts.order.run} is closed on this host. Submit a new run.",
    )


def order_has_not_expired(case: Case) -> Decision:
    return require(
        case.facts.now < case.facts.order.expires_at,
        RefusalCode.EXPIRED,
        f"The order expired at {case.facts.order.expires_at}, this host's clock says {case.facts.now}. Send a new one.",
    )


def deadline_has_not_passed(case: Case) -> Decision:
    return require(
        case.facts.now < case.facts.spec.deadline,
        RefusalCode.EXPIRED,
        f"The run's deadline was {case.facts.spec.deadline}, this host's clock says {case.facts.now}. Submit "
        "a new run.",
    )


def scientist_is_trusted(case: Case) -> Decision:
    return require(
        case.policy.scientist(case.facts.scientist) is not None,
        RefusalCode.UNKNOWN_SCIENTIST,
        f"The run is signed by {case.facts.scientist}, whom no [[scientists]] entry names. Add one to trust them.",
    )


def every_owner_is_pinned(case: Case) -> Decision:
    strangers = [
        key for key in case.facts.spec.hosts if key != case.facts.host and case.policy.peer(key) is None
    ]
    return require(
        not strangers,
        RefusalCode.UNKNOWN_PEER,
        f"No [[peers]] entry has the hosts {listed(strangers)}. Pin their cards, after comparing fingerprints, or "
        "run without them.",
    )


def plugins_are_those_pinned(work: Work) -> Decision:
    """Every plugin that the run uses here is pinned, so that all owners compute with the same files."""
    missing = [f"{pin.group}/{pin.name}" for pin in set(work.plugins.pins) ^ set(work.facts.order.pins)]
    return require(
        not missing,
        RefusalCode.PLUGIN_MISMATCH,
        f"Pinned and installed plugins differ in {listed(sorted(set(missing)))}. Install the same release everywhere.",
    )


def phase_follows_what_was_done(work: Work) -> Decision:
    facts = work.facts
    asked = Done(facts.order.phase, facts.order.step, facts.order.round)
    fitted = dict(work.plugins.fitted)
    required = required_before(asked, facts.role, facts.spec.protocol, facts.key_is_agreed, fitted)
    if required is None:
        return Refused(
            RefusalCode.OUT_OF_ORDER,
            f"Phase {asked.phase} (step {asked.step}, round {asked.round}) has no place in a run under protocol "
            f"{facts.spec.protocol} at this host. The coordinator must follow the protocol.",
        )
    missing = sorted(f"{done.phase} (step {done.step}, round {done.round})" for done in required - facts.done)
    return require(
        not missing,
        RefusalCode.OUT_OF_ORDER,
        f"Phase {asked.phase} comes after {listed(missing)}, not yet done here. The coordinator must follow the "
        "protocol.",
    )


def this_host_serves_as_reference(work: Work) -> Decision:
    return require(
        work.policy.reference.serves,
        RefusalCode.REFERENCE_NOT_TRUSTED,
        "This host is no reference host: [reference] serves is not true. Set it to train baselines on plaintext.",
    )


def this_host_serves_as_dealer(work: Work) -> Decision:
    return require(
        work.policy.dealer.serves,
        RefusalCode.DEALER_NOT_TRUSTED,
        "This host is no dealer: [dealer] serves is not true. Set it to deal for runs of other owners.",
    )


def run_names_this_dealer(work: Work) -> Decision:
    spec, host = work.facts.spec, work.facts.host
    return require(
        spec.dealer == host and host not in spec.hosts,
        RefusalCode.NOT_GRANTED,
        f"The run names {spec.dealer} as its dealer, this host is {host}. Name this host in the spec.",
    )


def only_compute_owners_train_on_shares(work: Work) -> Decision:
    spec, host = work.facts.spec, work.facts.host
    return require(
        spec.protocol is not Protocol.SHARED
        or work.facts.order.phase is not Phase.TRAIN
        or host in spec.compute_owners,
        RefusalCode.OUT_OF_ORDER,
        f"Under shared, {listed(spec.compute_owners)} train, and this host is {host}. The coordinator must follow the "
        "protocol.",
    )


def run_names_this_reference_host(work: Work) -> Decision:
    spec, host = work.facts.spec, work.facts.host
    return require(
        spec.reference_host == host and host not in spec.hosts,
        RefusalCode.NOT_GRANTED,
        f"The run names {spec.reference_host} as its reference host, this host is {host}. Name this host in the spec.",
    )
