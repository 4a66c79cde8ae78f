"""Owners with request lines of their own, and models on them, as benchmarks of quality use them.

Lines without repeats, 4 % of them attacks, lie at two owners, near-duplicates at one of them. Every owner keeps back
rows by a secret of its own, another one in each split.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, TypeVar

import numpy as np

from benchmarks.lines import RequestFiles
from fedcore.plugin_api import LabelledRows, Matrix, Parameters, Records, Text, TokenBackend
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import Registry
from fedcore.plugin_api.serialise import pack_features, unpack_features
from fedcore.plugin_api.split import held_out
from fedcore.wire.presets import char_ngrams_4096
from fedcore.wire.spec import PluginChoice
from plugins import encryption, models, preprocessing
from plugins.models.linear import Linear

Job = TypeVar("Job")
Found = TypeVar("Found")

ATTACK_SHARE: Final = 0.04
COLUMN: Final = "request"


@dataclass(frozen=True)
class Owner:
    """What one owner trains on and what it keeps back."""

    training: Records
    kept_back: Records


@dataclass(frozen=True)
class Prepared:
    """An owner's features: what it trains on or sends, and what it keeps back."""

    training: LabelledRows
    kept_back: LabelledRows


def records_of(files: RequestFiles, number: int) -> Records:
    """All benign lines and a sample of the attacks, in a mixed order."""
    lines = {file.label: set(file.path.read_bytes().splitlines()) - {b""} for file in files.files}
    benign = sorted(lines["benign"])
    attacks = sorted(lines["attack"] - lines["benign"])
    numbers = np.random.default_rng(number)
    wanted = min(len(attacks), round(len(benign) * ATTACK_SHARE / (1 - ATTACK_SHARE)))
    sample = [attacks[place] for place in numbers.permutation(len(attacks))[:wanted]]
    labels = np.repeat(np.array([0, 1], np.int64), [len(benign), len(sample)])
    records = Records({COLUMN: Text.from_rows(benign + sample)}, labels)
    return records.take(numbers.permutation(len(records)))


def owners_of(records: Records, number: int) -> list[Owner]:
    """Two owners with their split. Near-duplicates belong to one owner, and there to one side."""
    first = held_out(records, [COLUMN], sha256(b"to whom rows belong").digest(), share=0.5)
    owners = []
    for place, mine in enumerate((first, ~first)):
        rows = records.take(mine)
        kept_back = held_out(rows, [COLUMN], sha256(f"owner {place}, split {number}".encode()).digest())
        owners.append(Owner(rows.take(~kept_back), rows.take(kept_back)))
    return owners


def prepared(owners: Sequence[Owner], backend: PluginChoice, key: bytes | None) -> list[Prepared]:
    """The owners' features: character 1-3-grams, signed and hashed into 4,096 columns."""
    registry = Registry([preprocessing, encryption, models])
    assert issubclass(registry.get("encryption", backend.name), TokenBackend)
    pipeline = BuiltPipeline(registry, char_ngrams_4096().pipeline, backend, key)
    return [
        Prepared(_features(pipeline, owner.training), _features(pipeline, owner.kept_back))
        for owner in owners
    ]


def merged(parts: Sequence[LabelledRows]) -> LabelledRows:
    """The rows of all parts as one matrix."""
    matrix = Matrix.concatenate([part.features for part in parts if isinstance(part.features, Matrix)])
    return LabelledRows(matrix, np.concatenate([part.labels for part in parts]))


def trained(owners: Sequence[Prepared], seed: int) -> Parameters:
    """A linear layer on what all these owners train on."""
    words = char_ngrams_4096().training.model_copy(update={"seed": seed})
    rows, model = merged([owner.training for owner in owners]), Linear()
    return model.train(model.initial(rows.features, 2, words), rows, 2, words).parameters


def on_every_core(measured: Callable[[Job], Found], jobs: Sequence[Job]) -> list[Found]:
    """The answer to every job, in order; each is done in a process of its own, one on each core."""
    processes = min(len(jobs), os.cpu_count() or 1)
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(measured, jobs))


def _features(pipeline: BuiltPipeline, records: Records) -> LabelledRows:
    """Features and labels as they arrive: packed, unpacked, checked."""
    assert records.labels is not None
    return unpack_features(pack_features(pipeline.features(records, {}), records.labels), classes=2)
