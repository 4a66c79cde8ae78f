"""Rules that hold for every file of the product."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("fedcore", "plugins", "project")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yml", ".html", ".cfg"}
SIGNS_OF_A_CHECK = ("assert", "raises", "expect", "warns", "check", "verify", "fail")


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def calls_in(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for found in ast.walk(tree):
        if isinstance(found, ast.Call):
            yield ast.unparse(found.func), found


def dangerous(source: str) -> list[str]:
    """The calls and imports of a source text that the product must not have."""
    tree = ast.parse(source)
    found = []
    for name, call in calls_in(tree):
        arguments = {f"{word.arg}={ast.unparse(word.value)}" for word in call.keywords if word.arg}
        exact = {"eval", "exec", "torch.load", "torch.export.load", "yaml.load", "os.system", "marshal.loads"}
        if name in exact or arguments & {"shell=True", "allow_pickle=True", "weights_only=False"}:
            found.append(f"{name}, line {call.lineno}")
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [m for m in modules if m.split(".")[0] in {"pickle", "cloudpickle", "dill", "joblib", "shelve"}]
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "eval(text)",
        "subprocess.run(command, shell=True)",
        "numpy.load(path, allow_pickle=True)",
    ],
)
def test_the_search_for_dangerous_calls_finds_them(source: str) -> None:
    assert dangerous(source)


def test_the_product_has_no_dangerous_calls() -> None:
    found = {str(file): dangerous(file.read_text()) for file in python_files(*PRODUCT)}
    assert {file: calls for file, calls in found.items() if calls} == {}


def test_functions_and_files_stay_small() -> None:
    long = []
    for file in python_files(*PRODUCT):
        if file.parent.name == "migrations":
            continue
        text = file.read_text()
        long += [str(file)] * (len(text.splitlines()) > 400)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                long += [f"{file}:{node.lineno} {node.name} has {lines} lines"] * (lines > 60)
    assert long == []


def test_every_test_checks_something() -> None:
    idle = []
    for file in python_files("tests"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                checks = any(isinstance(inner, ast.Assert) for inner in ast.walk(node))
                checks |= any(
                    word in name.lower() for name, _ in calls_in(node) for word in SIGNS_OF_A_CHECK
                )
                idle += [] if checks else [f"{file}:{node.lineno} {node.name}"]
    assert idle == []


def test_no_unfinished_work_and_no_path_of_a_machine() -> None:
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "Not" + "ImplementedError", "/wo" + "rk/"]))
    files = [
        file
        for folder in (*PRODUCT, "docs", "examples", "benchmarks", "deploy", "tests")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in TEXT_SUFFIXES
    ]
    files += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")]
    assert [str(file) for file in files if marks.search(file.read_text())] == []


def test_the_readme_names_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert {"make demo", "make test"} <= set(lines)
