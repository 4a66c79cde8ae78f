"""The backend `secret_sharing`: its contract, what it declares, and the known vectors of the shares it stands for."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import (
    BackendStatus,
    InvalidOptions,
    KeyHolders,
    Leak,
    Operation,
    Protects,
    ShareBackend,
    Text,
    TokenBackend,
    Tokens,
)
from fedcore.plugin_api.models import LabelledRows
from fedcore.plugin_api.testing import EncryptionBackendContract
from fedcore.plugin_api.values import Matrix
from fedcore.sharing.joining import final_parameters
from fedcore.sharing.lookup import index, sigmoid_table
from fedcore.sharing.masking import MaskKeys, mask_rows
from fedcore.sharing.scales import Scales
from fedcore.sharing.streams import Places, Words
from fedcore.sharing.truncation import Cut, masked, quotient_and_top, truncated
from fedcore.wire.encoding import WireError
from plugins.encryption.keyed_tokens import KeyedTokens
from plugins.encryption.secret_sharing import SecretSharing
from tests.plugins.encryption import sharing_oracle as oracle

VECTORS: dict[str, Any] = json.loads(oracle.VECTORS.read_text())
KEY = bytes(range(32))
OTHER = bytes(range(1, 33))
NAMES = ("weight", "bias")
SELECT = 0x5D8ADCB3D39F8586
"""The number of `select` under the key: SipHash-2-4 under what HKDF derives from the key for columns."""


def named(group: str) -> Any:
    return pytest.mark.parametrize("vector", VECTORS[group], ids=lambda vector: vector["name"])


def words_of(numbers: list[str]) -> NDArray[np.uint64]:
    return np.array([int(number) % 2**64 for number in numbers], np.uint64)


def tokens(*spellings: bytes) -> Tokens:
    """One row with these distinct tokens."""
    codes = np.arange(len(spellings), dtype=np.int32)
    return Tokens(codes, np.array([0, len(spellings)], np.int64), Text.from_rows(spellings))


class TestSecretSharing(EncryptionBackendContract):
    @pytest.fixture
    def backend(self) -> TokenBackend[Any]:
        return SecretSharing()


def test_the_defaults_are_13_bits_of_fraction_numbers_to_64_and_scores_to_32() -> None:
    backend = SecretSharing()
    assert isinstance(backend, ShareBackend)
    assert (backend.fraction_bits, backend.largest, backend.score_bits) == (13, 64.0, 6)


@pytest.mark.parametrize(("score_range", "bits"), [(2, 2), (16, 5), (32, 6), (1024, 11), (2048, 12)])
def test_the_bits_of_a_score_are_those_of_its_range_and_one_more(score_range: int, bits: int) -> None:
    assert SecretSharing({"score_range": score_range}).score_bits == bits


def test_options_are_passed_on() -> None:
    backend = SecretSharing({"fraction_bits": 9, "largest": 2.5, "score_range": 64})
    assert (backend.fraction_bits, backend.largest, backend.score_bits) == (9, 2.5, 7)


@pytest.mark.parametrize("fraction_bits", [6, 18])
@pytest.mark.parametrize("score_range", [2, 2048])
def test_all_options_that_are_allowed_leave_the_weights_enough_bits(
    fraction_bits: int, score_range: int
) -> None:
    backend = SecretSharing({"fraction_bits": fraction_bits, "score_range": score_range})
    assert Scales(backend.fraction_bits, backend.score_bits).error_bits >= 15


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"fraction_bits": 5}, "fraction_bits"),
        ({"fraction_bits": 19}, "fraction_bits"),
        ({"largest": 0}, "largest"),
        ({"largest": 65_537}, "largest"),
        ({"score_range": 1}, "score_range"),
        ({"score_range": 4096}, "score_range"),
        ({"key": "k"}, "key"),
    ],
)
def test_options_out_of_range_or_unknown_are_refused(options: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        SecretSharing(options)
    assert list(caught.value.problems) == [option]


@pytest.mark.parametrize("score_range", [3, 33, 2047])
def test_a_range_of_scores_that_is_no_power_of_two_is_refused(score_range: int) -> None:
    with pytest.raises(InvalidOptions, match="score_range is a power of two: 16, 32, 64 …"):
        SecretSharing({"score_range": score_range})


def test_it_declares_both_coalitions_that_read_every_row() -> None:
    trust = SecretSharing.trust
    assert "The two compute owners together can read every row of every owner, with its class." in trust
    assert (
        "The dealer together with either compute owner can read every row of every owner, with its class."
        in trust
    )
    assert any(sentence.startswith("A dealer that deals falsely can learn") for sentence in trust)
    assert any(sentence.startswith("A compute owner that computes falsely") for sentence in trust)
    assert any("get the trained model" in sentence for sentence in trust)


def test_it_declares_what_it_can_and_what_it_leaks() -> None:
    assert SecretSharing.operations == {
        Operation.ADD,
        Operation.ADD_PLAIN,
        Operation.MULTIPLY,
        Operation.MULTIPLY_PLAIN,
    }
    assert SecretSharing.protects == {Protects.MATRIX}
    assert SecretSharing.leakage == {Leak.LENGTHS}
    assert SecretSharing.key_holders is KeyHolders.OWNERS
    assert SecretSharing.status is BackendStatus.STABLE
    assert (SecretSharing.minimum_owners, SecretSharing.security_bits) == (2, 128)


def test_equal_tokens_get_equal_numbers_under_one_key_and_others_under_another() -> None:
    many = tokens(*(bytes([number]) for number in range(200)))
    one, same, other = (SecretSharing().protect(many, key).ids for key in (KEY, KEY, OTHER))
    assert one.tolist() == same.tolist()
    assert len(set(one.tolist()) | set(other.tolist())) == 400


def test_the_numbers_are_not_those_that_keyed_tokens_has_under_the_same_key() -> None:
    many = tokens(*(bytes([number]) for number in range(200)))
    assert not np.isin(SecretSharing().protect(many, KEY).ids, KeyedTokens().protect(many, KEY).ids).any()


def test_the_numbers_stay_the_same_from_release_to_release() -> None:
    # A model that is kept works only while this holds: a change needs another version of the plugin.
    assert SecretSharing().protect(tokens(b"select"), KEY).ids.tolist() == [SELECT]
    assert SecretSharing.version == "1"


def test_only_what_a_token_is_changes_and_not_where_it_stands() -> None:
    words = Tokens(np.array([0, 1, 0], np.int32), np.array([0, 2, 3], np.int64), Text.from_rows([b"a", b"b"]))
    protected = SecretSharing().protect(words, KEY)
    assert protected.codes.tolist() == [0, 1, 0]
    assert protected.offsets.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    ("key", "given"), [(None, "none"), (b"", "0 bytes"), (bytes(31), "31 bytes"), (bytes(33), "33 bytes")]
)
def test_a_missing_or_misfitting_key_is_refused(key: bytes | None, given: str) -> None:
    with pytest.raises(ValueError, match=f"secret_sharing needs the run's key of 32 bytes, got {given}"):
        SecretSharing().protect(tokens(b"a"), key)


def test_the_vectors_are_those_that_the_second_implementation_makes() -> None:
    assert json.loads(json.dumps(oracle.vectors())) == VECTORS


def test_a_third_of_the_vectors_are_refusals() -> None:
    refused = len(VECTORS["refused"])
    others = sum(len(VECTORS[group]) for group in ("masking", "truncation", "lookup", "final"))
    assert refused + others >= 20
    assert 2 * refused >= others


@named("streams")
def test_the_first_words_of_a_known_key_are_known(vector: dict[str, Any]) -> None:
    key, expected = bytes.fromhex(vector["key"]), words_of(vector["words"])
    assert np.array_equal(Words(key).take(5), expected)
    assert np.array_equal(Places(key).entries(np.arange(5)), expected)


def test_the_first_block_of_a_published_key_is_the_published_one() -> None:
    """NIST's known answers for AES-256, ECBKeySbox256: the first key, for a block of zeros."""
    key = bytes.fromhex("c47b0294dbbbee0fec4757f22ffeee3587ca4730c3d33b691df38bab076bc558")
    assert Words(key).take(2).tobytes().hex() == "46f2fb342d6f0ab477476fc501242c5f"


