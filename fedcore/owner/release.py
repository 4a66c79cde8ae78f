"""The gate: nothing leaves this host before every check here has allowed it.

How to read it: `PERMITTED` (in `fedcore.owner.release_checks`) says what may leave at all, by role, protocol and phase:
which result, which artefacts, and for whom. `CHECKS` beside it is the gate, one line for each check; they see what
would leave and the policy, and nothing else. Whatever is not clearly allowed is refused, an error inside a check
included. After them come the checks that installed plugins add through the hook `fedcore_before_release`: every
implementation is asked, and a refusal, an error, or an answer that is no verdict refuses. So does a package that the
policy names and that could not be loaded: nobody knows what its checks would have said.

What leaves exactly, and why: under `pooled` the number of rows, because the rows themselves leave; counts of scores by
class, because metrics are computed from them (`minimum_class_rows` bounds what they say of single rows); wall times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fedcore.owner.description import LEAST_ROWS
from fedcore.owner.facts import Allowed, Decision, Refused, Role
from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.owner.phases import RELEASING
from fedcore.owner.release_checks import CHECKS, Leaving
from fedcore.plugin_api.backends import Leak
from fedcore.plugin_api.hookspecs import Release, Verdict
from fedcore.plugin_api.registry import Registry
from fedcore.wire.codes import RefusalCode

Check = Callable[[Leaving], Decision]


def may_leave(work: PhaseWork, outcome: Outcome) -> Decision:
    """Whether this outcome may leave the host."""
    decision = passes(leaving_of(work, outcome))
    if isinstance(decision, Refused) or work.order.phase not in RELEASING:
        return decision
    return ask_all(work.means.registry, _release(work, outcome))


def passes(leaving: Leaving, checks: Iterable[Check] = CHECKS) -> Decision:
    """Whether all checks allow it. `checks` are `CHECKS` but for tests that ask what each is worth."""
    for check in checks:
        try:
            answer: object = check(leaving)
        except Exception as error:
            return Refused(
                RefusalCode.INTERNAL, f"Check {check.__name__} failed with {error!r}, so it refuses."
            )
        if isinstance(answer, Refused):
            return answer
        if not isinstance(answer, Allowed):
            return Refused(RefusalCode.INTERNAL, f"Check {check.__name__} gave no answer, so it refuses.")
    return Allowed()


def is_reviewed(work: PhaseWork) -> bool:
    """Whether what this order lets leave waits until a person of the host has released it."""
    return work.role is Role.OWNER and work.order.phase in RELEASING and work.offer.release == "review"


def leaving_of(work: PhaseWork, outcome: Outcome) -> Leaving:
    """What would leave, as the checks see it."""
    owner = work.role is Role.OWNER
    backend: Any = work.means.registry.get("encryption", work.spec.backend.name)
    kept = work.spool.artefacts
    return Leaving(
        phase=work.order.phase,
        role=work.role,
        protocol=work.spec.protocol,
        subject=f"[datasets.{work.dataset_name}]" if owner else f"[{work.role}]",
        host=work.host,
        owners=work.roster,
        reference_host=work.spec.reference_host,
        compute_owners=work.spec.compute_owners,
        dealer=work.spec.dealer,
        result=outcome.result,
        artefacts=outcome.artefacts,
        rows=outcome.rows,
        kept={path.name: path.stat().st_size for path in kept.iterdir()} if kept.is_dir() else {},
        offer=work.offer if owner else None,
        round_rows_to=work.offer.round_rows_to if owner else LEAST_ROWS,
        least_rows=work.offer.minimum_rows if owner else LEAST_ROWS,
        batch_size=work.spec.training.batch_size,
        shows_plaintext=Leak.PLAINTEXT in backend.leakage,
        private=work.spec.privacy.epsilon_micro != "none",
        classes=len(work.means.datasets.open(work.dataset_name).reader.classes) if owner else None,
    )


def ask_all(registry: Registry, release: Release) -> Decision:
    """Ask every implementation of the veto. The first that does not clearly allow, or cannot be asked, decides."""
    for why in registry.unasked:
        return Refused(
            RefusalCode.RELEASE_REFUSED,
            f"{why} It may check releases and cannot be asked, so nothing is released. Mend it, take it out of "
            "[[plugins]], or set checks_releases = false in its entry if it has no such check.",
        )
    for implementation in registry.veto.get_hookimpls():
        where = f"The check {implementation.plugin_name}"
        known: dict[str, Any] = {"release": release}
        try:
            answer = implementation.function(*(known[name] for name in implementation.argnames))
        except Exception as error:
            return Refused(RefusalCode.RELEASE_REFUSED, f"{where} failed with {error!r}, so it refuses.")
        if not isinstance(answer, Verdict):
            return Refused(RefusalCode.RELEASE_REFUSED, f"{where} gave no verdict, so it refuses.")
        if answer.allowed is not True:
            return Refused(
                RefusalCode.RELEASE_REFUSED, f"{where} refuses: {answer.reason or 'no reason given'}."
            )
    return Allowed()


def _release(work: PhaseWork, outcome: Outcome) -> Release:
    return Release(
        run=work.run,
        phase=work.order.phase,
        dataset=work.dataset_name if work.role is Role.OWNER else "",
        scientist=work.order.spec.signer,
        rows=outcome.rows or 0,
        artefacts=outcome.artefacts,
    )
