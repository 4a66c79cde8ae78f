"""The registry loads what is allowed, and every mistake names its culprit."""

from __future__ import annotations

import importlib
import sys
from importlib.metadata import Distribution, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fedcore.plugin_api import ModelType, Options, PreprocessingStep, Text, ValueKind, hookimpl
from fedcore.plugin_api.footprint import distribution_digest
from fedcore.plugin_api.plugins import Options as PluginOptions
from fedcore.plugin_api.registry import (
    BUILT_IN,
    AllowedDistribution,
    PluginError,
    Registry,
    UnknownPlugin,
)
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from plugins import models, preprocessing


class Reverse(PreprocessingStep[Options]):
    """A step like any third party's."""

    name = "reverse"
    version = "1"
    summary = "Rows backwards."
    takes = ValueKind.TEXT
    gives = ValueKind.TEXT

    def apply(self, value: Text) -> Text:
        return Text.from_rows([row[::-1] for row in value])


def package(*classes: Any, hook: str = "fedcore_preprocessing_steps") -> ModuleType:
    """A package whose hook returns these classes."""
    found = ModuleType(f"package_of_{classes[0]!r}")

    def implementation() -> list[Any]:
        return list(classes)

    implementation.__name__ = hook
    setattr(found, hook, hookimpl(implementation))
    return found


def problem(*modules: object) -> str:
    with pytest.raises(PluginError) as caught:
        Registry(modules)
    return str(caught.value)


def test_the_built_in_plugins_are_found_through_their_entry_points() -> None:
    registry = Registry.of_distributions([AllowedDistribution(BUILT_IN)])
    assert registry.names("models") == ["linear", "mlp"]
    assert {"words", "hash_columns"} <= set(registry.names("preprocessing"))
    assert {"plaintext", "keyed_tokens"} <= set(registry.names("encryption"))


def test_nothing_is_loaded_that_is_not_allowed() -> None:
    registry = Registry.of_distributions([])
    assert registry.names("models") == []


def test_an_unknown_plugin_is_named_with_those_that_exist() -> None:
    with pytest.raises(UnknownPlugin, match=r"no models plugin 'forest' here \(there are: linear, mlp\)"):
        Registry([models]).get("models", "forest")


def test_a_plugin_of_another_kind_is_not_given() -> None:
    class Special(ModelType[Options]):
        """A kind that no plugin is of."""

    with pytest.raises(UnknownPlugin, match="'linear' of group models is no Special"):
        Registry([models]).of_type(Special, "linear")


def test_two_providers_of_one_name_are_an_error_that_names_both() -> None:
    class Other(Reverse):
        pass

    text = problem(package(Reverse), package(Other))
    assert "Two preprocessing plugins are named 'reverse'" in text
    assert "test_registry.Reverse" in text
    assert "Other" in text


def test_a_module_named_by_two_entry_points_is_no_conflict() -> None:
    module = package(Reverse)
    assert Registry([module, module]).names("preprocessing") == ["reverse"]


def test_a_misspelt_hook_is_an_error() -> None:
    text = problem(package(Reverse, hook="fedcore_preprocesing_steps"))
    assert "fedcore_preprocesing_steps" in text
    assert "correct the name" in text


def test_a_plugin_that_does_not_say_who_it_is_is_an_error() -> None:
    class Nameless(Reverse):
        version = ""
        summary = ""

    assert "Nameless does not set version, summary" in problem(package(Nameless))


def test_a_plugin_that_leaves_a_method_out_is_an_error_that_names_it() -> None:
    class Unfinished(PreprocessingStep[Options]):
        name = "unfinished"
        version = "1"
        summary = "Lacks apply."

    assert "Unfinished does not implement apply" in problem(package(Unfinished))


def test_a_plugin_for_another_plugin_api_is_an_error() -> None:
    class Late(Reverse):
        api_version = 99

    text = problem(package(Late))
    assert "Late was written for version 99" in text
    assert "Install a release of the plugin for this version" in text


