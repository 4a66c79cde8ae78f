"""Specs that name columns which no dataset has, and moments which no calendar has."""

from __future__ import annotations

from typing import Any

import pytest

from fedcore.coordinator.runs.models import Run
from fedcore.coordinator.runs.problems import Refused
from fedcore.coordinator.runs.validation import submit
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import Pipeline, PluginChoice

pytestmark = pytest.mark.django_db

BEYOND_ALL_CALENDARS = 2**53 - 1


def refused(world: Any, **changes: Any) -> dict[str, str]:
    with pytest.raises(Refused) as found:
        submit(world.sam, world.spec(**changes).signed_by(world.sam_key))
    assert not Run.objects.exists()
    return {str(problem.code): problem.detail for problem in found.value.problems}


def test_a_column_that_a_dataset_lacks_is_named_with_the_dataset_and_the_columns_it_has(world: Any) -> None:
    first, *others = world.pipeline().steps
    wanted = first.model_copy(update={"options": {"names": ["referrer"]}})
    detail = refused(world, pipeline=Pipeline(steps=(wanted, *others)))[RefusalCode.INVALID_OPTIONS]
    assert "access-" in detail
    assert "no column referrer; there are: request" in detail


def test_a_pipeline_that_cannot_be_built_is_refused_without_a_look_at_columns(world: Any) -> None:
    unusable = Pipeline(steps=(PluginChoice(name="no_such_step"),))
    assert RefusalCode.INVALID_OPTIONS in refused(world, pipeline=unusable)


def test_a_deadline_that_no_calendar_has_is_refused(world: Any) -> None:
    problems = refused(world, deadline=BEYOND_ALL_CALENDARS)
    assert "365 days" in problems[RefusalCode.MALFORMED]


def test_a_spec_that_was_signed_at_no_time_of_any_calendar_is_refused(world: Any) -> None:
    moments = {"submitted_at": BEYOND_ALL_CALENDARS - 1, "deadline": BEYOND_ALL_CALENDARS}
    assert "sign it anew" in refused(world, **moments)[RefusalCode.EXPIRED]
