"""What is installed: exact, said once, and enough for each side alone."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
SHARED: Final = ("fedcore/wire", "fedcore/privacy", "fedcore/plugin_api")
SIDES: Final = {
    "coordinator": (*SHARED, "fedcore/broker.py", "fedcore/coordinator", "plugins", "project"),
    "owner": (*SHARED, "fedcore/broker.py", "fedcore/owner", "plugins"),
    "client": ("fedcore/wire", "fedcore/client"),
}
OPTIONAL: Final = {
    "coordinator": {"MySQLdb", "pymysql", "matplotlib", "pytest"},
    "owner": {"pytest"},
    "client": {"torch"},
}
"""Imported only where somebody chose it: a driver of a database, contract tests, the torch dataset."""


def lines(name: str) -> list[str]:
    texts = (ROOT / name).read_text().splitlines()
    return [text for text in texts if text and not text.startswith("#")]


def pins(name: str) -> dict[str, str]:
    """The exact version of each distribution in a requirement file; anything but an exact version fails."""
    found = {}
    for text in lines(name):
        if not text.startswith("-"):
            requirement = Requirement(text)
            exact = re.fullmatch(r"==([^*,]+)", str(requirement.specifier))
            assert exact, f"{name}: {text} is not exact"
            found[canonicalize_name(requirement.name)] = exact[1]
    return found


@cache
def constraints() -> dict[str, str]:
    return pins("requirements/constraints.txt")


@pytest.mark.parametrize("name", ["requirements.txt", "requirements/development.txt"])
def test_every_requirement_is_exact_and_agrees_with_the_constraints(name: str) -> None:
    assert {key: constraints().get(key) for key in pins(name)} == pins(name)


def test_the_requirements_are_constrained_and_end_with_the_project_itself() -> None:
    assert (lines("requirements.txt")[0], lines("requirements.txt")[-1]) == (
        "-c requirements/constraints.txt",
        "-e .",
    )


@pytest.mark.parametrize("side", SIDES)
def test_the_file_of_one_side_installs_its_extra_from_the_root(side: str) -> None:
    constraint, project = lines(f"requirements/{side}.txt")
    asked = re.fullmatch(r"-e \.\[([a-z,]+)\]", project)
    assert constraint == "-c constraints.txt"
    assert asked
    assert side in asked[1].split(",")
    assert set(asked[1].split(",")) <= set(EXTRAS)


def test_what_the_project_declares_admits_the_pinned_versions() -> None:
    declared = [Requirement(text) for texts in [PROJECT["dependencies"], *EXTRAS.values()] for text in texts]
    wrong = [
        str(requirement)
        for requirement in declared
        if constraints().get(canonicalize_name(requirement.name), "none") not in requirement.specifier
    ]
    assert wrong == []


def imported(paths: tuple[str, ...]) -> set[str]:
    """The names of all packages that the Python files of these folders import, at any depth of their code."""
    names = set()
    files = [file for path in paths for file in [ROOT / path, *(ROOT / path).rglob("*.py")] if file.is_file()]
    for node in (node for file in files for node in ast.walk(ast.parse(file.read_text()))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"fedcore", "plugins", "project"}


def needed_in_turn(distributions: set[str]) -> set[str]:
    """What a distribution brings that its users import as a part of it, not beside it."""
    parts = {
        "celery": {"kombu", "redis"},
        "django": {"asgiref"},
        "numba": {"llvmlite"},
        "pydantic": {"pydantic-core"},
    }
    return {part for name in distributions for part in parts.get(name, ())}


@pytest.mark.parametrize("side", SIDES)
def test_one_side_declares_all_that_it_imports(side: str) -> None:
    extras = lines(f"requirements/{side}.txt")[-1].split("[")[1].rstrip("]").split(",")
    texts = [*PROJECT["dependencies"], *(text for extra in extras for text in EXTRAS[extra])]
    declared = {canonicalize_name(Requirement(text).name) for text in texts}
    declared |= needed_in_turn(declared)
    providers = packages_distributions()
    missing = [
        name
        for name in sorted(imported(SIDES[side]) - OPTIONAL[side])
        if declared.isdisjoint(canonicalize_name(provider) for provider in providers.get(name, ()))
    ]
    assert missing == []
