"""ElGamal against known answers of a second implementation, a good half of them refusals, and against it live."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import gmpy2
import numpy as np
import pytest
from lightphe.cryptosystems.ElGamal import ElGamal as SecondElGamal

from fedcore.plugin_api import CipherBackend, KeyPair
from fedcore.plugin_api.ciphers import integers_to_array, key_digest, pack_ciphertext
from fedcore.wire.encoding import WireError
from plugins.encryption.elgamal import ElGamal, ElGamalCounts
from plugins.encryption.elgamal.ciphers import ElGamalCiphertext
from plugins.encryption.elgamal.groups import group
from plugins.encryption.elgamal.keys import PublicKey

FILE = json.loads((Path(__file__).parent / "vectors" / "elgamal.json").read_text())
BACKENDS: dict[str, type[CipherBackend[Any]]] = {"elgamal": ElGamal, "elgamal_counts": ElGamalCounts}
Vector = dict[str, Any]


def backend_of(vector: Vector) -> CipherBackend[Any]:
    return BACKENDS[vector["backend"]]({"group": FILE["keys"][vector["key"]]["group"]})


def pair_of(name: str) -> KeyPair:
    key = FILE["keys"][name]
    return KeyPair(bytes.fromhex(key["public"]), bytes.fromhex(key["secret"]))


def public_key(name: str) -> PublicKey:
    return PublicKey.read(group(FILE["keys"][name]["group"]), pair_of(name).public)


def halves(vector: Vector) -> tuple[int, int]:
    return int(vector["first"], 16), int(vector["second"], 16)


def encrypts(vector: Vector) -> None:
    backend, number = backend_of(vector), int(vector["number"])
    if "code" in vector:
        backend.public(pair_of(vector["key"]).public).encrypt(np.array([number], object))
    element = backend.encoding.encode(number)  # type: ignore[attr-defined]
    assert public_key(vector["key"]).encrypt(element, int(vector["exponent"], 16)) == halves(vector)


def opens(vector: Vector) -> None:
    pair = (tuple(gmpy2.mpz(half) for half in halves(vector)),)
    key = public_key(vector["key"])
    ciphertext = ElGamalCiphertext(vector["backend"], key, pair, vector["combined"])
    found = backend_of(vector).secret(pair_of(vector["key"])).decrypt(ciphertext)
    assert found.tolist() == [int(vector["number"])]


def unpacks(vector: Vector) -> Any:
    width = len(pair_of(vector["key"]).public)
    arrays = {
        name: integers_to_array([half], width)
        for name, half in zip(("first", "second"), halves(vector), strict=True)
    }
    digest = key_digest(pair_of(vector.get("packed_for", vector["key"])).public)
    name = vector.get("packed_by", vector["backend"])
    data = pack_ciphertext(name, digest, arrays, combined=vector["combined"])
    return backend_of(vector).public(pair_of(vector["key"]).public).unpack(data)


def reads_public(vector: Vector) -> None:
    backend_of(vector).public(bytes.fromhex(vector["data"]))


def reads_secret(vector: Vector) -> None:
    pair = KeyPair(pair_of(vector["key"]).public, bytes.fromhex(vector["data"]))
    backend_of(vector).secret(pair)


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
    for name in ("north", "south", "long"):
        backend = ElGamal({"group": FILE["keys"][name]["group"]})
        backend.public(pair_of(name).public)
        backend.secret(pair_of(name))
    good = next(vector for vector in FILE["vectors"] if vector["does"] == "opens")
    assert unpacks(good).length == 1


def test_there_are_enough_vectors_and_enough_refusals() -> None:
    vectors = FILE["vectors"]
    for name, least in (("elgamal", 20), ("elgamal_counts", 10)):
        assert len([vector for vector in vectors if vector["backend"] == name]) >= least
    assert 3 * len([vector for vector in vectors if "code" in vector]) >= len(vectors)


@pytest.mark.parametrize("name", FILE["primes"])
def test_the_prime_is_the_one_that_openssl_knows(name: str) -> None:
    assert group(name).prime == int(FILE["primes"][name], 16)


def second(exponential: bool) -> SecondElGamal:
    key = FILE["keys"]["north"]
    public = {"p": int(FILE["primes"]["ffdhe3072"], 16), "g": 2, "y": int(key["public"], 16)}
    keys = {"public_key": public, "private_key": {"x": int(key["secret"], 16)}}
    return SecondElGamal(keys=keys, exponential=exponential)


def test_the_second_implementation_opens_what_was_multiplied_here() -> None:
    pair, other = pair_of("north"), second(exponential=False)
    public, prime = ElGamal().public(pair.public), int(group("ffdhe3072").prime)
    numbers = [[secrets.randbelow(2**64 - 1) + 1 for _ in range(8)] for _ in range(2)]
    one, two = (public.encrypt(np.array(some, object)) for some in numbers)
    result = public.unpack(public.multiply(one, two).pack())
    for (first, last), a, b in zip(result.pairs, *numbers, strict=True):
        opened = other.decrypt((int(first), int(last)))
        assert min(opened, prime - opened) == a * b


def test_what_the_second_implementation_multiplied_is_opened_here() -> None:
    pair, other, prime = pair_of("north"), second(exponential=False), int(group("ffdhe3072").prime)
    backend = ElGamal()
    public, secret = backend.public(pair.public), backend.secret(pair)
    for _ in range(8):
        a, b = (secrets.randbelow(2**64 - 1) + 1 for _ in range(2))
        (mine,) = public.encrypt(np.array([a], object)).pairs
        square = b if pow(b, (prime - 1) // 2, prime) == 1 else prime - b
        both = other.multiply((int(mine[0]), int(mine[1])), other.encrypt(square))
        found = ElGamalCiphertext("elgamal", public_key("north"), (tuple(map(gmpy2.mpz, both)),), 2)
        assert secret.decrypt(found).tolist() == [a * b]


def test_the_second_implementation_adds_and_opens_counts_of_here_and_the_other_way_round() -> None:
    pair, other = pair_of("north"), second(exponential=True)
    backend = ElGamalCounts()
    public, secret = backend.public(pair.public), backend.secret(pair)
    for a, b in ((0, 0), (3, 4), (19, 0), (1, 21)):
        (mine,) = public.encrypt(np.array([a], object)).pairs
        both = other.add((int(mine[0]), int(mine[1])), other.encrypt(b))
        assert other.decrypt(both) == a + b
        found = ElGamalCiphertext("elgamal_counts", public_key("north"), (tuple(map(gmpy2.mpz, both)),), 2)
        assert secret.decrypt(found).tolist() == [a + b]
