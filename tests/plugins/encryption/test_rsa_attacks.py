"""Why RSA without padding is for teaching only: each attack succeeds, with the public key alone or without any key."""

from __future__ import annotations

from collections import Counter
from typing import Any

import gmpy2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from fedcore.plugin_api import KeyPair
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.elgamal import ElGamal
from plugins.encryption.rsa import Rsa
from plugins.encryption.rsa.keys import PublicKey


def numbers(*values: int) -> Any:
    return np.array(values, object)


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return Rsa().generate_keys()


@pytest.fixture(scope="module")
def public(pair: KeyPair) -> Any:
    return Rsa().public(pair.public)


@pytest.fixture(scope="module")
def modulus(pair: KeyPair) -> Any:
    return PublicKey.read(3072, pair.public).modulus


def test_equal_numbers_look_equal_within_and_across_owners_without_any_key(public: Any) -> None:
    north, south = public.encrypt(numbers(40, 41, 40)).values, public.encrypt(numbers(41)).values
    assert north[0] == north[2] != north[1] == south[0]


def test_frequencies_tell_which_number_is_which_without_any_key(public: Any) -> None:
    """Whoever knows that most visits end in 200, some in 404 and few in 500 reads the statuses of all."""
    secret = [404] * 5 + [200] * 90 + [500] * 2
    seen = public.encrypt(numbers(*secret)).values
    by_frequency = [value for value, _ in Counter(seen).most_common()]
    read = dict(zip(by_frequency, (200, 404, 500), strict=True))
    assert [read[value] for value in seen] == secret


def test_a_guess_is_confirmed_with_the_public_key_alone(public: Any) -> None:
    (seen,) = public.encrypt(numbers(1_234_567)).values
    assert public.encrypt(numbers(1_234_567)).values == (seen,)
    assert public.encrypt(numbers(1_234_568)).values != (seen,)


def test_a_small_number_is_found_by_trying_all(public: Any) -> None:
    """An age, a status or a count is one of few: encrypt each, and look it up."""
    table = dict(zip(public.encrypt(numbers(*range(1, 2049))).values, range(1, 2049), strict=True))
    secret = [1999, 3, 1024]
    assert [table[value] for value in public.encrypt(numbers(*secret)).values] == secret


def test_a_number_of_two_small_factors_is_found_in_the_square_root_of_all_trials(
    public: Any, modulus: Any
) -> None:
    """Meet in the middle (Boneh, Joux, Nguyen 2000): 2^10 encryptions find a number of 20 bits."""
    secret = 1009 * 997
    (seen,) = public.encrypt(numbers(secret)).values
    tried = range(1, 2**10)
    powers = dict(zip(public.encrypt(numbers(*tried)).values, tried, strict=True))
    found = {
        factor * powers[rest]
        for power, factor in powers.items()
        if (rest := seen * gmpy2.invert(power, modulus) % modulus) in powers
    }
    assert found == {secret}


def test_one_is_its_own_ciphertext(public: Any) -> None:
    assert public.encrypt(numbers(1)).values == (1,)


def test_with_the_exponent_3_a_small_number_is_a_cube_root_away_so_such_keys_are_refused() -> None:
    key = rsa.generate_private_key(3, 3072).public_key()
    seen = pow(2**64 - 59, 3, key.public_numbers().n)
    root, exact = gmpy2.iroot(seen, 3)
    assert (root, exact) == (2**64 - 59, True)
    with pytest.raises(WireError, match="the public exponent is not 65537") as caught:
        Rsa().public(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert caught.value.code is RefusalCode.KEY_INVALID


def test_whoever_carries_a_ciphertext_changes_the_number_without_reading_it(
    pair: KeyPair, public: Any
) -> None:
    changed = public.multiply_plain(public.encrypt(numbers(21)), numbers(2))
    assert Rsa().secret(pair).decrypt(changed).tolist() == [42]


def test_elgamal_shows_neither_equality_nor_whether_a_guess_is_right() -> None:
    backend = ElGamal()
    public = backend.public(backend.generate_keys().public)
    seen = public.encrypt(numbers(7, 7, 7)).pairs
    tried = public.encrypt(numbers(*[7] * 50)).pairs
    halves = [half for pair in (*seen, *tried) for half in pair]
    assert len(set(halves)) == len(halves)
