"""SEAL's objects, and the only bytes that it ever reads: streams that are written here, from numbers that were checked.

What travels are polynomials as residues: for each polynomial and each prime as many numbers as the degree says, in
whole bytes, lowest byte first. Nothing that somebody else has sent is parsed or decompressed by SEAL. Its format is
that of `Ciphertext::save`, `Plaintext::save` and `KSwitchKeys::save` of version 4.3, without compression. What SEAL
writes itself it compresses; its own copy of the library zstd undoes that.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any, Final

import numpy as np
import tenseal.sealapi as sealapi
from numpy.typing import NDArray

from fedcore.plugin_api.arrays import invalid

from .parameters import Parameters, scales

_MAGIC: Final = 0xA15E
_VERSION: Final = (4, 3)
_ZSTD: Final = 2
_HEADER: Final = struct.Struct("<HBBBBHQ")
_POLYNOMIALS: Final = struct.Struct("<32sBQQQdQ")
_PLAINTEXT: Final = struct.Struct("<32sQd")
TRANSPARENT: Final = "transparent"
"""The word by which SEAL refuses a ciphertext that hides nothing."""

Residues = NDArray[np.uint64]
"""Of shape (polynomials, primes, degree)."""


class Scheme:
    """SEAL under one set of parameters: its context, and what works on it without a key."""

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self.moduli = moduli(parameters)
        chosen = sealapi.EncryptionParameters(sealapi.SCHEME_TYPE.CKKS)
        chosen.set_poly_modulus_degree(parameters.degree)
        chosen.set_coeff_modulus(_created(parameters))
        self.context = sealapi.SEALContext(chosen, True, sealapi.SEC_LEVEL_TYPE.TC128)
        self.encoder = sealapi.CKKSEncoder(self.context)
        self.evaluator = sealapi.Evaluator(self.context)
        self.scales = scales(2.0**parameters.scale_bits, self.moduli, parameters)

    @cached_property
    def identities(self) -> list[list[int]]:
        """SEAL's number for each level, from level 0 up."""
        found: dict[int, list[int]] = {}
        data = self.context.first_context_data()
        while data:
            found[data.chain_index() + 1] = data.parms_id()
            data = data.next_context_data()
        depth = self.parameters.declared.depth
        return [found[self.parameters.limbs_at(level)] for level in range(depth + 1)]

    def encoded(self, numbers: Sequence[complex] | float, level: int, scale: float) -> Any:
        """Numbers for the slots, or one for all of them."""
        plaintext = sealapi.Plaintext()
        self.encoder.encode(numbers, self.identities[level], scale, plaintext)
        return plaintext

    def rescaled(self, ciphertext: Any, level: int) -> Any:
        """A product at `level`, brought down to the next lower one."""
        for _ in range(self.parameters.limbs):
            self.evaluator.rescale_to_next_inplace(ciphertext)
        ciphertext.scale = self.scales[level - 1]
        return ciphertext

    def ciphertext(self, residues: Residues, level: int) -> Any:
        """Two polynomials as SEAL's ciphertext."""
        identity = self.identities[level]
        return self._loaded(sealapi.Ciphertext(), _polynomials(identity, residues, self.scales[level]))

    def public_key(self, residues: Residues) -> Any:
        return self._loaded(sealapi.PublicKey(), self._key(residues))

    def relinearisation(self, residues: Sequence[Residues]) -> Any:
        """Keys that bring a product of two ciphertexts back to two polynomials: one for each prime of the data."""
        inner = b"".join(map(self._key, residues))
        body = _identity(self.context.key_parms_id()) + struct.pack("<QQ", 1, len(residues)) + inner
        return self._loaded(sealapi.RelinKeys(), _with_header(body))

    def secret_key(self, residues: Residues) -> Any:
        numbers = residues.reshape(-1)
        head = _PLAINTEXT.pack(_identity(self.context.key_parms_id()), len(numbers), 1.0)
        return self._loaded(sealapi.SecretKey(), _with_header(head + _numbers(numbers)))

    def residues(self, owner: Any, polynomials: int) -> Residues:
        """The polynomials of one of SEAL's objects: what comes last in the bytes that it writes."""
        size = 8 * owner.dyn_array().size()
        numbers = _uncompressed(_saved(owner), size)[-size:].copy().view("<u8")
        return numbers.reshape(polynomials, -1, self.parameters.degree)

    def _key(self, residues: Residues) -> bytes:
        return _polynomials(self.context.key_parms_id(), residues, 1.0)

    def _loaded(self, target: Any, stream: bytes) -> Any:
        _through_memory(stream, lambda path: target.load(self.context, path))
        return target


