"""The built-in steps and backends pass the contract tests that ship for third parties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fedcore.plugin_api import (
    DatasetReader,
    Indices,
    PreprocessingStep,
    Pseudonyms,
    Records,
    Text,
    TokenBackend,
)
from fedcore.plugin_api.testing import EncryptionBackendContract, ReaderContract, StepContract
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.plaintext import Plaintext
from plugins.preprocessing.bag_of_words import BagOfWords
from plugins.preprocessing.char_ngrams import CharNgrams
from plugins.preprocessing.fields import Fields
from plugins.preprocessing.hash_columns import HashColumns
from plugins.preprocessing.joint_vocabulary import JointVocabulary
from plugins.preprocessing.lower import Lower
from plugins.preprocessing.pad import Pad
from plugins.preprocessing.strip_punctuation import StripPunctuation
from plugins.preprocessing.url_decode import UrlDecode
from plugins.preprocessing.words import Words
from plugins.readers.apache.reader import ApacheCombined, ApacheCommon
from plugins.readers.labelled_lines import LabelledLines

TEXT = Text.from_rows([b"/A%41?b=1+2", b"", b"%2541%zz%", b"/a/b/a/b", b"\xc3\xa9 _x-y_", b"/A%41?b=1+2"])
RECORDS = Records({"target": TEXT, "agent": TEXT.take(np.arange(6)[::-1])}, np.array([0, 1, 0, 1, 0, 1]))
_CODES = np.array([0, 1, 0, 2, 3, 0, 0, 4], np.int32)
_OFFSETS = np.array([0, 3, 3, 5, 8], np.int64)
PSEUDONYMS = Pseudonyms(_CODES, _OFFSETS, np.array([9, 2**63 + 5, 7, 2**64 - 1, 0], np.uint64))
INDICES = Indices(_CODES + np.int32(1), _OFFSETS, 5)

STEPS: list[tuple[PreprocessingStep[Any], Any]] = [
    (Fields({"names": ["agent", "target"]}), RECORDS),
    (UrlDecode({"times": 2, "plus": True}), TEXT),
    (Lower(), TEXT),
    (StripPunctuation(), TEXT),
    (StripPunctuation({"replacement": "nothing", "keep": "-"}), TEXT),
    (Words({"keep": "_"}), TEXT),
    (CharNgrams(), TEXT),
    (HashColumns({"columns": 8}), PSEUDONYMS),
    (JointVocabulary({"minimum_count": 1}), PSEUDONYMS),
    (JointVocabulary({"minimum_count": 2, "maximum_size": 2}), PSEUDONYMS),
    (BagOfWords(), INDICES),
    (Pad({"length": 2}), INDICES),
    (Pad({"length": 4, "side": "right"}), INDICES),
]

READERS: list[DatasetReader[Any]] = [
    LabelledLines(),
    *(kind({"labels": labels}) for kind in (ApacheCombined, ApacheCommon) for labels in (False, True)),
]


class TestSteps(StepContract):
    @pytest.fixture(params=STEPS, ids=lambda case: case[0].name)
    def case(self, request: pytest.FixtureRequest) -> tuple[PreprocessingStep[Any], Any]:
        case: tuple[PreprocessingStep[Any], Any] = request.param
        return case

    @pytest.fixture
    def step(self, case: tuple[PreprocessingStep[Any], Any]) -> PreprocessingStep[Any]:
        return case[0]

    @pytest.fixture
    def value(self, case: tuple[PreprocessingStep[Any], Any]) -> Any:
        return case[1]


class TestKeyedTokens(EncryptionBackendContract):
    @pytest.fixture
    def backend(self) -> TokenBackend[Any]:
        return KeyedTokens()


class TestPlaintext(EncryptionBackendContract):
    @pytest.fixture
    def backend(self) -> TokenBackend[Any]:
        return Plaintext()


class TestReaders(ReaderContract):
    @pytest.fixture(
        params=READERS, ids=lambda reader: f"{reader.name}-{reader.options.model_dump().get('labels')}"
    )
    def reader(self, request: pytest.FixtureRequest) -> DatasetReader[Any]:
        reader: DatasetReader[Any] = request.param
        return reader
