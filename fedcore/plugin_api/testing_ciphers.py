"""The contract of backends that compute on encrypted numbers. This module needs pytest.

from fedcore.plugin_api.testing_ciphers import CipherBackendContract

class TestMyCipher(CipherBackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls):
        return MyCipher()
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api.backends import BackendStatus, KeyHolders, Leak, Operation, Protects
from fedcore.plugin_api.ciphers import (
    CipherBackend,
    Domain,
    KeyPair,
    Numbers,
    OperationMissing,
    PublicCipher,
)
from fedcore.plugin_api.testing_common import check_plugin
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

FLIPS = 200
_WINDOW = 16

_WITH_CIPHERTEXT = {Operation.ADD: np.add, Operation.MULTIPLY: np.multiply}
_WITH_NUMBERS = {Operation.ADD_PLAIN: np.add, Operation.MULTIPLY_PLAIN: np.multiply}
_WITH_COLUMNS = {Operation.MATMUL_PLAIN}
_COUNTED_OUT = 64


class CipherBackendContract:
    """For backends that compute on encrypted numbers. Fixture: `backend`, of the class's scope."""

    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        raise TypeError("Give the fixture `backend`.")

    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls, backend: CipherBackend[Any]) -> KeyPair:
        return backend.generate_keys()

    @pytest.fixture(scope="class")
    @classmethod
    def public(cls, backend: CipherBackend[Any], pair: KeyPair) -> PublicCipher[Any]:
        return backend.public(pair.public)

    def numbers(self, backend: CipherBackend[Any], length: int, seed: int = 0) -> Numbers:
        """Small numbers that the backend encrypts; of both signs, where it encrypts such."""
        numbers = np.random.default_rng(seed)
        if backend.domain is Domain.REALS:
            return numbers.uniform(-1, 1, length)
        return np.array([int(number) for number in numbers.integers(1, 10, length)], object)

    def secrets_of(self, pair: KeyPair) -> list[bytes]:
        """What of the secret key must not be found in anything else."""
        return [pair.secret]

    def test_the_backend_says_who_it_is_and_what_it_shows(self, backend: CipherBackend[Any]) -> None:
        check_plugin(backend)
        assert backend.operations and backend.operations <= set(Operation) - {Operation.EQUALITY}
        assert backend.trust and all(sentence.endswith(".") for sentence in backend.trust)
        assert backend.protects & {Protects.MATRIX, Protects.UPDATE}
        assert Leak.LENGTHS in backend.leakage and Leak.PLAINTEXT not in backend.leakage
        assert backend.minimum_owners >= 2
        assert backend.security_bits >= 112
        assert backend.key_holders is not KeyHolders.NOBODY
        assert (Leak.EQUALITY in backend.leakage) <= (backend.status is BackendStatus.TEACHING)

    @pytest.mark.parametrize("length", [1, 2, 7, 100])
    def test_numbers_come_back(self, backend: CipherBackend[Any], pair: KeyPair, length: int) -> None:
        numbers = self.numbers(backend, length)
        ciphertext = backend.public(pair.public).encrypt(numbers)
        assert ciphertext.length == length
        self.assert_close(backend, backend.secret(pair).decrypt(ciphertext), numbers)

    def test_the_largest_and_the_smallest_number_come_back(
        self, backend: CipherBackend[Any], pair: KeyPair
    ) -> None:
        for number in (backend.largest, backend.smallest):
            numbers = self.array(backend, [number])
            found = backend.secret(pair).decrypt(backend.public(pair.public).encrypt(numbers))
            self.assert_close(backend, found, numbers)

    def test_numbers_travel(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        numbers = self.numbers(backend, 20)
        arrived = backend.public(pair.public).unpack(public.encrypt(numbers).pack())
        assert arrived.length == 20
        self.assert_close(backend, backend.secret(pair).decrypt(arrived), numbers)

    @pytest.mark.parametrize("owners", [2, 3, 5])
    @pytest.mark.parametrize("operation", _WITH_CIPHERTEXT)
    def test_what_owners_encrypt_is_combined_as_declared(
        self,
        backend: CipherBackend[Any],
        pair: KeyPair,
        public: PublicCipher[Any],
        operation: Operation,
        owners: int,
    ) -> None:
        combine: Callable[[Any, Any], Any] = getattr(public, operation)
        if operation not in backend.operations:
            with pytest.raises(OperationMissing, match=operation):
                combine(*(public.encrypt(self.numbers(backend, 2)) for _ in range(2)))
            return
        owners = min(owners, backend.most(operation) + 1)
        assert owners >= 2
        numbers = [self.numbers(backend, 12, seed) for seed in range(owners)]
        sent = [backend.public(pair.public).encrypt(own).pack() for own in numbers]
        result = reduce(combine, [public.unpack(own) for own in sent])
        found = backend.secret(pair).decrypt(public.unpack(result.pack()))
        self.assert_close(backend, found, reduce(_WITH_CIPHERTEXT[operation], numbers), owners)

    @pytest.mark.parametrize("operation", _WITH_NUMBERS)
    def test_known_numbers_are_combined_as_declared(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any], operation: Operation
    ) -> None:
        numbers, known = self.numbers(backend, 9, 1), self.numbers(backend, 9, 2)
        combine: Callable[[Any, Any], Any] = getattr(public, operation)
        if operation not in backend.operations:
            with pytest.raises(OperationMissing, match=operation):
                combine(public.encrypt(numbers), known)
            return
        found = backend.secret(pair).decrypt(combine(public.encrypt(numbers), known))
        self.assert_close(backend, found, _WITH_NUMBERS[operation](numbers, known), 2)

    def test_appended_numbers_come_back_apart(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        first, more = self.numbers(backend, 5, 1), self.numbers(backend, 3, 2)
        if Operation.APPEND not in backend.operations:
            with pytest.raises(OperationMissing, match="append"):
                public.append(public.encrypt(first), more)
            return
        both = public.append(public.encrypt(first), more)
        self.assert_close(backend, backend.secret(pair).decrypt(both), np.concatenate([first, more]), 2)

    def test_a_matrix_of_columns_is_multiplied_as_declared(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        columns = [self.numbers(backend, 6, seed) for seed in range(3)]
        encrypted = [public.encrypt(column) for column in columns]
        matrix = self.array(backend, [[1, 2], [3, 1], [1, 1]])
        if Operation.MATMUL_PLAIN not in backend.operations:
            with pytest.raises(OperationMissing, match="matmul_plain"):
                public.matmul_plain(encrypted, matrix)
            return
        found = [
            backend.secret(pair).decrypt(public.unpack(result.pack()))
            for result in public.matmul_plain(encrypted, matrix)
        ]
        assert len(found) == 2
        for place, result in enumerate(found):
            expected = sum(column * row[place] for column, row in zip(columns, matrix, strict=True))
            self.assert_close(backend, result, np.asarray(expected), 5)
        for wrong in (matrix[:2], matrix[0], matrix[:, :0]):
            with pytest.raises(WireError, match="artefact_invalid"):
                public.matmul_plain(encrypted, wrong)
        with pytest.raises(WireError, match="artefact_invalid"):
            public.matmul_plain([*encrypted[:2], public.encrypt(self.numbers(backend, 7))], matrix)

    def test_a_key_opens_no_more_than_it_may(self, backend: CipherBackend[Any]) -> None:
        if backend.decryptions is None or backend.decryptions > _COUNTED_OUT:
            return  # Too many to count out here; a test of the backend's own does.
        pair = backend.generate_keys()
        ciphertext = backend.public(pair.public).encrypt(self.numbers(backend, 1))
        for _ in range(backend.decryptions):
            backend.secret(pair).decrypt(ciphertext)
        with pytest.raises(WireError) as caught:
            backend.secret(pair).decrypt(ciphertext)
        assert caught.value.code is RefusalCode.KEY_SPENT

    def test_more_operations_than_there_is_room_for_are_refused(
        self, backend: CipherBackend[Any], public: PublicCipher[Any]
    ) -> None:
        for operation in sorted(backend.operations & _WITH_CIPHERTEXT.keys()):
            most = backend.most(operation)
            if most > _COUNTED_OUT:
                continue  # Too many to count out here; a test of the backend's own does.
            combine = getattr(public, operation)
            ones = [public.encrypt(self.array(backend, [1])) for _ in range(most + 2)]
            result = reduce(combine, ones[:-1])
            with pytest.raises(WireError) as caught:
                combine(result, ones[-1])
            assert caught.value.code is RefusalCode.OUT_OF_RANGE

    def test_numbers_that_it_cannot_hold_are_refused(
        self, backend: CipherBackend[Any], public: PublicCipher[Any]
    ) -> None:
        beyond: list[Any] = [backend.largest + 1, backend.smallest - 1]
        if backend.domain is Domain.REALS:
            beyond = [1.001 * backend.largest, 1.001 * backend.smallest]
        wrong = [(number, RefusalCode.OUT_OF_RANGE) for number in beyond]
        if backend.domain is Domain.REALS:
            wrong += [(np.nan, RefusalCode.NOT_FINITE), (-np.inf, RefusalCode.NOT_FINITE)]
        else:
            wrong += [(0.5, RefusalCode.ARTEFACT_INVALID), (np.nan, RefusalCode.ARTEFACT_INVALID)]
        for number, code in wrong:
            with pytest.raises(WireError) as caught:
                public.encrypt(self.array(backend, [1, number]))
            assert caught.value.code is code
        for shape in (np.empty(0), np.ones((2, 2))):
            with pytest.raises(WireError, match="artefact_invalid"):
                public.encrypt(shape)

    def test_numbers_of_another_length_are_refused(
        self, backend: CipherBackend[Any], public: PublicCipher[Any]
    ) -> None:
        one, other = public.encrypt(self.numbers(backend, 3)), public.encrypt(self.numbers(backend, 4))
        for operation in sorted(backend.operations - {Operation.APPEND} - _WITH_COLUMNS):
            second: Any = other if operation in _WITH_CIPHERTEXT else self.numbers(backend, 4)
            with pytest.raises(WireError, match="artefact_invalid"):
                getattr(public, operation)(one, second)

    def test_a_ciphertext_of_another_key_is_refused(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        other = backend.generate_keys()
        assert other.public != pair.public and other.secret != pair.secret
        ciphertext = backend.public(other.public).encrypt(self.numbers(backend, 2))
        with pytest.raises(WireError, match="another key"):
            public.unpack(ciphertext.pack())
        with pytest.raises(WireError, match="another key"):
            backend.secret(pair).decrypt(ciphertext)
        with pytest.raises(WireError) as caught:
            backend.secret(KeyPair(pair.public, other.secret))
        assert caught.value.code is RefusalCode.KEY_INVALID

    def test_damaged_ciphertexts_are_refused(
        self, backend: CipherBackend[Any], public: PublicCipher[Any]
    ) -> None:
        good, chance = public.encrypt(self.numbers(backend, 6)).pack(), random.Random(5)  # noqa: S311
        places = [chance.randrange(len(good)) for _ in range(FLIPS)]
        wrong = [
            good[:place] + bytes([good[place] ^ 1 << chance.randrange(8)]) + good[place + 1 :]
            for place in places
        ]
        wrong += [b"", good[:-1], good[: len(good) // 2], good + b"\0"]
        for data in wrong:
            with pytest.raises(WireError) as caught:
                public.unpack(data)
            assert caught.value.code is RefusalCode.ARTEFACT_INVALID

    def test_malformed_keys_are_refused(self, backend: CipherBackend[Any], pair: KeyPair) -> None:
        good = pair.public
        for data in (b"", b"\0" * len(good), b"\xff" * len(good), good[:-1], good[1:], good + b"\0"):
            with pytest.raises(WireError) as caught:
                backend.public(data)
            assert caught.value.code is RefusalCode.KEY_INVALID
        for data in (b"", pair.secret[:-1], b"\0" * len(pair.secret)):
            with pytest.raises(WireError) as caught:
                backend.secret(KeyPair(pair.public, data))
            assert caught.value.code is RefusalCode.KEY_INVALID

    def test_the_secret_key_is_nowhere_else(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        ciphertext = public.encrypt(self.numbers(backend, 3))
        shown = pair.public + ciphertext.pack() + repr((pair, public, ciphertext)).encode()
        for secret in self.secrets_of(pair):
            windows = (
                secret[start : start + _WINDOW]
                for start in range(0, max(1, len(secret) - _WINDOW + 1), _WINDOW)
            )
            assert not any(window in shown for window in windows)

    def test_what_is_not_declared_does_not_show(
        self, backend: CipherBackend[Any], public: PublicCipher[Any]
    ) -> None:
        """Bytes have one length for all numbers, and equal numbers look different, unless it is declared."""
        ones = self.array(backend, [1] * 30)
        packed = [public.encrypt(ones).pack(), public.encrypt(ones).pack()]
        packed.append(public.encrypt(self.numbers(backend, 30, 4)).pack())
        assert len({len(data) for data in packed}) == 1
        assert (packed[0] == packed[1]) == (Leak.EQUALITY in backend.leakage)

    def test_the_input_stays_as_it_was(
        self, backend: CipherBackend[Any], pair: KeyPair, public: PublicCipher[Any]
    ) -> None:
        numbers = self.numbers(backend, 4)
        before = numbers.copy()
        ciphertext = public.encrypt(numbers)
        bytes_before = ciphertext.pack() if Leak.EQUALITY in backend.leakage else b""
        for operation in sorted(backend.operations - _WITH_COLUMNS):
            second: Any = public.encrypt(numbers) if operation in _WITH_CIPHERTEXT else numbers
            getattr(public, operation)(ciphertext, second)
        assert (numbers == before).all()
        self.assert_close(backend, backend.secret(pair).decrypt(ciphertext), before)
        assert not bytes_before or ciphertext.pack() == bytes_before

    @staticmethod
    def array(backend: CipherBackend[Any], numbers: list[Any]) -> Numbers:
        return np.array(numbers, np.float64 if backend.domain is Domain.REALS else object)

    @staticmethod
    def assert_close(
        backend: CipherBackend[Any], found: Numbers, expected: Numbers, operations: int = 1
    ) -> None:
        assert found.shape == expected.shape
        if backend.tolerance == 0:
            assert (found == expected).all()
            return
        error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
        assert float(error.max()) <= backend.tolerance * operations
