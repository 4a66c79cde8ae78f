"""What workers compute in a run on shares, from files to files, and two compute owners' pipes laid together."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcore.owner import peer_pipes, sharing_work
from fedcore.owner.description import Kind, Sharing, Work
from fedcore.owner.peer_pipes import FROM_PEER, TO_PEER
from fedcore.owner.reading import Clock
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.sharing import plan as planning
from fedcore.sharing.joining import final_parameters, linear_names, unpack_weights
from fedcore.sharing.masking import MaskKeys
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.keys import write_secret
from fedcore.wire.spec import Pipeline, PluginChoice
from plugins.encryption.secret_sharing import SecretSharing
from plugins.models.linear import Linear
from tests.sharing.cast import SCALES, dense, fixed, plainly, rows_of, training

PARTS = [rows_of(1, 50, 4), rows_of(2, 33, 4)]
SIZES = (50, 33)
CHOICE = training(batch_size=10, momentum=0.5)
BACKEND, MODEL = SecretSharing(), Linear()
SECONDS = 20.0
"""How long an exchange may take: what should fail does not wait."""


def work(kind: Kind, sharing: Sharing, inputs: tuple[str, ...] = ()) -> Work:
    return Work(
        kind=kind,
        run="cd" * 32,
        plugins=(),
        pipeline=Pipeline(steps=(PluginChoice(name="words"),)),
        backend=PluginChoice(name="secret_sharing"),
        model=PluginChoice(name="linear"),
        training=CHOICE,
        classes=2,
        inputs=inputs,
        sharing=sharing,
        memory_mb=256,
        seconds=10,
        home="/nowhere",
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a run: both owners' masked parts, and all blocks that were dealt."""
    monkeypatch.setattr(planning, "BLOCK_BYTES", 4_000)
    keys = []
    for owner, part in enumerate(PARTS):
        secret = tmp_path / f"secret-{owner}"
        write_secret(secret, fixed(f"owner {owner}"))
        data = sharing_work.masked(work(Kind.MASK, Sharing(secret=str(secret))), 0, part, BACKEND)
        pair = MaskKeys.of_part(fixed(f"owner {owner}"), 0)
        keys.append(pair)
        for side in (0, 1):
            (tmp_path / f"part-{owner}-{side}").write_bytes(pair.of_side(side) + data)
    (tmp_path / "keys").write_bytes(b"".join(pair.first + pair.second for pair in keys))
    write_secret(tmp_path / "dealer", fixed("dealer"))
    dealing = Sharing(columns=4, rows=SIZES, secret=str(tmp_path / "dealer"))
    order = work(Kind.DEAL, dealing, (str(tmp_path / "keys"),))
    seeds = sharing_work.Seeds.of(fixed("dealer"))
    (tmp_path / "dealt-0-0").write_bytes(seeds.first)
    for block in range(sharing_work.plan(order, BACKEND).blocks):
        (tmp_path / f"dealt-1-{block}").write_bytes(seeds.second + sharing_work.dealt(order, block, BACKEND))
    return tmp_path


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    """The pipes' folders of both sides: what one writes, the other reads."""
    ways = [tmp_path / "way-0", tmp_path / "way-1"]
    held = []
    for way in ways:
        os.mkfifo(way)
        held.append(os.open(way, os.O_RDWR | os.O_NONBLOCK))
    monkeypatch.setattr(peer_pipes.PeerPipes.__init__, "__defaults__", (SECONDS,))
    folders = (tmp_path / "spool-0", tmp_path / "spool-1")
    for side, spool in enumerate(folders):
        spool.mkdir()
        (spool / TO_PEER).symlink_to(ways[side])
        (spool / FROM_PEER).symlink_to(ways[1 - side])
    yield folders
    for descriptor in held:
        os.close(descriptor)


def order_of(folder: Path, side: int, pipes: tuple[Path, Path]) -> Work:
    sharing = Sharing(columns=4, rows=SIZES, side=side, pipes=str(pipes[side]))
    blocks = len(list(folder.glob(f"dealt-{side}-*")))
    names = [f"part-{owner}-{side}" for owner in (0, 1)] + [
        f"dealt-{side}-{block}" for block in range(blocks)
    ]
    return work(Kind.TRAIN_SHARES, sharing, tuple(str(folder / name) for name in names))


