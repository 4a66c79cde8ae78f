"""Pairwise masks a second time, as plainly as they can be written, and the known vectors made with it.

Python's integers throughout: X25519 as the Montgomery ladder of RFC 7748, HKDF as two steps of HMAC (RFC 5869), AES-256
one counter block at a time, sums modulo 2^64, the bytes that travel written by hand. It shares no code with the
backend. `python -m tests.plugins.encryption.masks_oracle` writes `vectors/pairwise_masks.json`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import ECB

VECTORS = Path(__file__).parent / "vectors" / "pairwise_masks.json"
PRIME = 2**255 - 19
RING = 2**64
RUN = hashlib.sha256(b"run").hexdigest()
SMALL_ORDER = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
BASE_POINT = (9).to_bytes(32, "little")
EXTREMES = [0, 1, 2**63 - 1, 2**63, 2**64 - 1]


def x25519(secret: bytes, point: bytes) -> bytes:
    """RFC 7748, section 5."""
    k = (int.from_bytes(secret, "little") & ~7 & (2**255 - 1)) | 2**254
    u = int.from_bytes(point, "little") & (2**255 - 1)
    x2, z2, x3, z3, swap = 1, 0, u, 1, 0
    for place in range(254, -1, -1):
        bit = k >> place & 1
        if swap ^ bit:
            x2, x3, z2, z3 = x3, x2, z3, z2
        swap = bit
        a, b, c, d = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        da, cb, aa, bb = d * a, c * b, a * a, b * b
        e = aa - bb
        x3, z3 = (da + cb) ** 2 % PRIME, u * (da - cb) ** 2 % PRIME
        x2, z2 = aa * bb % PRIME, e * (aa + 121665 * e) % PRIME
    if swap:
        x2, z2 = x3, z3
    return (x2 * pow(z2, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little")


def hkdf(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """RFC 5869 with SHA-256, for 32 bytes."""
    extracted = hmac.new(salt or bytes(32), secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()


def mask(key: bytes, length: int) -> list[int]:
    """The numbers of the key stream: AES-256 of 0, 1, 2 …, eight bytes each, least significant first."""
    cipher = Cipher(AES256(key), ECB()).encryptor()
    stream = b"".join(cipher.update(block.to_bytes(16, "big")) for block in range((length + 1) // 2))
    return [int.from_bytes(stream[8 * place : 8 * place + 8], "little") for place in range(length)]


def text_of(key: bytes) -> str:
    return base64.urlsafe_b64encode(key).rstrip(b"=").decode()


@dataclass(frozen=True)
class Sum:
    """One sum: the owners' hosts and ephemeral secrets, what they have, and what it is bound to."""

    run: str
    owners: dict[str, bytes]
    numbers: list[list[int]]
    what: str
    round: int

    @property
    def hosts(self) -> list[str]:
        return sorted(self.owners)

    @property
    def public(self) -> dict[str, str]:
        return {host: text_of(x25519(self.owners[host], BASE_POINT)) for host in self.hosts}

    @property
    def transcript(self) -> str:
        lines = [f"fedcore/agreement/v1/{self.run}", *(f"{host} {key}" for host, key in self.public.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def masked(self, place: int) -> list[int]:
        """The contribution of the owner at a place."""
        values = list(self.numbers[place])
        public, transcript = self.public, bytes.fromhex(self.transcript)
        for other, peer in enumerate(self.hosts):
            if other == place:
                continue
            first, second = sorted((place, other))
            secret = x25519(self.owners[self.hosts[place]], base64.urlsafe_b64decode(public[peer] + "="))
            info = f"fedcore/agreement/masks/{self.hosts[first]}/{self.hosts[second]}"
            seed = hkdf(secret, transcript, info.encode())
            purpose = f"fedcore/masks/{self.round}/{self.what}/{len(values)}"
            sign = 1 if place < other else -1
            numbers = mask(hkdf(seed, b"", purpose.encode()), len(values))
            values = [(own + sign * number) % RING for own, number in zip(values, numbers, strict=True)]
        return values

    @property
    def total(self) -> list[int]:
        return [sum(column) % RING for column in zip(*self.numbers, strict=True)]

    def packed(self, place: int) -> bytes:
        """The bytes that travel: a header in JSON, padded to eight bytes, and the numbers."""
        values = b"".join(value.to_bytes(8, "little") for value in self.masked(place))
        texts = {"backend": "pairwise_masks", "place": str(place), "roster": self.transcript}
        texts |= {"round": str(self.round), "what": self.what}
        entry = {"dtype": "U64", "shape": [len(values) // 8], "data_offsets": [0, len(values)]}
        header = json.dumps({"__metadata__": texts, "values": entry}, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        return len(header).to_bytes(8, "little") + header + values


def fixed(label: str) -> bytes:
    return hashlib.sha256(label.encode()).digest()


def numbers_of(label: str, length: int) -> list[int]:
    """Fixed numbers of the whole ring."""
    stream = hashlib.shake_256(label.encode()).digest(8 * length)
    return [int.from_bytes(stream[8 * place : 8 * place + 8], "little") for place in range(length)]


def sum_of(
    owners: int, length: int, what: str = "update", number: int = 1, label: str = "", run: str = RUN
) -> Sum:
    """A sum over fixed owners with fixed numbers; the label makes other owners."""
    secrets = {
        text_of(fixed(f"{label}host {owner}")): fixed(f"{label}secret {owner}") for owner in range(owners)
    }
    numbers = [numbers_of(f"{label}numbers {owner}", length) for owner in range(owners)]
    return Sum(run, secrets, numbers, what, number)


def extremes() -> Sum:
    plain = sum_of(3, 5)
    return Sum(plain.run, plain.owners, [EXTREMES, EXTREMES[::-1], [RING - 1] * 5], plain.what, plain.round)


def digest(numbers: list[int]) -> str:
    return hashlib.sha256(b"".join(number.to_bytes(8, "little") for number in numbers)).hexdigest()


def as_vector(name: str, case: Sum) -> dict[str, Any]:
    """A sum with all that goes in and comes out: long vectors by the label of their numbers, and by digests."""
    return {
        "name": name,
        "run": case.run,
        "owners": {host: secret.hex() for host, secret in case.owners.items()},
        "what": case.what,
        "round": case.round,
        "numbers": [[str(number) for number in own] if len(own) < 10 else len(own) for own in case.numbers],
        "contributions": [
            hashlib.sha256(case.packed(place)).hexdigest() for place in range(len(case.owners))
        ],
        "first": [[str(number) for number in case.masked(place)[:3]] for place in range(len(case.owners))],
        "total": digest(case.total),
    }


def sums() -> dict[str, Sum]:
    return {
        "two owners": sum_of(2, 4),
        "three owners": sum_of(3, 4),
        "five owners": sum_of(5, 3),
        "ten owners": sum_of(10, 2),
        "extreme numbers": extremes(),
        "one number": sum_of(3, 1),
        "another round": sum_of(3, 4, number=2),
        "the largest round": sum_of(3, 4, number=2**53 - 1),
        "another name": sum_of(3, 4, what="counts.of-class_1"),
        "another run": sum_of(3, 4, run=hashlib.sha256(b"another").hexdigest()),
        "other owners": sum_of(3, 4, label="other "),
        "a number beyond one block": sum_of(3, 16_385),
        "several blocks and an odd rest": sum_of(3, 40_001),
    }


def rosters_refused() -> list[dict[str, Any]]:
    good = sum_of(3, 1).public
    hosts = list(good)
    changed: dict[str, tuple[str, dict[str, str], str]] = {
        "one owner": (RUN, {hosts[0]: good[hosts[0]]}, "too_few_owners"),
        "no owner": (RUN, {}, "too_few_owners"),
        "a run that is no digest": ("run 1", good, "malformed"),
        "an ephemeral key twice": (RUN, good | {hosts[1]: good[hosts[0]]}, "key_invalid"),
        "an ephemeral key of 31 bytes": (RUN, good | {hosts[1]: good[hosts[1]][:-2]}, "key_invalid"),
        "an ephemeral key with padding": (RUN, good | {hosts[1]: good[hosts[1]] + "="}, "key_invalid"),
        "a host that is no key": (RUN, good | {"north": text_of(fixed("?"))}, "key_invalid"),
        "another owner's key for one's own": (RUN, good | {hosts[0]: text_of(fixed("?"))}, "key_invalid"),
        "a point of small order": (RUN, good | {hosts[1]: text_of(SMALL_ORDER)}, "key_agreement_failed"),
        "the point 0": (RUN, good | {hosts[1]: text_of(bytes(32))}, "key_agreement_failed"),
    }
    secret = sum_of(3, 1).owners[hosts[0]].hex()
    return [
        {"name": name, "run": run, "public": public, "host": hosts[0], "secret": secret, "code": code}
        for name, (run, public, code) in changed.items()
    ]


def totals_refused() -> list[dict[str, Any]]:
    good = sum_of(3, 2)
    parts = [good.packed(place) for place in range(3)]
    changed = {
        "a contribution is missing": (parts[:2], "too_few_owners"),
        "one owner's contribution twice": ([*parts, parts[1]], "artefact_invalid"),
        "a contribution in another's place": ([parts[0], parts[1], parts[1]], "artefact_invalid"),
        "a contribution of another round": (
            [*parts[:2], sum_of(3, 2, number=2).packed(2)],
            "artefact_invalid",
        ),
        "a contribution of another length": ([*parts[:2], sum_of(3, 3).packed(2)], "artefact_invalid"),
        "a contribution of other owners": (
            [*parts[:2], sum_of(3, 2, label="other ").packed(2)],
            "artefact_invalid",
        ),
        "a contribution of a fourth owner": ([*parts, sum_of(4, 2).packed(3)], "artefact_invalid"),
        "a contribution cut short": ([*parts[:2], parts[2][:-1]], "artefact_invalid"),
        "a place that is no number": (
            [*parts[:2], parts[2].replace(b'"place":"2"', b'"place":"x"')],
            "artefact_invalid",
        ),
        "signed numbers": ([*parts[:2], parts[2].replace(b'"U64"', b'"I64"')], "artefact_invalid"),
    }
    return [
        {"name": name, "parts": [base64.b64encode(part).decode() for part in sent], "code": code}
        for name, (sent, code) in changed.items()
    ]


def vectors() -> dict[str, Any]:
    return {
        "how": "Made by tests/plugins/encryption/masks_oracle.py, which shares no code with the backend. Numbers of 10 "
        "and more are SHAKE-256 of 'numbers OWNER'; contributions are SHA-256 of the bytes that travel, totals of the "
        "sum in little-endian order.",
        "sums": [as_vector(name, case) for name, case in sums().items()],
        "rosters_refused": rosters_refused(),
        "totals_refused": totals_refused(),
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n")
