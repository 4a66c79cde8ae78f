"""From an allowed order to a description of work: what is read, with which plugins, keys and states."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fedcore.owner.agreement_phases import agreed_key
from fedcore.owner.datasets import total_bytes
from fedcore.owner.description import File, Finished, Kind, StatePath, Work
from fedcore.owner.installed import distributions_of
from fedcore.owner.orders import ShareOfWork
from fedcore.owner.phase_work import PhaseWork
from fedcore.owner.reading import parts_of, shard_size
from fedcore.owner.shards import Shards
from fedcore.plugin_api.backends import KeyHolders
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Protocol


def describe(
    work: PhaseWork, kind: Kind, own_rows: bool = True, states: Mapping[int, Path] | None = None, **more: Any
) -> Work:
    """The description of this order's work. With `own_rows` it reads the run's dataset at this host."""
    spec, policy = work.spec, work.means.policy
    return Work(
        kind=kind,
        run=work.run,
        plugins=distributions_of(policy),
        pipeline=spec.pipeline,
        backend=spec.backend,
        model=spec.model,
        training=spec.training,
        run_key=_run_key(work) if own_rows else None,
        states=tuple(
            StatePath(place=place, path=str(path)) for place, path in sorted((states or {}).items())
        ),
        memory_mb=policy.worker.memory_mb,
        seconds=policy.worker.seconds,
        home=str(work.means.home.path),
        unconfined_plugins=policy.worker.unconfined_plugins,
        **(_dataset(work) if own_rows else {}),
        **more,
    )


def compute(work: PhaseWork, description: Work, also: Callable[[], None] = lambda: None) -> list[Finished]:
    """Have the work done by the workers, and note which worker did which part.

    `also` is called again and again meanwhile, and raises to give up.
    """
    shards = Shards(work.spool, work.order.id, description, work.means.bell)

    def go_on() -> None:
        work.go_on()
        also()

    finished = shards.compute(go_on)
    for task, facts in enumerate(finished):
        work.means.store.note_share(work.order.id, ShareOfWork(task, facts.worker, facts.rows))
    return finished


def inputs_of(work: PhaseWork, named: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
    """Put bytes that the workers are to read into the order's spool. The answer is their paths, in order."""
    return tuple(str(work.spool.keep_input(name, data)) for name, data in named)


def _dataset(work: PhaseWork) -> dict[str, Any]:
    dataset = work.means.datasets.open(work.dataset_name)
    worker = work.means.policy.worker
    size = shard_size(total_bytes(dataset.files), worker.shard_bytes, worker.processes)
    parts = parts_of(dataset.shards(size), work.spec.first_rows)
    if not parts:
        raise WireError(RefusalCode.DATASET_EMPTY, f"[datasets.{dataset.name}] has nothing to read")
    return {
        "classes": len(dataset.reader.classes),
        "reader": dataset.offer.reader,
        "reader_options": dataset.offer.reader_options,
        "files": tuple(File(path=str(file.path), label=file.label) for file in dataset.files),
        "parts": parts,
        "split_key": str(work.means.home.keys / "split.key"),
        "least_rows": dataset.offer.minimum_rows,
    }


def _run_key(work: PhaseWork) -> str | None:
    """Where the run's key lies, for a backend that needs one. Under `local` it is this host's own."""
    backend: Any = work.means.registry.get("encryption", work.spec.backend.name)
    if backend.key_holders is KeyHolders.NOBODY:
        return None
    if work.spec.protocol is Protocol.LOCAL:
        work.folder.run_key(create=True)
    else:
        agreed_key(work)
    return str(work.folder.run_key_path)