def rows_in(vector: dict[str, Any]) -> LabelledRows:
    table = np.array([[float(value) for value in row] for row in vector["rows"]])
    places = [np.flatnonzero(row) for row in table]
    indptr = np.cumsum([0, *(len(row) for row in places)])
    data = np.concatenate([row[at] for row, at in zip(table, places, strict=True)]).astype(np.float32)
    matrix = Matrix(indptr, np.concatenate(places).astype(np.int32), data, table.shape[1])
    return LabelledRows(matrix, np.array(vector["labels"]))


@named("masking")
def test_masked_rows_are_those_of_the_second_implementation(vector: dict[str, Any]) -> None:
    keys = MaskKeys.of_part(bytes.fromhex(vector["secret"]), vector["part"])
    assert [keys.first.hex(), keys.second.hex()] == vector["keys"]
    found = mask_rows(rows_in(vector), keys, vector["fraction_bits"], 64.0)
    assert [[str(number) for number in row] for row in found.tolist()] == vector["masked"]


@named("truncation")
def test_truncated_numbers_are_those_of_the_second_implementation(vector: dict[str, Any]) -> None:
    bits = vector["bits"]
    cuts = [Cut(*(words_of([value]) for value in dealt)) for dealt in vector["dealt"]]
    quotient, top = quotient_and_top(cuts[0].mask + cuts[1].mask, bits)
    assert np.array_equal(quotient, cuts[0].quotient + cuts[1].quotient)
    assert np.array_equal(top, cuts[0].top + cuts[1].top)
    opened = sum(masked(words_of([vector["shares"][side]]), cuts[side], side) for side in (0, 1))
    assert opened.tolist() == [int(vector["opened"])]
    total = sum(truncated(opened, cuts[side], bits, side) for side in (0, 1))
    assert total.view(np.int64).tolist() == [int(vector["quotient"])]
    assert 0 <= int(vector["quotient"]) - (int(vector["number"]) >> bits) <= 1


