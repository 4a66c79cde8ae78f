"""Named arrays as bytes, in the safetensors format: a JSON header, then raw little-endian buffers.

Reading trusts nothing: size, header, names, dtypes, shapes and offsets are checked before an array exists, and
nothing is unpickled or decompressed. The same arrays always give the same bytes, so a digest identifies
them. Any safetensors library reads what is written here.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError, check_json
from fedcore.wire.orders import MAXIMUM_ARTEFACT_BYTES

MAXIMUM_HEADER_BYTES: Final = 1024 * 1024
MAXIMUM_ARRAYS: Final = 4096
MAXIMUM_DIMENSIONS: Final = 8
ALIGNMENT: Final = 8
NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,200}")

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
    "U32": np.dtype("<u4"),
    "I16": np.dtype("<i2"),
    "U16": np.dtype("<u2"),
    "I8": np.dtype("<i1"),
    "U8": np.dtype("<u1"),
}
"""The dtypes that travel, by their names in the format."""

_CODES: Final = {dtype: code for code, dtype in DTYPES.items()}
_METADATA: Final = "__metadata__"


class _Entry(BaseModel):
    """One array in the header."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    dtype: str
    shape: Annotated[list[Annotated[int, Field(ge=0, le=2**40)]], Field(max_length=MAXIMUM_DIMENSIONS)]
    data_offsets: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]


def pack_arrays(arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    """The arrays and short texts as safetensors bytes.

    Raises `ValueError` for a name or dtype that does not travel.
    """
    ordered = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    header: dict[str, Any] = {_METADATA: dict(sorted((metadata or {}).items()))}
    buffers: list[bytes] = []
    end = 0
    for name in ordered:
        array = arrays[name]
        code = _CODES.get(array.dtype.newbyteorder("<"))
        if code is None or not NAME.fullmatch(name):
            raise ValueError(
                f"Array {name!r} of dtype {array.dtype} cannot be packed: use {', '.join(DTYPES)}."
            )
        buffers.append(np.ascontiguousarray(array, DTYPES[code]).tobytes())
        start, end = end, end + len(buffers[-1])
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *buffers])


def unpack_arrays(
    data: bytes | memoryview, limit: int = MAXIMUM_ARTEFACT_BYTES
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays (read-only views of `data`) and texts from safetensors bytes.

    Raises `WireError` (`artefact_invalid`) for anything but one well-formed file of at most `limit` bytes, in
    which the buffers follow one another without gap, overlap or rest.
    """
    if not 8 <= len(data) <= limit:
        raise invalid(f"{len(data)} bytes are no safetensors file within the limit of {limit}")
    body = 8 + int.from_bytes(data[:8], "little")
    if body > min(len(data), 8 + MAXIMUM_HEADER_BYTES):
        raise invalid("the header is longer than the file or the limit")
    header = _header(bytes(data[8:body]))
    metadata = header.pop(_METADATA, {})
    if not (isinstance(metadata, dict) and all(isinstance(text, str) for text in metadata.values())):
        raise invalid("the metadata are not texts")
    if len(header) > MAXIMUM_ARRAYS:
        raise invalid(f"{len(header)} arrays exceed the limit of {MAXIMUM_ARRAYS}")
    return _arrays(data, body, {name: _entry(name, value) for name, value in header.items()}), metadata


def _header(text: bytes) -> dict[str, Any]:
    try:
        header = json.loads(check_json(text, MAXIMUM_HEADER_BYTES))
    except WireError as error:
        raise invalid(f"header: {error.detail}") from None
    if not isinstance(header, dict):
        raise invalid("the header is no object")
    return header


def _entry(name: str, value: Any) -> _Entry:
    if not NAME.fullmatch(name):
        raise invalid("an array has an unusable name")
    try:
        entry = _Entry.model_validate(value)
    except ValidationError:
        raise invalid(f"the header of array {name} does not follow the format") from None
    if entry.dtype not in DTYPES:
        raise invalid(f"array {name} has the dtype {entry.dtype[:20]!r}")
    return entry


def _arrays(data: bytes | memoryview, body: int, entries: Mapping[str, _Entry]) -> dict[str, NDArray[Any]]:
    arrays = {}
    expected = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        dtype = DTYPES[entry.dtype]
        start, end = entry.data_offsets
        elements = math.prod(entry.shape)
        if start != expected or end - start != elements * dtype.itemsize or body + end > len(data):
            raise invalid(f"array {name} does not lie where its dtype and shape say")
        array = np.frombuffer(data, dtype, elements, body + start).reshape(entry.shape)
        arrays[name] = np.require(array, requirements="A")
        expected = end
    if body + expected != len(data):
        raise invalid("bytes are left after the last array")
    return arrays


def invalid(detail: str) -> WireError:
    """The error for bytes that do not have the form that they should have."""
    return WireError(RefusalCode.ARTEFACT_INVALID, detail)
