"""`ckks`: ridge regression from encrypted statistics, scores of encrypted rows, and a gradient step.

Features are character n-grams of request lines, hashed into columns, each row of length one. All times are medians of
some runs in which the ways take turns. What is compared with is the same computation in numpy, in the same run.

**Ridge regression**: two owners compute statistics, encrypt and pack them, the coordinator unpacks, adds and packs,
whoever has the secret key unpacks, opens and solves. Both owners count, one after the other, in both ways; keys are
made before. **Scores**: what the scoring side computes for as many rows as a ciphertext has slots, unpacking apart.
**A step**: all that one costs both sides, rows encrypted before."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Benchmark, Comparison, Goal, median
from benchmarks.lines import request_files
from fedcore.plugin_api import CipherBackend, PublicCipher
from plugins.encryption.ckks import Ckks, CkksSums
from plugins.encryption.ckks.gradient import opened_gradient, residual_products
from plugins.encryption.ckks.prediction import encrypted_columns, scores
from plugins.encryption.ckks.statistics import RidgeStatistics, added

ROWS: Final = 125_000
COLUMNS: Final = 300
STEP_COLUMNS: Final = 30
OWNERS: Final = 2
PENALTY: Final = 1.0
REPEATS: Final = 5
RIDGE: Final = "ridge from statistics"
SCORES: Final = "scores of encrypted rows"
STEP: Final = "a gradient step"
SUM_BYTES: Final = "bytes of ckks_sums"
BYTES: Final = "bytes of ckks"
_FLOAT64: Final = 8

Reals = NDArray[np.float64]


class CkksBenchmark(Benchmark):
    """Encrypted linear algebra against numpy."""

    name = "ckks"
    summary = (
        f"{ROWS:,} rows of {COLUMNS} columns: statistics, scores and a step under encryption, against numpy"
    )
    goals: ClassVar = {
        RIDGE: Goal(1.2, "x", at_least=False),
        SCORES: Goal(20_000, "rows/s"),
        STEP: Goal(4, "s", at_least=False),
        SUM_BYTES: Goal(8, "x", at_least=False),
        BYTES: Goal(12, "x", at_least=False),
    }

    def measure(self) -> Iterator[Comparison]:
        features, targets, source = _rows()
        yield self._ridge(features, targets, source)
        yield self._scores(features)
        yield self._step(features[:, :STEP_COLUMNS], targets)
        for name, backend in ((SUM_BYTES, CkksSums()), (BYTES, Ckks())):
            yield self._bytes(name, backend)

    def _ridge(self, features: Reals, targets: Reals, source: str) -> Comparison:
        backend = CkksSums({"decryptions": 4096})
        pair = backend.generate_keys()
        public, secret = backend.public(pair.public), backend.secret(pair)
        agreed = RidgeStatistics(COLUMNS, ROWS)
        halves = list(zip(np.array_split(features, OWNERS), np.array_split(targets, OWNERS), strict=True))

        def plain() -> Reals:
            return agreed.solved(np.sum([agreed.packed(*half) for half in halves], axis=0), PENALTY)

        def encrypted() -> Reals:
            sent = [public.encrypt(agreed.packed(*half)).pack() for half in halves]
            total = added(public, [public.unpack(own) for own in sent]).pack()
            return agreed.solved(secret.decrypt(public.unpack(total)), PENALTY)

        off = float(np.abs(plain() - encrypted()).max())
        (theirs, ours), spread = _median_seconds([plain, encrypted])
        (plain_work, work), _ = _median_seconds([plain, encrypted], time.process_time)
        sent = public.encrypt(agreed.packed(*halves[0])).pack()
        figures = {
            "encrypted": f"{ours:.2f} s",
            "numpy": f"{theirs:.2f} s (spread {spread[0]:.2f}, {spread[1]:.2f})",
            "in processor time": f"{work:.2f} s against {plain_work:.2f} s, {work / plain_work:.2f} x",
            "largest difference of a weight": f"{off:.1e}",
            "bytes of an owner": f"{len(sent):,} for {agreed.length:,} numbers",
            "rows": source,
        }
        return Comparison(
            RIDGE, figures, ours / theirs, self.goals[RIDGE], {"ours": ours, "plain": theirs, "off": off}
        )

    def _scores(self, features: Reals) -> Comparison:
        backend = Ckks({"summands": 512})
        pair = backend.generate_keys()
        public, secret = backend.public(pair.public), backend.secret(pair)
        rows = features[: backend.scheme.parameters.slots]
        weights, intercepts = np.random.default_rng(1).normal(size=(COLUMNS, 1)), np.array([0.5])
        started = time.perf_counter()
        sent = [column.pack() for column in encrypted_columns(public, rows)]
        encrypting = time.perf_counter() - started
        columns = [public.unpack(column) for column in sent]

        def scored() -> bytes:
            return scores(public, columns, weights, intercepts)[0].pack()

        opened = secret.decrypt(public.unpack(scored()))
        _check(opened, rows @ weights[:, 0] + 0.5, 2 * backend.tolerance)
        (ours, unpacking, theirs), _ = _median_seconds(
            [scored, lambda: [public.unpack(column) for column in sent], lambda: rows @ weights + intercepts]
        )
        (work,), _ = _median_seconds([scored], time.process_time)
        figures = {
            "scored": f"{len(rows) / ours:,.0f} rows/s",
            "in processor time": f"{len(rows) / work:,.0f} rows/s",
            "with unpacking": f"{len(rows) / (ours + unpacking):,.0f} rows/s",
            "encrypted and packed by the owner": f"{len(rows) / encrypting:,.0f} rows/s",
            "numpy": f"{len(rows) / theirs:,.0f} rows/s",
            "bytes": f"{sum(map(len, sent)) / rows.size / _FLOAT64:.1f} for each byte of float64",
        }
        return Comparison(SCORES, figures, len(rows) / ours, self.goals[SCORES], {"seconds": ours})

    def _step(self, features: Reals, targets: Reals) -> Comparison:
        backend = Ckks({"depth": 2, "summands": 64, "decryptions": 4096})
        pair = backend.generate_keys()
        public, secret = backend.public(pair.public), backend.secret(pair)
        slots = backend.scheme.parameters.slots
        rows, labels = features[:slots], targets[:slots]
        columns, encrypted = encrypted_columns(public, rows), public.encrypt(labels)
        weights = np.random.default_rng(2).uniform(-1, 1, STEP_COLUMNS)

        def ours() -> Reals:
            return opened_gradient(secret, residual_products(public, columns, encrypted, weights))

        def plain() -> Reals:
            gradient: Reals = rows.T @ (rows @ weights - labels) / len(labels)
            return gradient

        _check(ours(), plain(), backend.tolerance)
        (seconds, theirs), spread = _median_seconds([ours, plain])
        figures = {
            "encrypted": f"{seconds:.2f} s (spread {spread[0]:.2f}) for {slots:,} rows of {STEP_COLUMNS} columns",
            "numpy": f"{1e3 * theirs:.2f} ms",
            "times as slow": f"{seconds / theirs:,.0f}",
            "opened": f"{STEP_COLUMNS} ciphertexts",
        }
        return Comparison(STEP, figures, seconds, self.goals[STEP], {"plain": theirs})

    def _bytes(self, name: str, backend: CipherBackend[Any]) -> Comparison:
        public: PublicCipher[Any] = backend.public(backend.generate_keys().public)
        numbers = np.random.default_rng(3).uniform(-1, 1, 100_000)
        size = len(public.encrypt(numbers).pack())
        figures = {"bytes": f"{size:,} for {len(numbers):,} numbers"}
        return Comparison(name, figures, size / numbers.nbytes, self.goals[name])


BENCHMARK = CkksBenchmark()


def _rows() -> tuple[Reals, Reals, str]:
    """Features, targets of -1 and 1, and where the lines are from."""
    from sklearn.feature_extraction.text import HashingVectorizer

    with request_files() as found:
        lines = [
            (line, 1.0 if file.label == "attack" else -1.0)
            for file in found.files
            for line in file.path.read_bytes().split(b"\n")
            if line
        ]
        source = found.source
    random.Random(4).shuffle(lines)
    lines = lines[:ROWS]
    # One column stays for the intercept.
    hashing = HashingVectorizer(
        analyzer="char", ngram_range=(1, 3), n_features=COLUMNS - 1, encoding="latin-1"
    )
    features = np.ones((len(lines), COLUMNS))
    features[:, :-1] = hashing.transform([line for line, _ in lines]).toarray()
    return features, np.array([target for _, target in lines]), f"{len(lines):,} {source}"


def _median_seconds(
    contestants: Sequence[Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> tuple[list[float], list[float]]:
    """The median time of each over some rounds in which they take turns, and the spread of its times."""
    seconds: list[list[float]] = [[] for _ in contestants]
    for _ in range(REPEATS):
        for place, contestant in enumerate(contestants):
            started = clock()
            contestant()
            seconds[place].append(clock() - started)
    return [median(each) for each in seconds], [max(each) - min(each) for each in seconds]


def _check(found: Reals, expected: Reals, tolerance: float) -> None:
    if np.abs(found - expected).max() > tolerance:
        raise AssertionError("What was computed under encryption is not what numpy computes.")
