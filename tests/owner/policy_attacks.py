"""One attack for each rule: a valid case with one thing changed, and the refusal that it must get."""

from __future__ import annotations

from fedcore.owner.facts import DatasetFacts, Done
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase
from fedcore.wire.spec import DatasetVersion

from .attack import Attack
from .policy_attacks_on_grants import ON_GRANTS
from .policy_attacks_on_privacy import ON_PRIVACY
from .policy_attacks_on_shares import DEALER_HOST, ON_SHARES
from .policy_attacks_on_uses import ON_USES
from .policy_cases import (
    EVE,
    LOCAL,
    NORTH,
    NOW,
    PINS,
    POOLED,
    SAM,
    SERVING,
    SOUTH,
    STRANGER,
    VERSION,
    YESTERDAY,
    Case,
    card,
)


def owners(*keys: str) -> tuple[DatasetVersion, ...]:
    named = DatasetVersion(host=NORTH.public, name="access-2026", version=VERSION)
    return (named, *(DatasetVersion(host=key, name="logs", version="c" * 64) for key in keys))


def granted_elsewhere(count: int, case: Case = POOLED) -> tuple[str, ...]:
    """Grants of a run over `count` owners, the first being this host's."""
    return (case.facts().spec.grants[0], *("d" * 64 for _ in range(count - 1)))


