"""Shares a second time, as plainly as they can be written, and the known vectors made with it.

Python's integers throughout: key streams one counter block at a time, rows in fixed point as fractions, truncation,
table and final weights by their definitions. It shares no code with `fedcore.sharing`.
`python -m tests.plugins.encryption.sharing_oracle` writes `vectors/secret_sharing.json`.
"""

from __future__ import annotations

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

from tests.plugins.encryption.masks_oracle import fixed, hkdf, mask, numbers_of

VECTORS = Path(__file__).parent / "vectors" / "secret_sharing.json"
RING = 2**64


def signed(number: int) -> int:
    return number - RING if number >= RING // 2 else number


def nearest(value: Fraction) -> int:
    """The nearest integer, the even one where two are as near."""
    return round(value)


def keys_of(secret: bytes, part: int) -> list[bytes]:
    return [hkdf(secret, b"", f"fedcore/shared/rows/{side}/{part}".encode()) for side in (0, 1)]


def masked_rows(
    rows: list[list[float]], labels: list[int], fraction_bits: int, keys: list[bytes]
) -> list[list[int]]:
    """Each number in fixed point, the label, and padding to an even width, less both masks."""
    columns = len(rows[0])
    width = columns + 1 + (columns + 1) % 2
    first, second = (mask(key, len(rows) * width) for key in keys)
    masked = []
    for place, (row, label) in enumerate(zip(rows, labels, strict=True)):
        numbers = [nearest(Fraction(value) * 2**fraction_bits) for value in row] + [label]
        numbers += [0] * (width - len(numbers))
        start = place * width
        masked.append(
            [(number - first[start + at] - second[start + at]) % RING for at, number in enumerate(numbers)]
        )
    return masked


