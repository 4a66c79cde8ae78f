"""Whether an order may be carried out: one pure function, `decide`, that denies by default.

How to read it: `RULES` is the whole policy, one line for each rule. An order is allowed only if every rule of
its kind answers `Allowed`; anything else, an error included, refuses. Rules see facts and nothing else: no
clock, no file, no network. What is named here and missing (a policy, a dataset, a grant) refuses before any
rule is asked.

What it assumes: signatures were verified when the facts were made. The coordinator's word counts for nothing
but which order it sent: purpose, data, pipeline, protocol, backend and model come from what the scientist has
signed, limits from the policy of this host, and a grant can only narrow both. It takes effect at once within the
ceilings of the dataset, beyond them only if a person on this host has confirmed it. What is left of it is the
narrowest of what was asked for, what this order says, what this host was ever told, and what a person here has set.

What a run costs is looked up in the privacy ledger when the facts are made; when the work begins, the ledger books it
in one transaction that checks the same budgets again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from fedcore.owner.facts import (
    Allowed,
    BackendFacts,
    DatasetFacts,
    Decision,
    Done,
    Facts,
    GrantFacts,
    PluginFacts,
    Refused,
    Role,
)
from fedcore.owner.rules import grants, orders, owners, privacy, uses
from fedcore.owner.rules.case import Case, OwnerWork, Work
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase

__all__ = [
    "RULES",
    "Allowed",
    "BackendFacts",
    "DatasetFacts",
    "Decision",
    "Done",
    "Facts",
    "GrantFacts",
    "PluginFacts",
    "Refused",
    "Role",
    "Rules",
    "decide",
]


@dataclass(frozen=True)
class Rules:
    """The policy as a table. `every_order` includes orders to close a run, which only delete what it left."""

    every_order: tuple[Callable[[Case], Decision], ...]
    all_work: tuple[Callable[[Case], Decision], ...]
    owner: tuple[Callable[[OwnerWork], Decision], ...]
    reference_host: tuple[Callable[[Work], Decision], ...]
    dealer: tuple[Callable[[Work], Decision], ...]


RULES = Rules(
    every_order=(
        orders.order_is_for_this_host,
        orders.order_comes_from_the_pinned_coordinator,
        orders.run_is_the_signed_spec,
        orders.order_has_the_id_of_its_work,
        orders.run_is_not_closed,
    ),
    all_work=(
        orders.order_has_not_expired,
        orders.deadline_has_not_passed,
        orders.scientist_is_trusted,
        orders.every_owner_is_pinned,
    ),
    owner=(
        grants.dataset_is_current,
        grants.retention_date_has_not_passed,
        grants.hours_allow_work,
        grants.request_is_the_one_the_run_names,
        grants.request_is_signed_by_the_scientist,
        grants.grant_is_held_for_the_scientist,
        grants.request_is_for_this_dataset,
        grants.grant_is_not_refused_here,
        grants.grant_is_not_revoked_here,
        grants.grant_has_not_expired,
        grants.releases_are_left,
        grants.download_is_allowed,
        uses.purpose_is_allowed,
        uses.protocol_is_allowed,
        uses.backend_is_allowed,
        uses.model_is_allowed,
        uses.pipeline_is_granted,
        uses.plaintext_goes_to_the_reference_host_only,
        uses.reference_host_is_trusted,
        uses.shares_are_trained_on_as_shares,
        uses.dealer_is_trusted,
        uses.dealer_and_compute_owners_are_strangers,
        uses.enough_rows_are_in_a_batch,
        uses.character_steps_are_named,
        uses.teaching_backend_is_named,
        grants.grant_takes_effect,
        privacy.ledger_is_not_held,
        privacy.privacy_limit_is_kept,
        privacy.epsilon_is_within_its_limits,
        privacy.delta_is_within_its_limits,
        privacy.epsilon_is_kept_by_bounded_mechanisms,
        privacy.ledger_is_confirmed,
        privacy.budget_of_the_grant_is_left,
        privacy.budget_of_the_dataset_is_left,
        grants.enough_rows_take_part,
        owners.enough_owners_take_part,
        owners.scientist_belongs_to_no_owner,
        owners.coordinator_belongs_to_no_owner,
        orders.plugins_are_those_pinned,
        orders.phase_follows_what_was_done,
        orders.only_compute_owners_train_on_shares,
    ),
    reference_host=(
        orders.this_host_serves_as_reference,
        orders.run_names_this_reference_host,
        orders.plugins_are_those_pinned,
        orders.phase_follows_what_was_done,
    ),
    dealer=(
        orders.this_host_serves_as_dealer,
        orders.run_names_this_dealer,
        orders.plugins_are_those_pinned,
        orders.phase_follows_what_was_done,
    ),
)
"""The policy. Deleting a line lets a named attack of `tests/owner/test_policy.py` through."""


def decide(facts: Facts, rules: Rules = RULES) -> Decision:
    """Whether this host carries out the order that `facts` describes. Never raises.

    `rules` is `RULES` but for tests that ask what each rule is worth.
    """
    if facts.policy is None:
        return Refused(
            RefusalCode.NO_POLICY, "owner.toml is missing or broken: nothing runs. See `fedcore-owner check`."
        )
    case = Case(facts, facts.policy)
    refused = _first_refusal(rules.every_order, case)
    if refused is None and facts.order.phase is not Phase.CLOSE:
        refused = _first_refusal(rules.all_work, case) or _refusal_of_work(case, rules)
    return Allowed() if refused is None else refused


def _refusal_of_work(case: Case, rules: Rules) -> Refused | None:
    plugins = case.facts.plugins
    if isinstance(plugins, Refused):
        return plugins
    if case.facts.role is not Role.OWNER:
        of_role = rules.reference_host if case.facts.role is Role.REFERENCE else rules.dealer
        return _first_refusal(of_role, Work(case.facts, case.policy, plugins))
    work = _owner_work(case, plugins)
    return work if isinstance(work, Refused) else _first_refusal(rules.owner, work)


def _owner_work(case: Case, plugins: PluginFacts) -> OwnerWork | Refused:
    """The case with all that must exist before a rule can be asked about it."""
    facts, policy = case.facts, case.policy
    named = facts.spec.dataset_of(facts.host)
    if named is None:
        return Refused(
            RefusalCode.NOT_GRANTED,
            f"Run {facts.order.run} names no dataset of this host. Name one in the spec.",
        )
    offer = policy.datasets.get(named.name)
    if offer is None or facts.dataset is None:
        return Refused(
            RefusalCode.UNKNOWN_DATASET,
            f"The policy offers no dataset {named.name!r}. Add [datasets.{named.name}] to offer it.",
        )
    if isinstance(facts.dataset, Refused):
        return facts.dataset
    if facts.order.grant is None or facts.request is None:
        return Refused(
            RefusalCode.NOT_GRANTED,
            f"The order has no grant for dataset {named.name!r}. The scientist must request access and be granted it.",
        )
    if facts.held is None or isinstance(facts.held, Refused):
        return facts.held or Refused(
            RefusalCode.NOT_GRANTED,
            f"This host holds no grant {facts.order.grant.request.digest}. Request access to its dataset.",
        )
    return OwnerWork(
        facts, policy, plugins, offer, named, facts.dataset, facts.order.grant, facts.request, facts.held
    )


SomeCase = TypeVar("SomeCase", bound=Case)


def _first_refusal(rules: Iterable[Callable[[SomeCase], Decision]], case: SomeCase) -> Refused | None:
    """The first answer that is not `Allowed`; a rule that fails to answer refuses."""
    for rule in rules:
        try:
            answer: object = rule(case)
        except Exception as error:
            return Refused(
                RefusalCode.INTERNAL, f"Rule {rule.__name__} failed with {error!r}, so it refuses."
            )
        if isinstance(answer, Refused):
            return answer
        if not isinstance(answer, Allowed):
            return Refused(RefusalCode.INTERNAL, f"Rule {rule.__name__} gave no answer, so it refuses.")
    return None