TWO_HOSTS_OF_ONE = [
    {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
    {"name": "south two", "card": card(STRANGER), "organisation": "south-bank"},
]

EVERY_ORDER = [
    Attack(
        "an order for another host is passed on to this one",
        "order_is_for_this_host",
        RefusalCode.WRONG_AUDIENCE,
        "addressed to",
        POOLED.but(addressed_to=SOUTH),
    ),
    Attack(
        "Eve signs an order in the coordinator's place",
        "order_comes_from_the_pinned_coordinator",
        RefusalCode.UNKNOWN_SIGNER,
        "[coordinator] key",
        POOLED.but(coordinator=EVE),
    ),
    Attack(
        "an order for one run carries the spec of another",
        "run_is_the_signed_spec",
        RefusalCode.CONFLICT,
        "carries the spec of",
        POOLED.but(run="e" * 64),
    ),
    Attack(
        "the same work comes again under another id",
        "order_has_the_id_of_its_work",
        RefusalCode.CONFLICT,
        "should have the id",
        POOLED.but(order={"id": "f" * 32}),
    ),
    Attack(
        "a run goes on after it was closed",
        "run_is_not_closed",
        RefusalCode.OUT_OF_ORDER,
        "is closed on this host",
        POOLED.but(done=POOLED.done | {Done(Phase.CLOSE)}),
    ),
]

ALL_WORK = [
    Attack(
        "an order is delivered when it has expired",
        "order_has_not_expired",
        RefusalCode.EXPIRED,
        "this host's clock",
        POOLED.but(order={"expires_at": NOW}),
    ),
    Attack(
        "an order is sent after the run's deadline",
        "deadline_has_not_passed",
        RefusalCode.EXPIRED,
        "deadline",
        POOLED.but(spec={"deadline": NOW}),
    ),
    Attack(
        "Eve, whom the policy does not name, submits a run",
        "scientist_is_trusted",
        RefusalCode.UNKNOWN_SCIENTIST,
        "[[scientists]]",
        POOLED.but(scientist=EVE, requester=EVE),
    ),
    Attack(
        "a host that is not pinned joins the run",
        "every_owner_is_pinned",
        RefusalCode.UNKNOWN_PEER,
        STRANGER.public,
        POOLED.but(
            spec={
                "datasets": owners(SOUTH.public, STRANGER.public),
                "grants": granted_elsewhere(3),
            }
        ),
    ),
]

OWNER = [
    Attack(
        "a run uses a version that the files no longer have",
        "dataset_is_current",
        RefusalCode.DATASET_CHANGED,
        "is version",
        POOLED.but(dataset=DatasetFacts("9" * 64, 1000)),
    ),
    Attack(
        "data is used after its retention date",
        "retention_date_has_not_passed",
        RefusalCode.RETENTION_PASSED,
        "2027-01-14",
        POOLED.with_dataset_policy(retention=YESTERDAY),
    ),
    Attack(
        "the order carries another grant than the run names",
        "request_is_the_one_the_run_names",
        RefusalCode.NOT_GRANTED,
        "the order carries",
        POOLED.but(spec={"grants": ("e" * 64, "d" * 64)}),
    ),
    Attack(
        "Sam runs on a grant that Eve has asked for",
        "request_is_signed_by_the_scientist",
        RefusalCode.NOT_GRANTED,
        "the scientist who asked",
        POOLED.but(requester=EVE),
    ),
    Attack(
        "a grant for another version is used for this one",
        "request_is_for_this_dataset",
        RefusalCode.NOT_GRANTED,
        "Request access to what the run uses",
        POOLED.but(
            request={"dataset": DatasetVersion(host=NORTH.public, name="access-2026", version="9" * 64)}
        ),
    ),
    Attack(
        "a grant is used after its expiry",
        "grant_has_not_expired",
        RefusalCode.GRANT_EXPIRED,
        "expired at",
        POOLED.but(grant={"expires_at": NOW}),
    ),
    Attack(
        "the coordinator extends a grant beyond what was asked",
        "grant_has_not_expired",
        RefusalCode.GRANT_EXPIRED,
        "expired at",
        POOLED.but(request={"expires_at": NOW}),
    ),
    Attack(
        "a grant is used once more than it allows",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        "covers 3 runs",
        POOLED.but(grant={"releases": 3}, releases_spent=3),
    ),
    Attack(
        "the coordinator grants more releases than were asked for",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        "covers 3 runs",
        POOLED.but(request={"releases": 3}, releases_spent=3),
    ),
    Attack(
        "a grant has more releases than the policy allows",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        "covers 3 runs",
        POOLED.with_dataset_policy(releases=3).but(releases_spent=3),
    ),
    Attack(
        "rows are handed out against the policy",
        "download_is_allowed",
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        "cannot be called back",
        POOLED.with_dataset_policy(download=False),
    ),
    Attack(
        "rows are handed out that were not asked for",
        "download_is_allowed",
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        "cannot be called back",
        POOLED.but(request={"download": False}),
    ),
    Attack(
        "a run selects so few rows that one can be told apart",
        "enough_rows_take_part",
        RefusalCode.TOO_FEW_ROWS,
        "uses 99 rows",
        POOLED.but(spec={"first_rows": 99}),
    ),
    Attack(
        "fewer owners take part than the policy requires",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        POOLED.with_dataset_policy(minimum_owners=3),
    ),
    Attack(
        "fewer owners take part than the request promised",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        POOLED.but(request={"minimum_owners": 3}),
    ),
    Attack(
        "fewer owners take part than the run itself requires",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        POOLED.but(spec={"minimum_owners": 3}),
    ),
    Attack(
        "one owner is alone under a backend that needs two",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "2 organisations",
        POOLED.with_dataset_policy(minimum_owners=1).but(
            spec={"datasets": owners(), "grants": granted_elsewhere(1)}
        ),
    ),
    Attack(
        "two hosts of one organisation count as two owners",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        POOLED.with_policy(peers=TWO_HOSTS_OF_ONE)
        .with_dataset_policy(minimum_owners=3)
        .but(
            spec={
                "datasets": owners(SOUTH.public, STRANGER.public),
                "grants": granted_elsewhere(3),
            }
        ),
    ),
    Attack(
        "the scientist's organisation holds the key as an owner",
        "scientist_belongs_to_no_owner",
        RefusalCode.SAME_ORGANISATION,
        "sam",
        POOLED.with_policy(
            scientists=[{"name": "sam", "key": SAM.public, "organisation": "south-bank"}],
        ),
    ),
    Attack(
        "the coordinator's operator holds the key as an owner",
        "coordinator_belongs_to_no_owner",
        RefusalCode.SAME_ORGANISATION,
        "operator cloud-house",
        POOLED.with_policy(
            peers=[{"name": "south", "card": card(SOUTH), "organisation": "cloud-house"}],
        ),
    ),
    Attack(
        "an owner computes with other files than the run pins",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        "models/linear",
        POOLED.but(order={"pins": (PINS[0].model_copy(update={"digest": "0" * 64}),)}),
    ),
    Attack(
        "an order leaves out a plugin that the run uses",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        "models/linear",
        POOLED.but(order={"pins": ()}),
    ),
    Attack(
        "rows are asked for before the owners have confirmed their key",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        "comes after confirm",
        POOLED.but(done=POOLED.done - {Done(Phase.CONFIRM)}),
    ),
    Attack(
        "a run is evaluated again as another round",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        "has no place",
        POOLED.but(phase=Phase.EVALUATE, done=POOLED.done | {Done(Phase.PREPARE)}, order={"round": 1}),
    ),
    Attack(
        "rows are to leave in a run that is local",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        "has no place",
        LOCAL.but(phase=Phase.PREPARE),
    ),
    *ON_GRANTS,
    *ON_USES,
    *ON_SHARES,
    *ON_PRIVACY,
]

REFERENCE_HOST = [
    Attack(
        "a host is used as reference host that does not serve as one",
        "this_host_serves_as_reference",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        "[reference] serves",
        SERVING.with_policy(reference={"serves": False}),
    ),
    Attack(
        "a reference host is asked to train a run that names another",
        "run_names_this_reference_host",
        RefusalCode.NOT_GRANTED,
        "as its reference host",
        SERVING.but(spec={"reference_host": STRANGER.public}),
    ),
    Attack(
        "a reference host computes with other files than the run pins",
        "plugins_are_those_pinned",
        RefusalCode.PLUGIN_MISMATCH,
        "models/linear",
        SERVING.but(order={"pins": ()}),
    ),
    Attack(
        "a reference host is to train before it has checked the run",
        "phase_follows_what_was_done",
        RefusalCode.OUT_OF_ORDER,
        "comes after check",
        SERVING.but(done=frozenset()),
    ),
]

ATTACKS = {
    "every_order": EVERY_ORDER,
    "all_work": ALL_WORK,
    "owner": OWNER,
    "reference_host": REFERENCE_HOST,
    "dealer": DEALER_HOST,
}
"""The attacks on each part of `fedcore.owner.policy.RULES`."""
