"""The phases of a run on shares: an owner prepares shares, the dealer deals, the compute owners train.

Who can see what: see `fedcore.sharing`. Everything is sealed to the one host that is to read it: masked rows with one
side's keys to each compute owner, both sides' keys to the dealer, what is dealt to each compute owner. The coordinator
carries it, and gets the two shares of the final weights.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedcore.owner import sharing_work
from fedcore.owner.agreement_phases import agreed_key
from fedcore.owner.datasets import rounded
from fedcore.owner.describing import compute, describe, inputs_of
from fedcore.owner.description import Kind, Sharing
from fedcore.owner.evidence import Said, only_artefact
from fedcore.owner.fitting_phases import check_states
from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.owner.relay import Relay
from fedcore.owner.release_checks import two_digits
from fedcore.owner.shards import add_seconds
from fedcore.owner.spool import make_directory
from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.backends import ShareBackend
from fedcore.sharing.dealing import Seeds
from fedcore.sharing.joining import unpack_weights
from fedcore.sharing.masking import MaskKeys
from fedcore.sharing.plan import SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Dealt, Prepared, Trained
from fedcore.wire.sealing import KEY_BYTES, open_at_host, seal_to_host

SHARES: Final = "shares"
DEALT: Final = "dealt"
WEIGHTS: Final = "weights"
MOST_PARTS: Final = 10_000
"""As many artefacts fit into one report."""

_ROWS: Final = "rows"
_KEYS: Final = "keys"


@dataclass(frozen=True)
class Keys:
    """What the dealer is told of one owner's parts: how many rows each has, and both sides' keys of each."""

    rows: tuple[int, ...]
    pairs: bytes

    def pack(self) -> bytes:
        return pack_arrays({_ROWS: np.array(self.rows, np.int64), _KEYS: np.frombuffer(self.pairs, np.uint8)})

    @classmethod
    def unpack(cls, data: bytes) -> Keys:
        """Raises `WireError` (`artefact_invalid`)."""
        arrays, _ = unpack_arrays(data)
        rows, keys = arrays.get(_ROWS), arrays.get(_KEYS)
        if (
            len(arrays) != 2
            or rows is None
            or keys is None
            or rows.dtype != np.int64
            or keys.dtype != np.uint8
        ):
            raise invalid("these are no keys of masked rows")
        if rows.ndim != 1 or not len(rows) or keys.shape != (len(rows) * sharing_work.PAIR_BYTES,):
            raise invalid("the keys do not fit the parts")
        if int(rows.min()) < 1 or int(rows.max()) > 2**40:
            raise invalid("a part of masked rows has no usable number of rows")
        return cls(tuple(int(number) for number in rows), keys.tobytes())


def prepare_shares(work: PhaseWork) -> Outcome:
    """This owner's training rows as shares, sealed to the compute owners, and the keys, sealed to the dealer."""
    agreed_key(work)
    check_states(work)
    secret = work.folder.mask_secret(create=True)
    work.folder.forget_shares()
    sharing = Sharing(secret=str(work.folder.mask_secret_path))
    finished = compute(work, describe(work, Kind.MASK, states=work.folder.states, sharing=sharing))
    started = time.perf_counter()
    tasks = [task for task, facts in enumerate(finished) if facts.rows]
    if not tasks:
        raise WireError(RefusalCode.DATASET_EMPTY, "no training row is left")
    columns = finished[tasks[0]].columns
    pairs = [MaskKeys.of_part(secret, task) for task in tasks]
    refs = [ref for place, task in enumerate(tasks) for ref in _share(work, place, task, pairs[place])]
    keys = Keys(
        tuple(finished[task].rows for task in tasks), b"".join(pair.first + pair.second for pair in pairs)
    )
    refs.append(_sealed(work, keys.pack(), SHARES, 0, _dealer(work)))
    rows = sum(facts.rows for facts in finished)
    result = Prepared(
        rows=rounded(rows, work.offer.round_rows_to),
        columns=columns,
        plaintext_bytes=two_digits(sum(facts.plaintext_bytes for facts in finished)),
    )
    seconds = {**add_seconds(finished), "sealing": time.perf_counter() - started}
    return Outcome(result, tuple(refs), rows, seconds)


