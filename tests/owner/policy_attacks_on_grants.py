"""Attacks that use a grant beyond what this host was told of it, what a person here has set, or the ceilings."""

from __future__ import annotations

from typing import Any

from fedcore.owner.facts import LedgerFacts, Ruling
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Privacy, Protocol

from .attack import Attack
from .policy_cases import EVE, NOW, POOLED, PRIVATE, SAM, Case

DAY = 86_400


def above(what: str, why: str, case: Case) -> Attack:
    """Nobody here has confirmed the grant, and it goes beyond the ceilings."""
    return Attack(what, "grant_takes_effect", RefusalCode.GRANT_NOT_CONFIRMED, why, case.but(ruling=None))


def widened(what: str, rule: str, code: RefusalCode, why: str, case: Case = POOLED, **held: Any) -> Attack:
    """The order's grant goes as far as the request; this host holds narrower limits."""
    return Attack(f"the coordinator widens {what} again", rule, code, why, case.but(held=held))


BEYOND_CEILINGS = [
    above(
        "a grant runs that nobody confirmed, on a dataset without ceilings",
        "purposes: security-research (at once: nothing)",
        POOLED.with_dataset_policy(ceilings={}),
    ),
    above(
        "a grant runs unconfirmed for a purpose beyond the ceilings",
        "purposes: security-research (at once: research)",
        POOLED.with_ceilings(purposes=["research"]),
    ),
    above(
        "a grant runs unconfirmed that has a protocol beyond the ceilings",
        "protocols: reference, pooled, shared (at once: local)",
        POOLED.with_ceilings(protocols=["local"]),
    ),
    above(
        "a grant runs unconfirmed that has a backend beyond the ceilings",
        "backends: keyed_tokens",
        POOLED.with_ceilings(backends=["plaintext"]),
    ),
    above(
        "a grant runs unconfirmed that has a model type beyond the ceilings",
        "models: linear",
        POOLED.with_ceilings(models=["mlp"]),
    ),
    above(
        "a grant runs unconfirmed whose steps make pieces of words",
        "character_steps: char_ngrams",
        POOLED.with_dataset_policy(character_steps=["char_ngrams"]).but(character_steps=("char_ngrams",)),
    ),
    above(
        "a grant runs unconfirmed with more releases than the ceilings have",
        "releases: 10 (at once: at most 9)",
        POOLED.with_ceilings(releases=9),
    ),
    above(
        "a grant runs unconfirmed that asks for fewer owners than the ceilings",
        "minimum_owners: 2 (at once: 3 or more)",
        POOLED.with_ceilings(minimum_owners=3),
    ),
    above(
        "a grant runs unconfirmed that lasts longer than the ceilings",
        "days: 3.0 (at once: at most 2)",
        POOLED.but(
            request={"expires_at": NOW + 2 * DAY}, grant={"expires_at": NOW + 2 * DAY}, received_at=NOW - DAY
        ),
    ),
    above(
        "a grant without epsilon runs unconfirmed where the ceilings have one",
        "epsilon: none (at once: at most 1.0)",
        POOLED.with_ceilings(epsilon=1.0),
    ),
    above(
        "all runs of a grant together cost more than the ceilings have, and each of them less",
        "epsilon: 3 (at once: at most 2.0)",
        PRIVATE.with_dataset_policy(epsilon=1.0).with_ceilings(epsilon=2.0),
    ),
    above(
        "a grant names no epsilon, and the policy's for each run adds up to more than the ceilings have",
        "epsilon: 10 (at once: at most 2.0)",
        PRIVATE.but(request={"privacy": Privacy()})
        .with_dataset_policy(epsilon=1.0)
        .with_ceilings(epsilon=2.0),
    ),
    above(
        "a grant runs unconfirmed that lets rows be downloaded",
        "download: pseudonymised rows",
        POOLED.with_ceilings(download=False),
    ),
]

