"""SipHash-2-4 against its authors' vectors and a slow version in plain Python."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import Text
from fedcore.plugin_api.siphash import siphash

MASK = (1 << 64) - 1
KEY = bytes(range(16))


def slow_siphash(message: bytes, key: bytes) -> int:
    """The algorithm as its paper's section 2 states it, one integer at a time."""
    first, second = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [
        first ^ 0x736F6D6570736575,
        second ^ 0x646F72616E646F6D,
        first ^ 0x6C7967656E657261,
        second ^ 0x7465646279746573,
    ]

    def turn(word: int, bits: int) -> int:
        return (word << bits | word >> (64 - bits)) & MASK

    def rounds(count: int) -> None:
        for _ in range(count):
            v[0] = (v[0] + v[1]) & MASK
            v[1] = turn(v[1], 13) ^ v[0]
            v[0] = turn(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK
            v[3] = turn(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK
            v[3] = turn(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK
            v[1] = turn(v[1], 17) ^ v[2]
            v[2] = turn(v[2], 32)

    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 255])
    for place in range(0, len(padded), 8):
        word = int.from_bytes(padded[place : place + 8], "little")
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_the_vector_of_the_papers_appendix_holds() -> None:
    message = bytes(range(15))
    assert slow_siphash(message, KEY) == 0xA129CA6149BE45E5
    assert siphash(Text.from_rows([message]), KEY)[0] == 0xA129CA6149BE45E5


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (0, "310e0edd47db6f72"),
        (1, "fd67dc93c539f874"),
        (2, "5a4fa9d909806c0d"),
        (7, "37d1018bf50002ab"),
        (8, "6224939a79f5f593"),
        (63, "724506eb4c328a95"),
    ],
)
def test_vectors_of_the_authors_table_hold(length: int, expected: str) -> None:
    assert siphash(Text.from_rows([bytes(range(length))]), KEY).astype("<u8").tobytes().hex() == expected


def test_all_64_messages_of_the_table_agree_with_the_slow_version() -> None:
    messages = [bytes(range(length)) for length in range(64)]
    expected = [slow_siphash(message, KEY) for message in messages]
    assert siphash(Text.from_rows(messages), KEY).tolist() == expected


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=20), st.binary(min_size=16, max_size=16))
def test_any_rows_agree_with_the_slow_version(rows: list[bytes], key: bytes) -> None:
    assert siphash(Text.from_rows(rows), key).tolist() == [slow_siphash(row, key) for row in rows]


def test_a_message_longer_than_255_bytes_agrees_with_the_slow_version() -> None:
    message = bytes(range(256)) * 3 + b"tail"
    assert siphash(Text.from_rows([message]), KEY)[0] == slow_siphash(message, KEY)


def test_one_changed_key_bit_changes_every_number() -> None:
    text = Text.from_rows([bytes([number]) for number in range(256)])
    other = bytes([KEY[0] ^ 1]) + KEY[1:]
    assert not np.any(siphash(text, KEY) == siphash(text, other))


def test_one_changed_message_bit_changes_the_number() -> None:
    numbers = siphash(Text.from_rows([b"password", b"passwore", b"password\0"]), KEY)
    assert len(set(numbers.tolist())) == 3


@pytest.mark.parametrize("length", [0, 8, 15, 17, 32])
def test_a_key_of_another_length_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match=f"A SipHash key has 16 bytes, not {length}"):
        siphash(Text.from_rows([b"a"]), bytes(length))
