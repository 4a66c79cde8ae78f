"""The phases in which the owners of a run agree on its key: offer, share, confirm.

Who can see what: see `fedcore.wire.agreement`. Each phase may be done again after a crash with the same answer,
because what it answers with is kept in the run's folder before it is sent. The ephemeral key is deleted when
the run's key is kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.owner.run_folder import Agreement, public_of
from fedcore.wire.agreement import check_proofs, open_share, proof_of, run_key_of, seal_shares, transcript_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Phase
from fedcore.wire.reports import Confirmed, Offered, SealedShare, Shared


def offer(work: PhaseWork) -> Outcome:
    """Make the ephemeral key, and offer its public half."""
    return Outcome(Offered(ephemeral=public_of(work.folder.ephemeral(create=True))))


def share(work: PhaseWork) -> Outcome:
    """Make this host's contribution, and seal it to every other owner."""
    ephemerals = _offers(work)
    transcript = transcript_of(work.run, ephemerals)
    known = work.folder.agreement()
    if known is not None and known.transcript != transcript:
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, "the ephemeral keys changed after they were known")
    ephemeral = work.folder.ephemeral()
    if public_of(ephemeral) != ephemerals[work.host]:
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, "the offer of this host is not its ephemeral key")
    work.folder.keep_agreement(Agreement(transcript=transcript))
    contribution = work.folder.contribution(create=True)
    shares = seal_shares(contribution, ephemeral, work.host, ephemerals, transcript)
    return Outcome(Shared(transcript=transcript, shares=shares))


def confirm(work: PhaseWork) -> Outcome:
    """Open the other owners' contributions, keep the run's key, and prove that this host holds it."""
    ephemerals = _offers(work)
    transcript = transcript_of(work.run, ephemerals)
    known = work.folder.agreement()
    if known is None or known.transcript != transcript:
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, "the ephemeral keys are not those of the shares")
    if not work.folder.run_key_path.exists():
        contributions = _contributions(work, ephemerals, transcript)
        work.folder.keep_run_key(run_key_of(contributions, transcript), known)
    return Outcome(Confirmed(proof=proof_of(work.folder.run_key(), transcript, work.host)))


def agreed_key(work: PhaseWork) -> bytes:
    """The run's key, once every owner's proof that it holds the same one was checked.

    The proofs come as evidence of the first order that needs the key; that they were good is kept.
    """
    agreement = work.folder.agreement()
    if agreement is None or not work.folder.run_key_path.exists():
        raise WireError(RefusalCode.OUT_OF_ORDER, "the owners have not agreed on a key here")
    key = work.folder.run_key()
    if work.evidence.has(Phase.CONFIRM) or not agreement.confirmed:
        said = work.evidence.of(Confirmed, work.roster, Phase.CONFIRM)
        check_proofs(key, agreement.transcript, {host: said[host].result.proof for host in said})
        work.folder.keep_agreement(Agreement(transcript=agreement.transcript, confirmed=True))
    return key


def _offers(work: PhaseWork) -> dict[str, str]:
    if len(work.roster) < 2:
        raise WireError(RefusalCode.TOO_FEW_OWNERS, "a key is agreed between two owners or more")
    said = work.evidence.of(Offered, work.roster, Phase.OFFER)
    return {host: said[host].result.ephemeral for host in work.roster}


def _contributions(work: PhaseWork, ephemerals: Mapping[str, str], transcript: str) -> dict[str, bytes]:
    ephemeral = work.folder.ephemeral()
    contributions = {work.host: work.folder.contribution()}
    for host, said in work.evidence.of(Shared, work.roster, Phase.SHARE).items():
        if said.result.transcript != transcript:
            raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"{host} was shown other ephemeral keys")
        if host != work.host:
            share = _share_for(work.host, host, said.result.shares)
            contributions[host] = open_share(share, host, ephemeral, ephemerals, transcript)
    return contributions


def _share_for(receiver: str, sender: str, shares: tuple[SealedShare, ...]) -> SealedShare:
    found = [share for share in shares if share.to == receiver]
    if len(found) != 1:
        raise WireError(RefusalCode.KEY_AGREEMENT_FAILED, f"{sender} has {len(found)} shares for this host")
    return found[0]
