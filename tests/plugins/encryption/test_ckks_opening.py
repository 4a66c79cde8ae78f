"""What is opened under CKKS does not show the key: noise is bounded, results are blurred, and openings are counted."""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

import numpy as np
import pytest
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from fedcore.plugin_api import KeyPair
from fedcore.plugin_api.ciphers import key_digest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins.encryption.ckks import Ckks, CkksSums
from plugins.encryption.ckks.cipher import CkksCiphertext, CkksPublic
from plugins.encryption.ckks.keys import OPENINGS, Openings
from plugins.encryption.ckks.opening import CkksSecret, normal
from plugins.encryption.ckks.parameters import ADVANTAGE

SMALL = CkksSums({"precision": 8, "decryptions": 8, "summands": 2})
"""One prime for all data, so short that floating point shows the error exactly."""


@pytest.fixture(scope="module")
def pair() -> KeyPair:
    return SMALL.generate_keys()


@pytest.fixture
def fresh() -> KeyPair:
    return SMALL.generate_keys()


def numbers(length: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).uniform(-1, 1, length)


# The attack of Li and Micciancio, and that it fails on what is given out.


def decoded(secret: CkksSecret, part: Any) -> list[complex]:
    plaintext = sealapi.Plaintext()
    secret._decryptor.decrypt(part, plaintext)
    found: list[complex] = secret._scheme.encoder.decode_complex(plaintext)
    return found


def key_from(public: CkksPublic, part: Any, opened: list[complex]) -> list[int]:
    """The secret key at each point, if `opened` is what came out exactly: (opened - c0) / c1."""
    scheme = public.scheme
    encoded = sealapi.Plaintext()
    scheme.encoder.encode(opened, scheme.identities[0], scheme.scales[0], encoded)
    (message,), (c0, c1) = scheme.residues(encoded, 1)[0], scheme.residues(part, 2)[:, 0]
    prime = scheme.moduli[0]
    return [
        (int(m) - int(a)) * pow(int(b), -1, prime) % prime for m, a, b in zip(message, c0, c1, strict=True)
    ]


def true_key(pair: KeyPair) -> list[int]:
    polynomial = np.frombuffer(pair.secret[8:], np.uint8)[: 7 * 4096].reshape(4096, 7)
    return [int.from_bytes(row.tobytes(), "little") for row in polynomial]


def test_the_key_is_found_from_what_comes_out_and_not_from_what_is_given_out(pair: KeyPair) -> None:
    public, secret = SMALL.public(pair.public), SMALL.secret(pair)
    ciphertext = public.encrypt(numbers(2048))
    (part,) = ciphertext.parts
    assert key_from(public, part, decoded(secret, part)) == true_key(pair)
    for given_out in (
        decoded(secret, secret._flooded(part, 0)),
        [complex(number) for number in secret.decrypt(ciphertext)],
    ):
        found = key_from(public, part, given_out)
        assert sum(one == other for one, other in zip(found, true_key(pair), strict=True)) < 5


# Noise.


def error(secret: CkksSecret, ciphertext: CkksCiphertext, exact: NDArray[np.float64]) -> float:
    """The standard deviation of the error, in units of a fresh encryption's."""
    scheme = secret._scheme
    found = np.array(secret._opened(ciphertext.parts[0]))[: len(exact)]
    return float((found - exact).std()) * scheme.scales[ciphertext.level] / (scheme.parameters.degree / 6)


