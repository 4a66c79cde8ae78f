"""Paillier: what owners encrypt is added exactly, nothing shows where it came from, and room is kept to."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import Any

import gmpy2
import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import CipherBackend, InvalidOptions, KeyPair, Operation, OperationMissing
from fedcore.plugin_api.arrays import unpack_arrays
from fedcore.plugin_api.ciphers import array_to_integers
from fedcore.plugin_api.testing_ciphers import CipherBackendContract
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.paillier import Paillier
from plugins.encryption.paillier.cipher import PaillierCiphertext, PaillierPublic, PaillierSecret
from plugins.encryption.paillier.keys import read_public
from plugins.encryption.paillier.packing import Layout
from plugins.encryption.paillier.powers import WORTH_A_TABLE, ShortExponents, Table

LARGEST = (2**31 - 1) / 2**24
SLOTS = 76


class PaillierContract(CipherBackendContract):
    def secrets_of(self, pair: KeyPair) -> list[bytes]:
        """The two primes, also as they lie in memory of little-endian numbers."""
        p, q = pair.secret[: len(pair.secret) // 2], pair.secret[len(pair.secret) // 2 :]
        return [p, q, p[::-1], q[::-1]]


class TestPaillier(PaillierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Paillier()


class TestPaillierWithFullExponents(PaillierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Paillier({"randomness": "full", "summands": 6})


class TestPaillierWithWideValues(PaillierContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Paillier({"value_bits": 48, "fraction_bits": 40, "summands": 5})


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return Paillier().generate_keys()


@pytest.fixture(scope="module")
def public(pair: KeyPair) -> PaillierPublic:
    return Paillier().public(pair.public)


@pytest.fixture(scope="module")
def secret(pair: KeyPair) -> PaillierSecret:
    return Paillier().secret(pair)


def numbers(length: int, seed: int = 0, largest: float = 100) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-largest, largest, length)


def rounded(values: NDArray[np.float64], fraction_bits: int = 24) -> list[Fraction]:
    """What the numbers are in fixed point, exactly."""
    return [Fraction(round(Fraction(float(value)) * 2**fraction_bits), 2**fraction_bits) for value in values]


def exactly(found: NDArray[Any]) -> list[Fraction]:
    return [Fraction(float(value)) for value in found]


def raw(data: bytes) -> list[int]:
    """The ciphertexts as they travel, as numbers."""
    return array_to_integers(unpack_arrays(data)[0]["ciphertexts"], 768)


def refused(caught: pytest.ExceptionInfo[WireError], code: RefusalCode) -> bool:
    return caught.value.code is code


# Exact sums.


@pytest.mark.parametrize("length", [1, SLOTS - 1, SLOTS, SLOTS + 1, 3 * SLOTS])
def test_sums_are_those_of_the_rounded_numbers_exactly(
    public: PaillierPublic, secret: PaillierSecret, length: int
) -> None:
    owners = [numbers(length, seed) for seed in range(3)]
    found = secret.decrypt(reduce(public.add, map(public.encrypt, owners)))
    expected = [sum(column, Fraction()) for column in zip(*map(rounded, owners), strict=True)]
    assert exactly(found) == expected


@pytest.mark.parametrize("number", [LARGEST, -LARGEST])
def test_sums_of_the_largest_numbers_up_to_the_last_summand_do_not_reach_their_neighbours(
    public: PaillierPublic, secret: PaillierSecret, number: float
) -> None:
    # Beside each extreme number lies a zero, and at the end its opposite.
    one = public.encrypt(np.array([number, 0.0] * 50 + [-number]))
    total = one
    for _ in range(Paillier().most(Operation.ADD)):
        total = public.add(total, one)
    assert total.summands == 32
    assert exactly(secret.decrypt(total)) == [32 * Fraction(number), Fraction()] * 50 + [
        -32 * Fraction(number)
    ]


def test_wide_values_keep_every_bit_of_the_largest_sum() -> None:
    backend = Paillier({"value_bits": 48, "fraction_bits": 47, "summands": 32})
    pair = backend.generate_keys()
    public, top = backend.public(pair.public), Fraction(2**47 - 1, 2**47)
    one = public.encrypt(np.array([float(top), -float(top), 2.0**-47]))
    total = reduce(public.add, [one] * 32)
    assert exactly(backend.secret(pair).decrypt(total)) == [32 * top, -32 * top, Fraction(32, 2**47)]


def test_numbers_are_rounded_to_the_nearest_and_no_further_than_the_tolerance() -> None:
    layout = Layout(32, 24, 32, 383)
    values = np.concatenate([numbers(1000, 3, LARGEST), [0.4 * 2.0**-24, 0.6 * 2.0**-24, -0.6 * 2.0**-24]])
    found = layout.numbers(layout.plaintexts(values), len(values), 1)
    assert exactly(found) == rounded(values)
    assert np.abs(found - values).max() <= Paillier().tolerance / 2


def test_known_numbers_count_as_summands(public: PaillierPublic, secret: PaillierSecret) -> None:
    values, known = numbers(80, 1), numbers(80, 2)
    total = public.add_plain(public.add_plain(public.encrypt(values), known), known)
    assert total.summands == 3
    expected = [one + 2 * other for one, other in zip(rounded(values), rounded(known), strict=True)]
    assert exactly(secret.decrypt(total)) == expected


# Room for additions.


@pytest.fixture(scope="module")
def narrow(pair: KeyPair) -> PaillierPublic:
    return Paillier({"summands": 4}).public(pair.public)


@pytest.mark.parametrize(
    ("one", "other"), [(2, 2), (3, 1), (1, 3)], ids=lambda summands: f"{summands} summands"
)
def test_two_sums_are_added_while_there_is_room(
    pair: KeyPair, narrow: PaillierPublic, one: int, other: int
) -> None:
    ones = narrow.encrypt(np.array([1.0, -2.0]))
    first, second = (reduce(narrow.add, [ones] * summands) for summands in (one, other))
    total = narrow.add(first, second)
    assert Paillier({"summands": 4}).secret(pair).decrypt(total).tolist() == [4.0, -8.0]
    for more in (lambda: narrow.add(total, ones), lambda: narrow.add_plain(total, np.zeros(2))):
        with pytest.raises(WireError, match="a sum of 5 exceeds the room for 4") as caught:
            more()
        assert refused(caught, RefusalCode.OUT_OF_RANGE)


def test_a_sum_that_travelled_still_knows_its_summands(pair: KeyPair, narrow: PaillierPublic) -> None:
    ones = narrow.encrypt(np.array([1.0]))
    arrived = narrow.unpack(narrow.add(ones, ones).pack())
    assert arrived.summands == 2
    total = narrow.unpack(narrow.add(arrived, arrived).pack())
    with pytest.raises(WireError, match="exceeds the room"):
        narrow.add(total, ones)


def test_a_forged_number_of_summands_is_found_where_the_numbers_show_it(
    public: PaillierPublic, secret: PaillierSecret
) -> None:
    total = reduce(public.add, [public.encrypt(np.array([LARGEST]))] * 3)
    forged = PaillierCiphertext(public, total.values, 1, summands=2)
    with pytest.raises(WireError, match="no sums of the number of summands") as caught:
        secret.decrypt(forged)
    assert refused(caught, RefusalCode.ARTEFACT_INVALID)


# Fresh randomness.


def test_two_packs_of_one_sum_differ_and_neither_is_the_product(
    pair: KeyPair, public: PaillierPublic, secret: PaillierSecret
) -> None:
    one, other = public.encrypt(numbers(2 * SLOTS, 1)), public.encrypt(numbers(2 * SLOTS, 2))
    total = public.add(one, other)
    packs = [raw(total.pack()), raw(total.pack())]
    n_squared = int.from_bytes(pair.public[:384], "big") ** 2
    product = [a * b % n_squared for a, b in zip(raw(one.pack()), raw(other.pack()), strict=True)]
    assert not set(packs[0]) & set(packs[1])
    assert not set(product) & {*packs[0], *packs[1]}
    assert product == list(total.values), "the sum in memory is the product, and only packing hides it"
    assert exactly(secret.decrypt(public.unpack(total.pack()))) == exactly(secret.decrypt(total))


def test_whatever_is_computed_or_passed_on_gets_fresh_randomness(public: PaillierPublic) -> None:
    sent = public.encrypt(numbers(10)).pack()
    arrived = public.unpack(sent)
    derived = [
        arrived,
        public.add_plain(arrived, np.zeros(10)),
        public.append(arrived, np.zeros(1)),
        public.append(public.encrypt(numbers(10)), np.zeros(1)),
    ]
    for ciphertext in derived:
        packs = [raw(ciphertext.pack()), raw(ciphertext.pack())]
        assert packs[0] != packs[1]
        assert not set(map(int, ciphertext.values)) & {*packs[0], *packs[1]}
        assert not set(raw(sent)) & {*packs[0], *packs[1]}


def test_equal_numbers_never_give_equal_ciphertexts(public: PaillierPublic) -> None:
    found = [value for _ in range(5) for value in public.encrypt(np.zeros(20 * SLOTS)).values]
    assert len(set(found)) == len(found) == 100


# Appending.


@pytest.mark.parametrize("more", [1, SLOTS - 10, SLOTS - 9, 2 * SLOTS])
@pytest.mark.parametrize("length", [10, SLOTS])
def test_appended_numbers_come_back_apart_from_the_rest(
    public: PaillierPublic, secret: PaillierSecret, length: int, more: int
) -> None:
    first, added = numbers(length, 1), numbers(more, 2)
    both = public.unpack(public.append(public.encrypt(first), added).pack())
    found = exactly(secret.decrypt(both))
    assert (found[:length], found[length:]) == (rounded(first), rounded(added))
    assert len(both.values) == -(-(length + more) // SLOTS)


def test_numbers_appended_to_a_sum_come_back_as_they_were_and_can_be_added_to(
    public: PaillierPublic, secret: PaillierSecret
) -> None:
    first, second, added = numbers(70, 1), numbers(70, 2), np.array([LARGEST, -LARGEST, 0.25] * 5)
    total = public.append(public.add(public.encrypt(first), public.encrypt(second)), added)
    sums = [one + other for one, other in zip(rounded(first), rounded(second), strict=True)]
    assert (total.length, total.summands) == (85, 2)
    assert exactly(secret.decrypt(total)) == sums + rounded(added)
    again = public.add(total, public.encrypt(np.full(85, 0.5)))
    assert exactly(secret.decrypt(again)) == [x + Fraction(1, 2) for x in sums + rounded(added)]


def test_several_parts_of_different_lengths_are_appended_one_after_the_other(
    public: PaillierPublic, secret: PaillierSecret
) -> None:
    parts = [numbers(length, length) for length in (3, 1, 75, 76, 77, 2)]
    total = reduce(public.append, parts[1:], public.encrypt(parts[0]))
    assert exactly(secret.decrypt(total)) == [value for part in parts for value in rounded(part)]
    assert len(total.values) == 4


def test_nothing_is_appended_that_cannot_be_encrypted(public: PaillierPublic) -> None:
    one = public.encrypt(np.ones(2))
    for wrong, code in [
        (np.array([1.001 * LARGEST]), RefusalCode.OUT_OF_RANGE),
        (np.array([np.nan]), RefusalCode.NOT_FINITE),
        (np.empty(0), RefusalCode.ARTEFACT_INVALID),
    ]:
        with pytest.raises(WireError) as caught:
            public.append(one, wrong)
        assert refused(caught, code)


# One ciphertext, one set of options.


def test_ciphertexts_of_other_options_are_not_mixed(
    pair: KeyPair, public: PaillierPublic, secret: PaillierSecret
) -> None:
    other = Paillier({"fraction_bits": 20}).public(pair.public)
    one, foreign = public.encrypt(np.ones(2)), other.encrypt(np.ones(2))
    for wrong in (
        lambda: public.add(one, foreign),
        lambda: public.add(foreign, one),
        lambda: public.add_plain(foreign, np.ones(2)),
        lambda: public.append(foreign, np.ones(2)),
        lambda: public.unpack(foreign.pack()),
        lambda: secret.decrypt(foreign),
    ):
        with pytest.raises(WireError, match="other options"):
            wrong()


def test_nothing_is_said_of_products(public: PaillierPublic) -> None:
    with pytest.raises(OperationMissing, match="multiply_plain"):
        public.multiply_plain(public.encrypt(np.ones(1)), np.ones(1))
    with pytest.raises(OperationMissing, match="'multiply'"):
        Paillier().most(Operation.MULTIPLY)


@pytest.mark.parametrize(
    ("options", "problems"),
    [
        ({"key_bits": 2048}, {"key_bits": "greater than or equal to 3072"}),
        ({"key_bits": 3100}, {"key_bits": "multiple of 256"}),
        ({"value_bits": 49}, {"value_bits": "less than or equal to 48"}),
        (
            {"value_bits": 16},
            {"fraction_bits": "24 bits behind the point do not fit into 16 bits and a sign"},
        ),
        ({"value_bits": 32, "fraction_bits": 32}, {"fraction_bits": "do not fit into 32 bits"}),
        ({"value_bits": 48, "summands": 33}, {"summands": "needs 54 bits, and float64 has 53"}),
        ({"summands": 1}, {"summands": "greater than or equal to 2"}),
        ({"randomness": "none"}, {"randomness": "'short' or 'full'"}),
        (
            {"value_bits": 40, "fraction_bits": 40, "summands": 16_384},
            {"fraction_bits": "do not fit", "summands": "needs 54 bits"},
        ),
    ],
)
def test_options_that_do_not_fit_are_refused_by_name(
    options: dict[str, Any], problems: dict[str, str]
) -> None:
    with pytest.raises(InvalidOptions) as caught:
        Paillier(options)
    assert caught.value.problems.keys() == problems.keys()
    assert all(text in caught.value.problems[option] for option, text in problems.items())


# The table of powers.


def test_the_table_gives_the_same_powers_as_plain_exponentiation(pair: KeyPair) -> None:
    key = read_public(pair.public, 3072, short=True)
    root = gmpy2.powmod(key.base, key.n, key.n_squared)
    table = Table(root, key.n, 3)
    for exponent in (b"\0\0\0", b"\1\0\0", b"\0\1\0", b"\xff\xff\xff", b"\x80\x7f\2", b"\2\0\xfe"):
        plain = gmpy2.powmod(root, int.from_bytes(exponent, "little"), key.n_squared)
        assert table.power(exponent) == plain


def test_powers_are_of_exponents_of_half_the_modulus(pair: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the table: the same exponents give the same powers, and they have 1,536 bits."""
    key = read_public(pair.public, 3072, short=True)
    asked: list[int] = []

    def exponents(size: int) -> bytes:
        asked.append(size)
        return bytes([len(asked) % 2, *[255] * (size - 1)])

    monkeypatch.setattr("plugins.encryption.paillier.powers.secrets.token_bytes", exponents)
    powers = ShortExponents(key)
    without, with_table = powers.take(2), powers.take(WORTH_A_TABLE)
    root = gmpy2.powmod(key.base, key.n, key.n_squared)
    assert without == [gmpy2.powmod(root, 2**1536 - below, key.n_squared) for below in (255, 256)]
    assert with_table[:2] == without
    assert set(asked) == {192}
