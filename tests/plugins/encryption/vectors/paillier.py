"""Makes `paillier.json` anew: `PYTHONPATH=. python tests/plugins/encryption/vectors/paillier.py`.

Ciphertexts come from LightPHE (`lightphe.cryptosystems.Paillier`) under keys that are made here, and packed numbers
from the plain arithmetic below; nothing of the plugin takes part. Bad keys and ciphertexts are built from the
good ones. What each of them has to be answered with was written by hand.
"""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path
from typing import Any

import gmpy2
from lightphe.cryptosystems.Paillier import Paillier

BITS = 3072
SIZE = BITS // 8
CHANCE = random.Random(1999)
OPTIONS = {"value_bits": 32, "fraction_bits": 24, "room": 32}
SLOTS, SLOT = 76, 5
LARGEST = (2**31 - 1) / 2**24


def prime(bits: int, remainder: int = 3) -> int:
    while True:
        found = CHANCE.getrandbits(bits) | 3 << (bits - 2)
        found += remainder - found % 4
        if gmpy2.is_prime(found):
            return found


def prime_after(factor: int) -> int:
    """A prime that is one more than a multiple of this odd factor, of half the modulus's bits, and 3 modulo 4."""
    bits = BITS // 2
    while True:
        found = 2 * factor * (CHANCE.getrandbits(bits - factor.bit_length() - 1) | 1) + 1
        if found >> (bits - 2) == 3 and gmpy2.is_prime(found):
            return found