def test_the_noise_that_is_told_bounds_the_error_of_every_operation() -> None:
    backend = Ckks({"precision": 8, "decryptions": 1, "summands": 16, "depth": 2})
    pair = backend.generate_keys()
    public, secret = backend.public(pair.public), backend.secret(pair)
    x, y = numbers(8192, 1), numbers(8192, 2)
    cx, cy = public.encrypt(x), public.encrypt(y)
    assert 0.8 < error(secret, cx, x) < 1.05
    doubled = public.add(public.add(cx, cx), public.add(cx, cx))
    assert 3 < error(secret, doubled, 4 * x) < 4.2, (
        "errors that are the same add up, as independent ones do not"
    )
    results = [
        (doubled, 4 * x),
        (public.add(cx, cy), x + y),
        (public.add_plain(cx, y), x + y),
        (public.multiply(cx, cy), x * y),
        (public.multiply(public.multiply(cx, cx), cx), x * x * x),
        (public.multiply_plain(cx, y), x * y),
        (public.multiply_plain(cx, 5 * y), 5 * x * y),
        (public.matmul_plain([cx, cy], np.array([[3.0], [-2.0]]))[0], 3 * x - 2 * y),
        (public.add(public.multiply(cx, cy), cx), x * y + x),
    ]
    for ciphertext, exact in results:
        assert error(secret, ciphertext, exact) <= 1.05 * ciphertext.noise


def test_what_is_added_hides_the_largest_noise_for_all_openings(pair: KeyPair) -> None:
    """Pinsker's inequality for all that the key opens, with the deviation as measured."""
    public, secret = SMALL.public(pair.public), SMALL.secret(pair)
    ciphertext = public.encrypt(np.zeros(2048))
    (part,) = ciphertext.parts
    clean, flooded = (np.array(decoded(secret, each)) for each in (part, secret._flooded(part, 0)))
    added = flooded - clean
    noise = SMALL.options.declared.room[1] * 4096 / 6 / public.scheme.scales[0]
    needed = np.sqrt(SMALL.decryptions * 4096) * noise / (2 * ADVANTAGE)
    for deviation in (added.real.std(), added.imag.std()):
        assert 0.9 * needed < deviation < 1.1 * needed
    assert abs(np.corrcoef(added.real, added.imag)[0, 1]) < 0.1
    again = np.array(decoded(secret, secret._flooded(part, 0))) - clean
    assert abs(np.corrcoef(added.real, again.real)[0, 1]) < 0.1


def test_what_is_given_out_was_blurred_before_it_was_rounded(fresh: KeyPair) -> None:
    """One deviation beside a boundary, one number in six lands on the other side; without the noise none."""
    secret, public = SMALL.secret(fresh), SMALL.public(fresh.public)
    deviation = public.scheme.parameters.flood / public.scheme.scales[0]
    found = secret.decrypt(public.encrypt(np.full(4096, 0.5 * 2.0**-8 + deviation)))
    assert set(found) <= {0.0, 2.0**-8}
    assert 0.12 < (found == 0).mean() < 0.2


