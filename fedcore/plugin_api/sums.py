"""Backends that give an aggregator nothing but the sum of what all owners of a run have.

Each owner has an X25519 key that it made for the run (RFC 7748); each pair of owners computes a seed of 256 bits from
the two keys with HKDF-SHA256 (RFC 5869), bound to the run, to the roster of all owners and their keys, and to the two
owners. From a seed and a `SumContext` comes a key that masks one vector, once. What the owners send adds up to their
sum, modulo 2^64, when the contributions of all of them are there; `fedcore.plugin_api.ring` makes numbers into such
integers and back.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from fedcore.plugin_api.arrays import invalid, pack_arrays, unpack_arrays
from fedcore.plugin_api.backends import EncryptionBackend
from fedcore.plugin_api.ciphers import key_invalid, out_of_range
from fedcore.plugin_api.plugins import SomeOptions
from fedcore.plugin_api.ring import RingVector, checked_ring
from fedcore.wire.agreement import pair_key, transcript_of
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import LARGEST_INTEGER, WireError
from fedcore.wire.keys import decode_key, encode_key
from fedcore.wire.sealing import derive

MOST_NUMBERS: Final = 2**28
"""How long a vector may be: 2 GiB. So few blocks of a 128-bit cipher look random under one key (below 2^-70)."""

_RUN: Final = re.compile(r"[0-9a-f]{64}")
_WHAT: Final = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
_VALUES: Final = "values"
_TEXTS: Final = frozenset({"backend", "roster", "what", "round", "place"})
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class Roster:
    """All owners of a run: each host's signing key, with the X25519 key that it has made for this run.

    The owners' order is that of their signing keys, and a place is a number in it, from 0. The keys must come from
    reports that the owners have signed: whoever can put keys of its own in place of theirs can read everything. Raises
    `WireError`: `malformed` for a run that is no digest, `too_few_owners`, `key_invalid`.
    """

    run: str
    ephemerals: Mapping[str, str]

    def __post_init__(self) -> None:
        if not _RUN.fullmatch(self.run):
            raise WireError(RefusalCode.MALFORMED, "a run is named by its digest")
        if len(self.ephemerals) < 2:
            raise WireError(RefusalCode.TOO_FEW_OWNERS, "a sum over owners has two of them or more")
        for key in (*self.ephemerals, *self.ephemerals.values()):
            _check_key(key)
        if len(set(self.ephemerals.values())) != len(self.ephemerals):
            raise key_invalid("two owners have one ephemeral key")
        object.__setattr__(self, "ephemerals", MappingProxyType(dict(sorted(self.ephemerals.items()))))

    def __len__(self) -> int:
        return len(self.ephemerals)

    @property
    def hosts(self) -> tuple[str, ...]:
        """The owners' signing keys, in their order."""
        return tuple(self.ephemerals)

    @property
    def transcript(self) -> str:
        """SHA-256 over run, owners and ephemeral keys: the same at every owner, or nothing adds up."""
        return transcript_of(self.run, self.ephemerals)


@dataclass(frozen=True)
class SumContext:
    """What is summed: its name, the round of the run, and how many numbers it has.

    Raises `WireError`: `malformed` for the name, `out_of_range` for round or length.
    """

    what: str
    round: int
    length: int

    def __post_init__(self) -> None:
        if not _WHAT.fullmatch(self.what):
            raise WireError(RefusalCode.MALFORMED, "what is summed is named in lower case, digits, `_.-`")
        if not 0 <= self.round <= LARGEST_INTEGER:
            raise out_of_range("a round has a number from 0")
        if not 1 <= self.length <= MOST_NUMBERS:
            raise out_of_range(f"a vector has between 1 and {MOST_NUMBERS} numbers, not {self.length}")


@dataclass(frozen=True)
class MaskKeys:
    """The keys of one owner's masks for one sum: those that it adds, and those that it takes off."""

    plus: tuple[bytes, ...] = field(repr=False)
    minus: tuple[bytes, ...] = field(repr=False)


