"""A digest pins all that a distribution can load, and one that brings more than its own packages is refused."""

from __future__ import annotations

import importlib
import py_compile
import sys
from collections.abc import Callable
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from fedcore.plugin_api.footprint import distribution_digest, trespasses
from fedcore.plugin_api.registry import AllowedDistribution, PluginError, check_footprint

Change = Callable[[Path], None]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one installed distribution, `gentle`, of a package with a module and a data file."""
    package = tmp_path / "gentle"
    package.mkdir()
    for name in ("__init__.py", "inner.py", "words.json"):
        (package / name).write_text("X = 1\n")
    described = tmp_path / "gentle-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: gentle\nVersion: 1.0\n")
    (described / "top_level.txt").write_text("gentle\n")
    (described / "entry_points.txt").write_text("[fedcore.plugins]\ngentle = gentle\n")
    listed = ("gentle/__init__.py", "gentle/inner.py", "gentle/words.json", "gentle-1.0.dist-info/RECORD")
    (described / "RECORD").write_text("".join(f"{name},,\n" for name in listed))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    importlib.invalidate_caches()
    return tmp_path


def gentle(site: Path) -> Distribution:
    return Distribution.at(site / "gentle-1.0.dist-info")


def record(site: Path, *names: str) -> None:
    """These files are there, and the installation lists them."""
    for name in names:
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("import sys\n")
    with (site / "gentle-1.0.dist-info" / "RECORD").open("a") as file:
        file.writelines(f"{name},,\n" for name in names)


def shadowing(site: Path) -> None:
    """Python loads the folder's compiled file before the module of that name beside it."""
    source = site / "evil.py"
    source.write_text("X = 2\n")
    target = site / "gentle" / "inner" / "__init__.pyc"
    target.parent.mkdir()
    py_compile.compile(str(source), cfile=str(target), doraise=True)
    source.unlink()


def behind_a_link(site: Path) -> None:
    (site / "elsewhere").mkdir()
    (site / "elsewhere" / "__init__.py").write_text("X = 2\n")
    (site / "gentle" / "inner").symlink_to(site / "elsewhere", target_is_directory=True)


CHANGES: dict[str, Change] = {
    "a compiled file that shadows a module": shadowing,
    "a compiled file under a module's name in the cache": lambda site: (
        (site / "gentle" / "__pycache__").mkdir(),
        (site / "gentle" / "__pycache__" / "evil.pyc").write_bytes(b"x"),
    )[0],
    "a package behind a link": behind_a_link,
    "a data file": lambda site: (site / "gentle" / "words.json").write_text("X = 2\n") and None,
    "an entry point": lambda site: (
        (site / "gentle-1.0.dist-info" / "entry_points.txt").write_text(
            "[fedcore.plugins]\nx = gentle.inner\n"
        )
        and None
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_could_be_loaded_changes_the_digest(site: Path, change: str) -> None:
    before = distribution_digest(gentle(site))
    CHANGES[change](site)
    assert distribution_digest(gentle(site)) != before


def test_what_the_interpreter_compiles_for_itself_does_not_change_the_digest(site: Path) -> None:
    before = distribution_digest(gentle(site))
    py_compile.compile(str(site / "gentle" / "inner.py"), doraise=True)
    assert list((site / "gentle" / "__pycache__").iterdir())
    assert distribution_digest(gentle(site)) == before


def test_a_distribution_of_its_own_packages_is_let_pass(site: Path) -> None:
    assert list(trespasses(gentle(site), pinned=True)) == []
    check_footprint(AllowedDistribution("gentle"))


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("gentle.pth", "has gentle.pth, which every program of this environment runs"),
        ("sitecustomize.py", "has sitecustomize, which every program of this environment runs"),
        ("usercustomize/__init__.py", "has usercustomize, which every program"),
        ("sklearn/evil.py", "has files in sklearn, which scikit-learn has too"),
        ("json/evil.py", "has files in json, which is not its own"),
        ("plugins/evil.py", "has files in plugins, which is not its own"),
        ("../bin/python", "has ../bin/python outside of its own packages"),
        ("etc/settings.toml", "has etc/settings.toml outside of its own packages"),
        ("scikit_learn-1.dist-info/RECORD", "outside of its own packages"),
        ("__editable__.gentle.pth", "has __editable__.gentle.pth, which every program"),
    ],
)
def test_a_distribution_that_reaches_further_than_its_packages_is_refused(
    site: Path, file: str, said: str
) -> None:
    record(site, file)
    with pytest.raises(PluginError, match="outside of any confinement") as caught:
        check_footprint(AllowedDistribution("gentle", digest="0" * 64))
    assert said in str(caught.value)


def test_an_editable_installation_is_let_pass_while_it_is_not_pinned(site: Path) -> None:
    record(site, "__editable__.gentle.pth", "__editable___gentle_finder.py")
    check_footprint(AllowedDistribution("gentle"))


def test_a_distribution_without_a_list_of_its_files_is_refused(site: Path) -> None:
    (site / "gentle-1.0.dist-info" / "RECORD").unlink()
    with pytest.raises(PluginError, match="has no list of its files"):
        check_footprint(AllowedDistribution("gentle"))