def test_random_numbers_are_normally_distributed_and_from_the_systems_randomness(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = normal(200_000)
    assert abs(found.mean()) < 0.02
    assert abs(found.std() - 1) < 0.02
    assert abs((found**4).mean() - 3) < 0.15
    assert abs((np.abs(found) > 1.96).mean() - 0.05) < 0.005
    monkeypatch.setattr("plugins.encryption.ckks.opening.secrets.token_bytes", lambda size: b"\xff" * size)
    assert (normal(3) == normal(3)).all()
    monkeypatch.setattr("plugins.encryption.ckks.opening.secrets.token_bytes", bytes)
    assert np.isfinite(normal(3)).all()


# Counting.


def test_a_key_refuses_when_it_has_opened_what_it_may_and_opens_nothing_then(
    fresh: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = SMALL.secret(fresh)
    one = SMALL.public(fresh.public).encrypt(np.ones(1))
    for left in range(8, 0, -1):
        assert secret.left == left
        secret.decrypt(one)
    monkeypatch.setattr(secret, "_opened", lambda *_: pytest.fail("it was opened"))
    with pytest.raises(
        WireError, match="opens 8 ciphertexts, 8 are opened and this needs 1: make a new pair"
    ) as caught:
        secret.decrypt(one)
    assert caught.value.code is RefusalCode.KEY_SPENT
    assert secret.left == 0


def test_every_part_counts_and_what_is_refused_books_nothing(fresh: KeyPair) -> None:
    secret, public = SMALL.secret(fresh), SMALL.public(fresh.public)
    secret.decrypt(public.encrypt(np.ones(3 * 4096)))
    assert secret.left == 5
    with pytest.raises(WireError, match="3 are opened and this needs 6"):
        secret.decrypt(public.encrypt(np.ones(5 * 4096 + 1)))
    assert secret.left == 5


def test_a_ciphertext_that_is_refused_when_opened_counts(fresh: KeyPair) -> None:
    secret, public = SMALL.secret(fresh), SMALL.public(fresh.public)
    one = public.encrypt(np.ones(1))
    with pytest.raises(WireError, match="larger numbers than it says"):
        secret.decrypt(replace(public.add(one, one), magnitude=1))
    assert secret.left == 7


def test_a_new_object_of_the_same_key_goes_on_counting(fresh: KeyPair) -> None:
    one = SMALL.public(fresh.public).encrypt(np.ones(1))
    SMALL.secret(fresh).decrypt(one)
    SMALL.secret(fresh).decrypt(one)
    assert SMALL.secret(fresh).left == 6


def test_a_stored_pair_takes_its_count_along(fresh: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = SMALL.secret(fresh)
    for _ in range(3):
        secret.decrypt(SMALL.public(fresh.public).encrypt(np.ones(1)))
    stored = secret.pair
    assert (stored.public, stored.secret[8:]) == (fresh.public, fresh.secret[8:])
    # Another process starts with nothing.
    monkeypatch.setattr(OPENINGS, "_spent", {})
    assert SMALL.secret(stored).left == 5
    # An older copy does not bring the count back.
    assert SMALL.secret(fresh).left == 5


def test_a_count_beyond_the_limit_opens_nothing(fresh: KeyPair) -> None:
    spent = KeyPair(fresh.public, b"\xff" * 8 + fresh.secret[8:])
    secret = SMALL.secret(spent)
    assert secret.left == 0
    with pytest.raises(WireError, match="key_spent"):
        secret.decrypt(SMALL.public(fresh.public).encrypt(np.ones(1)))


def test_two_keys_are_counted_apart() -> None:
    openings = Openings()
    openings.take("one", 3, 4)
    openings.take("other", 4, 4)
    with pytest.raises(WireError):
        openings.take("one", 2, 4)
    openings.take("one", 1, 4)
    assert (openings.spent("one"), openings.spent("other"), openings.spent("third")) == (4, 4, 0)


def test_counting_starts_at_the_secret_key_and_not_at_a_trial(fresh: KeyPair) -> None:
    SMALL.secret(fresh)
    assert OPENINGS.spent(key_digest(fresh.public)) == 0


# What a ciphertext holds.


def test_numbers_larger_than_a_ciphertext_says_are_refused(pair: KeyPair) -> None:
    secret, public = SMALL.secret(pair), SMALL.public(pair.public)
    total = reduce(public.add, [public.encrypt(np.full(2, -1.0))] * 2)
    with pytest.raises(WireError, match="holds larger numbers than it says") as caught:
        secret.decrypt(replace(total, magnitude=1))
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_numbers_behind_the_last_one_are_refused(pair: KeyPair) -> None:
    secret, public = SMALL.secret(pair), SMALL.public(pair.public)
    with pytest.raises(WireError, match="numbers behind the last one") as caught:
        secret.decrypt(replace(public.encrypt(np.array([0.5, 0.5, 0.5])), count=2))
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_what_does_not_come_out_finite_is_refused(fresh: KeyPair, monkeypatch: pytest.MonkeyPatch) -> None:
    secret, public = SMALL.secret(fresh), SMALL.public(fresh.public)
    for wrong in (np.nan, np.inf):
        monkeypatch.setattr(secret, "_opened", lambda *_, wrong=wrong: np.full(4096, wrong))
        with pytest.raises(WireError, match="or none"):
            secret.decrypt(public.encrypt(np.ones(1)))


def test_nothing_of_another_key_is_opened_or_counted(fresh: KeyPair, pair: KeyPair) -> None:
    secret = SMALL.secret(fresh)
    with pytest.raises(WireError, match="belongs to another key"):
        secret.decrypt(SMALL.public(pair.public).encrypt(np.ones(1)))
    assert secret.left == 8
