"""Files with one request per line, all of one class."""

from __future__ import annotations

from fedcore.plugin_api import Records
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
