"""Messages are refused, never repaired."""

from __future__ import annotations

import json
import time

import pytest

from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import EXPLANATIONS, RefusalCode
from fedcore.wire.encoding import MAXIMUM_DEPTH, WireError, check_json
from fedcore.wire.reports import Checked, Report


def refusal(data: bytes | str, limit: int = 1000) -> RefusalCode:
    with pytest.raises(WireError) as caught:
        check_json(data, limit)
    return caught.value.code


def test_a_message_over_the_limit_is_refused_before_it_is_parsed() -> None:
    assert refusal(b"{" * 1001) is RefusalCode.TOO_LARGE


@pytest.mark.parametrize(
    "text",
    [
        b"\xff\xfe",
        b"",
        b"{",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9007199254740992}',
        b'{"a": ' + b"9" * 500 + b"}",
        b'{"a": 1, "a": 2}',
        b"[" * (MAXIMUM_DEPTH + 1) + b"]" * (MAXIMUM_DEPTH + 1),
        b"{} {}",
    ],
)
def test_a_malformed_message_is_refused(text: bytes) -> None:
    assert refusal(text) is RefusalCode.MALFORMED


def test_brackets_inside_strings_do_not_count_as_depth() -> None:
    text = json.dumps({"a": "[" * 100 + '\\"' + "{" * 100})
    assert check_json(text) == text


def test_the_deepest_allowed_message_is_accepted() -> None:
    text = "[" * MAXIMUM_DEPTH + "]" * MAXIMUM_DEPTH
    assert check_json(text) == text


def test_an_unknown_field_is_refused_by_its_own_code() -> None:
    with pytest.raises(WireError) as caught:
        Checked.parse('{"type": "checked", "rows": 1, "path": "/etc"}')
    assert caught.value.code is RefusalCode.UNKNOWN_FIELD


def test_numbers_are_not_read_from_text() -> None:
    with pytest.raises(WireError, match="rows"):
        Checked.parse('{"type": "checked", "rows": "1"}')


def test_a_done_report_needs_the_result_of_its_phase() -> None:
    text = json.dumps(
        {"order": "0" * 32, "run": "0" * 64, "phase": "offer", "status": "done", "finished_at": 1}
        | {"result": {"type": "checked", "rows": 1}}
    )
    with pytest.raises(WireError, match="result of its phase"):
        Report.parse(text)


def test_a_refused_report_carries_no_result() -> None:
    text = json.dumps(
        {"order": "0" * 32, "run": "0" * 64, "phase": "check", "status": "refused", "finished_at": 1}
        | {"code": "expired", "result": {"type": "checked", "rows": 1}}
    )
    with pytest.raises(WireError, match="a code, and nothing else"):
        Report.parse(text)


def test_every_code_has_an_explanation() -> None:
    assert set(EXPLANATIONS) == set(RefusalCode)


@pytest.mark.parametrize("unclosed", ['"' + '\\"' * 500_000, '["a", "' + "\\\\" * 500_000 + "\\"])
def test_a_string_that_is_not_closed_is_refused_in_time_that_grows_with_its_length_only(
    unclosed: str,
) -> None:
    started = time.monotonic()
    with pytest.raises(WireError) as caught:
        check_json(unclosed)
    assert caught.value.code is RefusalCode.MALFORMED
    assert time.monotonic() - started < 5


def test_closing_brackets_beforehand_allow_no_deeper_nesting() -> None:
    with pytest.raises(WireError, match=r"deeper|not JSON"):
        check_json("]" * 50 + "[" * (MAXIMUM_DEPTH + 50))


@pytest.mark.parametrize("character", ["\x1b", "\x7f", "\x9b", "\u2028", "\u202e", "\u2066"])
@pytest.mark.parametrize("field", ["organisation", "reason", "option", "name", "deep"])
def test_texts_for_people_hold_nothing_that_moves_the_cursor_or_reorders_them(
    field: str, character: str
) -> None:
    bad = f"x{character}"
    options = {"option": {"a": bad}, "name": {bad: 1}, "deep": {"a": [{"b": bad}]}}.get(
        field, {"a": "x\n\ty"}
    )
    steps = {"steps": [{"name": "words", "options": options}]}
    content = {
        "dataset": {"host": "A" * 43, "name": "logs", "version": "a" * 64},
        "purpose": "research",
        "organisation": bad if field == "organisation" else "University",
        "reason": bad if field == "reason" else "two\nlines",
        "pipelines": [steps],
        "protocols": ["local"],
        "backends": ["plaintext"],
        "models": ["linear"],
        "releases": 1,
        "expires_at": 1,
        "nonce": "0" * 32,
    }
    with pytest.raises(WireError) as caught:
        AccessRequest.parse(json.dumps(content))
    assert caught.value.code is RefusalCode.MALFORMED
    harmless = json.dumps(content).replace(json.dumps(character)[1:-1], "")
    assert AccessRequest.parse(harmless).organisation
