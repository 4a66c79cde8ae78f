"""Steps from text to text, each against a slow obvious version."""

from __future__ import annotations

import re
import string
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcore.plugin_api import InvalidOptions, Records, Text
from plugins.preprocessing.fields import Fields
from plugins.preprocessing.lower import Lower
from plugins.preprocessing.strip_punctuation import StripPunctuation
from plugins.preprocessing.url_decode import UrlDecode

PIECES = st.sampled_from(
    [b"%", b"2", b"5", b"41", b"%20", b"%fF", b"+", b"a", b"Z", b"_", b" ", b"\xc3\xa9", b"\0"]
)
ROWS = st.lists(st.one_of(st.lists(PIECES, max_size=12).map(b"".join), st.binary(max_size=20)), max_size=12)
fast = settings(max_examples=50, deadline=None)
MARKS = string.punctuation.encode()


@fast
@given(ROWS, st.integers(1, 5), st.booleans())
def test_url_decode_is_as_the_standard_librarys(rows: list[bytes], times: int, plus: bool) -> None:
    expected = [row.replace(b"+", b" ") if plus else row for row in rows]
    for _ in range(times):
        expected = [unquote_to_bytes(row) for row in expected]
    assert list(UrlDecode({"times": times, "plus": plus}).apply(Text.from_rows(rows))) == expected


def test_url_decode_leaves_what_is_no_escape() -> None:
    text = Text.from_rows([b"%", b"%4", b"%zz", b"100%", b"%%41", b"%4%41"])
    assert list(UrlDecode().apply(text)) == [b"%", b"%4", b"%zz", b"100%", b"%A", b"%4A"]


def test_an_escape_does_not_reach_over_the_end_of_its_row() -> None:
    assert list(UrlDecode().apply(Text.from_rows([b"a%4", b"1b"]))) == [b"a%4", b"1b"]


@fast
@given(ROWS)
def test_lower_changes_ascii_letters_only(rows: list[bytes]) -> None:
    assert list(Lower().apply(Text.from_rows(rows))) == [row.lower() for row in rows]


def test_lower_keeps_bytes_from_0x80_on() -> None:
    every = bytes(range(256))
    assert next(iter(Lower().apply(Text.from_rows([every]))))[128:] == every[128:]


@fast
@given(ROWS, st.text(alphabet=string.punctuation, max_size=5))
def test_punctuation_becomes_spaces_or_vanishes(rows: list[bytes], keep: str) -> None:
    marks = re.compile(b"[" + b"".join(re.escape(bytes([m])) for m in MARKS if chr(m) not in keep) + b"]")
    text = Text.from_rows(rows)
    spaced = StripPunctuation({"keep": keep}).apply(text)
    removed = StripPunctuation({"keep": keep, "replacement": "nothing"}).apply(text)
    assert list(spaced) == [marks.sub(b" ", row) for row in rows]
    assert list(removed) == [marks.sub(b"", row) for row in rows]


@fast
@given(
    st.lists(st.tuples(*[st.binary(max_size=9)] * 3), min_size=1, max_size=8), st.sampled_from(["", " ", "é"])
)
def test_fields_stand_side_by_side(rows: list[tuple[bytes, bytes, bytes]], separator: str) -> None:
    columns = {
        name: Text.from_rows(values) for name, values in zip("abc", zip(*rows, strict=True), strict=True)
    }
    text = Fields({"names": ["c", "a", "c"], "separator": separator}).apply(Records(columns))
    assert list(text) == [separator.encode().join([c, a, c]) for a, _, c in rows]


def test_a_field_that_the_records_lack_is_named_with_those_they_have() -> None:
    records = Records({"request": Text.from_rows([b"/"])})
    with pytest.raises(InvalidOptions) as caught:
        Fields({"names": ["target"]}).apply(records)
    assert str(caught.value) == (
        "Invalid options for plugin 'fields': names: no column target; there are: request"
    )


@pytest.mark.parametrize(
    ("step", "options", "problem"),
    [
        (Fields, {}, "names: Field required"),
        (Fields, {"names": []}, "names: List should have at least 1 item"),
        (Fields, {"names": ["a"], "separator": "x" * 9}, "separator: String should have at most 8"),
        (UrlDecode, {"times": 0}, "times: Input should be greater than or equal to 1"),
        (UrlDecode, {"times": 6}, "times: Input should be less than or equal to 5"),
        (UrlDecode, {"time": 2}, "time: Extra inputs are not permitted"),
        (Lower, {"times": 2}, "times: Extra inputs are not permitted"),
        (StripPunctuation, {"keep": "a"}, "keep: Value error, only marks among"),
        (StripPunctuation, {"replacement": "dot"}, "replacement: Input should be 'space' or 'nothing'"),
    ],
)
def test_a_wrong_option_is_named_with_its_rule(step: type, options: dict[str, object], problem: str) -> None:
    with pytest.raises(InvalidOptions) as caught:
        step(options)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "step", [UrlDecode(), Lower(), StripPunctuation(), StripPunctuation({"replacement": "nothing"})]
)
def test_a_step_leaves_its_input_as_it_was(step: UrlDecode) -> None:
    text = Text.from_rows([b"A%41,b", b""])
    step.apply(text)
    assert list(text) == [b"A%41,b", b""]
    assert list(step.apply(Text.from_rows([]))) == []
