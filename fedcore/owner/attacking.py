"""Attacks on an own dataset, on this host: what an observer of protected rows, or of a finished model, would find out.

Who can see what: nothing leaves the host, nothing is booked, and the dataset's grants and budgets do not matter. The
rows are protected under a key that is drawn for this once and forgotten. What is shown are figures, no row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import JsonValue

from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.datasets import DatasetProblem, OpenDataset
from fedcore.owner.deciding import Governed
from fedcore.owner.home import Home, HomeError
from fedcore.owner.reading import first_of, parts_of
from fedcore.plugin_api.attacks.audit import audit
from fedcore.plugin_api.attacks.figures import PrivacyAudit
from fedcore.plugin_api.attacks.stage import Attacked, Unattackable
from fedcore.plugin_api.backends import ShareBackend, TokenBackend
from fedcore.plugin_api.pipeline import InvalidPipeline
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.readers import DatasetReader, UnreadableDataset
from fedcore.plugin_api.values import Records
from fedcore.wire.catalogue import ColumnKind
from fedcore.wire.presets import Preset, char_ngrams_4096, words_4096
from fedcore.wire.spec import PluginChoice

PIPELINES: Final[dict[str, Callable[[Sequence[str]], Preset]]] = {
    "words": words_4096,
    "char_ngrams": char_ngrams_4096,
}


@dataclass(frozen=True)
class Wish:
    """What the owner wants to be attacked. Without `columns` those by which the reader compares rows are taken."""

    dataset: str
    pipeline: str = "words"
    backend: str = "keyed_tokens"
    minimum_count: int | None = None
    columns: tuple[str, ...] = ()
    rows: int = 20_000


def attack(home: Home, wish: Wish, progress: Callable[[str], None]) -> PrivacyAudit:
    """The figures of all attacks. Raises `HomeError` with what is wrong and what to do, and `PluginError`."""
    import torch

    governed = Governed.of(home, home.load_config())
    torch.set_num_threads(1)
    try:
        dataset = governed.datasets.open(wish.dataset)
        _check_retention(dataset)
        attacked = _attacked(governed, dataset.reader, wish)
        progress(f"Reading up to {wish.rows} rows of {wish.dataset}")
        records = _records(dataset, wish.rows, governed.policy.worker.shard_bytes)
        return audit(attacked, wish.dataset, records, progress)
    except (
        DatasetProblem,
        UnreadableDataset,
        PluginStopped,
        InvalidPipeline,
        InvalidOptions,
        Unattackable,
    ) as error:
        raise HomeError(str(error)) from None


def _check_retention(dataset: OpenDataset) -> None:
    if datetime.now(UTC).date() > dataset.offer.retention:
        raise HomeError(
            f"[datasets.{dataset.name}]: its retention date has passed. Delete the data, or change retention."
        )


def _attacked(governed: Governed, reader: DatasetReader[Any], wish: Wish) -> Attacked:
    if wish.pipeline not in PIPELINES:
        raise HomeError(f"There is no pipeline {wish.pipeline!r}. Choose one of: {', '.join(PIPELINES)}.")
    _check_backend(governed, wish.backend)
    columns = wish.columns or tuple(reader.compared or reader.columns)
    unknown = [name for name in columns if name not in reader.columns]
    if unknown:
        known = ", ".join(reader.columns)
        raise HomeError(f"The dataset has no column {', '.join(unknown)}. It has: {known}.")
    options: dict[str, JsonValue] = (
        {} if wish.minimum_count is None else {"minimum_count": wish.minimum_count}
    )
    preset = PIPELINES[wish.pipeline](columns)
    moments = [name for name in columns if reader.kinds.get(name) is ColumnKind.TIME]
    return Attacked(
        governed.registry,
        preset.pipeline,
        PluginChoice(name=wish.backend, options=options),
        preset.model,
        preset.training,
        person=tuple(name for name in columns if reader.kinds.get(name) is ColumnKind.IDENTIFIER),
        moment=moments[0] if moments else None,
    )


def _check_backend(governed: Governed, name: str) -> None:
    registry = governed.registry
    usable = [
        each
        for each in registry.names("encryption")
        if issubclass(registry.get("encryption", each), TokenBackend)
        and not issubclass(registry.get("encryption", each), ShareBackend)
    ]
    if name not in usable:
        raise HomeError(
            f"No backend {name!r} hands out protected tokens here, and only such can be attacked. Choose one of: "
            f"{', '.join(usable)}."
        )


def _records(dataset: OpenDataset, rows: int, shard_bytes: int) -> Records:
    """The first rows of every part of the dataset, so that all its files take part."""
    parts = parts_of(dataset.shards(shard_bytes), rows)
    blocks = [
        block
        for part in parts
        for block in first_of(iter(dataset.reader.read(dataset.files, part.shard)), part.rows)
    ]
    if not blocks:
        raise HomeError(f"[datasets.{dataset.name}]: its files have no usable row. Look at the files.")
    return Records.concatenate(blocks)
