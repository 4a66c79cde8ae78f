"""What is sent in a training is uniformly random, and tells nothing of rows, labels or weights.

Looked at is what one compute owner sees of each opening once it takes off all that it knows itself: its own mask. What
is left has the other's mask, and is uniform and independent of everything where that one is. A control forgets one
mask, at the first compute owner and the dealer alike, so that the training goes on as it should.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.values import Matrix
from fedcore.sharing.dealing import Drawn, Seeded
from fedcore.sharing.party import Party
from fedcore.sharing.plan import Loss, SharedPlan
from tests.sharing.cast import plan_for, rows_of, train, training
from tests.sharing.chance import UNLIKELY, chance_of, chance_of_words

COLUMNS, BATCH = 4, 8
Seen = list[dict[str, NDArray[Any]]]
OPENINGS = ("weights", "coarse", "fine", "error_cut", "factor_cut", "errors")
MASKS = {
    "weights": "weights_mask",
    "coarse": "range_mask",
    "fine": "sigmoid_mask",
    "error_cut": "error_cut_mask",
    "factor_cut": "factor_cut_mask",
    "errors": "errors_mask",
}


class Onlooker(Party):
    """The second compute owner, that notes of every batch what it sees behind its own masks."""

    seen: Seen = []

    def _step(self, batch: Any, dealt: Any, block: Any) -> None:
        self._dealt = dealt
        self._noted: dict[str, NDArray[Any]] = {}
        super()._step(batch, dealt, block)
        if self._side == 1:
            Onlooker.seen.append(self._noted)

    def _open(self, share: Any) -> Any:
        opened = super()._open(share)
        name = "errors" if "weights" in self._noted else "weights"
        self._noted[name] = opened + getattr(self._dealt, MASKS[name])
        return opened

    def _exchanged(self, sent: Any) -> Any:
        opened = super()._exchanged(sent)
        if len(opened) == 4:
            dealt = self._dealt
            coarse, fine, error, factor = opened
            self._noted["coarse"] = (coarse - dealt.range_mask) & np.uint8(15)
            if len(fine):
                self._noted["fine"] = fine - dealt.sigmoid_mask
            if len(error):
                self._noted["error_cut"] = error - dealt.error_cut.mask
            if len(factor):
                self._noted["factor_cut"] = factor - dealt.factor_cut.mask
        return opened


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    Onlooker.seen = []


def forget(monkeypatch: pytest.MonkeyPatch, mask: str) -> None:
    """The first compute owner and the dealer take 0 for one of its masks."""
    draw = Seeded.draw

    def forgetful(seeded: Seeded, rows: int) -> Drawn:
        drawn = draw(seeded, rows)
        if seeded.is_first:
            getattr(drawn, mask)[:] = 0
        return drawn

    monkeypatch.setattr(Seeded, "draw", forgetful)


def nothing(count: int) -> LabelledRows:
    """Rows of zeros, all of class 0."""
    matrix = Matrix(np.zeros(count + 1, np.int64), np.empty(0, np.int32), np.empty(0, np.float32), COLUMNS)
    return LabelledRows(matrix, np.zeros(count, np.int64))


def everything(count: int) -> LabelledRows:
    """Large rows, all of class 1."""
    rows = rows_of(1, count, COLUMNS, 1.0)
    assert isinstance(rows.features, Matrix)
    data = (rows.features.data + 1.5).astype(np.float32)
    features = Matrix(rows.features.indptr, rows.features.indices, data, COLUMNS)
    return LabelledRows(features, np.ones(count, np.int64))


def choice_of(loss: Loss) -> Any:
    return training(loss.value, batch_size=BATCH, epochs=1, lr=2.0**-12, momentum=0.5)


def views(rows: LabelledRows, loss: Loss, secrets: int, large_weights: bool, label: str) -> Seen:
    """What is seen in some trainings with fresh secrets, by batch."""
    Onlooker.seen = []
    plan = plan_for([rows], choice_of(loss))
    weights = np.full(COLUMNS + 1, -(2**45) if large_weights else 0).view(np.uint64)
    for number in range(secrets):
        _ = train(plan, [rows], weights, f"{label} {number}", kind=Onlooker).shares
    return Onlooker.seen


def features_of(view: dict[str, NDArray[Any]], name: str) -> NDArray[np.float64]:
    """How often each nibble stands at the top and at the bottom of the numbers of one opening, and their places."""
    numbers = view[name]
    bits = numbers.dtype.itemsize * 8 if name != "coarse" else 4
    top = (numbers >> numbers.dtype.type(bits - 4)).astype(np.int64) & 15
    low = numbers.astype(np.int64) & 15
    counts = [np.bincount(nibbles, minlength=16) for nibbles in (top, low)]
    return np.concatenate([*counts, top / 8 - 1, low / 8 - 1]).astype(np.float64)


def told_apart(one: Seen, other: Seen, name: str) -> float:
    """By how many standard deviations a distinguisher is better than guessing, on batches that it has not learnt."""
    features = np.array([features_of(view, name) for view in (*one, *other)])
    answers = np.repeat([0, 1], [len(one), len(other)])
    learnt = np.random.default_rng(1).random(len(answers)) < 0.5
    model = LogisticRegression(C=0.1, max_iter=50).fit(features[learnt], answers[learnt])
    right = model.score(features[~learnt], answers[~learnt])
    return float((right - 0.5) / (0.5 / np.sqrt((~learnt).sum())))


def used(loss: Loss) -> list[str]:
    left_out = "fine" if loss is Loss.SQUARED_ERROR else "error_cut"
    return [name for name in OPENINGS if name != left_out]


EVERY = [(loss, name) for loss in Loss for name in used(loss)]
FAR = 4.5


@pytest.mark.parametrize("loss", list(Loss))
def test_two_data_sets_that_differ_in_everything_are_not_told_apart_by_any_opening(loss: Loss) -> None:
    one = views(nothing(800), loss, 4, False, "one")
    other = views(everything(800), loss, 4, True, "other")
    assert len(one) == len(other) == 400
    for name in used(loss):
        assert abs(told_apart(one, other, name)) < FAR, name


@pytest.mark.parametrize(("loss", "name"), EVERY)
def test_they_are_told_apart_by_the_opening_whose_mask_one_compute_owner_forgets(
    loss: Loss, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, MASKS[name])
    one = views(nothing(800), loss, 1, False, "one")
    other = views(everything(800), loss, 1, True, "other")
    assert told_apart(one, other, name) > FAR


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("rows", [nothing(800), everything(800)], ids=["nothing", "everything"])
def test_each_opening_behind_ones_own_mask_is_uniform(loss: Loss, rows: LabelledRows) -> None:
    seen = views(rows, loss, 3, True, "uniform")
    for name in used(loss):
        assert chance_in(seen, name) > UNLIKELY, name


@pytest.mark.parametrize(("loss", "name"), EVERY)
def test_an_opening_whose_mask_is_forgotten_is_not_uniform(
    loss: Loss, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(monkeypatch, MASKS[name])
    assert chance_in(views(everything(800), loss, 1, True, "uniform"), name) < UNLIKELY


def chance_in(seen: Seen, name: str) -> float:
    numbers = np.concatenate([view[name] for view in seen])
    if numbers.dtype == np.uint64:
        return chance_of_words(numbers)
    return chance_of(numbers, 16 if name == "coarse" else 256)


def words_and_rest(frames: list[bytes], plan: SharedPlan) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """All bytes that one side sent, but the digest at the start and the check of each epoch; and all coarse indices."""
    rest, coarse = [], []
    position = 1
    for number in range(plan.batches):
        rows = len(plan.batch(number).rows)
        weights, middle, errors = frames[position : position + 3]
        words = len(middle) - rows * (1 if plan.loss is Loss.SQUARED_ERROR else 2)
        coarse.append(middle[words : words + rows])
        rest += [weights, middle[:words], middle[words + rows :], errors]
        position += 4 if plan.batch(number).ends_epoch else 3
    assert position == len(frames)
    return np.frombuffer(b"".join(rest), np.uint8), np.frombuffer(b"".join(coarse), np.uint8)


@pytest.mark.parametrize("loss", list(Loss))
@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_all_that_a_compute_owner_sends_in_a_training_is_uniform(loss: Loss, momentum: float) -> None:
    parts = [everything(300), nothing(277)]
    plan = plan_for(parts, training(loss.value, batch_size=16, epochs=3, lr=2.0**-8, momentum=momentum))
    ended = train(plan, parts, np.full(COLUMNS + 1, 2**43, np.uint64))
    _ = ended.shares
    for line in ended.lines:
        rest, coarse = words_and_rest(line.sent, plan)
        assert chance_of(rest) > UNLIKELY
        assert chance_of(coarse, 16) > UNLIKELY
        assert line.sent[0] == plan.digest.encode()
    both = [words_and_rest(line.sent, plan)[0] for line in ended.lines]
    assert not (both[0] == both[1]).mean() > 0.01


def test_at_the_end_of_each_epoch_the_sides_open_that_no_score_was_out_of_range_and_nothing_else() -> None:
    parts = [rows_of(1, 64, COLUMNS)]
    plan = plan_for(parts, training(batch_size=16, epochs=5))
    lines = train(plan, parts).lines
    shares = [np.frombuffer(b"".join(line.sent[13::13]), np.uint32) for line in lines]
    assert len(shares[0]) == 5
    assert not (shares[0] + shares[1]).any()
    assert (shares[0] > 2**16).all()


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("loss", list(Loss))
def test_one_sides_share_of_the_final_weights_is_uniform(loss: Loss, side: int) -> None:
    parts = [rows_of(1, 20, 9000, 0.01)]
    plan = plan_for(parts, training(loss.value, batch_size=10, epochs=1))
    ended = train(plan, parts)
    assert chance_of_words(ended.shares[side][:-1]) > UNLIKELY
    assert chance_of_words((ended.shares[0] + ended.shares[1])[:-1]) < UNLIKELY
