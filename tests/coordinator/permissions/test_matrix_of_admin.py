"""Every page of the admin, by every method, for everybody, on every row."""

from __future__ import annotations

import pytest
from django.contrib import admin

from tests.coordinator.permissions.lookups import FILTERS, complaints_of_list
from tests.coordinator.permissions.matrix import Matrix, Row
from tests.coordinator.permissions.table_of_admin import (
    ADMIN_OF_ACCESS,
    ADMIN_OF_AUDIT,
    ADMIN_OF_CATALOGUE,
    ADMIN_OF_PEOPLE,
    ADMIN_OF_WORK,
    ADMIN_PAGES,
)

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "rows",
    [ADMIN_PAGES, ADMIN_OF_PEOPLE, ADMIN_OF_ACCESS, ADMIN_OF_CATALOGUE, ADMIN_OF_AUDIT, ADMIN_OF_WORK],
    ids=["general pages", "people", "access", "catalogue", "audit", "work"],
)
def test_everybody_does_in_the_admin_what_the_table_says_and_nothing_else(
    matrix: Matrix, rows: list[Row]
) -> None:
    complaints = matrix.complaints(rows)
    assert complaints == [], "\n" + "\n".join(complaints)


def test_every_list_of_the_admin_has_a_row_of_its_filters() -> None:
    assert {model._meta.label_lower for model in admin.site._registry} == set(FILTERS)


@pytest.mark.parametrize("label", sorted(FILTERS))
def test_a_list_filters_by_its_own_filters_and_tells_nothing_by_another_lookup(
    matrix: Matrix, label: str
) -> None:
    complaints = list(complaints_of_list(matrix, label))
    assert complaints == [], "\n" + "\n".join(complaints)
