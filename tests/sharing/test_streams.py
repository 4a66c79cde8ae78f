"""Key streams: those of AES-256 in counter mode, in order and at any place."""

from __future__ import annotations

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CTR

from fedcore.sharing.streams import Places, Words
from tests.sharing.cast import fixed

KEY = fixed("stream")
COUNT = 300_001


def expected(key: bytes, count: int) -> np.ndarray:
    """The stream in one piece, from the cipher itself."""
    stream = Cipher(AES256(key), CTR(bytes(16))).encryptor().update(bytes(8 * count))
    return np.frombuffer(stream, "<u8")


def test_words_are_the_cipher_in_counter_mode_from_0_as_little_endian_numbers() -> None:
    assert np.array_equal(Words(KEY).take(COUNT), expected(KEY, COUNT))


@pytest.mark.parametrize("cuts", [[0], [1], [1, 2, 3, 131_071, 131_072], [131_073, 262_144]])
def test_words_taken_in_pieces_are_the_same_stream(cuts: list[int]) -> None:
    words = Words(KEY)
    sizes = np.diff([0, *cuts, COUNT])
    assert np.array_equal(np.concatenate([words.take(int(size)) for size in sizes]), expected(KEY, COUNT))


def test_filling_an_array_of_any_length_gives_the_next_numbers() -> None:
    for length in (1, 2, 7, 131_072, 131_073):
        out = np.zeros(length, np.uint64)
        Words(KEY).fill(out)
        assert np.array_equal(out, expected(KEY, length))


def test_blocks_are_the_pairs_of_the_same_stream_in_any_order_and_shape() -> None:
    numbers = np.array([[5, 0, 149_999], [1, 1, 2]])
    found = Places(KEY).blocks(numbers)
    assert found.shape == (2, 3, 2)
    assert np.array_equal(found, expected(KEY, COUNT - 1).reshape(-1, 2)[numbers])


@pytest.mark.parametrize("width", [2, 4, 18])
def test_rows_are_those_of_the_matrix_that_fills_the_stream(width: int) -> None:
    numbers = np.array([3, 0, 900, 3])
    matrix = expected(KEY, 1000 * width).reshape(1000, width)
    assert np.array_equal(Places(KEY).rows(numbers, width), matrix[numbers])


def test_entries_are_single_numbers_of_the_same_stream() -> None:
    places = np.array([0, 1, 2, 77_777, 300_000, 1])
    assert np.array_equal(Places(KEY).entries(places), expected(KEY, COUNT)[places])


def test_places_beyond_four_billion_blocks_are_the_counter_of_64_bits() -> None:
    number = 2**40 + 3
    counter = number.to_bytes(16, "big")
    stream = Cipher(AES256(KEY), CTR(counter)).encryptor().update(bytes(16))
    assert np.array_equal(Places(KEY).blocks(np.array([number]))[0], np.frombuffer(stream, "<u8"))


def test_streams_of_two_keys_have_no_number_in_common() -> None:
    one, other = Words(KEY).take(1000), Words(fixed("another")).take(1000)
    assert not np.isin(one, other).any()


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="key size"):
        Words(bytes(size))
    with pytest.raises(ValueError, match="key size"):
        Places(bytes(size))
