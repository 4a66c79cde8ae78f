"""What may import what, beyond the contracts of import-linter: seen by importing in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCKING_IMPORT = """
import importlib, pkgutil, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ImportError(f"{name} is absent here")
sys.meta_path.insert(0, Absent())
package = importlib.import_module(PACKAGE)
for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    if module.name not in SKIPPED:
        importlib.import_module(module.name)
print("imported")
"""


def import_all(package: str, without: set[str], skipped: set[str] = frozenset()) -> str:
    """Import every module of `package` where the packages `without` cannot be imported."""
    head = f"BLOCKED, PACKAGE, SKIPPED = {without!r}, {package!r}, {set(skipped)!r}"
    command = [sys.executable, "-c", head + BLOCKING_IMPORT]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return finished.stdout + finished.stderr


@pytest.mark.parametrize(
    ("package", "without", "skipped"),
    [
        ("fedcore.wire", {"django", "torch", "numpy", "celery", "pluggy"}, set()),
        ("fedcore.privacy", {"django", "torch"}, set()),
        ("fedcore.plugin_api", {"django", "torch", "sklearn", "celery"}, {"fedcore.plugin_api.testing"}),
        ("fedcore.owner", {"django", "rest_framework"}, set()),
        ("fedcore.client", {"django", "torch", "celery", "matplotlib", "sklearn"}, set()),
        ("plugins", {"django", "rest_framework", "celery"}, set()),
    ],
)
def test_a_package_imports_without_what_it_must_not_need(
    package: str, without: set[str], skipped: set[str]
) -> None:
    assert import_all(package, without, skipped).endswith("imported\n")


def test_a_blocked_package_is_really_absent() -> None:
    assert "django is absent here" in import_all("fedcore.coordinator", {"django"})
