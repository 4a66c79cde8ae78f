"""Readers of Apache's access logs, in combined and in common log format."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fedcore.plugin_api import ColumnKind, MockFile, Records, Text, UnreadableDataset
from fedcore.plugin_api.lines import LineOptions, LineReader, Lines

_LOG = logging.getLogger(__name__)

_COMMON = 'host ident user [time] "request" status size'
_MOCK_ATTACKS: Final = 0.4


class ApacheOptions(LineOptions):
    labels: Annotated[
        bool,
        Field(
            description='Whether lines end in one more quoted field: "-" for benign, anything else for an attack'
        ),
    ] = False
    skip_malformed: Annotated[
        bool,
        Field(description="Whether to skip lines of another form, with a warning, or to stop at the first"),
    ] = False


class ApacheReader(LineReader[ApacheOptions]):
    """Fields of each line, with Apache's escapes undone; `method` and `protocol` are empty for a request without.

    Labels come from the line where `labels` is set, else from the file's `label`. `malformed` counts the lines that
    this reader has skipped.
    """

    Options = ApacheOptions
    compared = ("method", "target")
    kinds: ClassVar[Mapping[str, ColumnKind]] = {
        "host": ColumnKind.IDENTIFIER,
        "user": ColumnKind.IDENTIFIER,
        "time": ColumnKind.TIME,
        "method": ColumnKind.CATEGORY,
        "protocol": ColumnKind.CATEGORY,
        "status": ColumnKind.CATEGORY,
        "size": ColumnKind.NUMBER,
    }
    form: ClassVar[str]
    combined: ClassVar[bool]

    malformed: int = 0

    def records(self, lines: Lines, labelled: bool) -> Records:
        from .parser import MAY_HAVE_LABEL, NEEDS_LABEL, NO_LABEL, ParsedLines

        label = NO_LABEL if not self.options.labels else NEEDS_LABEL if labelled else MAY_HAVE_LABEL
        parsed = ParsedLines(lines.rows, self.combined, label)
        self._treat_malformed(lines, np.flatnonzero(~parsed.well_formed), label == NEEDS_LABEL)
        columns = {name: parsed.column(name) for name in self.columns}
        if not labelled:
            return Records(columns)
        if not self.options.labels:
            return Records(columns, self.labels_by_file(lines, int(parsed.well_formed.sum())))
        return Records(columns, _is_attack(parsed.column("label")))

    def mock(self, rows: int, seed: int) -> list[MockFile]:
        """Lines of the generator, with their label at the end or in a file of each class, as this reader expects."""
        from .generator import BENIGN, generate

        lines = [line.rpartition(" ") for line in generate(rows, seed, attack_share=_MOCK_ATTACKS)]
        labelled = [(self._in_own_form(line), label) for line, _, label in lines]
        if self.options.labels:
            return [_file(f"{line} {label}" for line, label in labelled)]
        benign, attack = self.classes
        return [
            _file((line for line, label in labelled if label == f'"{BENIGN}"'), benign),
            _file((line for line, label in labelled if label != f'"{BENIGN}"'), attack),
        ]

    def _in_own_form(self, line: str) -> str:
        # No field of the generator's has a quote, so the last two quoted fields are referrer and agent.
        return line if self.combined else line.rsplit(' "', 2)[0]

    def _treat_malformed(self, lines: Lines, rows: NDArray[np.int64], with_label: bool) -> None:
        if not len(rows):
            return
        where = f"{lines.file.path}, line {lines.number(int(rows[0]))}"
        if self.options.skip_malformed:
            self.malformed += len(rows)
            _LOG.warning("%s: skipped this line and %d more that are malformed.", where, len(rows) - 1)
            return
        form = f'{self.form} "label"' if with_label else self.form
        raise UnreadableDataset(
            f"{where}: malformed, as are {len(rows) - 1} more of the {len(lines.rows)} lines read with it. Expected: "
            f"{form}. Correct the lines, choose another reader, or set the reader's option skip_malformed."
        )

    @classmethod
    def warm(cls) -> None:
        from . import parser  # noqa: F401


class ApacheCombined(ApacheReader):
    """Apache's combined log format."""

    name = "apache_combined"
    version = "1"
    summary = "Apache access logs in combined log format, with referrer and agent."
    columns = (
        "host",
        "user",
        "time",
        "method",
        "target",
        "protocol",
        "status",
        "size",
        "referrer",
        "agent",
    )
    form = f'{_COMMON} "referrer" "agent"'
    combined = True


class ApacheCommon(ApacheReader):
    """Apache's common log format."""

    name = "apache_common"
    version = "1"
    summary = "Apache access logs in common log format."
    columns = ("host", "user", "time", "method", "target", "protocol", "status", "size")
    form = _COMMON
    combined = False


def _is_attack(labels: Text) -> NDArray[np.int64]:
    """0 where the label is a single dash, else 1."""
    dashes = np.zeros(len(labels), np.bool_)
    single = np.diff(labels.offsets) == 1
    dashes[single] = labels.data[labels.offsets[:-1][single]] == ord("-")
    return np.where(dashes, np.int64(0), np.int64(1))


def _file(lines: Iterable[str], label: str | None = None) -> MockFile:
    return MockFile("".join(f"{line}\n" for line in lines).encode(), label)
