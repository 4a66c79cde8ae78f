"""What flows through a pipeline: columns of bytes at first, a matrix or a sequence at the end.

All values are immutable views on numpy arrays with a fixed dtype; a step returns a new value and never
changes its input. Rows keep their order and number from the reader to the model, so labels travel apart.
A value holds one block of rows: large datasets pass through a pipeline block by block.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import scipy.sparse


class ValueKind(StrEnum):
    """The kinds of value that steps take and give; a pipeline is checked by them when it is submitted."""

    RECORDS = "records"
    TEXT = "text"
    TOKENS = "tokens"
    PSEUDONYMS = "pseudonyms"
    INDICES = "indices"
    SEQUENCE = "sequence"
    MATRIX = "matrix"


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


@dataclass(frozen=True, eq=False)
class Text:
    """Rows of bytes: row `i` is `data[offsets[i]:offsets[i + 1]]`.

    `data` is uint8 of shape (bytes,), `offsets` int64 of shape (rows + 1,), rising from 0 to `len(data)`.
    """

    data: NDArray[np.uint8]
    offsets: NDArray[np.int64]

    @classmethod
    def from_rows(cls, rows: Iterable[bytes]) -> Text:
        parts = list(rows)
        offsets = np.zeros(len(parts) + 1, np.int64)
        np.cumsum([len(part) for part in parts], out=offsets[1:])
        return cls(np.frombuffer(b"".join(parts), np.uint8), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[bytes]:
        data = self.data.tobytes()
        return (data[start:end] for start, end in zip(self.offsets, self.offsets[1:], strict=False))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Text:
        """The rows with these numbers, or where the mask is true, in their order."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        lengths = np.diff(self.offsets)[numbers]
        offsets = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return Text(self.data[_ragged_positions(self.offsets[numbers], lengths, offsets)], offsets)

    @staticmethod
    def concatenate(parts: SequenceOf[Text]) -> Text:
        """All rows in order."""
        bases = np.cumsum([0] + [len(part.data) for part in parts])
        offsets = [part.offsets[1:] + base for part, base in zip(parts, bases, strict=False)]
        return Text(
            np.concatenate([np.empty(0, np.uint8), *(part.data for part in parts)]),
            np.concatenate([np.zeros(1, np.int64), *offsets]),
        )


@dataclass(frozen=True, eq=False)
class Records:
    """What a reader gives: named columns of equal length, and a class number per row where known.

    `labels` is int64 of shape (rows,), or None for unlabelled data.
    """

    columns: Mapping[str, Text]
    labels: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        lengths = {len(column) for column in self.columns.values()}
        lengths |= set() if self.labels is None else {len(self.labels)}
        _check(len(lengths) == 1, "Records need at least one column, and all columns of one length.")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> Records:
        """The rows with these numbers, or where the mask is true, in their order."""
        labels = None if self.labels is None else self.labels[rows]
        return Records({name: column.take(rows) for name, column in self.columns.items()}, labels)

    @staticmethod
    def concatenate(parts: SequenceOf[Records]) -> Records:
        """All rows in order; labelled if all parts are. Raises `ValueError` if there is none, or the columns differ."""
        _check(len({tuple(part.columns) for part in parts}) == 1, "Records differ in their columns.")
        columns = {
            name: Text.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
        }
        labels = [part.labels for part in parts if part.labels is not None]
        return Records(columns, np.concatenate(labels) if len(labels) == len(parts) else None)


@dataclass(frozen=True, eq=False)
class Tokens:
    """Plain tokens of each row, as numbers into a dictionary of this block.

    Row `i` has the tokens `codes[offsets[i]:offsets[i + 1]]` (int32), in their order of appearance; the
    spelling of token `c` is row `c` of `spellings`. Codes count up in the order of first appearance.
    """

    codes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    spellings: Text

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Pseudonyms:
    """As `Tokens`, with a 64-bit number instead of a spelling: `ids` is uint64 of shape (distinct tokens,)."""

    codes: NDArray[np.int32]
    offsets: NDArray[np.int64]
    ids: NDArray[np.uint64]

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Indices:
    """Rows of positions in a vocabulary: int32 from 1 to `size`, where 1 is the most frequent entry.

    Tokens that the vocabulary does not have are left out.
    """

    numbers: NDArray[np.int32]
    offsets: NDArray[np.int64]
    size: int

    def __len__(self) -> int:
        return len(self.offsets) - 1


@dataclass(frozen=True, eq=False)
class Sequence:
    """Rows of equal length: int32 of shape (rows, length); 0 is padding, other numbers are up to `size`."""

    ids: NDArray[np.int32]
    size: int

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def columns(self) -> int:
        return int(self.ids.shape[1])

    def take(self, rows: NDArray[Any]) -> Sequence:
        return Sequence(self.ids[rows], self.size)

    @staticmethod
    def concatenate(parts: SequenceOf[Sequence]) -> Sequence:
        """All rows in order. Raises `ValueError` if lengths or vocabularies differ."""
        _check(len({(part.columns, part.size) for part in parts}) == 1, "Sequences differ in length or size.")
        return Sequence(np.concatenate([part.ids for part in parts]), parts[0].size)


@dataclass(frozen=True, eq=False)
class Matrix:
    """A sparse matrix in compressed rows (CSR): row `i` has `data[indptr[i]:indptr[i + 1]]` (float32) in the
    columns `indices[…]` (int32, no repeats within a row); `columns` is its width."""

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]
    data: NDArray[np.float32]
    columns: int

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def to_scipy(self) -> scipy.sparse.csr_matrix:
        """The same matrix as `scipy.sparse.csr_matrix`, without copying."""
        from scipy.sparse import csr_matrix

        return csr_matrix((self.data, self.indices, self.indptr), shape=(len(self), self.columns))

    def take(self, rows: NDArray[Any]) -> Matrix:
        """The rows with these numbers, or where the mask is true, in their order."""
        numbers = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        lengths = np.diff(self.indptr)[numbers]
        indptr = np.zeros(len(numbers) + 1, np.int64)
        np.cumsum(lengths, out=indptr[1:])
        positions = _ragged_positions(self.indptr[numbers], lengths, indptr)
        return Matrix(indptr, self.indices[positions], self.data[positions], self.columns)

    @staticmethod
    def concatenate(parts: SequenceOf[Matrix]) -> Matrix:
        """All rows in order. Raises `ValueError` if the widths differ."""
        _check(len({part.columns for part in parts}) == 1, "Matrices differ in their number of columns.")
        bases = np.cumsum([0] + [len(part.data) for part in parts[:-1]])
        indptr = [parts[0].indptr[:1]] + [p.indptr[1:] + base for p, base in zip(parts, bases, strict=True)]
        return Matrix(
            np.concatenate(indptr),
            np.concatenate([part.indices for part in parts]),
            np.concatenate([part.data for part in parts]),
            parts[0].columns,
        )


Value = Records | Text | Tokens | Pseudonyms | Indices | Sequence | Matrix
Features = Matrix | Sequence
"""What a pipeline ends in and a model type trains on."""

KIND_OF: dict[type, ValueKind] = {
    Records: ValueKind.RECORDS,
    Text: ValueKind.TEXT,
    Tokens: ValueKind.TOKENS,
    Pseudonyms: ValueKind.PSEUDONYMS,
    Indices: ValueKind.INDICES,
    Sequence: ValueKind.SEQUENCE,
    Matrix: ValueKind.MATRIX,
}


def _ragged_positions(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], offsets: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Positions of all elements of ragged rows that begin at `starts` and have `lengths` elements."""
    return np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1], dtype=np.int64)
