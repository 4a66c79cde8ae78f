"""CKKS: what is computed under encryption is what numpy computes, to the declared precision, and room is kept to."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import CipherBackend, InvalidOptions, KeyPair, Operation, OperationMissing
from fedcore.plugin_api.testing_ciphers import CipherBackendContract
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.ckks import Ckks, CkksSums
from plugins.encryption.ckks.cipher import CkksCiphertext, CkksPublic
from plugins.encryption.ckks.opening import CkksSecret
from plugins.encryption.ckks.parameters import STANDARD

SLOTS = 4096


class CkksContract(CipherBackendContract):
    def secrets_of(self, pair: KeyPair) -> list[bytes]:
        """Parts of the polynomial, from all over it, without the count before it."""
        places = range(8, len(pair.secret) - 16, len(pair.secret) // 100)
        return [pair.secret[place : place + 16] for place in places]


class TestCkks(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks()


class TestCkksOfDepthThree(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks({"depth": 3, "precision": 12, "largest": 3})


class TestCkksThatOpensLittle(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks({"decryptions": 48, "summands": 8, "precision": 30})


class TestCkksSums(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return CkksSums()


class TestCkksSumsOfLargeNumbers(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return CkksSums({"largest": 1000, "precision": 20, "summands": 100})
