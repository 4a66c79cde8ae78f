"""Every address of the API, by every method, for everybody, on every row."""

from __future__ import annotations

import pytest

from tests.coordinator.permissions.matrix import Matrix
from tests.coordinator.permissions.table_of_api import API_ROWS


pytestmark = pytest.mark.django_db


def test_api(matrix: Matrix) -> None:
    import collections,time
    found=[]
    for row in API_ROWS:
        t=time.time(); n=matrix.tried
        found += matrix.complaints([row])
        print(f"{row.pattern:60} {matrix.tried-n:6} {time.time()-t:.2f}")
    import pathlib
    open("/tmp/complaints.txt","a").write("\n".join(found)+"\n")
    assert len(found) == 0
