"""The phases in which fitted steps are fitted over all owners: summarise and settle; and the check of their states.

Who can see what: a summary is sealed under the run's key, so the coordinator that carries it reads nothing; the
other owners read this owner's counts of protected tokens. Every owner adds up the same summaries itself, in the
order of the spec, and all compare the digest of the state before anything is made with it.
"""

from __future__ import annotations

import time

from fedcore.owner.agreement_phases import agreed_key
from fedcore.owner.describing import compute, describe, inputs_of
from fedcore.owner.description import Kind
from fedcore.owner.evidence import Said, only_artefact
from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.owner.shards import add_seconds
from fedcore.owner.spool import OrderSpool, digest_of
from fedcore.plugin_api.pipeline import state_digest
from fedcore.plugin_api.serialise import pack_summary, unpack_state, unpack_summary
from fedcore.plugin_api.steps import FittedStep, Summary
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase, order_id
from fedcore.wire.reports import Settled, Summarised
from fedcore.wire.sealing import open_under_run_key, seal_under_run_key


def summarise(work: PhaseWork) -> Outcome:
    """This owner's summary of its training rows for one round of a fitted step, sealed to the other owners."""
    key, place, round = agreed_key(work), work.order.step, work.order.round
    if round == 0:
        check_states(work, before=place)
    sums = _sums(work, key, place, round)
    states = {earlier: path for earlier, path in work.folder.states.items() if earlier < place}
    finished = compute(work, describe(work, Kind.SUMMARISE, states=states, place=place, sums=sums))
    started = time.perf_counter()
    parts = [unpack_summary(work.spool.payload_path(task).read_bytes()) for task in range(len(finished))]
    context = summary_context(work.run, work.host, place, round)
    sealed = seal_under_run_key(pack_summary(Summary.add(parts)), key, context)
    ref = ArtefactRef(role="summary", digest=work.spool.keep_artefact(sealed), size=len(sealed))
    seconds = {**add_seconds(finished), "sealing": time.perf_counter() - started}
    return Outcome(Summarised(), (ref,), sum(facts.rows for facts in finished), seconds)


def settle(work: PhaseWork) -> Outcome:
    """The state of a fitted step from all owners' summaries; the report carries its digest."""
    key, place = agreed_key(work), work.order.step
    step = work.pipeline().steps[place]
    if not isinstance(step, FittedStep):
        raise WireError(RefusalCode.OUT_OF_ORDER, f"step {place} is not fitted")
    sums = _sums(work, key, place, step.rounds)
    (facts,) = compute(work, describe(work, Kind.SETTLE, own_rows=False, place=place, sums=sums))
    state = unpack_state(work.spool.payload_path(0).read_bytes())
    work.folder.keep_state(place, state)
    return Outcome(Settled(state=state_digest(state)), seconds=add_seconds([facts]))


def check_states(work: PhaseWork, before: int | None = None) -> None:
    """Raise `WireError` (`state_mismatch`) unless all owners hold the states of the fitted steps that this host holds.

    `before` limits the check to the steps before that place.
    """
    for place in work.pipeline().fitted:
        if before is not None and place >= before:
            continue
        own = state_digest(unpack_state(work.folder.state_path(place).read_bytes()))
        for host, said in work.evidence.of(Settled, work.roster, Phase.SETTLE, place).items():
            if said.result.state != own:
                raise WireError(RefusalCode.STATE_MISMATCH, f"{host} holds another state of step {place}")


def summary_context(run: str, host: str, place: int, round: int) -> str:
    """What a sealed summary is bound to."""
    return f"{run}/summary/{host}/{place}/{round}"


def _sums(work: PhaseWork, key: bytes, place: int, rounds: int) -> tuple[str, ...]:
    """The sums over all owners of the first `rounds` rounds, as files for the workers."""
    sums = []
    for round in range(rounds):
        said = work.evidence.of(Summarised, work.roster, Phase.SUMMARISE, place, round)
        total = Summary.add([_opened(work, key, said[host], place, round) for host in work.roster])
        sums.append((f"sum-{round}.safetensors", pack_summary(total)))
    return inputs_of(work, sums)


def _opened(work: PhaseWork, key: bytes, said: Said[Summarised], place: int, round: int) -> Summary:
    ref = only_artefact(said, "summary", None)
    # This host's own summary still lies in the spool of the order that asked for it.
    own = order_id(work.run, Phase.SUMMARISE, place, round, work.host)
    kept = OrderSpool(work.means.home.spool_directory(own)).artefacts / ref.digest
    here = said.host == work.host and kept.exists() and digest_of(kept) == ref.digest
    sealed = (kept if here else work.download(ref)).read_bytes()
    return unpack_summary(open_under_run_key(sealed, key, summary_context(work.run, said.host, place, round)))
