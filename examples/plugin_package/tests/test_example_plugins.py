"""The example plugins pass the contract tests that fedcore ships."""

from __future__ import annotations

from typing import Any

import pytest
from fedcore_example_plugins.blake2_tokens import Blake2Tokens
from fedcore_example_plugins.length_bucket import LengthBucket
from fedcore_example_plugins.logistic_regression import LogisticRegressionModel

from fedcore.plugin_api import ModelType, PreprocessingStep, Text, TokenBackend
from fedcore.plugin_api.testing import EncryptionBackendContract, ModelTypeContract, StepContract

ROWS = [b"GET /", b"", b"x" * 31, b"x" * 32, b"/search?q=" + b"a" * 1000]


class TestLengthBucket(StepContract):
    @pytest.fixture
    def step(self) -> PreprocessingStep[Any]:
        return LengthBucket({"width": 32, "buckets": 4})

    @pytest.fixture
    def value(self) -> Text:
        return Text.from_rows(ROWS)


class TestBlake2Tokens(EncryptionBackendContract):
    @pytest.fixture
    def backend(self) -> TokenBackend[Any]:
        return Blake2Tokens()


class TestLogisticRegression(ModelTypeContract):
    @pytest.fixture
    def model(self) -> ModelType[Any]:
        return LogisticRegressionModel()


def test_the_word_says_how_long_the_row_is() -> None:
    rows = LengthBucket({"width": 32, "buckets": 4}).apply(Text.from_rows(ROWS))
    assert [row.split()[-1] for row in rows] == [b"length0", b"length0", b"length0", b"length1", b"length3"]