def both(folder: Path, pipes: tuple[Path, Path]) -> list[Any]:
    """Both sides' results or errors."""
    found: list[Any] = [None, None]

    def run(side: int) -> None:
        try:
            found[side] = sharing_work.train(order_of(folder, side, pipes), BACKEND, MODEL, Clock())
        except Exception as error:
            found[side] = error

    threads = [threading.Thread(target=run, args=(side,)) for side in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_two_workers_train_from_the_files_what_plaintext_training_gives(
    folder: Path, pipes: tuple[Path, Path]
) -> None:
    assert len(list(folder.glob("dealt-1-*"))) > 3
    one, other = (unpack_weights(data, 4) for data in both(folder, pipes))
    initial = MODEL.initial(PARTS[0].features, 2, CHOICE)
    names = linear_names(MODEL)
    found = final_parameters((one, other), initial, names, SCALES)
    start = np.array(
        [*(initial[names[0]][1] - initial[names[0]][0]), initial[names[1]][1] - initial[names[1]][0]]
    )
    followed = sharing_work.plan(order_of(folder, 0, pipes), BACKEND)
    expected = plainly(followed, *dense(PARTS), start)
    difference = [*(found[names[0]][1] - found[names[0]][0]), found[names[1]][1] - found[names[1]][0]]
    assert np.abs(np.array(difference) - expected).max() < 1e-3
    assert np.abs(expected - start).max() > 0.1


def test_masking_a_part_again_gives_the_same_bytes(folder: Path) -> None:
    order = work(Kind.MASK, Sharing(secret=str(folder / "secret-0")))
    again = [sharing_work.masked(order, 3, PARTS[0], BACKEND) for _ in range(2)]
    assert again[0] == again[1]
    assert again[0] != (folder / "part-0-0").read_bytes()[32:]


def test_dealing_a_block_again_gives_the_same_bytes(folder: Path) -> None:
    dealing = Sharing(columns=4, rows=SIZES, secret=str(folder / "dealer"))
    order = work(Kind.DEAL, dealing, (str(folder / "keys"),))
    assert sharing_work.dealt(order, 1, BACKEND) == (folder / "dealt-1-1").read_bytes()[32:]


def test_masking_and_dealing_without_a_secret_are_refused(folder: Path) -> None:
    masking = work(Kind.MASK, Sharing())
    dealing = work(Kind.DEAL, Sharing(columns=4, rows=SIZES), (str(folder / "keys"),))
    with pytest.raises(WireError, match="the work names no secret") as caught:
        sharing_work.masked(masking, 0, PARTS[0], BACKEND)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID
    with pytest.raises(WireError, match="the work names no secret") as caught:
        sharing_work.dealt(dealing, 0, BACKEND)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_training_without_a_side_is_refused(folder: Path, pipes: tuple[Path, Path]) -> None:
    order = order_of(folder, 0, pipes)
    order = order.model_copy(update={"sharing": order.sharing.model_copy(update={"side": None})})
    with pytest.raises(WireError, match="the work names no side") as caught:
        sharing_work.train(order, BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("name", ["part-1-0", "part-1-1"])
def test_a_part_of_another_width_is_refused(name: str, folder: Path, pipes: tuple[Path, Path]) -> None:
    path = folder / name
    path.write_bytes(path.read_bytes()[:32] + pack_arrays({"masked": np.zeros((33, 8), np.uint64)}))
    with pytest.raises(WireError, match="expected a width of 6") as caught:
        sharing_work.train(order_of(folder, int(name[-1]), pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_a_part_with_fewer_rows_than_the_plan_is_refused(folder: Path, pipes: tuple[Path, Path]) -> None:
    path = folder / "part-1-1"
    path.write_bytes(path.read_bytes()[:32] + pack_arrays({"masked": np.zeros((32, 6), np.uint64)}))
    with pytest.raises(WireError, match="the masked parts have fewer rows than the plan") as caught:
        sharing_work.train(order_of(folder, 1, pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(32), bytes(64)])
def test_a_part_that_is_empty_or_cut_off_is_refused(
    content: bytes, folder: Path, pipes: tuple[Path, Path]
) -> None:
    (folder / "part-0-0").write_bytes(content)
    with pytest.raises(WireError) as caught:
        sharing_work.train(order_of(folder, 0, pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_a_side_without_its_agents_pipes_ends_with_an_error(folder: Path, pipes: tuple[Path, Path]) -> None:
    (pipes[0] / TO_PEER).unlink()
    with pytest.raises(WireError) as caught:
        sharing_work.train(order_of(folder, 0, pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.OWNER_AWAY


def give_the_digest(folder: Path, pipes: tuple[Path, Path], side: int) -> None:
    """What the other side sends first."""
    data = sharing_work.plan(order_of(folder, side, pipes), BACKEND).digest.encode()
    descriptor = os.open(pipes[side] / FROM_PEER, os.O_WRONLY)
    os.write(descriptor, len(data).to_bytes(4, "big") + data)
    os.close(descriptor)


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(200), b"\0" * 32 + b"\xff" * 64])
def test_dealt_bytes_that_are_no_block_end_the_training_with_a_wire_error(
    content: bytes, folder: Path, pipes: tuple[Path, Path]
) -> None:
    (folder / "dealt-1-0").write_bytes(content)

    give_the_digest(folder, pipes, 1)
    with pytest.raises(WireError) as caught:
        sharing_work.train(order_of(folder, 1, pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("content", [b"", bytes(31), bytes(33)])
def test_a_seed_that_is_none_ends_the_training_with_a_wire_error(
    content: bytes, folder: Path, pipes: tuple[Path, Path]
) -> None:
    (folder / "dealt-0-0").write_bytes(content)
    give_the_digest(folder, pipes, 0)
    with pytest.raises(
        WireError, match=f"a seed of {len(content)} bytes was dealt, and one has 32"
    ) as caught:
        sharing_work.train(order_of(folder, 0, pipes), BACKEND, MODEL, Clock())
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@pytest.mark.parametrize("size", [0, 64, 127, 129, 192])
def test_keys_that_do_not_fit_the_parts_are_refused_by_the_dealer(size: int, folder: Path) -> None:
    (folder / "keys").write_bytes(bytes(size))
    dealing = Sharing(columns=4, rows=SIZES, secret=str(folder / "dealer"))
    with pytest.raises(WireError) as caught:
        sharing_work.dealt(work(Kind.DEAL, dealing, (str(folder / "keys"),)), 0, BACKEND)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID
