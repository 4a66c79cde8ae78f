"""The release gate as a table: what may leave does, and deleting any one check lets a named case through."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from fedcore.owner.config import Dataset
from fedcore.owner.facts import Allowed, Refused, Role
from fedcore.owner.release import passes
from fedcore.owner.release_checks import CHECKS, PERMITTED, Leaving, two_digits
from fedcore.plugin_api.evaluation import count_scores, to_evaluated
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import (
    Checked,
    Closed,
    Confirmed,
    Dealt,
    Evaluated,
    Offered,
    Prepared,
    Settled,
    Shared,
    Spent,
    Summarised,
    Trained,
    TrainingCurve,
)
from fedcore.wire.spec import Protocol

NORTH, SOUTH, REFEREE, DEALER, EVE = ("n" * 43, "s" * 43, "r" * 43, "d" * 43, "e" * 43)
OFFER = Dataset.model_validate(
    {
        "title": "Requests",
        "reader": "labelled_lines",
        "files": [{"path": "good.txt"}],
        "minimum_rows": 100,
        "releases": 1,
        "retention": "2099-12-31",
        "release_mb": 1,
    },
    strict=False,
)


def ref(
    digit: str, role: str = "features", part: int = 0, audience: str | None = None, size: int = 10
) -> ArtefactRef:
    return ArtefactRef(role=role, part=part, digest=digit * 64, size=size, audience=audience)


def counted(*rows: int) -> Evaluated:
    """Counts of so many rows of each of two classes."""
    labels = np.repeat(np.arange(2), rows)
    scores = np.stack([1.0 - labels, labels], axis=1) + np.linspace(0, 0.1, len(labels))[:, None]
    return to_evaluated(count_scores(scores, labels, 2))


SPENT = Spent(epsilon_micro=1_000_000, delta=1e-6, mechanisms=("discrete Gaussian",))
CURVE = TrainingCurve(every=8, loss=(0.7, 0.3), accuracy=(0.5, 0.9), epochs=2, steps=16)
RESULTS: dict[Phase, Any] = {
    Phase.CHECK: Checked(rows=300),
    Phase.OFFER: Offered(ephemeral=NORTH),
    Phase.SHARE: Shared(transcript="a" * 64, shares=()),
    Phase.CONFIRM: Confirmed(proof="a" * 64),
    Phase.SUMMARISE: Summarised(),
    Phase.SETTLE: Settled(state="a" * 64),
    Phase.PREPARE: Prepared(rows=300, columns=64, plaintext_bytes=12_000),
    Phase.DEAL: Dealt(),
    Phase.TRAIN: Trained(rows=300, curve=CURVE),
    Phase.EVALUATE: counted(200, 100),
    Phase.CLOSE: Closed(kept=True),
}
WEIGHTS = Trained(rows=300, curve=None)
ARTEFACTS = {
    (Protocol.POOLED, Phase.PREPARE): (ref("1"), ref("2", part=1)),
    (Protocol.REFERENCE, Phase.PREPARE): (ref("1", audience=REFEREE), ref("2", part=1, audience=REFEREE)),
    (Protocol.REFERENCE, Phase.TRAIN): (ref("1", "model", audience=NORTH), ref("2", "model", audience=SOUTH)),
    (Protocol.SHARED, Phase.PREPARE): (
        ref("1", "shares", audience=SOUTH),
        ref("2", "shares", audience=DEALER),
    ),
    (Protocol.SHARED, Phase.DEAL): (ref("1", "dealt", audience=NORTH), ref("2", "dealt", audience=SOUTH)),
    (Protocol.SHARED, Phase.TRAIN): (ref("1", "weights"),),
}


def leaving(
    phase: Phase, protocol: Protocol = Protocol.POOLED, role: Role = Role.OWNER, **changes: Any
) -> Leaving:
    """An answer that may leave, with some changes."""
    summary = (ref("1", "summary"),) if phase is Phase.SUMMARISE else ()
    artefacts = changes.pop("artefacts", ARTEFACTS.get((protocol, phase), summary))
    found = Leaving(
        phase=phase,
        role=role,
        protocol=protocol,
        subject="[datasets.logs]",
        host=NORTH if role is Role.OWNER else REFEREE,
        owners=(NORTH, SOUTH),
        reference_host=REFEREE if protocol is Protocol.REFERENCE else None,
        compute_owners=(NORTH, SOUTH) if protocol is Protocol.SHARED else (),
        dealer=DEALER if protocol is Protocol.SHARED else None,
        result=WEIGHTS if (protocol, phase) == (Protocol.SHARED, Phase.TRAIN) else RESULTS[phase],
        artefacts=artefacts,
        rows=300,
        kept={artefact.digest: artefact.size for artefact in artefacts},
        offer=OFFER if role is Role.OWNER else None,
        round_rows_to=100,
        least_rows=100,
        batch_size=32,
        shows_plaintext=False,
        classes=2 if role is Role.OWNER else None,
        private=False,
    )
    return replace(found, **changes)


REFERENCE, LOCAL, POOLED, SHARED = Protocol.REFERENCE, Protocol.LOCAL, Protocol.POOLED, Protocol.SHARED
DEALING = {"protocol": Protocol.SHARED, "role": Role.DEALER}
SERVING = {"protocol": Protocol.REFERENCE, "role": Role.REFERENCE}


@dataclass(frozen=True)
class Case:
    """What must not leave, and the check that stops it."""

    check: str
    what: str
    leaving: Leaving
    code: RefusalCode = RefusalCode.RELEASE_REFUSED


def trained(**changes: Any) -> Trained:
    return Trained(rows=300, curve=CURVE.model_copy(update=changes))


CASES = (
    Case(
        "phase_lets_something_leave",
        "a curve of rows that were pooled",
        leaving(Phase.TRAIN, result=Closed(kept=True)),
    ),
    Case(
        "phase_lets_something_leave",
        "counts of a reference host, which has no rows",
        leaving(Phase.EVALUATE, **SERVING, result=Closed(kept=True)),
    ),
    Case(
        "result_is_that_of_the_phase",
        "counts in answer to the closing",
        leaving(Phase.CLOSE, result=counted(200, 100)),
    ),
    Case(
        "artefacts_have_the_role_of_the_phase",
        "a model beside the features",
        leaving(Phase.PREPARE, artefacts=(ref("1"), ref("2", "model", part=1))),
    ),
    Case(
        "artefacts_have_the_role_of_the_phase",
        "features in answer to the training of a reference host",
        leaving(Phase.TRAIN, **SERVING, artefacts=(ref("1", audience=NORTH), ref("2", audience=SOUTH))),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "features that are sealed to Eve",
        leaving(Phase.PREPARE, REFERENCE, artefacts=(ref("1", audience=EVE),)),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "features for the reference host that the coordinator could read",
        leaving(Phase.PREPARE, REFERENCE, artefacts=(ref("1", audience=None),)),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "a model for one owner of two",
        leaving(Phase.TRAIN, **SERVING, artefacts=(ref("1", "model", audience=NORTH),)),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "shares that the coordinator could read",
        leaving(Phase.PREPARE, SHARED, artefacts=(ref("1", "shares"),)),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "shares that are sealed to Eve too",
        leaving(
            Phase.PREPARE,
            SHARED,
            artefacts=tuple(ref(str(n), "shares", audience=a) for n, a in enumerate((SOUTH, DEALER, EVE))),
        ),
    ),
    Case(
        "artefacts_are_for_their_audience_only",
        "what is dealt, for the coordinator",
        leaving(Phase.DEAL, **DEALING, artefacts=(ref("1", "dealt", audience=NORTH), ref("2", "dealt"))),
    ),
    Case(
        "artefacts_have_the_role_of_the_phase",
        "features of a run on shares",
        leaving(Phase.PREPARE, SHARED, artefacts=(ref("1", audience=SOUTH), ref("2", audience=DEALER))),
    ),
    Case(
        "artefacts_are_numbered",
        "two summaries in one answer",
        leaving(Phase.SUMMARISE, artefacts=(ref("1", "summary"), ref("2", "summary", part=1))),
    ),
    Case(
        "artefacts_are_numbered",
        "a part that is missing",
        leaving(Phase.PREPARE, artefacts=(ref("1"), ref("2", part=2))),
    ),
    Case(
        "artefacts_are_what_lies_here",
        "bytes that are not in the spool",
        leaving(Phase.PREPARE, kept={"1" * 64: 10}),
    ),
    Case(
        "artefacts_are_what_lies_here",
        "other sizes",
        leaving(Phase.PREPARE, kept={"1" * 64: 10, "2" * 64: 11}),
    ),
    Case(
        "plaintext_leaves_sealed_only",
        "plaintext that the coordinator could read",
        leaving(Phase.PREPARE, shows_plaintext=True),
    ),
    Case(
        "enough_rows_stand_behind",
        "rows of too few",
        leaving(Phase.PREPARE, rows=99),
        RefusalCode.TOO_FEW_ROWS,
    ),
    Case(
        "enough_rows_stand_behind",
        "nobody knows how many",
        leaving(Phase.TRAIN, LOCAL, rows=None),
        RefusalCode.TOO_FEW_ROWS,
    ),
    Case(
        "enough_rows_stand_behind",
        "a summary of few",
        leaving(Phase.SUMMARISE, rows=0),
        RefusalCode.TOO_FEW_ROWS,
    ),
    Case(
        "enough_rows_of_each_class_are_counted",
        "counts that show the scores of four attacks",
        leaving(Phase.EVALUATE, result=counted(200, 4), rows=204),
        RefusalCode.TOO_FEW_ROWS,
    ),
    Case(
        "row_counts_are_rounded", "the exact number of rows", leaving(Phase.CHECK, result=Checked(rows=301))
    ),
    Case(
        "row_counts_are_rounded",
        "the exact number of rows that the coordinator does not see",
        leaving(Phase.PREPARE, REFERENCE, result=Prepared(rows=301, columns=64, plaintext_bytes=12_000)),
    ),
    Case(
        "row_counts_are_rounded",
        "the exact number of rows of all owners",
        leaving(Phase.TRAIN, **SERVING, result=Trained(rows=301, curve=CURVE)),
    ),
    Case(
        "sizes_in_plain_text_are_rounded",
        "the exact size of the rows in plain text",
        leaving(Phase.PREPARE, result=Prepared(rows=300, columns=64, plaintext_bytes=12_345)),
    ),
    Case("counts_are_those_of_the_rows", "counts of other rows", leaving(Phase.EVALUATE, rows=301)),
    Case("counts_are_those_of_the_rows", "counts by other classes", leaving(Phase.EVALUATE, classes=3)),
    Case(
        "counts_are_those_of_the_rows",
        "counts that contradict each other",
        leaving(
            Phase.EVALUATE, result=counted(200, 100).model_copy(update={"confusion": ((100, 99), (51, 50))})
        ),
    ),
    Case(
        "curve_shows_no_single_rows",
        "a point of few rows",
        leaving(Phase.TRAIN, LOCAL, result=trained(every=1, steps=16)),
    ),
    Case(
        "curve_shows_no_single_rows",
        "the exact number of steps",
        leaving(Phase.TRAIN, LOCAL, result=trained(steps=17)),
    ),
    Case(
        "curve_shows_no_single_rows",
        "a number to hide in",
        leaving(Phase.TRAIN, LOCAL, result=trained(loss=(1e300, 0.1))),
    ),
    Case(
        "curve_shows_no_single_rows",
        "more losses than accuracies",
        leaving(Phase.TRAIN, LOCAL, result=trained(accuracy=())),
    ),
    Case(
        "counts_are_those_of_the_rows",
        "counts without noise of a run with an epsilon",
        leaving(Phase.EVALUATE, private=True),
    ),
    Case(
        "curve_shows_no_single_rows",
        "a curve of a run with an epsilon",
        leaving(Phase.TRAIN, LOCAL, private=True),
    ),
    Case(
        "curve_shows_no_single_rows",
        "a curve of a training on shares",
        leaving(Phase.TRAIN, SHARED, result=Trained(rows=300, curve=CURVE)),
    ),
    Case(
        "size_is_bounded",
        "more bytes than the policy allows",
        leaving(Phase.PREPARE, artefacts=(ref("1", size=2**20), ref("2", part=1))),
        RefusalCode.TOO_LARGE,
    ),
    Case(
        "size_is_bounded",
        "more columns than any matrix has",
        leaving(Phase.PREPARE, result=Prepared(rows=300, columns=2**24 + 1, plaintext_bytes=12_000)),
        RefusalCode.TOO_LARGE,
    ),
)


@pytest.mark.parametrize(
    ("role", "protocol", "phase"),
    [(role, protocol, phase) for (role, protocol), phases in PERMITTED.items() for phase in phases],
)
def test_what_may_leave_does(role: Role, protocol: Protocol, phase: Phase) -> None:
    assert passes(leaving(phase, protocol, role)) == Allowed()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_what_must_not_leave_is_refused_with_its_code(case: Case) -> None:
    refused = passes(case.leaving)
    assert isinstance(refused, Refused)
    assert refused.code is case.code
    assert refused.why.endswith(".")


def test_every_check_has_a_case_and_every_case_its_check() -> None:
    assert {case.check for case in CASES} == {check.__name__ for check in CHECKS}


@pytest.mark.parametrize("place", range(len(CHECKS)), ids=lambda place: CHECKS[place].__name__)
def test_without_any_one_check_every_case_of_it_leaves(place: int) -> None:
    weakened = CHECKS[:place] + CHECKS[place + 1 :]
    for case in CASES:
        if case.check == CHECKS[place].__name__:
            assert passes(case.leaving, weakened) == Allowed(), case.what


def test_a_check_that_fails_or_gives_no_answer_refuses() -> None:
    def fails(leaving: Leaving) -> Allowed:
        raise RuntimeError("broken")

    def forgets(leaving: Leaving) -> Any:
        return None

    for check in (fails, forgets):
        refused = passes(leaving(Phase.CHECK), (*CHECKS, check))
        assert isinstance(refused, Refused)
        assert refused.code is RefusalCode.INTERNAL
        assert check.__name__ in refused.why


def test_a_class_that_does_not_occur_says_nothing_and_an_epsilon_bounds_what_counts_say() -> None:
    assert passes(leaving(Phase.EVALUATE, result=counted(200, 0), rows=200)) == Allowed()
    noisy = counted(198, 3).model_copy(update={"spent": SPENT})
    assert passes(leaving(Phase.EVALUATE, result=noisy, rows=204, private=True)) == Allowed()
    assert passes(leaving(Phase.EVALUATE, result=noisy, rows=3, private=True)) == Allowed()
    assert passes(leaving(Phase.TRAIN, LOCAL, result=Trained(rows=0, curve=None), private=True)) == Allowed()


def test_a_row_count_with_noise_needs_no_rounding() -> None:
    noisy = OFFER.model_copy(update={"count_epsilon": 0.5})
    assert passes(leaving(Phase.CHECK, result=Checked(rows=317), offer=noisy)) == Allowed()
    assert isinstance(passes(leaving(Phase.CHECK, result=Checked(rows=317))), Refused)


def test_sizes_keep_two_digits() -> None:
    assert [two_digits(number) for number in (0, 7, 99, 100, 101, 12_345)] == [0, 7, 99, 100, 100, 12_000]
