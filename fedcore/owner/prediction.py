"""Predictions: an owner scores lines of its own log with the model of a finished run and the kept key.

Who can see what: nothing leaves the host. The lines are scored in forked processes, shard by shard, so a log
larger than memory can be scored; the journal notes that it was done, and the scores go where the owner says.
"""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TextIO

from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.console import visible
from fedcore.owner.datasets import DatasetProblem
from fedcore.owner.deciding import Governed
from fedcore.owner.description import File, Kind, Part, StatePath, Work
from fedcore.owner.home import Home, HomeError
from fedcore.owner.installed import distributions_of
from fedcore.owner.isolation import Limits, WorkFailed, WorkLost, run_isolated
from fedcore.owner.journal import EntryKind, Journal
from fedcore.owner.run_folder import RunFolder
from fedcore.owner.spool import OrderSpool, replacing
from fedcore.owner.tasks import reach_of
from fedcore.owner.work import carry_out, registry_of
from fedcore.plugin_api.readers import SourceFile, UnreadableDataset
from fedcore.plugin_api.serialise import unpack_arrays
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import RunSpec


def predict(home: Home, run: str, log: Path, out: Path | None = None) -> int:
    """Score every line of `log` with the model of a run (its id, or enough first digits of it).

    Writes CSV to `out`, or to standard output: the class, its probability, and the line's fields. Returns the
    number of lines. Raises `HomeError` where there is no such run or no usable log, and `WireError`.
    """
    folder = _run_folder(home, run)
    governed = Governed.of(home, home.load_config())
    work = _described(home, governed, folder, log)
    spool = OrderSpool(home.path / "predictions" / str(os.getpid()))
    with Journal(home.journal_path) as journal:
        journal.append(EntryKind.PREDICTION, {"run": folder.directory.name, "log": str(log.absolute())})
    classes = _classes(governed, work)
    try:
        registry_of(work)
        spool.begin(work)
        with _opened(out) as target:
            return _write(target, classes, _rows(spool, work))
    finally:
        spool.delete()


def _write(target: TextIO, classes: tuple[str, ...], rows: Iterable[tuple[int, float, str]]) -> int:
    writer = csv.writer(target)
    writer.writerow(["class", "probability", "line"])
    at_a_terminal = target.isatty()
    count = 0
    for number, probability, line in rows:
        writer.writerow([classes[number], f"{probability:.6f}", visible(line) if at_a_terminal else line])
        count += 1
    return count


def _rows(spool: OrderSpool, work: Work) -> Iterator[tuple[int, float, str]]:
    for task in range(work.tasks):
        try:
            run_isolated(
                partial(carry_out, spool, work, task),
                Limits(work.memory_mb, work.seconds),
                reach=reach_of(work, spool),
            )
        except WorkFailed as error:
            raise WireError(error.code, "scoring the log failed; the reason stands above") from None
        except WorkLost as error:
            raise WireError(RefusalCode.WORKER_LOST, f"scoring the log was cut off: {error}") from None
        path = spool.payload_path(task)
        arrays, _ = unpack_arrays(path.read_bytes())
        path.unlink()
        text, offsets, scores = arrays["text"].tobytes(), arrays["offsets"], arrays["scores"]
        best = scores.argmax(axis=1)
        for row, number in enumerate(best):
            line = text[offsets[row] : offsets[row + 1]].decode("utf-8", "backslashreplace")
            yield int(number), float(scores[row, number]), line


def _run_folder(home: Home, run: str) -> RunFolder:
    digits = run.lower()
    known = sorted(path.name for path in home.runs.iterdir() if path.is_dir()) if home.runs.is_dir() else []
    found = [name for name in known if name.startswith(digits)] if digits else []
    if len(found) != 1:
        rule = f"{len(found)} runs here begin with {run!r}"
        raise HomeError(f"{rule}. Give the id of one run, or more of its digits; `fedcore runs` shows them.")
    folder = RunFolder(home.run_directory(found[0]))
    if not folder.model_path.exists():
        raise HomeError(
            f"Run {found[0]} has no model on this host. It must have been evaluated here and kept."
        )
    return folder


def _described(home: Home, governed: Governed, folder: RunFolder, log: Path) -> Work:
    spec = folder.spec().open(RunSpec)
    named = spec.dataset_of(home.card.signing)
    if named is None:
        raise HomeError(
            f"Run {folder.directory.name} has no dataset of this host, so it says nothing of its logs."
        )
    worker = governed.policy.worker
    try:
        dataset = governed.datasets.open(named.name)
        shards = dataset.reader.shards([SourceFile(log.absolute())], worker.shard_bytes)
    except (UnreadableDataset, PluginStopped, DatasetProblem) as error:
        raise HomeError(str(error)) from None
    return Work(
        kind=Kind.PREDICT,
        run=folder.directory.name,
        plugins=distributions_of(governed.policy),
        pipeline=spec.pipeline,
        backend=spec.backend,
        model=spec.model,
        training=spec.training,
        classes=len(dataset.reader.classes),
        reader=dataset.offer.reader,
        reader_options=dataset.offer.reader_options,
        files=(File(path=str(log.absolute())),),
        parts=tuple(Part(file=shard.file, start=shard.start, end=shard.end) for shard in shards),
        run_key=str(folder.run_key_path) if folder.run_key_path.exists() else None,
        states=tuple(StatePath(place=place, path=str(path)) for place, path in folder.states.items()),
        inputs=(str(folder.model_path),),
        memory_mb=worker.memory_mb,
        seconds=worker.seconds,
        home=str(home.path),
        unconfined_plugins=worker.unconfined_plugins,
    )


def _classes(governed: Governed, work: Work) -> tuple[str, ...]:
    reader = governed.registry.get("readers", work.reader or "")
    classes: tuple[str, ...] = getattr(reader, "classes", ())
    return classes


@contextmanager
def _opened(out: Path | None) -> Iterator[TextIO]:
    if out is None:
        yield sys.stdout
        return
    import io

    with replacing(out.absolute()) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        yield text
        text.detach()
