"""Every address of the REST API and of hosts, by every method, for everybody, on every row."""

from __future__ import annotations

import pytest

from tests.coordinator.permissions.matrix import Matrix, Row
from tests.coordinator.permissions.table_of_api import API_ROWS, HOST_ROWS, RUN_ROWS

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    "rows", [API_ROWS, RUN_ROWS, HOST_ROWS], ids=["people and access", "runs", "owner hosts"]
)
def test_everybody_does_at_the_api_what_the_table_says_and_nothing_else(
    matrix: Matrix, rows: list[Row]
) -> None:
    complaints = matrix.complaints(rows)
    assert complaints == [], "\n" + "\n".join(complaints)
