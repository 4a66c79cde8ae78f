"""What an owner's or dealer's workers compute in a run on shares: mask rows, deal a block, train.

Who can see what: see `fedcore.sharing`. The process that masks has the owner's own rows; the one that deals has mask
keys and no row; the one that trains has masked rows, one key for each part of them, and one side of what was dealt,
never the other side's.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.owner.description import Work
from fedcore.owner.peer_pipes import PeerPipes
from fedcore.owner.reading import Clock
from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.backends import ShareBackend
from fedcore.plugin_api.models import LabelledRows, ModelType
from fedcore.plugin_api.ring import RingVector
from fedcore.sharing.dealing import Dealer, Seeds
from fedcore.sharing.dealt import FirstMaterial, Material, SecondMaterial
from fedcore.sharing.joining import initial_parameters, initial_weights, linear_names, pack_weights
from fedcore.sharing.masking import MaskKeys, SharedRows, mask_rows, pack_masked, unpack_masked
from fedcore.sharing.party import Party
from fedcore.sharing.plan import SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.keys import read_secret
from fedcore.wire.sealing import KEY_BYTES

PAIR_BYTES: Final = 2 * KEY_BYTES


def plan(work: Work, backend: ShareBackend[Any]) -> SharedPlan:
    """The run's plan, as both compute owners and the dealer work it out."""
    return plan_of(work.training, Scales.of(backend), work.sharing.columns, work.sharing.rows)


def masked(work: Work, part: int, rows: LabelledRows, backend: ShareBackend[Any]) -> bytes:
    """One part of this owner's rows, masked."""
    keys = MaskKeys.of_part(_secret(work), part)
    return pack_masked(mask_rows(rows, keys, backend.fraction_bits, backend.largest))


def dealt(work: Work, block: int, backend: ShareBackend[Any]) -> bytes:
    """The second compute owner's corrections for one block."""
    pairs = Path(work.inputs[0]).read_bytes()
    keys = [
        MaskKeys(pairs[start : start + KEY_BYTES], pairs[start + KEY_BYTES : start + PAIR_BYTES])
        for start in range(0, len(pairs), PAIR_BYTES)
    ]
    return pack_arrays(Dealer(plan(work, backend), keys, Seeds.of(_secret(work))).block(block))


def train(work: Work, backend: ShareBackend[Any], model: ModelType[Any], clock: Clock) -> bytes:
    """Train with the other compute owner; this side's share of the final weights.

    The inputs are the masked parts, each behind this side's key for it, and then what was dealt: the first side's
    seed, or the second side's blocks, each behind its seed.
    """
    followed = plan(work, backend)
    side, parts = work.sharing.side, len(work.sharing.rows)
    if side is None:
        raise invalid("the work names no side")
    with clock.stage("opening"):
        rows = SharedRows.of(_parts(work.inputs[:parts], followed.width), followed.total * followed.width)
        weights = _initial(work, followed, model, side)
    with clock.stage("training"), PeerPipes(Path(work.sharing.pipes or "")) as peer:
        share = Party(followed, side, rows, weights, peer).train(
            _material(followed, side, work.inputs[parts:])
        )
    return pack_weights(share)


def mapped(path: Path) -> memoryview:
    """The bytes of a file, read as they are looked at. Raises `WireError` (`artefact_invalid`) where there are none."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            raise invalid(f"{path.name} is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def _initial(work: Work, followed: SharedPlan, model: ModelType[Any], side: int) -> RingVector:
    """The initial weights are public: the first side holds them, the second one holds zeros."""
    if side:
        return np.zeros(followed.columns + 1, np.uint64)
    parameters = initial_parameters(model, followed.columns, work.training)
    return initial_weights(parameters, linear_names(model), followed.scales)


def _parts(paths: tuple[str, ...], width: int) -> Iterator[tuple[NDArray[np.uint64], bytes]]:
    for path in paths:
        data = mapped(Path(path))
        yield unpack_masked(data[KEY_BYTES:], width), bytes(data[:KEY_BYTES])


def _material(followed: SharedPlan, side: int, paths: tuple[str, ...]) -> Iterator[Material]:
    if side == 0:
        seed = Path(paths[0]).read_bytes()
        yield from (FirstMaterial(followed, seed, block) for block in range(followed.blocks))
        return
    for block, path in enumerate(paths):
        data = mapped(Path(path))
        corrections, _ = unpack_arrays(data[KEY_BYTES:])
        yield SecondMaterial(followed, bytes(data[:KEY_BYTES]), block, corrections)


def _secret(work: Work) -> bytes:
    if work.sharing.secret is None:
        raise invalid("the work names no secret")
    return read_secret(Path(work.sharing.secret))
