"""The launcher, which nothing confines, loads modules of its libraries only as these were installed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import sklearn

from fedcore.owner.confined.genuine import is_as_installed


def test_modules_of_the_libraries_and_of_fedcore_are_genuine() -> None:
    assert is_as_installed("sklearn.linear_model")
    assert is_as_installed("scipy.special")
    assert is_as_installed("fedcore.plugin_api.rows")


def test_a_module_that_another_distribution_put_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit")
    monkeypatch.setattr(sklearn, "__path__", [*sklearn.__path__, str(tmp_path)])
    assert not is_as_installed("sklearn.evil")
    assert not is_as_installed("sklearn.there_is_none")


def test_a_library_is_not_loaded_to_look_for_a_part_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sklearn")
    assert not is_as_installed("sklearn.linear_model")
    assert "sklearn" not in sys.modules


def test_a_module_that_was_overwritten_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: real(path) + b"\n")
    assert not is_as_installed("sklearn.linear_model")
