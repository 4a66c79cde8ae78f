"""What is dealt is used once, in order; no number of a mask comes twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest

from fedcore.sharing import plan as planning
from fedcore.sharing.dealing import Dealer, Seeded, Seeds
from fedcore.sharing.dealt import FirstMaterial, Material, SecondMaterial
from fedcore.sharing.party import Party
from fedcore.sharing.plan import Loss
from fedcore.sharing.streams import Words
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from tests.sharing.cast import Shares, fixed, lines, plan_for, rows_of, together, training

PARTS = [rows_of(1, 50, 4), rows_of(2, 33, 4)]


@pytest.fixture(params=list(Loss), ids=[loss.value for loss in Loss])
def shares(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Shares:
    monkeypatch.setattr(planning, "BLOCK_BYTES", 52_000 if request.param is Loss.CROSS_ENTROPY else 2_500)
    plan = plan_for(PARTS, training(request.param.value, batch_size=10, epochs=2, momentum=0.5))
    assert plan.blocks >= 4
    assert plan.batches_of_block >= 2
    return Shares(plan, PARTS)


def trained_on(
    shares: Shares, first: Iterator[Material], second: Iterator[Material]
) -> list[RefusalCode | None]:
    ends = lines()
    parties = [
        Party(shares.plan, side, shares.rows(side), np.zeros(5, np.uint64), ends[side]) for side in (0, 1)
    ]
    return together(parties, [first, second], ends).codes


@pytest.mark.parametrize("side", [0, 1])
def test_a_blocks_material_is_refused_a_second_time(side: int, shares: Shares) -> None:
    material = next(shares.first() if side == 0 else shares.second())
    assert len(list(material.batches())) == shares.plan.batches_of_block
    with pytest.raises(WireError, match="block 0 of what was dealt has been used already") as caught:
        material.batches()
    assert caught.value.code is RefusalCode.MASK_REUSED


def test_a_blocks_material_is_refused_a_second_time_even_where_the_first_was_not_gone_through(
    shares: Shares,
) -> None:
    material = next(shares.first())
    material.batches()
    with pytest.raises(WireError) as caught:
        material.batches()
    assert caught.value.code is RefusalCode.MASK_REUSED


def test_a_block_that_comes_twice_ends_the_training(shares: Shares) -> None:
    def twice(blocks: Iterator[Material], again: Iterator[Material]) -> Iterator[Material]:
        yield next(blocks)
        yield from again

    codes = trained_on(shares, twice(shares.first(), shares.first()), twice(shares.second(), shares.second()))
    assert codes == [RefusalCode.MASK_REUSED] * 2


def test_the_same_material_twice_ends_the_training(shares: Shares) -> None:
    one, other = next(shares.first()), next(shares.second())
    assert trained_on(shares, iter([one, one]), iter([other, other])) == [RefusalCode.MASK_REUSED] * 2


def test_blocks_out_of_order_end_the_training_before_anything_is_opened(shares: Shares) -> None:
    first, second = list(shares.first())[::-1], list(shares.second())[::-1]
    ends = lines()
    parties = [
        Party(shares.plan, side, shares.rows(side), np.zeros(5, np.uint64), ends[side]) for side in (0, 1)
    ]
    ended = together(parties, [first, second], ends)
    assert ended.codes == [RefusalCode.MASK_REUSED] * 2
    assert [len(line.sent) for line in ends] == [1, 1]
    assert str(ended.errors[0]).endswith("was dealt in place of 0")


def test_blocks_that_are_missing_at_the_end_give_no_weights(shares: Shares) -> None:
    codes = trained_on(shares, iter(list(shares.first())[:-1]), iter(list(shares.second())[:-1]))
    assert codes == [RefusalCode.ARTEFACT_INVALID] * 2


def test_a_block_that_is_left_out_ends_the_training(shares: Shares) -> None:
    def without_the_second(blocks: Iterator[Material]) -> Iterator[Material]:
        return (block for block in blocks if block.block != 1)

    codes = trained_on(shares, without_the_second(shares.first()), without_the_second(shares.second()))
    assert codes == [RefusalCode.MASK_REUSED] * 2


def every_mask(shares: Shares) -> np.ndarray:
    """All numbers of all streams of a run: masks of rows, what is drawn for batches, and tables."""
    plan = shares.plan
    found = [Words(key).take(400) for pair in shares.keys for key in (pair.first, pair.second)]
    for block in range(plan.blocks):
        for is_first, seed in ((True, shares.seeds.first), (False, shares.seeds.second)):
            seeded = Seeded(plan, seed, block, is_first)
            for batch in plan.block(block):
                drawn = seeded.draw(len(batch.rows))
                arrays = [getattr(drawn, field.name) for field in fields(drawn)]
                found += [array for array in arrays if array.dtype == np.uint64]
            found.append(seeded.tables.blocks(np.arange(500)).reshape(-1))
    return np.concatenate(found)


def test_no_number_of_any_mask_of_a_run_comes_twice(shares: Shares) -> None:
    masks = every_mask(shares)
    assert len(masks) > 10_000
    assert len(np.unique(masks)) == len(masks)


def test_the_search_for_numbers_that_come_twice_finds_a_stream_that_is_used_twice(shares: Shares) -> None:
    masks = np.concatenate([every_mask(shares), Words(shares.keys[0].first).take(3)])
    assert len(np.unique(masks)) == len(masks) - 3


def test_another_dealing_has_other_masks(shares: Shares) -> None:
    other = Shares(shares.plan, PARTS, "another")
    assert not np.isin(every_mask(shares), every_mask(other)).any()


def test_seeds_of_the_two_sides_differ_and_come_again_from_the_same_secret() -> None:
    one, again, other = Seeds.of(fixed("one")), Seeds.of(fixed("one")), Seeds.of(fixed("other"))
    assert one == again
    assert len({one.first, one.second, other.first, other.second}) == 4
    assert (one.of_side(0), one.of_side(1)) == (one.first, one.second)
    assert repr(one) == "Seeds()"


def test_a_seed_does_not_show_when_material_is_printed(shares: Shares) -> None:
    seeded = Seeded(shares.plan, shares.seeds.first, 0, is_first=True)
    assert repr(shares.seeds.first) not in repr(seeded)


def test_a_dealer_with_keys_of_another_number_of_parts_is_refused(shares: Shares) -> None:
    with pytest.raises(WireError, match="1 pairs of keys for 2 parts") as caught:
        Dealer(shares.plan, shares.keys[:1], shares.seeds)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_what_is_dealt_fits_together_for_every_batch(shares: Shares) -> None:
    """Both sides' shares of A b and A' d are the products of the masks, whatever block and part the rows are in."""
    plan = shares.plan
    masks = shares.rows(0).mask + shares.rows(1).mask
    matrix = masks.reshape(plan.total, plan.width)[:, : plan.columns]
    for block in range(plan.blocks):
        one = FirstMaterial(plan, shares.seeds.first, block)
        other = SecondMaterial(plan, shares.seeds.second, block, shares.dealer.block(block))
        for (batch, first), (_, second) in zip(one.batches(), other.batches(), strict=True):
            rows = matrix[batch.rows]
            assert np.array_equal(
                first.forward + second.forward, rows @ (first.weights_mask + second.weights_mask)
            )
            assert np.array_equal(
                first.backward + second.backward, rows.T @ (first.errors_mask + second.errors_mask)
            )
            for cut in ("error_cut", "factor_cut"):
                mask = getattr(first, cut).mask + getattr(second, cut).mask
                top = getattr(first, cut).top + getattr(second, cut).top
                assert np.array_equal(top, mask >> np.uint64(63))