def truncation(number: int, bits: int, label: str) -> dict[str, Any]:
    """One number in fixed shares, a fixed mask in fixed shares: what is opened, and both shares of the quotient."""
    r, x0, *first = numbers_of(label, 5)
    whole = [r, (r % 2**63) // 2**bits, r // 2**63]
    second = [(value - share) % RING for value, share in zip(whole, first, strict=True)]
    x1 = (number - x0) % RING
    opened = (number + 2**62 + r) % RING
    # In the integers: the lower 63 bits of number + 2^62 + r went over 2^63 where they come out smaller than r's.
    over = 1 if opened % 2**63 < r % 2**63 else 0
    quotient = (opened % 2**63) // 2**bits - whole[1] + over * 2 ** (63 - bits) - 2 ** (62 - bits)
    return {
        "bits": bits,
        "number": str(number),
        "shares": [str(x0), str(x1)],
        "dealt": [[str(value) for value in first], [str(value) for value in second]],
        "opened": str(opened),
        "quotient": str(quotient),
    }


def lookup(number: int, shift: int, bits: int, label: str, rate: int, score_bits: int) -> dict[str, Any]:
    """One number in fixed shares: the index that its shares give, and the table's entry there."""
    x0, m0, m1 = numbers_of(label, 3)
    x1 = (number - x0) % RING
    index = (x0 // 2**shift + x1 // 2**shift + 1) % 2**bits
    score = Fraction(index if index < 128 else index - 256) * Fraction(2) ** (score_bits - 8)
    entry = round(rate / (1 + math.exp(-float(score))))
    return {
        "number": str(number),
        "shares": [str(x0), str(x1)],
        "masks": [m0 % 256, m1 % 256],
        "shift": shift,
        "bits": bits,
        "opened": (index + m0 + m1) % 2**bits,
        "index": index,
        "rate": rate,
        "score_bits": score_bits,
        "entry": str(entry),
    }


def final(
    weights: list[int], initial: list[list[float]], bias: list[float], weight_bits: int, label: str
) -> dict[str, Any]:
    """Weights in fixed shares: the sum of the two outputs is kept, their difference is what the shares add up to."""
    first = numbers_of(label, len(weights))
    second = [(weight - share) % RING for weight, share in zip(weights, first, strict=True)]
    columns = [*zip(*initial, strict=True), tuple(bias)]
    found = []
    for weight, (one, other) in zip(weights, columns, strict=True):
        middle, half = (Fraction(one) + Fraction(other)) / 2, Fraction(weight, 2 ** (weight_bits + 1))
        found.append([float(middle - half), float(middle + half)])
    return {
        "shares": [[str(share) for share in shares] for shares in (first, second)],
        "initial": initial,
        "bias": bias,
        "weight": [[pair[output] for pair in found[:-1]] for output in (0, 1)],
        "trained_bias": found[-1],
    }


def streams() -> list[dict[str, Any]]:
    labels = ("stream", "another")
    keys = [bytes(32), bytes(range(32)), *(fixed(label) for label in labels)]
    return [
        {"name": f"key {place}", "key": key.hex(), "words": [str(word) for word in mask(key, 5)]}
        for place, key in enumerate(keys)
    ]


ROWS: dict[str, tuple[list[list[float]], list[int], int]] = {
    "one row of one column": ([[0.5]], [1], 13),
    "rows with nothing in them": ([[0.0, 0.0], [0.0, 0.0]], [0, 1], 13),
    "negative and largest numbers": ([[-64.0, 64.0, 0.125]], [0], 13),
    "numbers between two multiples": ([[0.3, -0.3, 2.0**-14, 3 * 2.0**-14]], [1], 13),
    "six bits of fraction": ([[0.3, 1.0], [-1.75, 63.99]], [1, 0], 6),
    "eighteen bits of fraction": ([[0.3, 1.0, -0.7]], [1], 18),
}


def masking() -> list[dict[str, Any]]:
    found = []
    for part, (name, (rows, labels, bits)) in enumerate(ROWS.items()):
        keys = keys_of(fixed("owner"), part)
        single = [[_single(value) for value in row] for row in rows]
        masked = masked_rows(single, labels, bits, keys)
        found.append(
            {
                "name": name,
                "secret": fixed("owner").hex(),
                "part": part,
                "rows": single,
                "labels": labels,
                "fraction_bits": bits,
                "keys": [key.hex() for key in keys],
                "masked": [[str(number) for number in row] for row in masked],
            }
        )
    return found


def _single(value: float) -> float:
    """The nearest number of single precision."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(Fraction(mantissa) * 2**24), exponent - 24)


def refused() -> list[dict[str, Any]]:
    """Rows and shares that are no rows and shares. What each has to be answered with was written by hand."""
    row = {"rows": [[0.5, 1.0]], "labels": [1], "fraction_bits": 13}
    rows = {
        "a third class": (row | {"labels": [2]}, "artefact_invalid"),
        "a class below 0": (row | {"labels": [-1]}, "artefact_invalid"),
        "a number beyond the largest": (row | {"rows": [[0.5, 64.5]]}, "out_of_range"),
        "a negative number beyond the largest": (row | {"rows": [[-65.0, 1.0]]}, "out_of_range"),
        "a number that is none": (row | {"rows": [["nan", 1.0]]}, "not_finite"),
        "an infinite number": (row | {"rows": [[0.5, "-inf"]]}, "not_finite"),
    }
    shares = {
        "weights at the end of their range": ([["0", str(2**62)], ["0", "0"]], "out_of_range"),
        "weights at the negative end": ([["1", "0"], [str(2**63), "0"]], "out_of_range"),
        "a share that is too short": ([["0"], ["0", "0"]], "artefact_invalid"),
        "a share that is too long": ([["0", "0"], ["0", "0", "0"]], "artefact_invalid"),
    }
    return [
        *({"name": name, "masking": given, "code": code} for name, (given, code) in rows.items()),
        *({"name": name, "final": given, "code": code} for name, (given, code) in shares.items()),
    ]


def vectors() -> dict[str, Any]:
    numbers = {
        "zero": 0,
        "one": 1,
        "less than nothing": -(2**44) - 12_345,
        "large": 2**62 - 1,
        "least": -(2**62) + 1,
    }
    bits = (44, 1, 31, 62, 20)
    scores = {
        "score 0": 0.0,
        "score 1.1": 1.1,
        "score -7.3": -7.3,
        "score 23.99": 23.99,
        "score -31.9": -31.9,
    }
    whole = [2**44, -(2**43) - 7, 5]
    return {
        "how": "Made by tests/plugins/encryption/sharing_oracle.py, which shares no code with fedcore.sharing.",
        "streams": streams(),
        "masking": masking(),
        "truncation": [
            {"name": name, **truncation(number, many, f"truncation {name}")}
            for (name, number), many in zip(numbers.items(), bits, strict=True)
        ],
        "lookup": [
            {"name": name, **lookup(round(score * 2**57), 55, 8, f"lookup {name}", 2**20 + 7, 6)}
            for name, score in scores.items()
        ],
        "final": [
            {
                "name": "ones and halves",
                **final(whole, [[0.5, -0.25], [1.5, 0.75]], [0.125, -0.5], 44, "one"),
            },
            {"name": "nothing", **final([0, 0], [[0.0], [0.0]], [1.0, 0.0], 44, "nothing")},
            {"name": "large", **final([2**62 - 1, -(2**61)], [[0.5], [0.25]], [0.0, 0.0], 44, "large")},
        ],
        "refused": refused(),
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
