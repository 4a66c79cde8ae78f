"""`preprocess`: the speed of the built-in steps, keyed, on one thread, and their memory.

Words are compared with the straightforward loop in Python with keyed BLAKE2b from hashlib for each token, character
n-grams with scikit-learn's HashingVectorizer (which is not keyed). Both sides get the same lines in memory.
"""

from __future__ import annotations

import hashlib
import re
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Benchmark, Comparison, Goal, best_seconds
from benchmarks.lines import request_files
from fedcore.plugin_api import Matrix, Records, Shard, SourceFile, Text
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import Registry
from fedcore.wire.spec import Pipeline, PluginChoice
from plugins import encryption, preprocessing, readers
from plugins.readers.labelled_lines import LabelledLines

KEY: Final = bytes(range(32))
COLUMNS: Final = 4096
PlainMatrix = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]
_WORD: Final = re.compile(rb"[0-9a-z\x80-\xff]+")


class Preprocess(Benchmark):
    """Rows per second of keyed words and keyed character n-grams, and memory while streaming."""

    name = "preprocess"
    summary = "keyed features on one thread, against plain Python and scikit-learn"
    goals: ClassVar = {
        "words, keyed, 4,096 columns": Goal(10),
        "character 1-3-grams, keyed, 4,096 columns": Goal(20),
        "character 1-3-grams, keyed, 262,144 columns": Goal(20),
        "memory for eight times the rows": Goal(1.2, at_least=False),
    }

    def measure(self) -> Iterator[Comparison]:
        with request_files() as files:
            rows = files.rows()
            blocks = [Text.from_rows(rows[start : start + 65_536]) for start in range(0, len(rows), 65_536)]
            yield self._words(rows, blocks, files.source)
            for name, columns in zip(list(self.goals)[1:3], (COLUMNS, 1 << 18), strict=True):
                yield self._ngrams(name, columns, rows, blocks, files.source)
        yield self._memory()

    def _words(self, rows: list[bytes], blocks: list[Text], source: str) -> Comparison:
        pipeline = _pipeline("words", COLUMNS)
        _require_equal_work(_features(pipeline, blocks), _plain_loop(rows))
        ours, loop = best_seconds([lambda: _features(pipeline, blocks), lambda: _plain_loop(rows)])
        return self._speed("words, keyed, 4,096 columns", len(rows), ours, "loop with hashlib", loop, source)

    def _ngrams(
        self, name: str, columns: int, rows: list[bytes], blocks: list[Text], source: str
    ) -> Comparison:
        from sklearn.feature_extraction.text import HashingVectorizer

        peer = HashingVectorizer(analyzer="char", ngram_range=(1, 3), n_features=columns)
        texts = [row.decode("latin-1") for row in rows]
        pipeline = _pipeline("char_ngrams", columns)
        _features(pipeline, blocks)
        ours, theirs = best_seconds([lambda: _features(pipeline, blocks), lambda: peer.transform(texts)])
        return self._speed(name, len(rows), ours, "scikit-learn", theirs, source)

    def _speed(self, name: str, rows: int, ours: float, peer: str, theirs: float, source: str) -> Comparison:
        figures = {
            "fedcore": f"{rows / ours:,.0f} rows/s",
            peer: f"{rows / theirs:,.0f} rows/s",
            "on": source,
        }
        details = {"rows": rows, "seconds": ours, "peer_seconds": theirs}
        return Comparison(name, figures, theirs / ours, self.goals[name], details)

    def _memory(self) -> Comparison:
        name = "memory for eight times the rows"
        with TemporaryDirectory(prefix="fedcore-bench-") as folder:
            _peak_bytes(Path(folder), 20_000)
            once, eightfold = (_peak_bytes(Path(folder), rows) for rows in (100_000, 800_000))
        figures = {
            "100,000 rows": f"{once / 1e6:.1f} MB",
            "800,000 rows": f"{eightfold / 1e6:.1f} MB at most",
        }
        return Comparison(name, figures, eightfold / once, self.goals[name], {"bytes": [once, eightfold]})


BENCHMARK = Preprocess()


def _pipeline(tokens: str, columns: int) -> BuiltPipeline:
    steps: list[tuple[str, dict[str, Any]]] = [
        ("fields", {"names": ["request"]}),
        ("lower", {}),
        (tokens, {}),
        ("protect", {}),
        ("hash_columns", {"columns": columns}),
    ]
    choices = tuple(PluginChoice(name=name, options=options) for name, options in steps)
    registry = Registry([readers, preprocessing, encryption])
    return BuiltPipeline(registry, Pipeline(steps=choices), PluginChoice(name="keyed_tokens"), KEY)


def _features(pipeline: BuiltPipeline, blocks: list[Text]) -> list[Matrix]:
    made = [pipeline.features(Records({"request": block}), {}) for block in blocks]
    return [features for features in made if isinstance(features, Matrix)]


def _plain_loop(rows: list[bytes]) -> PlainMatrix:
    """The same features the plain way: one keyed hash per token, one dictionary per row."""
    indptr = [0]
    indices: list[int] = []
    data: list[float] = []
    for row in rows:
        sums: Counter[int] = Counter()
        for word in _WORD.findall(row.lower()):
            number = int.from_bytes(hashlib.blake2b(word, digest_size=8, key=KEY).digest(), "little")
            sums[number % COLUMNS] += 1 if number >> 63 else -1
        length = sum(value * value for value in sums.values()) ** 0.5 or 1.0
        indices.extend(sums)
        data.extend(value / length for value in sums.values())
        indptr.append(len(indices))
    return np.array(indptr), np.array(indices, np.int32), np.array(data, np.float32)


def _require_equal_work(ours: list[Matrix], loop: PlainMatrix) -> None:
    """Both count the same words, so that they differ only by which few collide in a row."""
    entries, expected = sum(len(matrix.data) for matrix in ours), int(np.count_nonzero(loop[2]))
    if abs(entries - expected) > 0.01 * expected:
        raise AssertionError(f"The pipeline made {entries} entries, the loop {expected}: not the same work.")


def _peak_bytes(folder: Path, rows: int) -> int:
    """The most memory that reading a file of so many rows and making its features takes at a time."""
    path = folder / "requests.txt"
    with path.open("wb") as stream:
        stream.writelines(
            b"/item/%d?colour=%d&size=%d\n" % (row % 9973, row % 13, row % 7) for row in range(rows)
        )
    pipeline = _pipeline("char_ngrams", COLUMNS)
    reader = LabelledLines({"block_rows": 8192, "block_bytes": 262_144})
    tracemalloc.start()
    try:
        for records in reader.read([SourceFile(path, "benign")], Shard(0, 0, path.stat().st_size)):
            pipeline.features(records, {})
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
