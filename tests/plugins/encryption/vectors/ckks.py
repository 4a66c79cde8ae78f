"""Makes the vectors of CKKS. Run by hand: `python -m tests.plugins.encryption.vectors.ckks`.

CKKS is randomised, so vectors fix numbers, what is computed on them, and the result, which numpy's arithmetic on the
numbers themselves gives. A key pair and a ciphertext, made once, have to open as long as version 1 of the backend is
there. Vectors to be refused have the code and a part of the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from fedcore.plugin_api.arrays import pack_arrays
from plugins.encryption.ckks import CkksSums

STORED_OPTIONS = {"precision": 8, "decryptions": 8, "summands": 2}
STORED_NUMBERS = [0.5, -0.25, 1.0, -1.0, 0.0, 0.12109375]
CHANCE = np.random.default_rng(2026)


def some(length: int, largest: float = 1.0) -> list[float]:
    return [round(float(number), 6) for number in CHANCE.uniform(-largest, largest, length)]


def computed(case: dict[str, Any]) -> list[float]:
    """The result by numpy, on the numbers themselves."""
    total = np.array(case["numbers"])
    for operation, operand in case["operations"]:
        other = np.array(operand)
        total = total + other if operation in ("add", "add_plain") else total * other
    return total.tolist()


def good() -> list[dict[str, Any]]:
    deep = {"depth": 2, "precision": 20}
    large = {"depth": 1, "precision": 16, "largest": 100}
    cases = [
        ("one number", {}, [0.5], []),
        ("both bounds and zero", {}, [1.0, -1.0, 0.0], []),
        ("a sum", {}, some(5), [("add", some(5))]),
        ("a sum of four", {}, some(5), [("add", some(5)) for _ in range(3)]),
        ("a known summand", {}, some(5), [("add_plain", some(5))]),
        ("a large known summand", {}, some(2), [("add_plain", [7.5, -7.25])]),
        ("a product", {}, some(5), [("multiply", some(5))]),
        ("a product with known numbers", {}, some(5), [("multiply_plain", some(5))]),
        ("a product with large known numbers", {}, some(2), [("multiply_plain", [15.5, -3.0])]),
        ("a product with zeros", {}, some(3), [("multiply_plain", [0.0, 0.0, 0.0])]),
        ("a sum of products at two levels", {}, some(4), [("multiply", some(4)), ("add", some(4))]),
        ("a sum, then a product", {}, some(4), [("add", some(4)), ("multiply", some(4))]),
        ("two products", deep, some(4), [("multiply", some(4)), ("multiply", some(4))]),
        (
            "a known product, then one of two ciphertexts",
            deep,
            some(4),
            [("multiply_plain", some(4)), ("multiply", some(4))],
        ),
        ("large numbers", large, some(4, 100), [("multiply", some(4, 100))]),
    ]
    found = [
        {"name": name, "options": options, "numbers": numbers, "operations": operations}
        for name, options, numbers, operations in cases
    ]
    return [case | {"result": computed(case)} for case in found]


def bad_operations() -> list[dict[str, Any]]:
    half, out = [0.5, 0.5], "out_of_range"
    cases: list[tuple[str, dict[str, Any], list[float], list[Any], str, str]] = [
        ("a number that is too large", {}, [0.5, 1.001], [], out, "exceeds 1"),
        ("a negative one", {"largest": 100}, [-100.5], [], out, "exceeds 100"),
        ("two products at depth 1", {}, half, [["multiply", half]] * 2, out, "raise the option depth"),
        ("two known products", {}, half, [["multiply_plain", half]] * 2, out, "raise the option depth"),
        (
            "a sum beyond the room",
            {"summands": 2},
            half,
            [["add", half]] * 8,
            out,
            "raise the options largest",
        ),
        ("a known summand beyond", {}, half, [["add_plain", [16.0, 0.0]]], out, "numbers up to 17 exceed"),
        ("a known factor beyond", {}, half, [["multiply_plain", [17.0, 0.0]]], out, "exceeds 16"),
        (
            "known numbers of another length",
            {},
            half,
            [["add_plain", [1.0]]],
            "artefact_invalid",
            "known numbers",
        ),
        (
            "a ciphertext of another length",
            {},
            half,
            [["add", [1.0]]],
            "artefact_invalid",
            "do not go together",
        ),
    ]
    return [
        {"name": n, "options": o, "numbers": x, "operations": ops, "code": code, "detail": detail}
        for n, o, x, ops, code, detail in cases
    ]


def bad_facts() -> list[dict[str, Any]]:
    """Facts that the stored ciphertext cannot have."""
    cases = [
        ("no numbers", {"length": 0}, "artefact_invalid", "no numbers"),
        ("more numbers than fit", {"length": 4097}, "artefact_invalid", "are not 4 polynomials"),
        ("a level above the depth", {"level": 1}, "artefact_invalid", "above the depth 0"),
        ("no magnitude", {"magnitude": 0}, "artefact_invalid", "holds nothing"),
        ("no noise", {"noise": 0}, "artefact_invalid", "holds nothing"),
        ("too large", {"magnitude": 3}, "out_of_range", "numbers up to 3 exceed the room for 2"),
        ("too noisy", {"noise": 3}, "out_of_range", "a noise of 3 exceeds the room for 2"),
        ("very noisy", {"noise": 10**15 - 1}, "out_of_range", "exceeds the room for 2"),
    ]
    return [{"name": name, "facts": facts, "code": c, "detail": detail} for name, facts, c, detail in cases]


def bad_keys() -> list[dict[str, Any]]:
    """Parameters that the stored key cannot have: `degree`, or other moduli by their lengths."""
    cases = [
        ("a modulus that is too long", {"bits": [52, 58]}, "moduli of 110 bits exceed the 109 bits"),
        ("a degree that is too low", {"degree": "2048"}, "exceed the 54 bits of 128-bit security"),
        ("a degree that nobody rated", {"degree": "4095"}, "not in the standard's table"),
        ("a degree that is no number", {"degree": "4096.0"}, "does not say its degree"),
        ("a longer degree", {"degree": "8192"}, "made with other options"),
        ("shorter moduli", {"bits": [50, 50]}, "made with other options"),
        ("no moduli", {"bits": []}, "does not say its moduli"),
        ("other summands", {"summands": "4"}, "made with other options"),
        ("a missing fact", {"summands": None}, "made with other options"),
    ]
    return [{"name": name, "alter": alter, "detail": detail} for name, alter, detail in cases]


def stored() -> bytes:
    backend = CkksSums(STORED_OPTIONS)
    pair = backend.generate_keys()
    ciphertext = backend.public(pair.public).encrypt(np.array(STORED_NUMBERS)).pack()
    parts = {"public": pair.public, "secret": pair.secret, "ciphertext": ciphertext}
    return pack_arrays({name: np.frombuffer(data, np.uint8) for name, data in parts.items()})


def main() -> None:
    vectors = {
        "made": " ".join((__doc__ or "").split("\n\n")[1].split()),
        "stored": {"options": STORED_OPTIONS, "numbers": STORED_NUMBERS},
        "good": good(),
        "bad_operations": bad_operations(),
        "bad_facts": bad_facts(),
        "bad_keys": bad_keys(),
    }
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(vectors, indent=1) + "\n")
    target.with_suffix(".safetensors").write_bytes(stored())


if __name__ == "__main__":
    main()
