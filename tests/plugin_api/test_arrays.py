"""Named arrays as bytes: any safetensors library reads them, and only well-formed bytes are read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api.arrays import DTYPES, pack_arrays, unpack_arrays
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

ARRAYS = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "bias": np.array([1.5, -2.5]),
    "nothing": np.empty((0, 4), np.int32),
    "scalar": np.array(7, np.uint8),
}


def file_of(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def entry(dtype: str = "F32", shape: Any = (1,), offsets: Any = (0, 4)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def test_arrays_and_texts_come_back() -> None:
    arrays, texts = unpack_arrays(pack_arrays(ARRAYS, {"kind": "test"}))
    assert texts == {"kind": "test"}
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_another_library_reads_what_is_written() -> None:
    read = safetensors.numpy.load(pack_arrays(ARRAYS, {"kind": "test"}))
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_what_another_library_writes_is_read() -> None:
    arrays, texts = unpack_arrays(safetensors.numpy.save(ARRAYS, {"kind": "test"}))
    assert texts == {"kind": "test"}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_the_same_arrays_give_the_same_bytes_in_any_order() -> None:
    turned = dict(reversed(ARRAYS.items()))
    assert pack_arrays(ARRAYS, {"a": "1", "b": "2"}) == pack_arrays(turned, {"b": "2", "a": "1"})


def test_every_dtype_travels() -> None:
    arrays = {code.lower(): np.arange(3).astype(dtype) for code, dtype in DTYPES.items()}
    read, _ = unpack_arrays(pack_arrays(arrays))
    assert {name: array.dtype for name, array in read.items()} == {n: a.dtype for n, a in arrays.items()}


def test_big_endian_and_transposed_arrays_arrive_with_their_values() -> None:
    array = np.arange(6, dtype=">f8").reshape(2, 3).T
    np.testing.assert_array_equal(unpack_arrays(pack_arrays({"a": array}))[0]["a"], array)


@pytest.mark.parametrize("array", [np.array(["text"]), np.array([None]), np.array([1j]), np.array([True])])
def test_a_dtype_that_does_not_travel_is_refused_by_name(array: Any) -> None:
    with pytest.raises(ValueError, match="'odd'"):
        pack_arrays({"odd": array})


def test_what_is_read_cannot_be_written_to() -> None:
    arrays, _ = unpack_arrays(pack_arrays(ARRAYS))
    with pytest.raises(ValueError, match="read-only"):
        arrays["weight"][0] = 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        b"\xff" * 16,
        file_of(b"[]"),
        file_of(b"not json"),
        file_of(b'{"a": 1, "a": 2}'),
        file_of({"__metadata__": {"a": 1}}),
        file_of({"__metadata__": "text"}),
        file_of({"../a": entry()}, b"\0" * 4),
        file_of({"a": {}}, b""),
        file_of({"a": entry() | {"class": "Model"}}, b"\0" * 4),
        file_of({"a": entry(dtype="O")}, b"\0" * 4),
        file_of({"a": entry(shape=[-1])}, b"\0" * 4),
        file_of({"a": entry(shape=[1.0])}, b"\0" * 4),
        file_of({"a": entry(shape=[1] * 9)}, b"\0" * 4),
        file_of({"a": entry(shape=[2])}, b"\0" * 4),
        file_of({"a": entry(offsets=[4, 8])}, b"\0" * 8),
        file_of({"a": entry(offsets=[0, 4])}, b"\0" * 3),
        file_of({"a": entry(offsets=[0, 4])}, b"\0" * 5),
        file_of({"a": entry(offsets=[0])}, b"\0" * 4),
        file_of({"a": entry(), "b": entry()}, b"\0" * 4),
        file_of({"a": entry(), "b": entry(offsets=[5, 9])}, b"\0" * 9),
        file_of({"a": entry(shape=[2**40, 2**40])}, b"\0" * 4),
    ],
)
def test_bytes_that_are_not_well_formed_are_refused(data: bytes) -> None:
    with pytest.raises(WireError) as caught:
        unpack_arrays(data)
    assert caught.value.code is RefusalCode.ARTEFACT_INVALID


def test_a_file_over_the_limit_is_refused_before_it_is_read() -> None:
    data = pack_arrays(ARRAYS)
    with pytest.raises(WireError, match="limit"):
        unpack_arrays(data, limit=len(data) - 1)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_altered_bytes_are_refused_or_give_arrays_of_the_file_s_size(data: st.DataObject) -> None:
    packed = bytearray(pack_arrays(ARRAYS, {"kind": "test"}))
    for _ in range(data.draw(st.integers(1, 4))):
        packed[data.draw(st.integers(0, len(packed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(packed)))
    with suppress(WireError):
        arrays, _ = unpack_arrays(bytes(packed[:cut]))
        assert sum(array.nbytes for array in arrays.values()) < cut
