"""Contract tests: subclass one, give its fixtures, and inherit the tests that every plugin of the kind passes.

    from fedcore.plugin_api.testing import StepContract

    class TestMyStep(StepContract):
        @pytest.fixture
        def step(self):
            return MyStep({"length": 3})

        @pytest.fixture
        def value(self):
            return Text.from_rows([b"GET /", b"POST /login", b""])

The built-in plugins pass the same tests. This module needs pytest. The attacks of `fedcore.plugin_api.attacks`, which
do not, are here too: for tests that show how much a protection gives away.
"""

from __future__ import annotations

import os
from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api.attacks import AttackFigure as AttackFigure
from fedcore.plugin_api.attacks import PrivacyAudit as PrivacyAudit
from fedcore.plugin_api.attacks import frequency_analysis as frequency_analysis
from fedcore.plugin_api.attacks import likelihood_ratio as likelihood_ratio
from fedcore.plugin_api.attacks import likely_tokens as likely_tokens
from fedcore.plugin_api.attacks import linkage as linkage
from fedcore.plugin_api.attacks import loss_threshold as loss_threshold
from fedcore.plugin_api.attacks import recognise_site as recognise_site
from fedcore.plugin_api.attacks import recognised as recognised
from fedcore.plugin_api.attacks import recovery as recovery
from fedcore.plugin_api.backends import KeyHolders, Leak, ShareBackend, TokenBackend
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters
from fedcore.plugin_api.pipeline import state_digest
from fedcore.plugin_api.rows import rows_of, take_rows, values_like
from fedcore.plugin_api.serialise import (
    StoredModel,
    pack_model,
    pack_state,
    pack_summary,
    unpack_model,
    unpack_state,
    unpack_summary,
)
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.testing_common import check_plugin
from fedcore.plugin_api.testing_readers import ReaderContract as ReaderContract
from fedcore.plugin_api.values import KIND_OF, Features, Matrix, Sequence, Tokens, ValueKind
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import PluginChoice, Training

KEY_BYTES = 32


class StepContract:
    """For preprocessing steps. Fixtures: `step`, and `value`, which the step takes and which has 3 rows or more."""

    @pytest.fixture
    def step(self) -> PreprocessingStep[Any]:
        raise TypeError("Give the fixture `step`.")

    @pytest.fixture
    def value(self) -> Any:
        raise TypeError("Give the fixture `value`.")

    def test_the_step_says_who_it_is_and_refuses_unknown_options(self, step: PreprocessingStep[Any]) -> None:
        check_plugin(step)

    def test_the_step_gives_the_kind_that_it_declares(self, step: PreprocessingStep[Any], value: Any) -> None:
        assert KIND_OF[type(value)] is step.takes
        assert KIND_OF[type(applied(step, value))] is step.gives

    def test_rows_keep_their_number(self, step: PreprocessingStep[Any], value: Any) -> None:
        assert len(value) >= 3
        assert len(applied(step, value)) == len(value)

    def test_the_input_stays_as_it_was(self, step: PreprocessingStep[Any], value: Any) -> None:
        before = rows_of(value)
        applied(step, value)
        assert rows_of(value) == before

    def test_the_same_input_gives_the_same_output(self, step: PreprocessingStep[Any], value: Any) -> None:
        assert rows_of(applied(step, value)) == rows_of(applied(step, value))

    def test_blocks_give_what_the_whole_gives(self, step: PreprocessingStep[Any], value: Any) -> None:
        state = fitted_state(step, [value])
        whole = rows_of(applied(step, value, state))
        blocks = [rows_of(applied(step, block, state)) for block in _blocks(value)]
        assert [row for block in blocks for row in block] == whole

    def test_rows_do_not_influence_each_other(self, step: PreprocessingStep[Any], value: Any) -> None:
        state = fitted_state(step, [value])
        backwards = np.arange(len(value))[::-1]
        turned = rows_of(applied(step, take_rows(value, backwards), state))
        assert turned[::-1] == rows_of(applied(step, value, state))

    def test_a_block_without_rows_is_a_block(self, step: PreprocessingStep[Any], value: Any) -> None:
        nothing = take_rows(value, np.empty(0, np.int64))
        assert len(applied(step, nothing, fitted_state(step, [value]))) == 0

    def test_a_fitted_state_does_not_depend_on_the_blocks(
        self, step: PreprocessingStep[Any], value: Any
    ) -> None:
        whole, blocks = fitted_state(step, [value]), fitted_state(step, _blocks(value))
        assert (whole is None) == (not isinstance(step, FittedStep))
        if whole is not None and blocks is not None:
            assert state_digest(whole) == state_digest(blocks)

    def test_a_fitted_state_survives_the_way_over_the_wire(
        self, step: PreprocessingStep[Any], value: Any
    ) -> None:
        state = fitted_state(step, [value])
        if state is not None:
            assert state_digest(unpack_state(pack_state(state))) == state_digest(state)


