"""CKKS: results are what they should be to the declared precision, room is kept to, and bad bytes never reach SEAL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fedcore.plugin_api import CipherBackend, InvalidOptions, KeyPair, Operation
from fedcore.plugin_api.arrays import pack_arrays, unpack_arrays
from fedcore.plugin_api.ciphers import pack_ciphertext
from fedcore.plugin_api.testing_ciphers import CipherBackendContract
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.ckks import Ckks, CkksSums, seal
from plugins.encryption.ckks.cipher import CkksPublic
from plugins.encryption.ckks.opening import CkksSecret
from plugins.encryption.ckks.parameters import STANDARD
from plugins.encryption.ckks.seal import Scheme, narrow, widen

SLOTS = 4096


class CkksContract(CipherBackendContract):
    def secrets_of(self, pair: KeyPair) -> list[bytes]:
        """Parts of the polynomial, from all over it, without the count before it."""
        places = range(8, len(pair.secret) - 16, len(pair.secret) // 100)
        return [pair.secret[place : place + 16] for place in places]


class TestCkks(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks()


class TestCkksOfDepthThree(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks({"depth": 3, "precision": 12, "largest": 3})


class TestCkksThatOpensLittle(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return Ckks({"decryptions": 48, "summands": 8, "precision": 30})


class TestCkksSums(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return CkksSums()


class TestCkksSumsOfLargeNumbers(CkksContract):
    @pytest.fixture(scope="class")
    @classmethod
    def backend(cls) -> CipherBackend[Any]:
        return CkksSums({"largest": 1000, "precision": 20, "summands": 100})


@pytest.fixture(scope="module")
def backend() -> Ckks:
    return Ckks()


@pytest.fixture(scope="module")
def pair(backend: Ckks) -> KeyPair:
    return backend.generate_keys()


@pytest.fixture(scope="module")
def public(backend: Ckks, pair: KeyPair) -> CkksPublic:
    return backend.public(pair.public)


@pytest.fixture(scope="module")
def secret(backend: Ckks, pair: KeyPair) -> CkksSecret:
    return backend.secret(pair)


def numbers(length: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, length)


def close(found: NDArray[Any], expected: NDArray[Any], precision: int = 24) -> bool:
    return found.shape == expected.shape and float(np.abs(found - expected).max()) <= 2.0**-precision


def refused(caught: pytest.ExceptionInfo[WireError], code: RefusalCode) -> bool:
    return caught.value.code is code


# What is computed.


@pytest.mark.parametrize("length", [1, SLOTS - 1, SLOTS, SLOTS + 1, 2 * SLOTS + 7])
def test_long_numbers_lie_in_several_parts_and_come_back(
    public: CkksPublic, secret: CkksSecret, length: int
) -> None:
    one, other = numbers(length, 1), numbers(length, 2)
    ciphertext = public.multiply(public.encrypt(one), public.encrypt(other))
    assert len(ciphertext.parts) == -(-length // SLOTS)
    assert close(secret.decrypt(public.unpack(ciphertext.pack())), one * other)


def test_opened_numbers_are_multiples_of_the_declared_step(public: CkksPublic, secret: CkksSecret) -> None:
    found = secret.decrypt(public.encrypt(numbers(500)))
    assert (found * 2**24 == np.round(found * 2**24)).all()
    assert (found * 2**23 != np.round(found * 2**23)).any()


def test_a_sum_of_different_levels_has_the_lower_one(public: CkksPublic, secret: CkksSecret) -> None:
    one, other, third = (numbers(9, seed) for seed in range(3))
    product = public.multiply(public.encrypt(one), public.encrypt(other))
    for total in (
        public.add(product, public.encrypt(third)),
        public.add(public.encrypt(third), product),
    ):
        assert total.level == 0
        assert close(secret.decrypt(total), one * other + third)


def test_the_exact_scale_is_kept_through_all_levels() -> None:
    """The primes are not the scale: without the correction, three products of ones would be off by some steps."""
    backend = Ckks({"depth": 3, "precision": 24, "summands": 4})
    pair = backend.generate_keys()
    public, ones = backend.public(pair.public), np.ones(10)
    result = public.encrypt(ones)
    for _ in range(3):
        result = (
            public.multiply(public.multiply_plain(public.encrypt(ones), ones), result)
            if result.level < 2
            else (public.multiply(public.encrypt(ones), result))
        )
    total = public.add(result, public.encrypt(-ones))
    assert close(backend.secret(pair).decrypt(total), np.zeros(10), 24)


def test_a_sum_whose_randomness_cancels_gets_fresh_one(public: CkksPublic, secret: CkksSecret) -> None:
    """Else anybody could read it: here it is a known number that one side has added."""
    one = public.encrypt(numbers(5))
    negative = public.multiply_plain(public.add_plain(one, np.full(5, 0.5)), np.full(5, -1.0))
    total = public.add(public.multiply_plain(one, np.ones(5)), negative)
    arrived = public.unpack(total.pack())
    assert close(secret.decrypt(arrived), np.full(5, -0.5))
    (polynomials,) = unpack_arrays(total.pack())[0].values()
    assert len(np.unique(polynomials[1])) > 200


@pytest.mark.parametrize("factor", [0.0, 1e-300])
def test_what_a_factor_leaves_nothing_of_is_encrypted_anew(
    public: CkksPublic, secret: CkksSecret, factor: float
) -> None:
    for result in (
        public.multiply_plain(public.encrypt(np.ones(5)), np.full(5, factor)),
        *public.matmul_plain([public.encrypt(np.ones(5))] * 2, np.full((2, 1), factor)),
    ):
        assert close(secret.decrypt(public.unpack(result.pack())), np.zeros(5))


# Room, decided before anything is computed.


def test_nothing_is_computed_beyond_the_depth(public: CkksPublic, monkeypatch: pytest.MonkeyPatch) -> None:
    spent = public.multiply(public.encrypt(np.ones(2)), public.encrypt(np.ones(2)))
    fresh = public.encrypt(np.ones(2))
    monkeypatch.setattr(public.scheme, "evaluator", None)
    for beyond in (
        lambda: public.multiply(spent, fresh),
        lambda: public.multiply(fresh, spent),
        lambda: public.multiply_plain(spent, np.ones(2)),
        lambda: public.matmul_plain([spent], np.ones((1, 1))),
    ):
        with pytest.raises(WireError, match="multiplied 1 times already: raise the option depth") as caught:
            beyond()
        assert refused(caught, RefusalCode.OUT_OF_RANGE)


def test_nothing_is_computed_beyond_the_room(public: CkksPublic, monkeypatch: pytest.MonkeyPatch) -> None:
    full = reduce(public.add, [public.encrypt(np.ones(2))] * 16)
    assert (full.magnitude, full.noise) == (16, 16)
    monkeypatch.setattr(public.scheme, "evaluator", None)
    for beyond in (
        lambda: public.add(full, full),
        lambda: public.add_plain(full, np.ones(2)),
        lambda: public.multiply(full, full),
        lambda: public.multiply_plain(full, np.full(2, 1.5)),
        lambda: public.matmul_plain([full], np.full((1, 1), 1.5)),
    ):
        with pytest.raises(
            WireError, match="exceed the room for 16: raise the options largest or summands"
        ) as caught:
            beyond()
        assert refused(caught, RefusalCode.OUT_OF_RANGE)


def test_noise_has_a_room_of_its_own(public: CkksPublic) -> None:
    loud = replace(public.encrypt(np.ones(2)), noise=64)
    with pytest.raises(
        WireError, match="a noise of 65 exceeds the room for 64: raise the option summands"
    ) as caught:
        public.add(loud, public.encrypt(np.ones(2)))
    assert refused(caught, RefusalCode.OUT_OF_RANGE)


@pytest.mark.parametrize("known", [np.array([1.0, np.nan]), np.array([np.inf, 1.0])])
def test_known_numbers_are_finite(public: CkksPublic, known: NDArray[np.float64]) -> None:
    one = public.encrypt(np.ones(2))
    for wrong in (
        lambda: public.add_plain(one, known),
        lambda: public.multiply_plain(one, known),
        lambda: public.matmul_plain([one, one], known.reshape(2, 1)),
    ):
        with pytest.raises(WireError) as caught:
            wrong()
        assert refused(caught, RefusalCode.NOT_FINITE)


def test_columns_of_a_matrix_have_one_level(public: CkksPublic) -> None:
    fresh = public.encrypt(np.ones(2))
    with pytest.raises(WireError, match="one length and one level"):
        public.matmul_plain([fresh, public.multiply_plain(fresh, np.ones(2))], np.ones((2, 1)))


def test_ciphertexts_of_two_keys_are_not_mixed(backend: Ckks, public: CkksPublic) -> None:
    foreign = backend.public(backend.generate_keys().public).encrypt(np.ones(2))
    one = public.encrypt(np.ones(2))
    for wrong in (
        lambda: public.add(one, foreign),
        lambda: public.add(foreign, one),
        lambda: public.add_plain(foreign, np.ones(2)),
        lambda: public.multiply(one, foreign),
        lambda: public.multiply_plain(foreign, np.ones(2)),
        lambda: public.matmul_plain([one, foreign], np.ones((2, 1))),
        lambda: public.pack(foreign),
    ):
        with pytest.raises(WireError, match="belongs to another key"):
            wrong()


def test_bounds_of_known_numbers_travel_as_powers_of_two(public: CkksPublic) -> None:
    one = public.encrypt(np.ones(2))
    assert [public.multiply_plain(one, np.full(2, x)).magnitude for x in (0.1, 1.0, 1.1, 2.0, 2.1)] == [
        1,
        1,
        2,
        2,
        4,
    ]
    assert [public.add_plain(one, np.full(2, x)).magnitude for x in (0.1, 1.5, 5.0)] == [2, 3, 9]


# Parameters.


@pytest.mark.parametrize(
    "backend",
    [
        CkksSums(),
        CkksSums({"precision": 8, "decryptions": 1, "summands": 2}),
        CkksSums({"precision": 40, "summands": 256}),
        Ckks(),
        Ckks({"summands": 512}),
        Ckks({"depth": 4, "precision": 16}),
    ],
    ids=lambda backend: f"{backend.name} {backend.options}",
)
def test_moduli_are_as_long_as_the_standard_allows_and_no_longer(backend: Ckks | CkksSums) -> None:
    scheme = backend.scheme
    total = int(np.prod([int(prime) for prime in scheme.moduli], dtype=object))
    assert total.bit_length() <= STANDARD[scheme.parameters.degree]
    assert scheme.context.parameters_set()


def test_the_table_is_the_one_that_seal_has_too() -> None:
    import tenseal.sealapi as sealapi

    level = sealapi.SEC_LEVEL_TYPE.TC128
    assert {degree: sealapi.CoeffModulus.MaxBitCount(degree, level) for degree in STANDARD} == STANDARD


def test_no_keys_are_made_for_parameters_below_the_standard(
    backend: Ckks, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert backend.scheme.parameters.degree == 8192
    monkeypatch.setitem(STANDARD, 8192, 201)
    with pytest.raises(
        WireError, match="moduli of 202 bits exceed the 201 bits of 128-bit security"
    ) as caught:
        backend.generate_keys()
    assert refused(caught, RefusalCode.KEY_INVALID)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"depth": 0}, "greater than or equal to 1"),
        ({"depth": 5}, "less than or equal to 4"),
        ({"precision": 41}, "less than or equal to 40"),
        ({"summands": 1}, "greater than or equal to 2"),
        ({"decryptions": 0}, "greater than or equal to 1"),
        ({"largest": 0}, "greater than or equal to 1"),
        ({"depth": 4, "precision": 30}, "degree 16384 has 438 at 128-bit security: lower depth, precision"),
        ({"largest": 1024, "depth": 2}, "exceed float64: lower precision, largest, summands or depth"),
    ],
)
def test_options_without_secure_parameters_are_refused(options: dict[str, int], problem: str) -> None:
    with pytest.raises(InvalidOptions, match=problem):
        Ckks(options)


def test_most_is_what_there_is_room_for() -> None:
    backend = Ckks({"depth": 2, "largest": 2, "summands": 4, "precision": 16})
    assert backend.most(Operation.MULTIPLY) == backend.most(Operation.MATMUL_PLAIN) == 2
    public = backend.public(backend.generate_keys().public)
    one = public.encrypt(np.full(2, 2.0))
    total = reduce(public.add, [one] * (backend.most(Operation.ADD) + 1))
    with pytest.raises(WireError, match="exceed"):
        public.add(total, one)


# Bytes that somebody else has sent.


def wire(public: CkksPublic, polynomials: NDArray[Any], name: str = "polynomials", **facts: int) -> bytes:
    told = {"length": 2, "level": 1, "magnitude": 1, "noise": 1} | facts
    return pack_ciphertext("ckks", public.digest, {name: polynomials}, **told)


def altered(
    change: Callable[[NDArray[np.uint8]], NDArray[Any]], **facts: int
) -> Callable[[CkksPublic], bytes]:
    def made(public: CkksPublic) -> bytes:
        (polynomials,) = unpack_arrays(public.encrypt(np.ones(2)).pack())[0].values()
        return wire(public, change(polynomials.copy()), **facts)

    return made


def above_its_prime(polynomials: NDArray[np.uint8]) -> NDArray[np.uint8]:
    polynomials[1, 6 * 77 : 6 * 78] = 255
    return polynomials


def readable(polynomials: NDArray[np.uint8]) -> NDArray[np.uint8]:
    polynomials[1] = 0
    return polynomials


BAD_BYTES: dict[str, tuple[Callable[[CkksPublic], bytes], str]] = {
    "a residue above its prime": (altered(above_its_prime), "not below its prime"),
    "no randomness": (altered(readable), "hides nothing"),
    "one polynomial": (altered(lambda it: it[:1]), "are not 2 polynomials"),
    "three polynomials": (altered(lambda it: np.concatenate([it, it[:1]])), "are not 2 polynomials"),
    "a byte less": (altered(lambda it: it[:, :-1]), "are not 2 polynomials"),
    "another dtype": (altered(lambda it: it.astype(np.uint16)), "of uint16"),
    "another number of dimensions": (altered(lambda it: it.reshape(-1)), "are not 2 polynomials"),
    "the primes of another level": (altered(lambda it: it, level=0), "are not 2 polynomials"),
    "more numbers than parts": (altered(lambda it: it, length=SLOTS + 1), "are not 4 polynomials"),
    "fewer numbers than parts": (altered(lambda it: np.concatenate([it, it])), "are not 2 polynomials"),
    "another array": (lambda public: wire(public, np.zeros(1, np.uint8), "other"), "has no numbers"),
    "another backend": (
        lambda public: pack_ciphertext("ckks_sums", public.digest, {"polynomials": np.zeros(1, np.uint8)}),
        "no ciphertext of ckks",
    ),
}


@pytest.mark.parametrize("case", BAD_BYTES)
def test_bad_bytes_are_refused_before_seal_sees_them(
    public: CkksPublic, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    make, detail = BAD_BYTES[case]
    data = make(public)
    monkeypatch.setattr(Scheme, "ciphertext", lambda *_: pytest.fail("SEAL was given bad bytes"))
    with pytest.raises(WireError, match=detail) as caught:
        public.unpack(data)
    assert refused(caught, RefusalCode.ARTEFACT_INVALID)


def test_residues_travel_in_as_few_whole_bytes_as_they_need() -> None:
    primes = [251, 2**16 - 15, 2**42 - 11]
    residues = np.stack(
        [np.random.default_rng(place).integers(0, prime, (3, 8)) for place, prime in enumerate(primes)], 1
    )
    narrowed = narrow(residues.astype(np.uint64), primes)
    assert narrowed.shape == (3, 8 * (1 + 2 + 6))
    assert (widen(narrowed, 3, primes, 8) == residues).all()


def test_residues_read_from_what_seal_writes_are_those_read_one_by_one(public: CkksPublic) -> None:
    (part,) = public.encrypt(numbers(10)).parts
    slowly = part.dyn_array()
    assert public.scheme.residues(part, 2).reshape(-1).tolist() == [
        slowly.at(i) for i in range(slowly.size())
    ]


def test_another_format_of_seal_is_noticed(public: CkksPublic) -> None:
    (part,) = public.encrypt(numbers(10)).parts
    size, good = 8 * part.dyn_array().size(), seal._saved(part)
    assert len(seal._uncompressed(good, size)) >= size
    for wrong in (
        good[:2] + b"\x11" + good[3:],
        good[:4] + b"\x04" + good[5:],
        good[:5] + b"\0" + good[6:],
        good + b"\0",
    ):
        with pytest.raises(RuntimeError, match="another format"):
            seal._uncompressed(wrong, size)
    with pytest.raises(RuntimeError, match="other bytes"):
        seal._uncompressed(good, 2 * size)


def key_with(pair: KeyPair, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    arrays, facts = unpack_arrays(pair.public)
    return pack_arrays(change({name: array.copy() for name, array in arrays.items()}), facts)


def with_part(name: str, row: int, value: int) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(arrays: dict[str, Any]) -> dict[str, Any]:
        arrays[name][row] = value
        return arrays

    return change


BAD_KEYS: dict[str, tuple[Callable[[dict[str, Any]], dict[str, Any]], str]] = {
    "a residue above its prime": (with_part("public", 0, 255), "not below its prime"),
    "a key that hides nothing": (with_part("public", 1, 0), "constant"),
    "a product's key that hides nothing": (with_part("relinearisation", 3, 0), "constant"),
    "no key for products": (
        lambda it: {n: a for n, a in it.items() if n != "relinearisation"},
        "more or fewer parts",
    ),
    "one part too many": (lambda it: it | {"more": np.zeros(1)}, "more or fewer parts"),
    "too few keys for products": (
        lambda it: it | {"relinearisation": it["relinearisation"][:-2]},
        "are not 8",
    ),
    "moduli of another dtype": (
        lambda it: it | {"moduli": it["moduli"].astype(np.int64)},
        "does not say its moduli",
    ),
    "no moduli": (lambda it: {n: a for n, a in it.items() if n != "moduli"}, "does not say its moduli"),
    "another prime": (lambda it: it | {"moduli": it["moduli"] - 2}, "made with other options"),
}


@pytest.mark.parametrize("case", BAD_KEYS)
def test_a_bad_public_key_is_refused_before_seal_sees_it(
    backend: Ckks, pair: KeyPair, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    change, detail = BAD_KEYS[case]
    monkeypatch.setattr(Scheme, "public_key", lambda *_: pytest.fail("SEAL was given a bad key"))
    with pytest.raises(WireError, match=detail) as caught:
        backend.public(key_with(pair, change))
    assert refused(caught, RefusalCode.KEY_INVALID)


def test_a_key_for_products_of_another_pair_is_found_by_who_has_the_secret_key(
    backend: Ckks, pair: KeyPair
) -> None:
    foreign = unpack_arrays(backend.generate_keys().public)[0]["relinearisation"]
    mixed = key_with(pair, lambda it: it | {"relinearisation": foreign})
    with pytest.raises(WireError, match="belongs to another public key") as caught:
        backend.secret(KeyPair(mixed, pair.secret))
    assert refused(caught, RefusalCode.KEY_INVALID)


def test_a_secret_key_with_a_residue_above_its_prime_is_refused(backend: Ckks, pair: KeyPair) -> None:
    wrong = pair.secret[:8] + b"\xff" * 6 + pair.secret[14:]
    with pytest.raises(WireError, match="not below its prime") as caught:
        backend.secret(KeyPair(pair.public, wrong))
    assert refused(caught, RefusalCode.KEY_INVALID)


def test_the_public_key_cannot_open(public: CkksPublic) -> None:
    assert not hasattr(public, "decrypt")
    assert not hasattr(public.encrypt(np.ones(1)), "decrypt")