def pair() -> tuple[int, int, int]:
    """Two primes and a base."""
    while True:
        p, q = prime(BITS // 2), prime(BITS // 2)
        if gmpy2.gcd(p - 1, q - 1) == 2:
            return p, q, -pow(CHANCE.randrange(p * q), 2) % (p * q)


P, Q, BASE = pair()
OTHER_P, OTHER_Q, OTHER_BASE = pair()
N = P * Q
PEER = Paillier({"public_key": {"g": N + 1, "n": N}, "private_key": {"phi": (P - 1) * (Q - 1)}})


def plaintext(numbers: list[float], summands: int = 1) -> int:
    """The plaintext of sums: `summands` times 2^31 is in every slot that has a number."""
    whole = [round(Fraction(number) * 2**24) + summands * 2**31 for number in numbers]
    return sum(number << (8 * SLOT * place) for place, number in enumerate(whole))


def encrypted(numbers: list[float], summands: int = 1) -> list[str]:
    """The rows of a ciphertext, as hexadecimal numbers."""
    parts = [numbers[start : start + SLOTS] for start in range(0, len(numbers), SLOTS)]
    return [f"{PEER.encrypt(plaintext(part, summands), CHANCE.randrange(N)):x}" for part in parts]


def public(n: int, base: int = BASE, size: int = SIZE) -> str:
    return (n.to_bytes(size, "big") + base.to_bytes(size, "big")).hex()


def secret(p: int, q: int) -> str:
    return b"".join(number.to_bytes(SIZE // 2, "big") for number in (p, q)).hex()


def jacobi(wanted: int, of_p: int) -> int:
    """A number with the Jacobi symbol `wanted` modulo `n`, and with `of_p` as its symbol modulo `p`."""
    while True:
        found = CHANCE.randrange(N)
        if gmpy2.jacobi(found, N) == wanted and gmpy2.jacobi(found, P) == of_p:
            return found


def single() -> list[dict[str, str]]:
    plain = [0, 1, 2, N - 1, N // 2, 1 << 3063, CHANCE.randrange(N)]
    units = [CHANCE.randrange(N) for _ in plain]
    return [
        {"plaintext": f"{m:x}", "unit": f"{r:x}", "ciphertext": f"{PEER.encrypt(m, r):x}"}
        for m, r in zip(plain, units, strict=True)
    ]


def packed() -> list[dict[str, Any]]:
    """Numbers that came from one owner, or are exact sums of 3 or 32 owners' numbers."""
    cases = [
        ("one number", [0.5], 1),
        ("numbers of both signs", [-1.0, 0.0, 2.0**-24, -(2.0**-24), 100.25], 1),
        ("the largest and the smallest number", [LARGEST, -LARGEST], 1),
        ("a full plaintext and one number more", [number / 8 for number in range(77)], 1),
        ("sums of three", [-2.5, 0.0, 3 * LARGEST], 3),
        ("sums of as many as there is room for", [32 * LARGEST, -32 * LARGEST, 0.0], 32),
    ]
    return [
        {"name": name, "numbers": numbers, "summands": summands, "rows": encrypted(numbers, summands)}
        for name, numbers, summands in cases
    ]


def bad_keys() -> list[dict[str, str]]:
    small = 65521  # it is 1 modulo 4
    close = gmpy2.next_prime(P)
    while close % 4 != 3:
        close = gmpy2.next_prime(close)
    whole_prime = prime(BITS, 1)
    one_modulo_p = next(
        x for x in (1 + P * CHANCE.randrange(Q) for _ in range(1000)) if gmpy2.jacobi(x, N) == 1
    )
    cases = [
        ("a key without a base", N.to_bytes(SIZE, "big").hex(), "wrong length"),
        ("a key of 2,048 bits", public(prime(1024) * prime(1024), 4, 256), "wrong length"),
        ("a modulus of 3,071 bits", public(N >> 1 | 1), "the modulus has a wrong length"),
        ("an even modulus", public(N - 1), "no product of two primes that are 3 modulo 4"),
        ("a prime that is 1 modulo 4", public(P * prime(1536, 1)), "no product of two primes"),
        ("a small factor", public(small * prime(BITS - 16, 1)), "a small factor"),
        ("a square", public(P * P), "a power"),
        ("a prime modulus", public(whole_prime), "the modulus is prime"),
        ("close primes", public(int(P * close)), "too close"),
        ("the base 0", public(N, 0), "the base is out of range"),
        ("the base 1", public(N, 1), "the base is out of range"),
        ("the base n - 1", public(N, N - 1), "the base is out of range"),
        ("the base n", public(N, N), "the base is out of range"),
        ("a base that is a multiple of p", public(N, 4 * P), "the base is out of range"),
        ("a base with the symbol -1", public(N, jacobi(-1, 1)), "not the negative of a square"),
        ("a base that is 1 modulo p", public(N, one_modulo_p), "a small order"),
    ]
    return [{"name": name, "public": data, "detail": detail} for name, data, detail in cases]


def bad_secrets() -> list[dict[str, str]]:
    good, factor = public(N), prime(768)
    one, other = prime(1536, 1), prime(1536, 1)
    composite = factor * prime(768, 1)
    while composite >> 1534 != 3:
        composite = factor * prime(768, 1)
    p, q = (prime_after(131071) for _ in range(2))
    close = gmpy2.next_prime(P + (1 << 1400))
    while close % 4 != 3:
        close = gmpy2.next_prime(close)

    def base(n: int) -> int:
        return -pow(CHANCE.randrange(n), 2) % n

    cases = [
        ("a byte is missing", good, secret(P, Q)[2:], "the secret key has a wrong length"),
        ("the key of another modulus", good, secret(OTHER_P, OTHER_Q), "belongs to another public key"),
        ("the two primes in disorder and altered", good, secret(Q, P + 4), "belongs to another public key"),
        (
            "primes that are 1 modulo 4",
            public(one * other, base(one * other)),
            secret(one, other),
            "3 modulo 4",
        ),
        (
            "a factor that is not prime",
            public(composite * P, base(composite * P)),
            secret(composite, P),
            "a factor is not prime",
        ),
        ("close primes", public(P * int(close), base(P * int(close))), secret(P, int(close)), "too close"),
        ("orders with a common factor", public(p * q, base(p * q)), secret(p, q), "a common factor"),
        ("a base that is a square", public(N, jacobi(1, 1)), secret(P, Q), "not the negative of a square"),
    ]
    return [{"name": n, "public": key, "secret": data, "detail": detail} for n, key, data, detail in cases]


def bad_ciphertexts() -> list[dict[str, Any]]:
    (row,) = encrypted([1.0, 2.0])
    cases: list[tuple[str, list[str], dict[str, int], str, str]] = [
        ("zero", ["0"], {}, "artefact_invalid", "out of range"),
        ("n squared", [f"{N * N:x}"], {}, "artefact_invalid", "out of range"),
        (
            "more than n squared",
            [f"{N * N + int(row, 16) % 2**6000:x}"],
            {},
            "artefact_invalid",
            "out of range",
        ),
        ("n", [f"{N:x}"], {}, "artefact_invalid", "no unit"),
        ("a multiple of p", [f"{P * CHANCE.randrange(N):x}"], {}, "artefact_invalid", "no unit"),
        ("no unit behind a good one", [row, f"{Q:x}"], {"length": 77}, "artefact_invalid", "no unit"),
        ("no summands", [row], {"summands": 0}, "artefact_invalid", "the sum of nothing"),
        ("33 summands", [row], {"summands": 33}, "out_of_range", "exceeds the room for 32"),
        ("very many summands", [row], {"summands": 10**15 - 1}, "out_of_range", "exceeds the room for 32"),
        ("no numbers", [row], {"length": 0}, "artefact_invalid", "no numbers"),
        ("more numbers than fit", [row], {"length": 77}, "artefact_invalid", "more or fewer plaintexts"),
        (
            "fewer numbers than fit",
            [row, row],
            {"length": 76},
            "artefact_invalid",
            "more or fewer plaintexts",
        ),
        ("another point", [row], {"fraction_bits": 23}, "artefact_invalid", "other options"),
        ("another width", [row], {"value_bits": 31}, "artefact_invalid", "other options"),
        ("another room", [row], {"room": 33}, "artefact_invalid", "other options"),
    ]
    return [
        {
            "name": name,
            "rows": rows,
            "facts": {"length": 2, "summands": 1} | facts,
            "code": code,
            "detail": detail,
        }
        for name, rows, facts, code, detail in cases
    ]


def bad_sums() -> list[dict[str, Any]]:
    """Well-formed ciphertexts that hold something else than they say."""

    def opened(value: int) -> list[str]:
        return [f"{PEER.encrypt(value, CHANCE.randrange(N)):x}"]

    good = plaintext([1.0, 2.0])
    cases = [
        ("a slot too low for two summands", opened(plaintext([-LARGEST, 0.0])), 2, "no sums of the number"),
        ("a slot too high for one summand", opened(plaintext([100.0, 200.0], 2)), 1, "no sums of the number"),
        ("a number behind the last one", opened(plaintext([1.0, 2.0, 3.0])), 1, "no sums of the number"),
        ("a plaintext above the slots", opened(good + (1 << 3040)), 1, "more than the slots do"),
        ("a plaintext below zero", opened(N - 1), 1, "more than the slots do"),
    ]
    return [{"name": n, "rows": rows, "summands": s, "detail": detail} for n, rows, s, detail in cases]


def main() -> None:
    made = " ".join((__doc__ or "").split("\n\n")[1].split())
    vectors = {
        "made": f"{made} The script is vectors/paillier.py.",
        "options": OPTIONS,
        "public": public(N),
        "secret": secret(P, Q),
        "other": {"public": public(OTHER_P * OTHER_Q, OTHER_BASE), "secret": secret(OTHER_P, OTHER_Q)},
        "single": single(),
        "packed": packed(),
        "bad_keys": bad_keys(),
        "bad_secrets": bad_secrets(),
        "bad_ciphertexts": bad_ciphertexts(),
        "bad_sums": bad_sums(),
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(vectors, indent=1) + "\n")


if __name__ == "__main__":
    main()
