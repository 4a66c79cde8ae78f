"""RSA against known answers of a second implementation, most of them refusals, and against it live."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest
from cryptography.hazmat.primitives.serialization import load_der_private_key
from lightphe.cryptosystems.RSA import RSA as SecondRsa

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.ciphers import integers_to_array, key_digest, pack_ciphertext
from fedcore.wire.encoding import WireError
from plugins.encryption.rsa import Rsa
from plugins.encryption.rsa.ciphers import RsaCiphertext
from plugins.encryption.rsa.keys import PublicKey

FILE = json.loads((Path(__file__).parent / "vectors" / "rsa.json").read_text())
Vector = dict[str, Any]


def backend_of(name: str) -> Rsa:
    return Rsa({"key_bits": FILE["keys"][name]["key_bits"]})


def pair_of(name: str) -> KeyPair:
    key = FILE["keys"][name]
    return KeyPair(bytes.fromhex(key["public"]), bytes.fromhex(key["secret"]))


def encrypts(vector: Vector) -> None:
    public = backend_of(vector["key"]).public(pair_of(vector["key"]).public)
    found = public.encrypt(np.array([int(vector["number"])], object))
    assert found.values == (int(vector["value"], 16),)


def opens(vector: Vector) -> None:
    pair, backend = pair_of(vector["key"]), backend_of(vector["key"])
    key = PublicKey.read(backend.options.key_bits, pair.public)
    ciphertext = RsaCiphertext(key, (gmpy2.mpz(vector["value"], 16),), vector["combined"])
    assert backend.secret(pair).decrypt(ciphertext).tolist() == [int(vector["number"])]


def unpacks(vector: Vector) -> Any:
    pair, backend = pair_of(vector["key"]), backend_of(vector["key"])
    rows = integers_to_array([int(vector["value"], 16)], backend.options.key_bits // 8)
    digest = key_digest(pair_of(vector.get("packed_for", vector["key"])).public)
    return backend.public(pair.public).unpack(
        pack_ciphertext("rsa", digest, {"numbers": rows}, combined=vector["combined"])
    )


def reads_public(vector: Vector) -> None:
    backend_of(vector["key"]).public(bytes.fromhex(vector["data"]))


def reads_secret(vector: Vector) -> None:
    pair = KeyPair(pair_of(vector["key"]).public, bytes.fromhex(vector["data"]))
    backend_of(vector["key"]).secret(pair)


DO = {step.__name__: step for step in (encrypts, opens, unpacks, reads_public, reads_secret)}


@pytest.mark.parametrize("vector", FILE["vectors"], ids=lambda vector: vector["what"])
def test_a_known_answer_is_given(vector: Vector) -> None:
    if "code" not in vector:
        DO[vector["does"]](vector)
        return
    with pytest.raises(WireError) as caught:
        DO[vector["does"]](vector)
    assert caught.value.code.value == vector["code"]


def test_what_the_refusals_alter_is_accepted_as_it_was() -> None:
    """Each kind of refusal has its counterpart that works, so that none is refused for another reason."""
    for name in FILE["keys"]:
        backend_of(name).public(pair_of(name).public)
        backend_of(name).secret(pair_of(name))
    good = next(vector for vector in FILE["vectors"] if vector["does"] == "opens")
    assert unpacks(good).length == 1


REASONS = {
    "exponent is 3": "the public exponent is not 65537",
    "exponent is 65539": "the public exponent is not 65537",
    "bits": "bits, not 3072",
    "even": "small factor",
    "multiple": "small factor",
    "prime": "a prime or a power",
    "square": "a prime or a power",
    "longer form": "no public key",
    "lacks the parameters": "no public key",
}


@pytest.mark.parametrize("word", REASONS)
def test_a_weak_key_is_refused_for_its_own_reason(word: str) -> None:
    keys = [vector for vector in FILE["vectors"] if vector["does"] == "reads_public"]
    named = [vector for vector in keys if word in vector["what"]]
    assert named
    for vector in named:
        with pytest.raises(WireError, match=REASONS[word]):
            reads_public(vector)


def test_there_are_enough_vectors_and_enough_refusals() -> None:
    vectors = FILE["vectors"]
    assert len(vectors) >= 20
    assert 3 * len([vector for vector in vectors if "code" in vector]) >= len(vectors)


def test_the_second_implementation_and_this_one_open_each_others_products() -> None:
    pair = pair_of("north")
    backend, key = Rsa(), load_der_private_key(pair.secret, None).private_numbers()
    keys = {"public_key": {"n": key.public_numbers.n, "e": 65537}, "private_key": {"d": key.d}}
    other = SecondRsa(keys=keys)
    public, secret = backend.public(pair.public), backend.secret(pair)
    for _ in range(8):
        a, b = (secrets.randbelow(2**64 - 1) + 1 for _ in range(2))
        one, two = (public.encrypt(np.array([number], object)) for number in (a, b))
        product = public.multiply(one, two)
        assert int(product.values[0]) == other.multiply(other.encrypt(a), other.encrypt(b))
        assert other.decrypt(int(product.values[0])) == a * b
        assert secret.decrypt(product).tolist() == [a * b]
