"""The matrix notices what it is there for: each test here opens one door, and the matrix must complain."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
from django.contrib.admin.filters import RelatedFieldListFilter
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import clear_url_caches, path
from unfold.views import ChangeList

from fedcore.coordinator.api import access, host, runs
from fedcore.coordinator.governance import decisions, rules
from fedcore.coordinator.governance.admin.base import GovernedList, VisibleFilter
from fedcore.coordinator.governance.models import AccessRequest, Organisation
from fedcore.coordinator.runs.models import Run, RunOrder
from project.urls import urlpatterns
from tests.coordinator.permissions.addresses import addresses
from tests.coordinator.permissions.lookups import complaints_of_list
from tests.coordinator.permissions.matrix import API, Matrix, Row, Rule, without_a_row
from tests.coordinator.permissions.table_of_admin import (
    ADMIN_OF_ACCESS,
    ADMIN_OF_AUDIT,
    ADMIN_OF_CATALOGUE,
    ADMIN_OF_PEOPLE,
    ADMIN_OF_WORK,
    ADMIN_PAGES,
)
from tests.coordinator.permissions.table_of_api import API_ROWS, HOST_ROWS, RUN_ROWS
from tests.coordinator.permissions.who import NONE

pytestmark = pytest.mark.django_db

TABLE = [
    *(*API_ROWS, *RUN_ROWS, *HOST_ROWS),
    *(*ADMIN_PAGES, *ADMIN_OF_PEOPLE, *ADMIN_OF_ACCESS, *ADMIN_OF_CATALOGUE, *ADMIN_OF_AUDIT, *ADMIN_OF_WORK),
]


def rows_of(*patterns: str) -> list[Row]:
    found = [row for row in TABLE if row.pattern in patterns]
    assert len(found) == len(patterns)
    return found


def test_every_address_has_a_row_and_every_row_an_address() -> None:
    assert without_a_row(addresses(), TABLE) == []


@pytest.fixture
def with_view() -> Iterator[Callable[[Any], str]]:
    """The site with one more address, `api/more`, that this view answers."""
    module = ModuleType("urls_of_a_test")
    sys.modules[module.__name__] = module

    def add(view: Any) -> str:
        module.urlpatterns = [*urlpatterns, path("api/more", view)]  # type: ignore[attr-defined]
        clear_url_caches()
        return module.__name__

    with override_settings(ROOT_URLCONF=module.__name__):
        yield add
    del sys.modules[module.__name__]
    clear_url_caches()


def shows(request: HttpRequest) -> HttpResponse:
    return HttpResponse("canary-request-waiting")


def fails(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("broken")


def writes(request: HttpRequest) -> HttpResponse:
    Organisation.objects.create(name="more", title="More")
    raise Http404


def test_an_address_that_nobody_wrote_a_row_for_is_named(with_view: Callable[[Any], str]) -> None:
    assert without_a_row(addresses(with_view(shows)), TABLE) == ["api/more: the table has no row for it"]


def test_a_row_whose_address_has_gone_is_named() -> None:
    gone = Row("api/gone", API, {})
    assert without_a_row(addresses(), [*TABLE, gone]) == [
        "api/gone: the table has a row, and there is no such address"
    ]


@pytest.mark.parametrize(
    ("view", "complaint"),
    [
        (shows, "GET api/more of nothing 'missing' by eve: may not, and is answered 200"),
        (shows, "GET api/more of nothing 'missing' by visitor: may not, and is answered 200"),
        (shows, "GET api/more of nothing 'missing' by eve: shows canary-request-waiting"),
        (shows, "DELETE api/more by eve: is no method of this address, and is answered 200"),
        (
            writes,
            "GET api/more of nothing 'missing' by eve: may not, and has changed ['governance_organisation']",
        ),
        (fails, "GET api/more of nothing 'missing' by eve: failed with 500 RuntimeError('broken')"),
    ],
)
def test_a_view_that_is_open_fails_or_writes_is_noticed(
    matrix: Matrix, with_view: Callable[[Any], str], view: Any, complaint: str
) -> None:
    with_view(view)
    assert complaint in matrix.complaints([Row("api/more", API, {"GET": Rule({"": NONE})})])


def test_a_view_that_refuses_those_who_may_is_noticed(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules.AccessRequests, "rule", lambda self, person: Q(requested_by=person))
    complaints = matrix.complaints(rows_of("api/requests/<digest:digest>"))
    assert any("'waiting' by olga: should be allowed, and is nothing there" in text for text in complaints)


def test_a_rule_of_visibility_that_is_weakened_is_noticed_at_the_api_and_in_the_admin(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules.AccessRequests, "rule", lambda self, person: Q())
    complaints = matrix.complaints(rows_of("api/requests", "admin/governance/accessrequest/"))
    assert "GET api/requests of nothing 'missing' by eve: shows requests 'waiting'" in complaints
    listed = "GET admin/governance/accessrequest/ of nothing 'missing' by eve: shows requests 'waiting'"
    assert listed in complaints


def test_a_decision_by_somebody_else_is_noticed(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "_check_owner", lambda request, person: None)
    complaints = matrix.complaints(rows_of("api/requests/<digest:digest>/approve"))
    assert any("'waiting' by sam: may not, and has changed" in text for text in complaints)


def test_an_edit_by_somebody_else_is_noticed(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "may_edit", lambda person, model, subject=None: True)
    complaints = matrix.complaints(rows_of("admin/governance/organisation/<path:object_id>/change/"))
    assert any("'north-hospital' by eve: may not, and has changed" in text for text in complaints)


def test_another_hosts_order_is_noticed(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "_own_order", lambda _, order_id: RunOrder.objects.get(pk=order_id))
    complaints = matrix.complaints(rows_of("api/host/artefacts/<order:order_id>/<digest:digest>"))
    assert any(
        "PATCH" in text and "'norths' by south: may not, and has changed" in text for text in complaints
    )


def test_a_hidden_row_that_is_refused_otherwise_than_a_missing_one_is_noticed(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(request: Any, digest: str) -> AccessRequest:
        found = AccessRequest.objects.filter(pk=digest).first()
        if found is None:
            raise Http404
        if not AccessRequest.objects.visible_to(request.user).filter(pk=digest).exists():
            raise PermissionDenied
        return found

    monkeypatch.setattr(access, "_request", told)
    complaints = matrix.complaints(rows_of("api/requests/<digest:digest>"))
    assert any(
        "'waiting' by eve: can be told from a missing one: status 403, not 404" in text for text in complaints
    )


def test_a_hidden_row_that_costs_another_query_is_noticed(
    matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(request: Any, run_id: str) -> Run:
        found: Run | None = Run.objects.filter(pk=run_id).first()
        if found is None or not Run.objects.visible_to(request.user).filter(pk=run_id).exists():
            raise Http404
        return found

    monkeypatch.setattr(runs, "_run", slow)
    complaints = matrix.complaints(rows_of("api/runs/<digest:run_id>"))
    assert any("'running' by eve: can be told from a missing one: queries" in text for text in complaints)


def test_a_filter_that_names_hidden_rows_is_noticed(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(VisibleFilter, "field_choices", RelatedFieldListFilter.field_choices)
    complaints = matrix.complaints(rows_of("admin/governance/accessrequest/"))
    assert any("by eve: shows canary-withdrawn" in text for text in complaints)


def test_a_list_that_filters_by_any_field_is_noticed(matrix: Matrix, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GovernedList, "get_filters", ChangeList.get_filters)
    complaints = list(complaints_of_list(matrix, "governance.lockout"))
    assert "governance.lockout by ada: answers username__gte with 200" in complaints
    complaints = list(complaints_of_list(matrix, "governance.organisation"))
    assert "governance.organisation by eve: answers people__isnull with 200" in complaints