def deal(work: PhaseWork) -> Outcome:
    """The correlated randomness of the whole training, for the two compute owners."""
    said = work.evidence.of(Prepared, work.roster, Phase.PREPARE)
    keys = [_keys_of(work, said[owner]) for owner in work.roster]
    rows = tuple(number for part in keys for number in part.rows)
    columns = _columns(said)
    plan = plan_of(work.spec.training, Scales.of(_backend(work)), columns, rows)
    _check_size(work, plan)
    secret = work.folder.deal_secret(create=True)
    inputs = inputs_of(work, [("keys", b"".join(part.pairs for part in keys))])
    sharing = Sharing(
        columns=columns, rows=rows, secret=str(work.folder.deal_secret_path), blocks=plan.blocks
    )
    finished = compute(work, describe(work, Kind.DEAL, own_rows=False, inputs=inputs, sharing=sharing))
    started = time.perf_counter()
    seeds = Seeds.of(secret)
    first, second = work.spec.compute_owners
    refs = [_sealed(work, seeds.first, DEALT, 0, first)]
    for block in range(len(finished)):
        work.go_on()
        payload = work.spool.payload_path(block)
        refs.append(_sealed(work, seeds.second + payload.read_bytes(), DEALT, block, second))
    seconds = {**add_seconds(finished), "sealing": time.perf_counter() - started}
    return Outcome(Dealt(), tuple(refs), None, seconds)


def _check_size(work: PhaseWork, plan: SharedPlan) -> None:
    """Refuse to deal more than the dealer's own policy allows, before anything is computed."""
    limit = work.means.policy.dealer.release_mb * 1024 * 1024
    if plan.dealt_bytes > limit or plan.blocks >= MOST_PARTS:
        raise WireError(
            RefusalCode.TOO_LARGE,
            f"{plan.dealt_bytes} bytes would be dealt, [dealer] release_mb allows {limit}. Train fewer epochs or "
            "rows, or with larger batches",
        )


def train_shares(work: PhaseWork) -> Outcome:
    """Train with the other compute owner. What leaves is this side's share of the final weights."""
    side = work.spec.compute_owners.index(work.host)
    dealer = _dealer(work)
    said = work.evidence.of(Prepared, work.roster, Phase.PREPARE)
    dealt = work.evidence.of(Dealt, (dealer,), Phase.DEAL)[dealer]
    work.folder.use_shares()
    started = time.perf_counter()
    make_directory(work.spool.inputs)
    parts = [path for owner in work.roster for path in _opened_shares(work, said[owner])]
    columns = _columns(said)
    rows = tuple(_rows_in(path, columns) for path in parts)
    blocks = list(_opened(work, dealt, DEALT))
    opening = time.perf_counter() - started
    sharing = Sharing(columns=columns, rows=rows, side=side, pipes=str(work.spool.directory))
    inputs = tuple(str(path) for path in (*parts, *blocks))
    try:
        description = describe(work, Kind.TRAIN_SHARES, own_rows=False, inputs=inputs, sharing=sharing)
        with _relay(work, work.spec.compute_owners[1 - side]) as relay:
            (facts,) = compute(work, description, relay.check)
    finally:
        work.spool.forget_inputs()
    data = work.spool.payload_path(0).read_bytes()
    unpack_weights(data, columns)
    ref = ArtefactRef(role=WEIGHTS, digest=work.spool.keep_artefact(data), size=len(data))
    trained = Trained(rows=rounded(facts.rows, work.offer.round_rows_to), curve=None)
    return Outcome(trained, (ref,), facts.rows, {**add_seconds([facts]), "opening": opening})


