"""The gate: nothing that says something about rows leaves before every check here has allowed it.

The checks are this host's own (enough rows, as the policy says) and those that installed plugins add through
the hook `fedcore_before_release`. Every implementation is asked; a refusal, an error, or an answer that is no
verdict refuses. Forms and numbers were checked where the results were read.
"""

from __future__ import annotations

from typing import Any

from fedcore.owner.facts import Allowed, Decision, Refused, Role
from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.plugin_api.hookspecs import Release, Verdict
from fedcore.plugin_api.registry import Registry
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase

RELEASING = frozenset({Phase.SUMMARISE, Phase.PREPARE, Phase.TRAIN, Phase.EVALUATE})
"""The phases whose answers depend on rows. A run counts against its grant from the first of them on."""


def may_leave(work: PhaseWork, outcome: Outcome) -> Decision:
    """Whether this outcome may leave the host."""
    if work.order.phase not in RELEASING:
        return Allowed()
    if work.role is Role.OWNER:
        least = work.offer.minimum_rows
        if outcome.rows is None or outcome.rows < least:
            return Refused(
                RefusalCode.TOO_FEW_ROWS,
                f"{outcome.rows} rows stand behind {work.order.phase}, [datasets.{work.dataset_name}] minimum_rows is "
                f"{least}. Offer more rows, or lower the minimum.",
            )
    return ask_all(work.means.registry, _release(work, outcome))


def ask_all(registry: Registry, release: Release) -> Decision:
    """Ask every implementation of the veto. The first that does not clearly allow decides."""
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