class EncryptionBackendContract:
    """For backends that protect tokens. Fixture: `backend`."""

    @pytest.fixture
    def backend(self) -> TokenBackend[Any]:
        raise TypeError("Give the fixture `backend`.")

    def key(self, backend: TokenBackend[Any]) -> bytes | None:
        """A fresh key, where the backend has one."""
        return None if backend.key_holders is KeyHolders.NOBODY else os.urandom(KEY_BYTES)

    def test_the_backend_says_who_it_is_and_what_it_shows(self, backend: TokenBackend[Any]) -> None:
        check_plugin(backend)
        assert backend.operations and backend.trust
        assert bool(backend.protects) == (Leak.PLAINTEXT not in backend.leakage)
        assert backend.minimum_owners >= 1
        if isinstance(backend, ShareBackend):  # Its rows leave in shares: of them only their number shows.
            assert Leak.LENGTHS in backend.leakage
        else:  # Equal numbers for equal tokens, row by row, are what a token backend gives: all this shows.
            assert {Leak.SIZES, Leak.EQUALITY, Leak.FREQUENCY, Leak.CO_OCCURRENCE} <= backend.leakage
        assert (backend.security_bits == 0) == (Leak.PLAINTEXT in backend.leakage)

    @pytest.mark.parametrize("owners", [2, 3, 5])
    def test_equal_tokens_are_equal_at_every_owner(self, backend: TokenBackend[Any], owners: int) -> None:
        key = self.key(backend)
        rows = [[b"select", b"from", b"select"], [], [b"from", b"where"]]
        turned = [rows[place % 3 :] + rows[: place % 3] for place in range(owners)]
        found = [rows_of(backend.protect(tokens_of(own), key)) for own in turned]
        for place, own in enumerate(found):
            shift = -place % 3
            assert own[shift:] + own[:shift] == found[0]
        first, second, again = found[0][0]
        assert first == again != second

    def test_the_key_is_not_in_what_leaves(self, backend: TokenBackend[Any]) -> None:
        key = self.key(backend)
        if key is None:
            return
        protected = backend.protect(tokens_of([[b"%d" % number for number in range(100)], [key]]), key)
        sent = protected.ids.tobytes() + protected.codes.tobytes() + protected.offsets.tobytes()
        assert not any(key[start : start + 8] in sent for start in range(KEY_BYTES - 7))

    def test_different_tokens_are_different(self, backend: TokenBackend[Any]) -> None:
        words = [b"%d" % number for number in range(20_000)] + [b"", b"\0", b"\0\0", b"a" * 1000]
        ids = backend.protect(tokens_of([words]), self.key(backend)).ids
        assert len(np.unique(ids)) == len(words)

    def test_the_input_stays_as_it_was(self, backend: TokenBackend[Any]) -> None:
        tokens = tokens_of([[b"a", b"b"], [b"a"]])
        before = rows_of(tokens)
        backend.protect(tokens, self.key(backend))
        assert rows_of(tokens) == before

    def test_rows_without_tokens_pass(self, backend: TokenBackend[Any]) -> None:
        assert rows_of(backend.protect(tokens_of([[], []]), self.key(backend))) == [(), ()]

    def test_a_missing_or_wrong_key_is_refused(self, backend: TokenBackend[Any]) -> None:
        if backend.key_holders is KeyHolders.NOBODY:
            return
        for key in (None, b"", b"k" * (KEY_BYTES - 1), b"k" * (KEY_BYTES + 1)):
            with pytest.raises(ValueError, match="key"):
                backend.protect(tokens_of([[b"a"]]), key)

    def test_another_key_gives_other_numbers(self, backend: TokenBackend[Any]) -> None:
        if backend.key_holders is KeyHolders.NOBODY:
            return
        tokens = tokens_of([[b"%d" % number for number in range(1000)]])
        one, other = (backend.protect(tokens, self.key(backend)).ids for _ in range(2))
        assert not np.isin(one, other).any()

    def test_one_changed_bit_of_the_key_changes_half_of_all_bits(self, backend: TokenBackend[Any]) -> None:
        if backend.key_holders is KeyHolders.NOBODY:
            return
        tokens = tokens_of([[b"%d" % number for number in range(1000)]])
        key = os.urandom(KEY_BYTES)
        ids = backend.protect(tokens, key).ids
        for place in (0, KEY_BYTES // 2, KEY_BYTES - 1):
            flipped = bytes([*key[:place], key[place] ^ 1, *key[place + 1 :]])
            changed = np.bitwise_count(ids ^ backend.protect(tokens, flipped).ids)
            assert 31 < changed.mean() < 33

    def test_what_is_not_declared_does_not_show(self, backend: TokenBackend[Any]) -> None:
        """Two datasets that differ in the spelling of their tokens only (their letters, lengths and order)
        look alike: the same pattern, and numbers whose bits and order tell nothing."""
        if Leak.PLAINTEXT in backend.leakage:
            return
        short = [b"%c%c" % (97 + number // 26, 97 + number % 26) for number in range(500)]
        long = [b"/administrator/index.php?id=%d" % number for number in range(500)]
        one, other = (backend.protect(tokens_of([words]), self.key(backend)) for words in (short, long))
        assert (one.codes == other.codes).all() and (one.offsets == other.offsets).all()
        for ids in (one.ids, other.ids):
            ranks = np.argsort(np.argsort(ids))
            assert abs(np.corrcoef(ranks, np.arange(len(ids)))[0, 1]) < 0.25
            bits = (ids[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
            assert (np.abs(bits.mean(axis=0) - 0.5) < 0.13).all()


class ModelTypeContract:
    """For model types. Fixture: `model`. `training` holds words that let it learn 400 simple rows."""

    training = Training(
        optimiser=PluginChoice(name="adam", options={"lr": 0.05}), batch_size=32, epochs=20, seed=7
    )

    @pytest.fixture
    def model(self) -> ModelType[Any]:
        raise TypeError("Give the fixture `model`.")

    def rows(self, kind: ValueKind) -> LabelledRows:
        """400 rows of two classes that a model of the kind can tell apart."""
        return separable_rows(kind)

    def test_the_model_says_who_it_is_and_what_it_takes(self, model: ModelType[Any]) -> None:
        check_plugin(model)
        assert model.takes <= {ValueKind.MATRIX, ValueKind.SEQUENCE} and model.takes
        assert model.operations

    def test_the_same_seed_gives_the_same_model(self, model: ModelType[Any]) -> None:
        for kind in sorted(model.takes):
            assert_same(
                trained(model, self.rows(kind), self.training), trained(model, self.rows(kind), self.training)
            )

    def test_the_model_learns(self, model: ModelType[Any]) -> None:
        for kind in sorted(model.takes):
            rows = self.rows(kind)
            scores = model.scores(trained(model, rows, self.training), rows.features)
            assert scores.dtype == np.float64 and scores.shape == (len(rows.labels), 2)
            assert (scores.argmax(axis=1) == rows.labels).mean() > 0.9

    def test_training_changes_neither_rows_nor_parameters(self, model: ModelType[Any]) -> None:
        for kind in sorted(model.takes):
            rows = self.rows(kind)
            before = rows_of(rows.features)
            start = model.initial(rows.features, 2, self.training)
            copies = {name: np.array(array) for name, array in start.items()}
            model.train(start, rows, 2, self.training)
            assert_same(start, copies)
            assert rows_of(rows.features) == before

    def test_progress_ends_at_its_end(self, model: ModelType[Any]) -> None:
        rows = self.rows(sorted(model.takes)[0])
        seen: list[tuple[int, int, float]] = []
        start = model.initial(rows.features, 2, self.training)
        outcome = model.train(start, rows, 2, self.training, lambda *step: seen.append(step))
        assert seen[-1][0] == seen[-1][1] == len(seen) == len(outcome.loss) == len(outcome.accuracy)
        assert np.isfinite(outcome.loss).all() and outcome.epochs >= 1

    def test_a_model_survives_the_way_over_the_wire(self, model: ModelType[Any]) -> None:
        for kind in sorted(model.takes):
            rows = self.rows(kind)
            parameters = trained(model, rows, self.training)
            size = getattr(rows.features, "size", 0)
            choice = PluginChoice(name=model.name)
            stored = StoredModel(choice, 2, kind, rows.features.columns, size, parameters)
            arrived = unpack_model(pack_model(stored))
            assert_same(arrived.parameters, parameters)
            scores = model.scores(arrived.parameters, rows.features)
            assert (scores == model.scores(parameters, rows.features)).all()

    def test_no_rows_give_no_scores(self, model: ModelType[Any]) -> None:
        rows = self.rows(sorted(model.takes)[0])
        parameters = trained(model, rows, self.training)
        assert model.scores(parameters, rows.features.take(np.empty(0, np.int64))).shape == (0, 2)

    def test_values_that_are_not_finite_never_reach_the_model(self, model: ModelType[Any]) -> None:
        if ValueKind.MATRIX not in model.takes:
            return
        rows = self.rows(ValueKind.MATRIX)
        assert isinstance(rows.features, Matrix)
        for wrong in (np.nan, np.inf):
            data = np.array(rows.features.data)
            data[5] = wrong
            features = Matrix(rows.features.indptr, rows.features.indices, data, rows.features.columns)
            start = model.initial(rows.features, 2, self.training)
            with pytest.raises(WireError, match="not_finite"):
                model.train(start, LabelledRows(features, rows.labels), 2, self.training)

    def test_parameters_of_another_shape_are_refused(self, model: ModelType[Any]) -> None:
        rows = self.rows(sorted(model.takes)[0])
        for wrong in ({}, {"other": np.zeros((2, 2))}):
            with pytest.raises(WireError):
                model.scores(wrong, rows.features)


def applied(step: PreprocessingStep[Any], value: Any, state: State | None = None) -> Any:
    """The value after a step; a fitted step is fitted on the value unless a state is given."""
    if not isinstance(step, FittedStep):
        return step.apply(value)
    known = state if state is not None else fitted_state(step, [value])
    assert known is not None
    return step.apply_fitted(value, known)


def fitted_state(step: PreprocessingStep[Any], blocks: SequenceOf[Any]) -> State | None:
    """The state of a fitted step over blocks, with every summary sent over the wire; None for other steps."""
    if not isinstance(step, FittedStep):
        return None
    sums: list[Summary] = []
    for _ in range(step.rounds):
        parts = [unpack_summary(pack_summary(step.summarise(block, sums))) for block in blocks]
        sums.append(Summary.add(parts))
    return step.finish(sums)


def tokens_of(rows: SequenceOf[SequenceOf[bytes]]) -> Tokens:
    """Tokens from rows of spellings."""
    tokens = values_like(ValueKind.TOKENS, rows)
    assert isinstance(tokens, Tokens)
    return tokens


def separable_rows(kind: ValueKind, rows: int = 400, seed: int = 3) -> LabelledRows:
    """Rows of two classes that differ in which columns, or which numbers, they have."""
    numbers = np.random.default_rng(seed)
    labels = numbers.integers(0, 2, rows)
    if kind is ValueKind.SEQUENCE:
        ids = numbers.integers(1, 11, (rows, 8)) + 10 * labels[:, None]
        return LabelledRows(Sequence(ids.astype(np.int32), 20), labels)
    indices = np.sort(numbers.permuted(np.tile(np.arange(10), (rows, 1)), axis=1)[:, :4], axis=1)
    indices += 10 * labels[:, None]
    indptr = np.arange(0, 4 * rows + 1, 4, dtype=np.int64)
    features: Features = Matrix(indptr, indices.ravel().astype(np.int32), np.ones(4 * rows, np.float32), 20)
    return LabelledRows(features, labels)


def trained(model: ModelType[Any], rows: LabelledRows, training: Training) -> Parameters:
    """The parameters after training from the initial ones."""
    return model.train(model.initial(rows.features, 2, training), rows, 2, training).parameters


def assert_same(one: Parameters, other: Parameters) -> None:
    """The same names, dtypes and numbers."""
    assert set(one) == set(other)
    for name, array in one.items():
        assert array.dtype == other[name].dtype
        np.testing.assert_array_equal(array, other[name])


def _blocks(value: Any) -> list[Any]:
    numbers: NDArray[np.int64] = np.arange(len(value))
    return [take_rows(value, part) for part in (numbers[:1], numbers[1:2], numbers[2:])]
