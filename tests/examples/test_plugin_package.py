"""A third party's package is installed, found through its entry point where it is allowed, and used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "examples" / "plugin_package"

LOADED = """
import json, sys
from fedcore.plugin_api.registry import AllowedDistribution, Registry
registry = Registry.of_distributions([AllowedDistribution(name) for name in sys.argv[1:]])
print(json.dumps({
    "preprocessing": registry.names("preprocessing"),
    "encryption": registry.names("encryption"),
    "models": registry.names("models"),
    "imported": "fedcore_example_plugins" in sys.modules,
}))
"""

TRAINED = """
from fedcore.plugin_api import LabelledRows, Records, Text
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import AllowedDistribution, Registry
from fedcore.wire.spec import Pipeline, PluginChoice, Training
import numpy as np

registry = Registry.of_distributions([AllowedDistribution("fedcore"), AllowedDistribution("fedcore-example-plugins")])
names = ["length_bucket", "words", "protect", "hash_columns"]
steps = [PluginChoice(name="fields", options={"names": ["request"]}), *(PluginChoice(name=name) for name in names)]
pipeline = BuiltPipeline(registry, Pipeline(steps=tuple(steps)), PluginChoice(name="blake2_tokens"), bytes(32))
rows = [b"/index" for _ in range(20)] + [b"/index/" + b"%41" * 50 for _ in range(20)]
features = pipeline.features(Records({"request": Text.from_rows(rows)}), {})
labels = np.repeat(np.array([0, 1]), 20)
model = registry.get("models", "logistic_regression")()
start = model.initial(features, 2, Training())
outcome = model.train(start, LabelledRows(features, labels), 2, Training())
assert (model.scores(outcome.parameters, features).argmax(axis=1) == labels).all()
print(registry.pin("preprocessing", "length_bucket").digest)
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package is installed into, from a copy of its sources and without the network."""
    folder = tmp_path_factory.mktemp("plugins")
    sources = shutil.copytree(PACKAGE, folder / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    target = folder / "installed"
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(sources)]
    subprocess.run(command, check=True, timeout=300)
    return target


def python(installed: Path, *arguments: str) -> str:
    """What Python prints, with the package and fedcore on its path."""
    environment = os.environ | {"PYTHONPATH": f"{installed}{os.pathsep}{ROOT}"}
    done = subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        cwd=installed,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_an_allowed_package_is_found_through_its_entry_point(installed: Path) -> None:
    found = json.loads(python(installed, "-c", LOADED, "fedcore", "fedcore-example-plugins"))
    assert "length_bucket" in found["preprocessing"]
    assert "blake2_tokens" in found["encryption"]
    assert found["models"] == ["linear", "logistic_regression", "mlp"]


def test_a_package_that_is_installed_but_not_allowed_is_never_imported(installed: Path) -> None:
    found = json.loads(python(installed, "-c", LOADED, "fedcore"))
    assert "length_bucket" not in found["preprocessing"]
    assert "blake2_tokens" not in found["encryption"]
    assert found["models"] == ["linear", "mlp"]
    assert not found["imported"]


def test_its_step_backend_and_model_work_with_the_built_in_ones(installed: Path) -> None:
    assert len(python(installed, "-c", TRAINED).strip()) == 64


def test_its_own_tests_pass(installed: Path) -> None:
    printed = python(
        installed, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(installed.parent / "sources")
    )
    assert " passed" in printed
    assert "failed" not in printed
