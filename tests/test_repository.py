"""Rules that hold for every file of the product."""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("fedcore", "plugins", "project")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".txt", ".yml", ".html", ".cfg"}
DANGEROUS_CALLS = {
    "eval",
    "exec",
    "marshal.load",
    "marshal.loads",
    "os.popen",
    "os.system",
    "torch.export.load",
    "torch.hub.load",
    "torch.jit.load",
    "torch.load",
    "yaml.full_load",
    "yaml.load",
    "yaml.unsafe_load",
}
DANGEROUS_ARGUMENTS = {"shell=True", "allow_pickle=True", "weights_only=False"}
UNPICKLING = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve"}
SIGNS_OF_A_CHECK = ("assert", "raises", "expect", "warns", "check", "verify", "fail")


def python_files(*folders: str) -> list[Path]:
    return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def calls_in(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    for found in ast.walk(tree):
        if isinstance(found, ast.Call):
            yield ast.unparse(found.func), found


def imported_names(tree: ast.AST) -> dict[str, str]:
    """What each imported name of a file stands for: `from torch import load as get` gives get: torch.load."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname: alias.name for alias in node.names if alias.asname}
        if isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def modules_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def dangerous(source: str) -> list[str]:
    """The calls, imports and settings of a source text that the product must not have."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = []
    for name, call in calls_in(tree):
        first, _, rest = name.partition(".")
        full = ".".join(filter(None, (names.get(first, first), rest))).removeprefix("builtins.")
        arguments = {f"{word.arg}={ast.unparse(word.value)}" for word in call.keywords if word.arg}
        if full in DANGEROUS_CALLS or arguments & DANGEROUS_ARGUMENTS:
            found.append(f"{full}, line {call.lineno}")
    found += [module for module in modules_in(tree) if module.split(".")[0] in UNPICKLING]
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    return found + [
        f"serialiser {value}" for value in constants if value in ("pickle", "application/x-python-serialize")
    ]


def guessable(source: str) -> list[str]:
    """The uses of generators whose numbers can be predicted: right for simulations, never for keys."""
    tree = ast.parse(source)
    names = imported_names(tree)
    found = [module for module in modules_in(tree) if module == "random" or module.startswith("numpy.random")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "random" and isinstance(node.value, ast.Name):
            found += ["numpy.random"] * (names.get(node.value.id, node.value.id) == "numpy")
    return found


def swallowed(source: str) -> list[str]:
    """The handlers that catch every error and do nothing about it."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            everything = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            idle = all(isinstance(inner, ast.Pass | ast.Continue) for inner in node.body)
            found += [f"line {node.lineno}"] * (everything and idle)
        if isinstance(node, ast.Call) and ast.unparse(node) in (
            "suppress(Exception)",
            "contextlib.suppress(Exception)",
        ):
            found.append(f"line {node.lineno}")
    return found


def files_with(search: Callable[[str], list[str]], *folders: str) -> dict[str, list[str]]:
    found = {str(file.relative_to(ROOT)): search(file.read_text()) for file in python_files(*folders)}
    return {file: places for file, places in found.items() if places}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "import torch as t\nt.load(path)",
        "from torch import load as get\nget(path)",
        "torch.export.load(path)",
        "eval(text)",
        "import builtins\nbuiltins.exec(text)",
        "yaml.load(text)",
        "subprocess.run(command, shell=True)",
        "numpy.load(path, allow_pickle=True)",
        "app.conf.accept_content = ['pickle']",
    ],
)
def test_the_search_for_dangerous_calls_finds_them(source: str) -> None:
    assert dangerous(source)


@pytest.mark.parametrize("source", ["model.load(path)", "policy.evaluate(text)", "executor.exec_all()"])
def test_the_search_for_dangerous_calls_leaves_others_alone(source: str) -> None:
    assert dangerous(source) == []


def test_the_product_has_no_dangerous_calls() -> None:
    assert files_with(dangerous, *PRODUCT) == {}


@pytest.mark.parametrize(
    "source",
    [
        "import random",
        "from random import randbytes",
        "from numpy import random",
        "import numpy as np\nnp.random.default_rng()",
        "from numpy.random import default_rng",
    ],
)
def test_the_search_for_guessable_numbers_finds_them(source: str) -> None:
    assert guessable(source)


def test_keys_and_encryption_use_no_guessable_numbers() -> None:
    assert files_with(guessable, "plugins/encryption", "fedcore/wire") == {}


@pytest.mark.parametrize(
    "source",
    ["try:\n    act()\nexcept Exception:\n    pass", "with contextlib.suppress(Exception):\n    act()"],
)
def test_the_search_for_swallowed_errors_finds_them(source: str) -> None:
    assert swallowed(source)


def test_the_product_swallows_no_error() -> None:
    assert files_with(swallowed, *PRODUCT) == {}


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


def functions_in(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def checks_something(function: ast.AST, checking: set[str]) -> bool:
    """Whether a function asserts, or calls something that does by its name or is one of `checking`."""
    called = {name for name, _ in calls_in(function)}
    named = any(word in name.lower() for name in called for word in SIGNS_OF_A_CHECK)
    return (
        named or bool(called & checking) or any(isinstance(node, ast.Assert) for node in ast.walk(function))
    )


def test_every_test_checks_something() -> None:
    idle = []
    for file in python_files("tests"):
        functions = functions_in(ast.parse(file.read_text()))
        checking = {function.name for function in functions if checks_something(function, set())}
        tests = [function for function in functions if function.name.startswith("test")]
        idle += [
            f"{file}:{test.lineno} {test.name}" for test in tests if not checks_something(test, checking)
        ]
    assert idle == []


def test_no_unfinished_work_and_no_path_of_a_machine() -> None:
    marks = re.compile("|".join(["TO" + "DO", "FIX" + "ME", "Not" + "ImplementedError", "/wo" + "rk/"]))
    files = [
        file
        for folder in (*PRODUCT, "docs", "examples", "benchmarks", "deploy", "tests")
        for file in (ROOT / folder).rglob("*")
        if file.suffix in TEXT_SUFFIXES and ".peers" not in file.parts
    ]
    files += [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile")]
    assert [str(file) for file in files if marks.search(file.read_text())] == []


def test_the_readme_names_the_two_commands() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    assert {"make demo", "make test"} <= set(lines)


def test_ci_runs_the_test_command_of_the_readme_and_all_other_checks() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    recipe = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("check:"))
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert recipe.split("##")[0].split(":")[1].split() == ["check-static", "test"]
    assert [line.split(" ||")[0] for line in script.splitlines() if line.startswith("make ")] == [
        "make --keep-going check-static",
        "make test",
    ]


def test_make_lists_every_recipe_in_one_line() -> None:
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    for recipe in ("demo", "test", "check", "run", "bench", "docs", "clean"):
        assert re.search(rf"^  make {recipe} +\w.+$", shown, re.MULTILINE)


def test_a_skip_of_what_ci_has_to_run_is_a_failure_there(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path)
    (tmp_path / "test_skipping.py").write_text(
        "import pytest\n"
        "@pytest.mark.browser\n"
        "def test_a_page():\n    pytest.skip('no browser')\n"
        "def test_of_choice():\n    pytest.skip('not wanted')\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = browser\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:django", "-p", "no:cacheprovider", "."]
    closing = {}
    for ci in ("", "true"):
        environment = os.environ | {"CI": ci}
        run = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60
        )
        closing[ci] = run.stdout.splitlines()[-1]
    assert closing[""].startswith("2 skipped")
    assert closing["true"].startswith("1 failed, 1 skipped")