@named("lookup")
def test_indices_and_entries_are_those_of_the_second_implementation(vector: dict[str, Any]) -> None:
    shift, bits = vector["shift"], vector["bits"]
    parts = [
        index(
            words_of([vector["shares"][side]]), shift, np.array([vector["masks"][side]], np.uint8), bits, side
        )
        for side in (0, 1)
    ]
    assert int((parts[0] + parts[1])[0]) == vector["opened"]
    assert (vector["index"] - (int(vector["number"]) >> shift)) % 256 in (0, 1)
    table = sigmoid_table(vector["rate"], vector["score_bits"]).view(np.int64)
    assert int(table[vector["index"]]) == int(vector["entry"])


@named("final")
def test_final_parameters_are_those_of_the_second_implementation(vector: dict[str, Any]) -> None:
    initial = {"weight": np.array(vector["initial"]), "bias": np.array(vector["bias"])}
    one, other = (words_of(share) for share in vector["shares"])
    found = final_parameters((one, other), initial, NAMES, Scales(13, 6))
    for name, expected in (("weight", vector["weight"]), ("bias", vector["trained_bias"])):
        assert np.allclose(found[name], expected, rtol=1e-15, atol=2.0**-52)


def given(vector: dict[str, Any]) -> None:
    """What the vector says, to whoever has to refuse it."""
    if "masking" in vector:
        keys = MaskKeys(bytes(32), bytes(32))
        mask_rows(rows_in(vector["masking"]), keys, vector["masking"]["fraction_bits"], 64.0)
    else:
        one, other = (words_of(share) for share in vector["final"])
        initial = {"weight": np.zeros((2, 1)), "bias": np.zeros(2)}
        final_parameters((one, other), initial, NAMES, Scales(13, 6))


@named("refused")
def test_what_is_no_row_and_no_share_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WireError) as caught:
        given(vector)
    assert caught.value.code == vector["code"]
