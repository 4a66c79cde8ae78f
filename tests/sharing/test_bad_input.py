"""What does not fit ends a training with an error that says so, and never with a wrong model."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.sharing import plan as planning
from fedcore.sharing.dealing import Corrections
from fedcore.sharing.dealt import FirstMaterial, SecondMaterial
from fedcore.sharing.masking import SharedRows
from fedcore.sharing.party import Party
from fedcore.sharing.plan import Loss, SharedPlan
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from tests.sharing.cast import (
    Ended,
    Shares,
    lines,
    plan_for,
    rows_of,
    together,
    train,
    training,
)

PARTS = [rows_of(1, 50, 4), rows_of(2, 33, 4)]
LOSSES = pytest.mark.parametrize("loss", list(Loss))


def plan_with(loss: Loss, **options: float) -> SharedPlan:
    return plan_for(PARTS, training(loss.value, batch_size=10, **(options or {"momentum": 0.5})))


def with_plans(one: SharedPlan, other: SharedPlan) -> Ended:
    shares, ends = (Shares(one, PARTS), Shares(other, PARTS)), lines()
    parties = [
        Party(shares[side].plan, side, shares[side].rows(side), np.zeros(5, np.uint64), ends[side])
        for side in range(2)
    ]
    return together(parties, [shares[0].first(), shares[1].second()], ends)


@LOSSES
@pytest.mark.parametrize("name", ["forward", "backward", "range", "factor_cut", "error_cut", "sigmoid"])
def test_corrections_that_are_missing_or_of_another_size_or_dtype_are_refused(loss: Loss, name: str) -> None:
    plan = plan_with(loss)
    shares = Shares(plan, PARTS)
    dealt = shares.dealer.block(0)
    unused = "sigmoid" if loss is Loss.SQUARED_ERROR else "error_cut"
    if name == unused:
        wrong: list[Mapping[str, NDArray[np.uint64]]] = [dealt | {name: np.zeros(5, np.uint64)}]
    else:
        wrong = [
            {key: value for key, value in dealt.items() if key != name},
            dealt | {name: dealt[name][:-1]},
            dealt | {name: np.append(dealt[name], dealt[name][:1])},
            dealt | {name: dealt[name].reshape(1, -1)},
            dealt | {name: dealt[name].view(np.int64)},
            dealt | {name: dealt[name].astype(np.float64)},
            {key if key != name else "other": value for key, value in dealt.items()},
        ]
    for corrections in wrong:
        with pytest.raises(WireError, match=r"dealt were arrays .*, expected sizes") as caught:
            SecondMaterial(plan, shares.seeds.second, 0, corrections)
        assert caught.value.code is RefusalCode.ARTEFACT_INVALID
    SecondMaterial(plan, shares.seeds.second, 0, dealt)


def test_corrections_of_another_block_are_refused_where_their_sizes_differ(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(planning, "BLOCK_BYTES", 4_000)
    plan = plan_with(Loss.SQUARED_ERROR)
    shares = Shares(plan, PARTS)
    with pytest.raises(WireError, match="dealt were arrays"):
        SecondMaterial(plan, shares.seeds.second, plan.blocks - 1, shares.dealer.block(0))


@LOSSES
@pytest.mark.parametrize("length", [-1, 1, 8, -8], ids=["one less", "one more", "eight more", "eight less"])
@pytest.mark.parametrize("frame", range(1, 29))
def test_a_frame_of_another_length_from_the_peer_is_refused(loss: Loss, length: int, frame: int) -> None:
    """Frames 1 to 28 are three openings for each of nine batches, and the check of the first epoch."""
    plan = plan_with(loss)

    def changed(number: int, data: bytes) -> bytes:
        if number != frame:
            return data
        return data[:length] if length < 0 else data + bytes(length)

    ended = train(plan, PARTS, frames=changed)
    size = len(ended.lines[1].sent[frame])
    assert ended.codes == [RefusalCode.ARTEFACT_INVALID, RefusalCode.OWNER_AWAY]
    assert str(ended.errors[0]).endswith(f"the other compute owner sent a frame of {size} bytes")


@pytest.mark.parametrize("frame", [0, 1, 2, 3, 28])
def test_an_empty_frame_from_the_peer_is_refused(frame: int) -> None:
    plan = plan_with(Loss.SQUARED_ERROR)
    codes = train(plan, PARTS, frames=lambda number, data: b"" if number == frame else data).codes
    assert codes[0] is (RefusalCode.STATE_MISMATCH if frame == 0 else RefusalCode.ARTEFACT_INVALID)


@pytest.mark.parametrize(
    "other",
    [
        plan_for(PARTS, training(batch_size=10, momentum=0.5, seed=8)),
        plan_for(PARTS, training(batch_size=10, momentum=0.25)),
        plan_for(PARTS, training(batch_size=11, momentum=0.5)),
        plan_for(PARTS, training("cross_entropy", batch_size=10, momentum=0.5)),
    ],
    ids=["seed", "momentum", "batch size", "loss"],
)
def test_two_sides_with_other_plans_end_before_anything_else_is_sent(other: SharedPlan) -> None:
    ended = with_plans(plan_with(Loss.SQUARED_ERROR), other)
    assert ended.codes == [RefusalCode.STATE_MISMATCH] * 2
    assert [len(line.sent) for line in ended.lines] == [1, 1]
    assert "the compute owners do not follow the same plan" in str(ended.errors[0])


@pytest.mark.parametrize("change", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_rows_or_weights_of_another_shape_than_the_plans_are_refused(change: tuple[int, int]) -> None:
    plan = plan_with(Loss.SQUARED_ERROR)
    numbers = np.zeros(plan.total * plan.width + change[0], np.uint64)
    with pytest.raises(WireError, match="rows or weights do not have the plan's shape") as caught:
        Party(plan, 0, SharedRows(numbers, numbers), np.zeros(5 + change[1], np.uint64), lines()[0])
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


@LOSSES
@pytest.mark.parametrize("lr", [16.0, 64.0, 128.0])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_learning_rate_that_makes_scores_explode_ends_out_of_range_on_both_sides(
    loss: Loss, lr: float, momentum: float
) -> None:
    lr *= 4 if loss is Loss.CROSS_ENTROPY else 1
    plan = plan_for(PARTS, training(loss.value, batch_size=10, lr=lr, momentum=momentum))
    ended = train(plan, PARTS)
    assert ended.codes == [RefusalCode.OUT_OF_RANGE] * 2
    assert ended.weights == [None, None]
    text = str(ended.errors[0])
    assert "scores of the epoch came near 32 or beyond. Lower the learning rate, or raise score_range" in text
    assert text == str(ended.errors[1])


def test_the_number_of_scores_out_of_range_is_told_at_the_end_of_the_epoch_in_which_they_were() -> None:
    shares = Shares(plan_with(Loss.CROSS_ENTROPY, lr=2.0**-6), PARTS)
    weights = np.zeros(5, np.int64)
    weights[4] = 40 * 2**44
    ended = train(shares.plan, PARTS, weights.view(np.uint64))
    assert ended.codes == [RefusalCode.OUT_OF_RANGE] * 2
    assert "by batch 7, 83 scores of the epoch came near 32 or beyond" in str(ended.errors[0])


@pytest.mark.parametrize("bias", [-40.0, 40.0, 33.5, -33.5, 62.0, -62.0])
@LOSSES
def test_a_score_beyond_the_range_is_always_found(loss: Loss, bias: float) -> None:
    weights = np.zeros(5, np.int64)
    weights[4] = round(bias * 2**44)
    plan = plan_for(PARTS, training(loss.value, batch_size=83, epochs=1, lr=2.0**-9))
    assert train(plan, PARTS, weights.view(np.uint64)).codes == [RefusalCode.OUT_OF_RANGE] * 2


@pytest.mark.parametrize("bias", [-22.9, 22.9])
@LOSSES
def test_a_score_within_three_quarters_of_the_range_is_never_refused(loss: Loss, bias: float) -> None:
    weights = np.zeros(5, np.int64)
    weights[4] = round(bias * 2**44)
    plan = plan_for(PARTS, training(loss.value, batch_size=83, epochs=1, lr=2.0**-9))
    assert train(plan, PARTS, weights.view(np.uint64)).codes == [None, None]


def corrupted(name: str, place: int) -> Callable[[int, Corrections], Corrections]:
    def change(_block: int, dealt: Corrections) -> Corrections:
        values = dealt[name].copy()
        values[place] ^= np.uint64(0x5555_5555_5555_5555)
        return {**dealt, name: values}

    return change


@LOSSES
@pytest.mark.parametrize("name", ["forward", "backward", "range", "factor_cut", "error_cut", "sigmoid"])
@pytest.mark.parametrize("place", [0, 7, -1])
def test_corrupted_corrections_change_the_model_or_end_it_and_never_crash(
    loss: Loss, name: str, place: int
) -> None:
    plan = plan_with(loss)
    if name == ("sigmoid" if loss is Loss.SQUARED_ERROR else "error_cut"):
        return
    right = train(plan, PARTS).total(plan)
    ended = train(plan, PARTS, change=corrupted(name, place))
    if ended.codes == [None, None]:
        changed = not np.array_equal(ended.total(plan), right)
        # Of a table one entry of each row is read: the others may be anything.
        assert changed or name in ("sigmoid", "range")
    else:
        assert ended.codes == [RefusalCode.OUT_OF_RANGE] * 2


@LOSSES
def test_corrections_that_are_all_random_never_crash(loss: Loss) -> None:
    chance = np.random.default_rng(4)

    def random(_block: int, dealt: Corrections) -> Corrections:
        return {name: chance.integers(0, 2**64, len(values), np.uint64) for name, values in dealt.items()}

    assert train(plan_with(loss), PARTS, change=random).codes == [RefusalCode.OUT_OF_RANGE] * 2


def test_what_a_training_draws_never_changes_what_was_dealt() -> None:
    shares = Shares(plan_with(Loss.CROSS_ENTROPY), PARTS)
    dealt = shares.dealer.block(0)
    kept = {name: values.copy() for name, values in dealt.items()}
    for values in dealt.values():
        values.setflags(write=False)
    ends = lines()
    parties = [
        Party(shares.plan, side, shares.rows(side), np.zeros(5, np.uint64), ends[side]) for side in range(2)
    ]
    second = SecondMaterial(shares.plan, shares.seeds.second, 0, dealt)
    first = FirstMaterial(shares.plan, shares.seeds.first, 0)
    assert together(parties, [[first], [second]], ends).codes == [None, None]
    assert all(np.array_equal(kept[name], values) for name, values in dealt.items())
