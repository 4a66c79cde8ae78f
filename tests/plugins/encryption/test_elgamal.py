"""ElGamal, multiplying and adding: the contract, the groups, the encodings, and what a result does not show."""

from __future__ import annotations

import random
import re
from functools import reduce
from math import prod
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest

from fedcore.plugin_api import CipherBackend, InvalidOptions, KeyPair, Operation
from fedcore.plugin_api.ciphers import integers_to_array, pack_ciphertext
from fedcore.plugin_api.testing_ciphers import CipherBackendContract
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.elgamal import ElGamal, ElGamalCounts
from plugins.encryption.elgamal.encodings import Products, Sums
from plugins.encryption.elgamal.groups import FixedBase, fixed_base, group
from plugins.encryption.elgamal.keys import PublicKey

GROUP = group("ffdhe3072")
NAMES = ["ffdhe3072", "ffdhe4096"]


def numbers(*values: int) -> Any:
    return np.array(values, object)


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return ElGamal().generate_keys()


class TestElGamal(CipherBackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return ElGamal()


class TestElGamalOfFactorsThatFillTheGroup(CipherBackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return ElGamal({"group": "ffdhe4096", "bits": 1007, "factors": 4})


class TestElGamalCounts(CipherBackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return ElGamalCounts()


class TestElGamalCountsOfFewOwners(CipherBackendContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return ElGamalCounts({"largest": 1000, "largest_sum": 3999})


# -- the groups


@pytest.mark.parametrize("name", NAMES)
def test_the_prime_is_safe_and_two_generates_its_squares(name: str) -> None:
    found = group(name)
    assert gmpy2.is_prime(found.prime, 30)
    assert gmpy2.is_prime(found.order, 30)
    assert 2 * found.order + 1 == found.prime
    assert found.has(2)
    assert not found.has(found.prime - 1)
    assert gmpy2.powmod(2, found.order, found.prime) == 1


@pytest.mark.parametrize(("name", "least"), [("ffdhe3072", 275), ("ffdhe4096", 325)])
def test_secret_exponents_are_as_long_as_the_rfc_asks(
    name: str, least: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = group(name)
    assert found.exponent_bits >= least
    monkeypatch.setattr("secrets.randbelow", lambda most: most - 1)
    assert found.secret_exponent() == 2**found.exponent_bits - 1
    monkeypatch.setattr("secrets.randbelow", lambda most: 0)
    assert found.secret_exponent() == 2 ** (found.exponent_bits - 64)


def test_an_element_is_a_square_between_zero_and_the_prime() -> None:
    prime = GROUP.prime
    for number in [*range(1, 16), prime - 1, prime - 4]:
        assert GROUP.has(number) == (pow(number, int(GROUP.order), int(prime)) == 1)
    assert not any(GROUP.has(number) for number in (0, prime, prime + 4, -4))
    assert GROUP.have([2, 4, 9])
    assert not GROUP.have([2, prime - 2, prime - 9])


@pytest.mark.parametrize("name", NAMES)
def test_powers_from_the_table_are_those_of_python(name: str) -> None:
    found, chance = group(name), random.Random(3)
    table = FixedBase(found, gmpy2.mpz(9))
    most = 2**found.exponent_bits - 1
    for exponent in [0, 1, 63, 64, most, most - 1, *(chance.randrange(most) for _ in range(10))]:
        assert table.power(exponent) == pow(9, exponent, int(found.prime))
    with pytest.raises(ValueError, match="longer than the table"):
        table.power(2 ** (found.exponent_bits + 8))


def test_a_table_is_made_once_for_a_base() -> None:
    assert fixed_base("ffdhe3072", 2) is fixed_base("ffdhe3072", 2)


# -- numbers as elements


def test_products_of_encodings_are_encodings_of_products() -> None:
    products = Products(GROUP, 1, 2**16 - 1, 4)
    chance = random.Random(1)
    for _ in range(200):
        factors = [chance.randrange(1, 2**16) for _ in range(chance.randrange(1, 5))]
        elements = [products.encode(factor) for factor in factors]
        assert GROUP.have(elements)
        element = reduce(lambda one, other: one * other % GROUP.prime, elements)
        assert products.decode(element, len(factors)) == prod(factors)


def test_a_product_is_right_up_to_the_room_that_the_options_leave() -> None:
    options = ElGamal({"bits": 167, "factors": 18}).encoding
    largest = options.largest
    element = gmpy2.powmod(options.encode(largest), 18, GROUP.prime)
    assert options.decode(element, 18) == largest**18 < GROUP.order
    with pytest.raises(WireError, match="out_of_range"):
        options.decode(options.encode(largest**18 + 1), 18)


def test_every_sum_is_found_and_none_beyond_the_bound() -> None:
    sums = Sums(GROUP, 0, 50, 20)
    assert [sums.decode(sums.encode(number), 20) for number in range(1001)] == list(range(1001))
    for number, combined in ((1001, 20), (51, 1), (101, 2), (10**6, 20), (int(GROUP.order) - 1, 20)):
        with pytest.raises(WireError) as caught:
            sums.decode(sums.encode(number), combined)
        assert caught.value.code is RefusalCode.OUT_OF_RANGE


def test_sums_are_found_across_many_giant_steps() -> None:
    backend = ElGamalCounts({"largest": 2**22, "largest_sum": 2**23})
    for number in (0, 23_170, 23_171, 2**22 + 1, 2**23 - 1, 2**23):
        assert backend.encoding.decode(backend.encoding.encode(number), 2) == number


def test_two_elements_with_one_mark_never_give_a_wrong_number() -> None:
    sums = Sums(GROUP, 0, 50, 20)
    sums.decode(sums.encode(7), 1)
    marks = {place: mark for mark, place in sums._baby_steps.items()}
    sums._baby_steps[marks[7]] = 8
    with pytest.raises(WireError, match="out_of_range"):
        sums.decode(sums.encode(7), 1)


# -- what is combined


def test_the_largest_sum_is_reached_and_not_passed(pair: KeyPair) -> None:
    backend = ElGamalCounts({"largest": 1000, "largest_sum": 100_500})
    public = backend.public(pair.public)
    assert backend.most(Operation.ADD) == backend.most(Operation.ADD_PLAIN) == 99
    doubled = [public.encrypt(numbers(1000, 0, 3))]
    for _ in range(6):
        doubled.append(public.add(doubled[-1], doubled[-1]))
    result = public.add(public.add(doubled[6], doubled[5]), doubled[2])
    assert result.combined == 100
    assert backend.secret(pair).decrypt(result).tolist() == [100_000, 0, 300]
    for more in (lambda: public.add(result, doubled[0]), lambda: public.add_plain(result, numbers(0, 0, 0))):
        with pytest.raises(WireError) as caught:
            more()
        assert caught.value.code is RefusalCode.OUT_OF_RANGE


def test_known_numbers_take_room_too(pair: KeyPair) -> None:
    public = ElGamal({"factors": 2}).public(pair.public)
    product = public.multiply_plain(public.encrypt(numbers(3)), numbers(5))
    assert product.combined == 2
    with pytest.raises(WireError, match="exceed the 2"):
        public.multiply_plain(product, numbers(1))


def test_a_result_is_encrypted_anew_whenever_it_travels(pair: KeyPair) -> None:
    """Multiplied by known ones, or by what the observer made, a result cannot be matched with what it came from."""
    backend = ElGamal()
    public, secret = backend.public(pair.public), backend.secret(pair)
    one = public.encrypt(numbers(6, 7))
    result = public.multiply_plain(one, numbers(1, 1))
    sent = [public.unpack(result.pack()).pairs for _ in range(2)]
    halves = [half for pairs in (one.pairs, result.pairs, *sent) for pair in pairs for half in pair]
    assert len(set(halves)) == len(halves) - 4, "only what was never sent may look like what it came from"
    assert set(one.pairs) == set(result.pairs)
    assert [secret.decrypt(public.unpack(result.pack())).tolist() for _ in range(2)] == [[6, 7]] * 2
    assert one.pack() == one.pack()


def test_each_number_has_randomness_of_its_own(pair: KeyPair) -> None:
    ciphertext = ElGamal().public(pair.public).encrypt(numbers(*[1] * 50))
    assert len({half for pair in ciphertext.pairs for half in pair}) == 100


def test_ciphertexts_of_other_keys_and_backends_are_not_combined(pair: KeyPair) -> None:
    backend, other = ElGamal(), ElGamal().generate_keys()
    public = backend.public(pair.public)
    mine, foreign = public.encrypt(numbers(2)), backend.public(other.public).encrypt(numbers(2))
    count = ElGamalCounts().public(pair.public).encrypt(numbers(2))
    for wrong in (foreign, count):
        for combine in (
            lambda wrong=wrong: public.multiply(mine, wrong),
            lambda wrong=wrong: public.multiply(wrong, mine),
            lambda wrong=wrong: public.multiply_plain(wrong, numbers(2)),
            lambda wrong=wrong: backend.secret(pair).decrypt(wrong),
        ):
            with pytest.raises(WireError, match="another key"):
                combine()


def test_a_ciphertext_has_two_halves_of_one_length(pair: KeyPair) -> None:
    key = PublicKey.read(GROUP, pair.public)
    public = ElGamal().public(pair.public)
    two, three = integers_to_array([4, 4], GROUP.width), integers_to_array([4, 4, 4], GROUP.width)
    for arrays in (
        {"first": two, "second": three},
        {"first": two},
        {"first": two, "second": two, "third": two},
        {"first": two, "second": two[:, 1:]},
        {"first": two[:0], "second": two[:0]},
        {"first": two, "second": two.astype(np.int16)},
    ):
        with pytest.raises(WireError) as caught:
            public.unpack(pack_ciphertext("elgamal", key.digest, arrays, combined=1))
        assert caught.value.code is RefusalCode.ARTEFACT_INVALID
    assert public.unpack(
        pack_ciphertext("elgamal", key.digest, {"first": two, "second": two}, combined=1)
    ).length


@pytest.mark.parametrize(("name", "bytes_each"), [("ffdhe3072", 768), ("ffdhe4096", 1024)])
def test_a_number_takes_two_elements(name: str, bytes_each: int) -> None:
    for backend in (ElGamal({"group": name}), ElGamalCounts({"group": name})):
        public = backend.public(backend.generate_keys().public)
        one, more = (len(public.encrypt(numbers(*[1] * length)).pack()) for length in (11, 12))
        assert more - one == bytes_each


def test_the_example_on_the_page_runs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "elgamal.md").read_text()
    (example,) = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    assert "assert secret.decrypt" in example
    exec(compile(example, "elgamal.md", "exec"), {})


# -- options


@pytest.mark.parametrize(
    ("backend", "options", "told"),
    [
        (ElGamal, {"bits": 1003, "factors": 3}, "may be 3006 in ffdhe3072"),
        (ElGamal, {"group": "ffdhe4096", "bits": 1008, "factors": 4}, "may be 4030 in ffdhe4096"),
        (ElGamal, {"group": "modp1024"}, "'ffdhe3072' or 'ffdhe4096'"),
        (ElGamal, {"factors": 1}, "greater than or equal to 2"),
        (ElGamalCounts, {"largest": 10, "largest_sum": 19}, "nothing could be added"),
        (ElGamalCounts, {"largest_sum": 2**33}, "less than or equal to"),
    ],
)
def test_options_without_room_are_refused(backend: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOptions, match=told):
        backend(options)


def test_the_longest_products_that_options_allow_stay_below_half_the_prime() -> None:
    for options in ({"bits": 1002, "factors": 3}, {"group": "ffdhe4096", "bits": 1007, "factors": 4}):
        encoding = ElGamal(options).encoding
        assert (encoding.largest**encoding.most) << 64 < encoding.group.order