def moduli(parameters: Parameters) -> list[int]:
    """The primes, the special one last: the same wherever they are asked for."""
    return [prime.value() for prime in _created(parameters)]


def narrow(residues: Residues, primes: Sequence[int]) -> NDArray[np.uint8]:
    """Residues in as few whole bytes as each prime needs, one row for each polynomial."""
    rows = np.ascontiguousarray(residues, "<u8")[..., None].view(np.uint8)
    parts = [rows[:, place, :, : _width(prime)] for place, prime in enumerate(primes)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def widen(
    array: NDArray[Any],
    polynomials: int,
    primes: Sequence[int],
    degree: int,
    wrong: Callable[[str], Exception] = invalid,
) -> Residues:
    """Residues from `narrow`. Raises what `wrong` makes, for another shape or a residue that is not below its prime."""
    widths = [_width(prime) for prime in primes]
    if array.dtype != np.uint8 or array.shape != (polynomials, degree * sum(widths)):
        raise wrong(
            f"{array.shape} bytes of {array.dtype} are not {polynomials} polynomials of degree {degree}"
        )
    found = np.zeros((polynomials, len(primes), degree), "<u8")
    start = 0
    for place, (width, prime) in enumerate(zip(widths, primes, strict=True)):
        part = array[:, start : start + width * degree].reshape(polynomials, degree, width)
        found[:, place, :, None].view(np.uint8)[..., :width] = part
        start += width * degree
        if int(found[:, place].max()) >= prime:
            raise wrong("a residue is not below its prime")
    return found


def _created(parameters: Parameters) -> Any:
    return sealapi.CoeffModulus.Create(parameters.degree, parameters.bits)


def _width(prime: int) -> int:
    return -(-prime.bit_length() // 8)


def _identity(numbers: Sequence[int]) -> bytes:
    return struct.pack("<4Q", *numbers)


def _with_header(body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *_VERSION, 0, 0, _HEADER.size + len(body)) + body


def _numbers(numbers: Residues) -> bytes:
    return _with_header(struct.pack("<Q", len(numbers)) + np.ascontiguousarray(numbers, "<u8").tobytes())


def _polynomials(identity: Sequence[int], residues: Residues, scale: float) -> bytes:
    polynomials, primes, degree = residues.shape
    head = _POLYNOMIALS.pack(_identity(identity), 1, polynomials, degree, primes, scale, 1)
    return _with_header(head + _numbers(residues.reshape(-1)))


def _saved(owner: Any) -> bytes:
    """What SEAL writes, to paths only: this one leads to memory."""
    descriptor = os.memfd_create("seal")
    try:
        owner.save(f"/proc/self/fd/{descriptor}")
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read()
    finally:
        os.close(descriptor)


def _uncompressed(stream: bytes, size: int) -> NDArray[np.uint8]:
    """The body of a stream that SEAL has written in this process, with `size` bytes of numbers in it."""
    magic, length, *version, mode, _, told = _HEADER.unpack_from(stream)
    if (magic, length, tuple(version), mode, told) != (_MAGIC, _HEADER.size, _VERSION, _ZSTD, len(stream)):
        raise RuntimeError("SEAL writes another format than this backend reads: install the pinned tenseal.")
    body = np.empty(size + _POLYNOMIALS.size + _HEADER.size + 8, np.uint8)
    compressed = stream[_HEADER.size :]
    found = _decompress()(body.ctypes.data, len(body), compressed, len(compressed))
    if not size <= found <= len(body):
        raise RuntimeError("SEAL wrote other bytes than this backend reads: install the pinned tenseal.")
    return body[:found]


@cache
def _decompress() -> Any:
    function = ctypes.CDLL(sealapi._sealapi_cpp.__file__).ZSTD_decompress
    function.restype = ctypes.c_size_t
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    return function


def _through_memory(stream: bytes, load: Callable[[str], None]) -> None:
    """SEAL reads from paths only: this one leads to memory."""
    descriptor = os.memfd_create("seal")
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(stream)
        load(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
