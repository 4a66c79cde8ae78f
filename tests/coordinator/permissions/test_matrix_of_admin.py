from __future__ import annotations

import pytest

from tests.coordinator.permissions.matrix import Matrix
from tests.coordinator.permissions.table_of_admin import *

pytestmark = pytest.mark.django_db

@pytest.mark.parametrize("rows",[ADMIN_PAGES,ADMIN_OF_PEOPLE,ADMIN_OF_ACCESS,ADMIN_OF_CATALOGUE,ADMIN_OF_WORK],ids=["p","people","acc","cat","work"])
def test_api(matrix: Matrix,rows) -> None:
    import collections,time
    found=[]
    for row in rows:
        t=time.time(); n=matrix.tried
        found += matrix.complaints([row])
        print(f"{row.pattern:60} {matrix.tried-n:6} {time.time()-t:.2f}")
    import pathlib
    with open("/tmp/complaints.txt","a") as f: f.write("\n".join(found)+"\n")
    assert len(found) == 0
