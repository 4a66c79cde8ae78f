"""RSA without padding: the contract, room for products, and a secret key that neither timing nor a fault gives away."""

from __future__ import annotations

from typing import Any

import gmpy2
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from fedcore.plugin_api import BackendStatus, CipherBackend, InvalidOptions, KeyPair, Leak
from fedcore.plugin_api.ciphers import integers_to_array, key_digest, pack_ciphertext
from fedcore.plugin_api.testing_ciphers import CipherBackendContract
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.rsa import Rsa
from plugins.encryption.rsa.keys import PublicKey, SecretKey


def numbers(*values: int) -> Any:
    return np.array(values, object)


def private_numbers(pair: KeyPair) -> rsa.RSAPrivateNumbers:
    key = load_der_private_key(pair.secret, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.private_numbers()


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return Rsa().generate_keys()


class RsaContract(CipherBackendContract):
    def secrets_of(self, pair: KeyPair) -> list[bytes]:
        """The secret exponent and the factors: what else is in the bytes of the secret key is public."""
        key = private_numbers(pair)
        return [number.to_bytes(512, "big").lstrip(b"\0") for number in (key.d, key.p, key.q)]


class TestRsa(RsaContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Rsa()


class TestRsaOfFactorsThatFillTheModulus(RsaContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Rsa({"key_bits": 4096, "bits": 1007, "factors": 4})


def test_it_is_declared_to_be_for_teaching_and_to_show_equality_and_frequency() -> None:
    assert Rsa.status is BackendStatus.TEACHING
    assert {Leak.EQUALITY, Leak.FREQUENCY} <= Rsa.leakage
    assert Rsa.summary.startswith("For teaching only")


def test_keys_are_made_and_travel_as_the_standards_say(pair: KeyPair) -> None:
    public = load_der_public_key(pair.public)
    assert isinstance(public, rsa.RSAPublicKey)
    assert (public.key_size, public.public_numbers().e) == (3072, 65537)
    assert private_numbers(pair).public_numbers == public.public_numbers()


def test_ciphertexts_are_the_powers_that_python_computes(pair: KeyPair) -> None:
    backend, key = Rsa(), private_numbers(pair)
    modulus = key.public_numbers.n
    plain = [1, 2, 3, 10, 255, 2**32, 2**64 - 1]
    ciphertext = backend.public(pair.public).encrypt(numbers(*plain))
    assert list(ciphertext.values) == [pow(number, 65537, modulus) for number in plain]
    assert [pow(int(value), key.d, modulus) for value in ciphertext.values] == plain


def test_opening_by_the_chinese_remainder_theorem_is_the_power_of_the_secret_exponent(pair: KeyPair) -> None:
    secret, key = SecretKey.read(3072, pair), private_numbers(pair)
    modulus = key.public_numbers.n
    for value in (1, 2, 3, modulus - 1, modulus // 3, modulus - 2**1000):
        assert secret.open(gmpy2.mpz(value)) == pow(value, key.d, modulus)


def test_a_fault_while_a_number_is_opened_gives_nothing_out(
    pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, right = private_numbers(pair), gmpy2.powmod_sec

    def faulty(base: Any, exponent: Any, modulus: Any) -> Any:
        found = right(base, exponent, modulus)
        return found ^ 1 if modulus == key.q else found

    monkeypatch.setattr(gmpy2, "powmod_sec", faulty)
    with pytest.raises(ArithmeticError, match="nothing is given out"):
        SecretKey.read(3072, pair).open(gmpy2.mpz(5))


def test_what_is_raised_to_the_secret_power_is_another_number_each_time(
    pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, right = [], gmpy2.powmod_sec

    def spying(base: Any, exponent: Any, modulus: Any) -> Any:
        seen.append(base)
        return right(base, exponent, modulus)

    monkeypatch.setattr(gmpy2, "powmod_sec", spying)
    secret = SecretKey.read(3072, pair)
    assert secret.open(gmpy2.mpz(5)) == secret.open(gmpy2.mpz(5))
    assert len(set(seen)) == 2
    assert gmpy2.mpz(5) not in seen


def test_known_numbers_take_room_too(pair: KeyPair) -> None:
    public = Rsa({"factors": 2}).public(pair.public)
    product = public.multiply_plain(public.encrypt(numbers(3)), numbers(5))
    assert product.combined == 2
    with pytest.raises(WireError, match="exceed the 2"):
        public.multiply_plain(product, numbers(1))


def test_ciphertexts_of_other_keys_are_not_combined(pair: KeyPair) -> None:
    backend, other = Rsa(), Rsa().generate_keys()
    public = backend.public(pair.public)
    mine, foreign = public.encrypt(numbers(2)), backend.public(other.public).encrypt(numbers(2))
    for combine in (
        lambda: public.multiply(mine, foreign),
        lambda: public.multiply(foreign, mine),
        lambda: public.multiply_plain(foreign, numbers(2)),
    ):
        with pytest.raises(WireError, match="another key"):
            combine()


def test_a_ciphertext_has_one_array_of_rows_as_long_as_the_modulus(pair: KeyPair) -> None:
    public, digest = Rsa().public(pair.public), key_digest(pair.public)
    rows = integers_to_array([4, 4], 384)
    for arrays in (
        {"values": rows},
        {"numbers": rows, "more": rows},
        {"numbers": rows[:, 1:]},
        {"numbers": rows[:0]},
    ):
        with pytest.raises(WireError) as caught:
            public.unpack(pack_ciphertext("rsa", digest, arrays, combined=1))
        assert caught.value.code is RefusalCode.ARTEFACT_INVALID
    assert public.unpack(pack_ciphertext("rsa", digest, {"numbers": rows}, combined=1)).length == 2


def test_one_bad_number_among_many_is_found(pair: KeyPair) -> None:
    """Common factors are looked for in the product of all numbers."""
    key, factor = PublicKey.read(3072, pair.public), private_numbers(pair).p
    assert key.have_no_common_factor([2, 3, 5, 7] * 10)
    assert not key.have_no_common_factor([*[2, 3, 5, 7] * 10, 11 * factor, 13])


def test_a_number_takes_as_many_bytes_as_the_modulus(pair: KeyPair) -> None:
    public = Rsa().public(pair.public)
    assert (
        len(public.encrypt(numbers(*[1] * 12)).pack()) - len(public.encrypt(numbers(*[1] * 11)).pack()) == 384
    )


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"bits": 602, "factors": 5}, "may be 3007 with this key"),
        ({"key_bits": 4096, "bits": 1008, "factors": 4}, "may be 4031 with this key"),
        ({"key_bits": 2048}, "3072 or 4096"),
        ({"factors": 1}, "greater than or equal to 2"),
    ],
)
def test_options_without_room_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidOptions, match=told):
        Rsa(options)


def test_the_longest_products_that_options_allow_stay_below_the_modulus(pair: KeyPair) -> None:
    backend = Rsa({"bits": 601, "factors": 5})
    modulus = private_numbers(pair).public_numbers.n
    assert backend.largest**5 << 64 < 2**3071 < modulus
