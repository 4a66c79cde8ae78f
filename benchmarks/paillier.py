"""`paillier`: encrypting, adding and opening the parameters of a model under a modulus of 3,072 bits.

A round: every owner encrypts its parameters, the coordinator unpacks, adds and packs the sum with fresh randomness, and
whoever has the secret key unpacks and opens it. Owners encrypt at the same time, each on its own host, so one of them
counts. Every one of the three starts with the key as bytes, so making its table of powers counts too.

The peer is phe, which encrypts number by number; both use GMP. Its times are those of a sample, scaled to all
parameters: encryption, addition and opening, in fixed point as here, without what it would take to write the numbers as
bytes or to give sums fresh randomness.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Benchmark, Comparison, Goal, best_seconds
from benchmarks.peers import with_peer
from fedcore.plugin_api import KeyPair
from plugins.encryption.paillier import Paillier

PARAMETERS: Final = 100_000
OWNERS: Final = (2, 10)
PEER: Final = ("phe==1.5.0",)
SAMPLE: Final = 40
REPEATS: Final = 3
BITS: Final = 3072
ENCRYPTION: Final = "encryption by one owner"
_FLOAT32: Final = 4

Result = TypeVar("Result")


@dataclass(frozen=True)
class Peer:
    """Seconds of phe for one number."""

    encrypt: float
    add: float
    decrypt: float

    def round(self, owners: int) -> float:
        """Seconds of a round of all parameters, one owner's encryption in it."""
        return PARAMETERS * (self.encrypt + (owners - 1) * self.add + self.decrypt)


class PaillierBenchmark(Benchmark):
    """Packed numbers and a table of powers, against number by number."""

    name = "paillier"
    summary = f"{PARAMETERS:,} parameters encrypted, added and opened, against phe number by number"
    goals: ClassVar = {ENCRYPTION: Goal(3, "s", at_least=False)} | {
        f"a round of {owners} owners": Goal(150) for owners in OWNERS
    }

    def measure(self) -> Iterator[Comparison]:
        backend = Paillier({"key_bits": BITS})
        pair = backend.generate_keys()
        parameters = [_parameters(owner) for owner in range(max(OWNERS))]
        yield self._encryption(backend, pair, parameters[0])
        with_peer(PEER)
        peer = _peer(parameters[0][:SAMPLE], parameters[1][:SAMPLE])
        public = backend.public(pair.public)
        others = [public.encrypt(own).pack() for own in parameters[1:]]
        for owners in OWNERS:
            yield self._round(backend, pair, parameters[:owners], others[: owners - 1], peer)

    def _encryption(self, backend: Paillier, pair: KeyPair, parameters: NDArray[np.float64]) -> Comparison:
        memory = _memory()
        public = backend.public(pair.public)
        ciphertext = public.encrypt(parameters)
        memory = _memory() - memory
        later, _ = _timed(lambda: public.encrypt(parameters))
        processor = time.process_time()
        (whole,) = best_seconds([lambda: backend.public(pair.public).encrypt(parameters)], REPEATS)
        processor = (time.process_time() - processor) / REPEATS
        size = len(ciphertext.pack())
        figures = {
            "with its table": f"{whole:.2f} s ({processor:.2f} s of a processor)",
            "with a table that is there": f"{later:.2f} s",
            "memory": f"{memory:.0f} MB",
            "bytes": f"{size:,}, {size / (_FLOAT32 * PARAMETERS):.2f} for each byte of float32",
        }
        return Comparison(ENCRYPTION, figures, whole, self.goals[ENCRYPTION])

    def _round(
        self,
        backend: Paillier,
        pair: KeyPair,
        parameters: Sequence[NDArray[np.float64]],
        others: Sequence[bytes],
        peer: Peer,
    ) -> Comparison:
        name = f"a round of {len(parameters)} owners"
        encrypting, first = _timed(lambda: backend.public(pair.public).encrypt(parameters[0]).pack())
        adding, total = _timed(lambda: _added(backend, pair, [first, *others]))
        opening, found = _timed(lambda: _opened(backend, pair, total))
        _check(found, sum(parameters), backend.tolerance * len(parameters))
        ours, theirs = encrypting + adding + opening, peer.round(len(parameters))
        figures = {
            "fedcore": f"{ours:.1f} s (encrypt {encrypting:.2f}, add and pack {adding:.2f}, open {opening:.2f})",
            "phe": f"{theirs:,.0f} s, from {SAMPLE} numbers of each operation",
            "phe for one number": f"encrypt {1e3 * peer.encrypt:.1f} ms, add {1e6 * peer.add:.0f} us, "
            f"open {1e3 * peer.decrypt:.1f} ms",
        }
        details = {"encrypting": encrypting, "adding": adding, "opening": opening, "peer": theirs}
        return Comparison(name, figures, theirs / ours, self.goals[name], details)


BENCHMARK = PaillierBenchmark()


def _parameters(owner: int) -> NDArray[np.float64]:
    return np.random.default_rng(owner).normal(0, 0.1, PARAMETERS)


def _added(backend: Paillier, pair: KeyPair, sent: Sequence[bytes]) -> bytes:
    public = backend.public(pair.public)
    return reduce(public.add, map(public.unpack, sent)).pack()


def _opened(backend: Paillier, pair: KeyPair, total: bytes) -> NDArray[Any]:
    return backend.secret(pair).decrypt(backend.public(pair.public).unpack(total))


def _peer(one: NDArray[np.float64], other: NDArray[np.float64]) -> Peer:
    """What phe takes for each number of a sample: of encryption, addition and opening, the shortest of three times."""
    from phe import paillier

    public, secret = paillier.generate_paillier_keypair(n_length=BITS)

    def encrypted(numbers: NDArray[np.float64]) -> list[Any]:
        return [public.encrypt(float(number), precision=2.0**-24) for number in numbers]

    first, second = encrypted(one), encrypted(other)
    sums = [a + b for a, b in zip(first, second, strict=True)]
    _check(np.array([secret.decrypt(total) for total in sums]), one + other, 2.0**-23)
    seconds = best_seconds(
        [
            lambda: encrypted(one),
            lambda: [a + b for a, b in zip(first, second, strict=True)],
            lambda: [secret.decrypt(total) for total in sums],
        ]
    )
    return Peer(*(each / len(one) for each in seconds))


def _check(found: NDArray[Any], expected: Any, tolerance: float) -> None:
    if np.abs(found - expected).max() > tolerance:
        raise AssertionError("The sums are not those of the parameters.")


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


def _memory() -> float:
    """The largest memory of this process so far, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