@pytest.mark.parametrize("wrong", [object(), Text, Reverse()])
def test_a_hook_that_returns_something_else_is_an_error(wrong: object) -> None:
    assert "no subclass of PreprocessingStep" in problem(package(wrong))


def test_a_distribution_that_is_not_installed_is_an_error() -> None:
    with pytest.raises(PluginError, match="'no-such-package' is allowed but not installed"):
        Registry.of_distributions([AllowedDistribution("no-such-package")])


def test_another_version_than_the_allowed_one_is_not_loaded() -> None:
    with pytest.raises(PluginError, match=r"installed as .*, allowed is 99"):
        Registry.of_distributions([AllowedDistribution(BUILT_IN, version="99")])


def test_other_files_than_the_allowed_ones_are_not_loaded() -> None:
    installed = distribution_digest(distribution("pluggy"))
    Registry.of_distributions([AllowedDistribution("pluggy", digest=installed)])
    with pytest.raises(PluginError, match=f"digest {installed}, allowed is {'0' * 64}"):
        Registry.of_distributions([AllowedDistribution("pluggy", digest="0" * 64)])


def distribution_of(site: Path, package: Path, **files: str) -> Distribution:
    """An installation: its description in `site`, its code where `package` is."""
    package.mkdir(parents=True)
    for name, text in {"__init__": "X = 1\n", **files}.items():
        (package / f"{name}.py").write_text(text)
    described = site / "other_plugins-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: other-plugins\nVersion: 1.0\n")
    (described / "top_level.txt").write_text("other_plugins\n")
    editable = package.parent != site
    (described / "RECORD").write_text(
        "__editable___other.py,,\n" if editable else "other_plugins/__init__.py,,\n"
    )
    (site / "__editable___other.py").write_text(f"MAPPING = {str(package)!r}\n")
    return Distribution.at(described)


def test_an_editable_installation_has_the_digest_of_its_code_and_of_all_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digest(site: Path, package: Path, **files: str) -> str:
        found = distribution_of(site, package, **files)
        monkeypatch.setattr(sys, "path", [str(package.parent), *sys.path])
        importlib.invalidate_caches()
        return distribution_digest(found)

    plain = digest(tmp_path / "a", tmp_path / "a" / "other_plugins")
    assert digest(tmp_path / "b", tmp_path / "sources" / "other_plugins") == plain
    assert digest(tmp_path / "c", tmp_path / "more" / "other_plugins", evil="X = 2\n") != plain


def test_pins_of_installed_plugins_pass() -> None:
    registry = Registry([models, preprocessing])
    registry.check_pins([registry.pin("models", "linear"), registry.pin("preprocessing", "words")])


@pytest.mark.parametrize("change", [{"version": "2"}, {"digest": "0" * 64}])
def test_a_pin_of_another_version_or_other_files_is_refused(change: dict[str, str]) -> None:
    registry = Registry([models])
    pin = registry.pin("models", "linear").model_copy(update=change)
    with pytest.raises(WireError) as caught:
        registry.check_pins([pin])
    assert caught.value.code is RefusalCode.PLUGIN_MISMATCH


@pytest.mark.parametrize("change", [{"name": "forest"}, {"group": "transport"}])
def test_a_pin_of_a_plugin_that_is_missing_is_refused(change: dict[str, str]) -> None:
    registry = Registry([models])
    pin = registry.pin("models", "linear").model_copy(update=change)
    with pytest.raises(WireError) as caught:
        registry.check_pins([pin])
    assert caught.value.code is RefusalCode.PLUGIN_MISSING


def test_a_plugin_is_printed_with_the_names_of_its_options_only() -> None:
    class Login(PluginOptions):
        user: str
        password: str

    class Secretive(Reverse):
        Options = Login

    assert repr(Secretive({"user": "olga", "password": "swordfish"})) == "<Secretive reverse(user, password)>"