class PairSeeds:
    """What one owner shares with each other one, for the sums of one run. It gives a context's keys once.

    It knows only of the contexts that went through it. Whoever makes it anew for the same run, after a crash, sends the
    bytes that it has stored, or takes another round: two vectors under one mask give their difference away.
    """

    def __init__(self, roster: Roster, host: str, ephemeral: X25519PrivateKey) -> None:
        """Raises `WireError`: `key_invalid` where `ephemeral` is not the key of `host` in the roster,
        `key_agreement_failed` where another owner's key is unusable."""
        public = encode_key(ephemeral.public_key().public_bytes_raw())
        if roster.ephemerals.get(host) != public:
            raise key_invalid("the ephemeral key is not that of this host in the roster")
        self.roster = roster
        self.place = roster.hosts.index(host)
        transcript = roster.transcript
        self._seeds = tuple(
            pair_key(ephemeral, key, transcript, "masks/" + "/".join(sorted((host, peer))))
            for peer, key in roster.ephemerals.items()
            if peer != host
        )
        self._used: set[SumContext] = set()
        self._lock = Lock()

    def mask_keys(self, context: SumContext) -> MaskKeys:
        """The keys of 256 bits for a sum: to add towards later places, to take off towards earlier ones.

        Raises `WireError` (`conflict`) for a context that was used before.
        """
        with self._lock:
            if context in self._used:
                detail = f"{context.what} of round {context.round} was masked before: no mask is used twice"
                raise WireError(RefusalCode.CONFLICT, detail)
            self._used.add(context)
        purpose = f"masks/{context.round}/{context.what}/{context.length}"
        keys = tuple(derive(seed, purpose) for seed in self._seeds)
        return MaskKeys(plus=keys[self.place :], minus=keys[: self.place])

    def __repr__(self) -> str:
        return f"<PairSeeds of place {self.place} in run {self.roster.run}>"


@dataclass(frozen=True, eq=False)
class Contribution:
    """What one owner sends for one sum: its numbers under masks, and what they belong to.

    Nothing in it says whether it was altered on its way: the signed report that names its digest does.
    """

    backend: str
    roster: str
    context: SumContext
    place: int
    values: RingVector = field(repr=False)

    def pack(self) -> bytes:
        """The bytes that travel: as many for each owner and for all numbers."""
        texts = {"backend": self.backend, "roster": self.roster, "what": self.context.what}
        texts |= {"round": str(self.context.round), "place": str(self.place)}
        return pack_arrays({_VALUES: self.values}, texts)

    @classmethod
    def unpack(cls, data: bytes) -> Contribution:
        """What `pack` has packed. Raises `WireError` (`artefact_invalid`)."""
        arrays, texts = unpack_arrays(data)
        if arrays.keys() != {_VALUES} or texts.keys() != _TEXTS:
            raise invalid("the bytes are no contribution to a sum")
        values = arrays[_VALUES]
        if not (_NUMBER.fullmatch(texts["round"]) and _NUMBER.fullmatch(texts["place"])):
            raise invalid("a contribution's round or place is no number")
        try:
            context = SumContext(texts["what"], int(texts["round"]), len(values) if values.ndim else 0)
        except WireError as error:
            raise invalid(error.detail) from None
        checked_ring(values, context.length)
        return cls(texts["backend"], texts["roster"], context, int(texts["place"]), values)


class SumBackend(EncryptionBackend[SomeOptions]):
    """A backend whose protected numbers show their sum over all owners, and nothing else."""

    @property
    def fewest_owners(self) -> int:
        """How few owners a sum may have with these options. A policy asks for the declared `minimum_owners` unless it
        allows by name an option that lowers them."""
        return self.minimum_owners

    @abstractmethod
    def protect(self, numbers: RingVector, seeds: PairSeeds, context: SumContext) -> Contribution:
        """One owner's numbers, masked. Raises `WireError`: `too_few_owners`; `artefact_invalid` for numbers of
        another dtype, shape or length; `conflict` for a context that was used before."""

    @abstractmethod
    def total(self, parts: Iterable[Contribution], roster: Roster, context: SumContext) -> RingVector:
        """The exact sum of all owners' numbers, modulo 2^64. Raises `WireError`: `too_few_owners` for a contribution
        that is missing, `artefact_invalid` for one too many or one that belongs elsewhere."""

    def check_owners(self, roster: Roster) -> None:
        """Raise `WireError` (`too_few_owners`) where the sum would tell too much about one owner."""
        if len(roster) < self.fewest_owners:
            detail = f"{self.name} adds over {self.fewest_owners} owners or more, and there are {len(roster)}"
            raise WireError(RefusalCode.TOO_FEW_OWNERS, detail)


def add_contributions(
    parts: Iterable[Contribution], backend: str, roster: Roster, context: SumContext
) -> RingVector:
    """The sum of one contribution of each owner of the roster. Each is added as it comes, and may be forgotten then."""
    total: RingVector | None = None
    transcript = roster.transcript
    missing = set(range(len(roster)))
    for part in parts:
        if (part.backend, part.roster, part.context) != (backend, transcript, context):
            raise invalid(f"the contribution of place {part.place} belongs to another sum")
        if part.place not in missing:
            raise invalid(
                f"the contribution of place {part.place} came before, or its owner is not on the roster"
            )
        missing.remove(part.place)
        values = checked_ring(part.values, context.length)
        total = values.copy() if total is None else np.add(total, values, out=total)
    if missing or total is None:
        places = ", ".join(map(str, sorted(missing)))
        raise WireError(RefusalCode.TOO_FEW_OWNERS, f"the contributions of the places {places} are missing")
    return total


def _check_key(key: str) -> None:
    try:
        decode_key(key)
    except ValueError:
        raise key_invalid("a key of the roster is not 32 bytes in URL-safe base64") from None