def _relay(work: PhaseWork, peer: str) -> Relay:
    home, url = work.means.home, work.means.policy.coordinator.url
    return Relay(url, home.signing_key, work.order.id, work.run, peer, work.spool.directory)


def shares_context(run: str, sender: str, receiver: str, role: str, part: int) -> str:
    """What sealed shares, keys and dealt randomness are bound to."""
    return f"{run}/{role}/{sender}/{receiver}/{part}"


def _share(work: PhaseWork, place: int, task: int, keys: MaskKeys) -> Iterator[ArtefactRef]:
    """One masked part with one side's key, for each compute owner. What is this host's own stays here."""
    payload = work.spool.payload_path(task).read_bytes()
    for side, host in enumerate(work.spec.compute_owners):
        data = keys.of_side(side) + payload
        if host == work.host:
            work.folder.keep_share(place, data)
        else:
            yield _sealed(work, data, SHARES, place, host)


def _sealed(work: PhaseWork, data: bytes, role: str, part: int, host: str) -> ArtefactRef:
    peer = work.means.policy.peer(host)
    if peer is None:
        raise WireError(RefusalCode.UNKNOWN_PEER, f"{host} is not pinned")
    sealed = seal_to_host(data, peer.sealing_key, shares_context(work.run, work.host, host, role, part))
    return ArtefactRef(
        role=role, part=part, digest=work.spool.keep_artefact(sealed), size=len(sealed), audience=host
    )


def _opened_shares(work: PhaseWork, said: Said[Prepared]) -> list[Path]:
    return work.folder.shares if said.host == work.host else list(_opened(work, said, SHARES))


def _opened(work: PhaseWork, said: Said[Any], role: str) -> Iterator[Path]:
    """What a host has sealed to this one, opened into files of this order, in the order of the parts."""
    refs = sorted(
        (ref for ref in said.artefacts if ref.role == role and ref.audience == work.host),
        key=lambda ref: ref.part,
    )
    if [ref.part for ref in refs] != list(range(len(refs))) or not refs:
        raise invalid(f"the parts of {said.host} for this host are not numbered from 0")
    for ref in refs:
        work.go_on()
        name = f"{role}-{work.spec.members.index(said.host)}-{ref.part}"
        yield work.spool.keep_input(name, _open(work, said.host, ref))


def _open(work: PhaseWork, sender: str, ref: ArtefactRef) -> bytes:
    sealed = work.download(ref)
    context = shares_context(work.run, sender, work.host, ref.role, ref.part)
    data = open_at_host(sealed.read_bytes(), work.means.home.sealing_key, context)
    sealed.unlink()
    return data


def _keys_of(work: PhaseWork, said: Said[Prepared]) -> Keys:
    return Keys.unpack(_open(work, said.host, only_artefact(said, SHARES, work.host)))


def _rows_in(path: Path, columns: int) -> int:
    """How many masked rows a file has behind its key."""
    arrays, _ = unpack_arrays(sharing_work.mapped(path)[KEY_BYTES:])
    shapes = [array.shape for array in arrays.values()]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] not in (columns + 1, columns + 2):
        raise invalid("masked rows do not have the columns that their owner reports")
    return int(shapes[0][0])


def _columns(said: dict[str, Said[Prepared]]) -> int:
    found = {one.result.columns for one in said.values()}
    if len(found) != 1:
        raise invalid(f"owners have prepared {sorted(found)} columns")
    return found.pop()


def _dealer(work: PhaseWork) -> str:
    if work.spec.dealer is None:
        raise WireError(RefusalCode.OUT_OF_ORDER, "the run has no dealer")
    return work.spec.dealer


def _backend(work: PhaseWork) -> ShareBackend[Any]:
    found: Any = work.means.registry.of_type(ShareBackend, work.spec.backend.name)
    backend: ShareBackend[Any] = found(work.spec.backend.options)
    return backend
