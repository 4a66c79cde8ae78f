"""Files with one request per line, all of one class."""

from __future__ import annotations

from collections.abc import Iterable

from fedcore.plugin_api import MockFile, Records
from fedcore.plugin_api.lines import LineOptions, LineReader, Lines


class LabelledLines(LineReader[LineOptions]):
    """Each line is a request; the class comes from the file's `label` in the owner's configuration."""

    name = "labelled_lines"
    version = "1"
    summary = "One request per line, one class per file."
    columns = ("request",)

    def records(self, lines: Lines, labelled: bool) -> Records:
        labels = self.labels_by_file(lines, len(lines.rows)) if labelled else None
        return Records({"request": lines.rows}, labels)

    def mock(self, rows: int, seed: int) -> list[MockFile]:
        """A file of made-up requests of visitors, and one of attackers, of equal length."""
        from .mock import attack_requests, benign_requests

        attacks = rows // 2
        benign, attack = self.classes
        return [
            _file(benign_requests(rows - attacks, seed), benign),
            _file(attack_requests(attacks, seed), attack),
        ]


def _file(requests: Iterable[str], label: str) -> MockFile:
    return MockFile("".join(f"{request}\n" for request in requests).encode(), label)
