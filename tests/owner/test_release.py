"""The veto before a release: everybody is asked, and only a clear yes of all of them lets it pass."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.owner.facts import Allowed, Refused
from fedcore.owner.release import ask_all
from fedcore.plugin_api.hookspecs import Release, Verdict, hookimpl
from fedcore.plugin_api.registry import Registry
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import Phase

RELEASE = Release(run="ab" * 32, phase=Phase.PREPARE, dataset="logs", scientist="sam", rows=300, artefacts=())


class Check:
    """An owner's own check, and whether it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[Release] = []

    @hookimpl
    def fedcore_before_release(self, release: Release) -> Verdict:
        self.asked.append(release)
        if isinstance(self.answer, Exception):
            raise self.answer
        answer: Verdict = self.answer
        return answer


YES, NO = Verdict(allowed=True), Verdict(allowed=False, reason="not on a Friday")


def test_without_checks_of_its_own_a_host_releases() -> None:
    assert isinstance(ask_all(Registry(), RELEASE), Allowed)


def test_all_must_allow_and_all_are_asked() -> None:
    checks = [Check(YES), Check(YES), Check(YES)]
    assert isinstance(ask_all(Registry(checks), RELEASE), Allowed)
    assert [check.asked for check in checks] == [[RELEASE]] * 3


@pytest.mark.parametrize("answer", [NO, None, True, "yes", 1, ValueError("broken"), Verdict(allowed=1)])  # type: ignore[arg-type]
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_refusal_error_or_missing_answer_refuses(answer: Any, place: int) -> None:
    checks = [Check(YES), Check(YES), Check(YES)]
    checks[place] = Check(answer)
    decision = ask_all(Registry(checks), RELEASE)
    assert isinstance(decision, Refused)
    assert decision.code is RefusalCode.RELEASE_REFUSED


def test_the_reason_is_told_to_the_owner() -> None:
    decision = ask_all(Registry([Check(NO)]), RELEASE)
    assert isinstance(decision, Refused)
    assert "refuses: not on a Friday." in decision.why
