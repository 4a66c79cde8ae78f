"""Apache's log formats, against a slow regular expression, and what malformed lines get."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import Records, SourceFile, UnreadableDataset
from plugins.readers.apache.generator import generate
from plugins.readers.apache.reader import ApacheCombined, ApacheCommon, ApacheReader

GOOD = '192.0.2.7 - anna [05/Jan/2026:08:00:03 +0000] "GET /a?b=c HTTP/1.1" 200 5120 "http://r/" "curl/8"'
FIELDS = re.compile(
    r'([^ ]+) [^ ]* (.*?) \[([^\]]*)\] "((?:[^"\\]|\\.)*)" (\d{3}) (\d+|-)'
    r' "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"(?: "((?:[^"\\]|\\.)*)")?',
    re.DOTALL,
)
CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "v": "\v", "f": "\f"}


def unescaped(field: str) -> bytes:
    def meant(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        return CONTROLS.get(match[2], match[2])

    return re.sub(r"\\(?:x([0-9a-fA-F]{2})|(.))", meant, field, flags=re.DOTALL).encode("latin-1")


def slow_row(line: str) -> tuple[bytes, ...]:
    match = FIELDS.fullmatch(line)
    assert match is not None
    host, user, time, request, status, size, referrer, agent, _ = match.groups()
    parts = re.fullmatch(r"([A-Z]+) (.*?)(?: (HTTP/[^ ]+))?", request, re.DOTALL)
    method, target, protocol = parts.groups(default="") if parts else ("", request, "")
    return tuple(map(unescaped, (host, user, time, method, target, protocol, status, size, referrer, agent)))


def read(
    folder: Path, lines: list[str], reader: ApacheReader, labelled: bool = False, label: str | None = None
) -> Records:
    file = SourceFile(folder / "access.log", label)
    file.path.write_bytes("".join(f"{line}\n" for line in lines).encode("latin-1"))
    (shard,) = reader.shards([file], 1 << 30)
    (block,) = reader.read([file], shard, labelled)
    return block


def rows_of(records: Records) -> list[tuple[bytes, ...]]:
    return list(zip(*records.columns.values(), strict=True))


QUOTED = st.lists(
    st.sampled_from(
        ["a", " ", r"\"", r"\\", r"\x41", r"\xZ", r"\n", r"\q", "[", "]", "%20", "HTTP/1.1", "GET ", "é"]
    ),
    max_size=6,
).map("".join)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    fields=st.lists(
        st.tuples(QUOTED, QUOTED, QUOTED, st.sampled_from(["-", "a b", r"x\"y", ""])), min_size=1, max_size=5
    )
)
def test_fields_are_as_the_slow_version(tmp_path: Path, fields: list[tuple[str, str, str, str]]) -> None:
    lines = [
        f'::1 - {user} [05/Jan/2026:08:00:03 +0000] "{request}" 404 - "{referrer}" "{agent}"'
        for request, referrer, agent, user in fields
    ]
    assert rows_of(read(tmp_path, lines, ApacheCombined())) == [slow_row(line) for line in lines]


def test_every_line_of_the_generator_is_read_with_its_label(tmp_path: Path) -> None:
    lines = list(generate(2000, seed=7, attack_share=0.2))
    records = read(tmp_path, lines, ApacheCombined({"labels": True}), labelled=True)
    assert rows_of(records) == [slow_row(line) for line in lines]
    assert records.labels is not None
    assert records.labels.tolist() == [int(not line.endswith(' "-"')) for line in lines]
    assert 0 < records.labels.sum() < 2000


@pytest.mark.parametrize(
    ("request_line", "method", "target", "protocol"),
    [
        ("GET / HTTP/1.1", b"GET", b"/", b"HTTP/1.1"),
        ("GET /a b c HTTP/2.0", b"GET", b"/a b c", b"HTTP/2.0"),
        ("GET /old", b"GET", b"/old", b""),
        ("-", b"", b"-", b""),
        ("", b"", b"", b""),
        (r"\x16\x03\x01", b"", b"\x16\x03\x01", b""),
        (r"GET /\"q\" HTTP/1.1", b"GET", b'/"q"', b"HTTP/1.1"),
        ("get / HTTP/1.1", b"", b"get / HTTP/1.1", b""),
        ("GET ", b"GET", b"", b""),
        ("GET HTTP/1.1", b"GET", b"HTTP/1.1", b""),
    ],
)
def test_a_request_is_cut_as_far_as_it_has_parts(
    tmp_path: Path, request_line: str, method: bytes, target: bytes, protocol: bytes
) -> None:
    line = GOOD.replace("GET /a?b=c HTTP/1.1", request_line)
    columns = read(tmp_path, [line], ApacheCombined()).columns
    assert [*columns["method"], *columns["target"], *columns["protocol"]] == [method, target, protocol]


def test_common_format_has_neither_referrer_nor_agent(tmp_path: Path) -> None:
    records = read(tmp_path, [GOOD.rsplit(' "', 2)[0]], ApacheCommon())
    assert tuple(records.columns) == ApacheCommon.columns
    assert rows_of(records) == [slow_row(GOOD)[:8]]


def test_common_format_may_end_in_a_label(tmp_path: Path) -> None:
    short = GOOD.rsplit(' "', 2)[0]
    records = read(
        tmp_path, [f'{short} "-"', f'{short} "sql"', f'{short} ""'], ApacheCommon({"labels": True}), True
    )
    assert records.labels is not None
    assert records.labels.tolist() == [0, 1, 1]


def test_without_labels_in_the_lines_the_files_label_counts(tmp_path: Path) -> None:
    records = read(tmp_path, [GOOD, GOOD], ApacheCombined(), labelled=True, label="attack")
    assert records.labels is not None
    assert records.labels.tolist() == [1, 1]


def test_without_any_label_labelled_rows_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r"access.log has no label, and training needs one"):
        read(tmp_path, [GOOD], ApacheCombined(), labelled=True)


def test_lines_to_score_may_have_a_label_or_not(tmp_path: Path) -> None:
    records = read(tmp_path, [GOOD, f'{GOOD} "-"'], ApacheCombined({"labels": True}))
    assert records.labels is None
    assert len(records) == 2


MALFORMED = [
    "nonsense",
    "a b",
    GOOD[:-1],
    GOOD + " ",
    GOOD + ' "extra"',
    GOOD.replace("[", ""),
    GOOD.replace("]", ""),
    GOOD.replace(" 200 ", " 20 "),
    GOOD.replace(" 200 ", " 2x0 "),
    GOOD.replace(" 5120 ", " many "),
    GOOD.replace(" 5120 ", "  "),
    GOOD.replace('HTTP/1.1"', r"HTTP/1.1\""),
    GOOD.replace('"GET', "GET"),
    GOOD.rsplit(' "', 1)[0],
    " " + GOOD,
    '1 - - [t] "',
    '1 - - [t] "\\',
    "1 - - [t] ",
    "1 - - [",
]


@pytest.mark.parametrize("line", MALFORMED)
def test_a_malformed_line_is_named_with_file_and_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(UnreadableDataset) as caught:
        read(tmp_path, [GOOD, "", GOOD, line, GOOD], ApacheCombined(), labelled=True, label="benign")
    text = str(caught.value)
    assert "access.log, line 4: malformed, as are 0 more of the 4 lines" in text
    assert 'host ident user [time] "request" status size "referrer" "agent".' in text
    assert "skip_malformed" in text


def test_a_line_without_the_label_that_training_needs_is_malformed(tmp_path: Path) -> None:
    with pytest.raises(UnreadableDataset, match=r'line 2: malformed.*"referrer" "agent" "label"\.'):
        read(tmp_path, [f'{GOOD} "-"', GOOD], ApacheCombined({"labels": True}), labelled=True)


def test_malformed_lines_can_be_skipped_and_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reader = ApacheCombined({"skip_malformed": True})
    with caplog.at_level(logging.WARNING):
        records = read(tmp_path, [*MALFORMED, GOOD], reader, labelled=True, label="attack")
    assert rows_of(records) == [slow_row(GOOD)]
    assert records.labels is not None
    assert records.labels.tolist() == [1]
    assert reader.malformed == len(MALFORMED)
    assert f"access.log, line 1: skipped this line and {len(MALFORMED) - 1} more" in caplog.text


def test_the_skipped_lines_labels_are_skipped_with_them(tmp_path: Path) -> None:
    reader = ApacheCombined({"skip_malformed": True, "labels": True})
    records = read(tmp_path, [f'{GOOD} "-"', GOOD, f'{GOOD} "xss"'], reader, labelled=True)
    assert records.labels is not None
    assert records.labels.tolist() == [0, 1]


def test_a_block_of_malformed_lines_only_has_no_rows(tmp_path: Path) -> None:
    records = read(tmp_path, ["x", "y"], ApacheCombined({"skip_malformed": True}))
    assert len(records) == 0