ON_GRANTS = [
    *BEYOND_CEILINGS,
    Attack(
        "Eve, a scientist here too, signs the text of Sam's request as her own",
        "grant_is_held_for_the_scientist",
        RefusalCode.NOT_GRANTED,
        "Request access with a request of one's own",
        POOLED.with_policy(
            scientists=[
                {"name": "sam", "key": SAM.public, "organisation": "university"},
                {"name": "eve", "key": EVE.public, "organisation": "institute"},
            ]
        ).but(scientist=EVE, requester=EVE, held_for=SAM),
    ),
    Attack(
        "an order comes at night, and the policy allows work by day",
        "hours_allow_work",
        RefusalCode.OUTSIDE_HOURS,
        "allows work at 09:00-17:00, 22:00-06:00 UTC, and it is 08:00",
        POOLED.with_dataset_policy(hours=["09:00-17:00", "22:00-06:00"]),
    ),
    Attack(
        "a grant is used that a person on this host has refused",
        "grant_is_not_refused_here",
        RefusalCode.NOT_GRANTED,
        "was refused on this host",
        # Refused is not confirmed: without the rule only the ceilings would be left, and they allow it.
        POOLED.but(ruling=Ruling.REFUSED),
    ),
    Attack(
        "a grant is used that is revoked on this host",
        "grant_is_not_revoked_here",
        RefusalCode.GRANT_REVOKED,
        "is revoked on this host",
        POOLED.but(ruling=Ruling.REVOKED),
    ),
    Attack(
        "a run uses a protocol that was asked for and not granted",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        "grant covers the protocols local",
        POOLED.but(grant={"protocols": (Protocol.LOCAL,)}),
    ),
    Attack(
        "a run uses a backend that was asked for and not granted",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "grant covers the backends plaintext",
        POOLED.but(grant={"backends": ("plaintext",)}),
    ),
    Attack(
        "a run trains a model that was asked for and not granted",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        "grant covers the models mlp",
        POOLED.but(request={"models": ("linear", "mlp")}, grant={"models": ("mlp",)}),
    ),
    Attack(
        "fewer owners take part than the grant requires",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        POOLED.but(grant={"minimum_owners": 3}),
    ),
    widened(
        "the protocols",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        "grant covers the protocols local",
        protocols=(Protocol.LOCAL,),
    ),
    widened(
        "the backends",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "grant covers the backends plaintext",
        backends=("plaintext",),
    ),
    widened(
        "the model types",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        "grant covers the models none",
        models=(),
    ),
    widened(
        "the minimum of owners",
        "enough_owners_take_part",
        RefusalCode.TOO_FEW_OWNERS,
        "3 organisations",
        minimum_owners=3,
    ),
    widened(
        "the epsilon",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        POOLED.but(ledger=LedgerFacts(grant_micro=0)),
        epsilon_micro=1,
    ),
    widened("the period", "grant_has_not_expired", RefusalCode.GRANT_EXPIRED, "expired at", expires_at=NOW),
    widened(
        "the number of releases",
        "releases_are_left",
        RefusalCode.RELEASES_SPENT,
        "covers 3 runs",
        POOLED.but(releases_spent=3),
        releases=3,
    ),
    widened(
        "the leave to download",
        "download_is_allowed",
        RefusalCode.DOWNLOAD_NOT_ALLOWED,
        "cannot be called back",
        download=False,
    ),
    Attack(
        "the coordinator grants a protocol that was not asked for",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        "grant covers the protocols local",
        POOLED.but(
            request={"protocols": (Protocol.LOCAL,)},
            grant={"protocols": tuple(Protocol)},
            held={"protocols": tuple(Protocol)},
        ),
    ),
    Attack(
        "the coordinator grants without the epsilon that was asked for",
        "privacy_limit_is_kept",
        RefusalCode.EPSILON_NOT_ALLOWED,
        "promises none",
        POOLED.but(
            request={"privacy": Privacy(epsilon_micro=1_000_000)},
            grant={"epsilon_micro": "none"},
            held={"epsilon_micro": "none"},
            ledger=PRIVATE.ledger,
        ),
    ),
]
