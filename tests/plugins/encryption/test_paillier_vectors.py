"""Vectors of Paillier's cryptosystem, made with LightPHE, and the same check live. Most of them have to be refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gmpy2 import mpz
from lightphe.cryptosystems.Paillier import Paillier as Peer

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.ciphers import integers_to_array, key_digest, pack_ciphertext
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.paillier import Paillier
from plugins.encryption.paillier.cipher import PaillierPublic, PaillierSecret
from plugins.encryption.paillier.keys import PublicKey, SecretKey, read_public, read_secret
from plugins.encryption.paillier.packing import Layout

VECTORS = json.loads((Path(__file__).parent / "vectors" / "paillier.json").read_text())
PAIR = KeyPair(bytes.fromhex(VECTORS["public"]), bytes.fromhex(VECTORS["secret"]))
BITS = 3072


def cases(name: str) -> pytest.MarkDecorator:
    found = VECTORS[name]
    return pytest.mark.parametrize("case", found, ids=[case.get("name", "") for case in found])


def integer(text: str) -> mpz:
    return mpz(int(text, 16))


def wire(rows: list[str], **facts: int) -> bytes:
    """The rows as a ciphertext that travels, well-formed whatever is in it."""
    array = integers_to_array([int(row, 16) for row in rows], 768)
    digest = key_digest(PAIR.public)
    return pack_ciphertext("paillier", digest, {"ciphertexts": array}, **(VECTORS["options"] | facts))


@pytest.fixture(scope="module")
def key() -> PublicKey:
    return read_public(PAIR.public, BITS, short=True)


@pytest.fixture(scope="module")
def secret_key(key: PublicKey) -> SecretKey:
    return read_secret(PAIR.secret, key, BITS)


@pytest.fixture(scope="module")
def public() -> PaillierPublic:
    return Paillier().public(PAIR.public)


@pytest.fixture(scope="module")
def secret() -> PaillierSecret:
    return Paillier().secret(PAIR)


@pytest.fixture(scope="module")
def peer(key: PublicKey, secret_key: SecretKey) -> Peer:
    """LightPHE under our keys; it makes none of its own."""
    phi = (secret_key.p - 1) * (secret_key.q - 1)
    return Peer({"public_key": {"g": int(key.n) + 1, "n": int(key.n)}, "private_key": {"phi": int(phi)}})


def test_a_third_of_the_vectors_and_more_are_to_be_refused() -> None:
    good = len(VECTORS["single"]) + len(VECTORS["packed"])
    bad = sum(len(VECTORS[name]) for name in ("bad_keys", "bad_secrets", "bad_ciphertexts", "bad_sums"))
    assert good + bad >= 20
    assert bad >= good


@cases("single")
def test_a_plaintext_and_a_unit_give_the_ciphertext_and_it_opens(
    key: PublicKey, secret_key: SecretKey, case: dict[str, str]
) -> None:
    plaintext, unit, ciphertext = (integer(case[name]) for name in ("plaintext", "unit", "ciphertext"))
    assert key.encrypt(plaintext, pow(unit, key.n, key.n_squared)) == ciphertext
    assert secret_key.decrypt([ciphertext]) == [plaintext]


@cases("packed")
def test_packed_sums_open(public: PaillierPublic, secret: PaillierSecret, case: dict[str, Any]) -> None:
    data = wire(case["rows"], length=len(case["numbers"]), summands=case["summands"])
    assert secret.decrypt(public.unpack(data)).tolist() == case["numbers"]


@cases("bad_keys")
def test_a_bad_public_key_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(WireError, match=case["detail"]) as caught:
        Paillier().public(bytes.fromhex(case["public"]))
    assert caught.value.code is RefusalCode.KEY_INVALID


@cases("bad_secrets")
def test_a_bad_secret_key_is_refused(case: dict[str, str]) -> None:
    with pytest.raises(WireError, match=case["detail"]) as caught:
        Paillier().secret(KeyPair(bytes.fromhex(case["public"]), bytes.fromhex(case["secret"])))
    assert caught.value.code is RefusalCode.KEY_INVALID


@cases("bad_ciphertexts")
def test_a_bad_ciphertext_is_refused_before_anything_is_opened(
    public: PaillierPublic, case: dict[str, Any]
) -> None:
    with pytest.raises(WireError, match=case["detail"]) as caught:
        public.unpack(wire(case["rows"], **case["facts"]))
    assert caught.value.code.value == case["code"]


@cases("bad_sums")
def test_a_ciphertext_that_holds_something_else_is_refused_when_it_is_opened(
    public: PaillierPublic, secret: PaillierSecret, case: dict[str, Any]
) -> None:
    arrived = public.unpack(wire(case["rows"], length=2, summands=case["summands"]))
    with pytest.raises(WireError, match=case["detail"]) as caught:
        secret.decrypt(arrived)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_ciphertexts_of_the_other_key_are_refused(secret: PaillierSecret, public: PaillierPublic) -> None:
    other = Paillier().public(bytes.fromhex(VECTORS["other"]["public"])).encrypt(np.ones(2))
    for wrong in (lambda: public.unpack(other.pack()), lambda: secret.decrypt(other)):
        with pytest.raises(WireError, match="belongs to another key"):
            wrong()


@pytest.mark.parametrize(
    "alter", [lambda arrays: {}, lambda arrays: arrays | {"more": np.zeros(1)}], ids=["none", "one too many"]
)
def test_other_arrays_than_the_ciphertexts_are_refused(
    public: PaillierPublic, alter: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    arrays = alter({"ciphertexts": integers_to_array([2], 768)})
    facts = VECTORS["options"] | {"length": 2, "summands": 1}
    with pytest.raises(WireError, match="artefact_invalid"):
        public.unpack(pack_ciphertext("paillier", key_digest(PAIR.public), arrays, **facts))


def test_the_peer_opens_what_is_encrypted_here(public: PaillierPublic, peer: Peer) -> None:
    values = np.random.default_rng(7).uniform(-100, 100, 100)
    plaintexts = [peer.decrypt(int(value)) for value in public.encrypt(values).values]
    assert plaintexts == list(Layout(32, 24, 32, 383).plaintexts(values))
    assert all(plaintext.bit_length() <= 76 * 5 * 8 for plaintext in plaintexts)


def test_what_the_peer_encrypts_is_added_and_opened_here(
    key: PublicKey, secret_key: SecretKey, public: PaillierPublic, peer: Peer
) -> None:
    theirs = [peer.encrypt(number) for number in (5, 2**200, int(key.n) - 1)]
    assert secret_key.decrypt([mpz(value) for value in theirs]) == [5, 2**200, key.n - 1]
    ours = key.encrypt(mpz(37), pow(mpz(3), key.n, key.n_squared))
    assert secret_key.decrypt([ours * theirs[0] % key.n_squared]) == [42]
    assert peer.decrypt(peer.add(int(ours), theirs[0])) == 42
