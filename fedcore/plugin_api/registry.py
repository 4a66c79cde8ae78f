"""The registry: which plugins are installed, allowed and used, by group and name.

Loading an entry point runs its code, so only allowed distributions are loaded. After loading, a misspelt
hook is an error, as are two providers of one name: nothing is renamed or shadowed silently.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from pathlib import Path
from typing import Any, Final, TypeVar, cast

import pluggy

from fedcore.plugin_api import hookspecs
from fedcore.plugin_api.aggregators import Aggregator
from fedcore.plugin_api.backends import EncryptionBackend
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.plugins import PLUGIN_API_VERSION, Plugin
from fedcore.plugin_api.readers import DatasetReader
from fedcore.plugin_api.steps import PreprocessingStep
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import PluginPin

ENTRY_POINT_GROUP: Final = "fedcore.plugins"
BUILT_IN: Final = "fedcore"

GROUPS: Final[dict[str, tuple[str, type[Plugin[Any]]]]] = {
    "encryption": ("fedcore_encryption_backends", EncryptionBackend),
    "preprocessing": ("fedcore_preprocessing_steps", PreprocessingStep),
    "models": ("fedcore_model_types", ModelType),
    "aggregation": ("fedcore_aggregators", Aggregator),
    "readers": ("fedcore_dataset_readers", DatasetReader),
}
"""Each group's hook, and the base class of what the hook returns."""

SomePlugin = TypeVar("SomePlugin", bound=Plugin[Any])


class PluginError(Exception):
    """A plugin that cannot be used. The text names the plugin, the rule and the fix."""


class UnknownPlugin(PluginError):
    """No allowed plugin has the name."""


class PluginNotLoaded(UnknownPlugin):
    """No plugin has the name, and it may belong to an allowed distribution that was not loaded."""


@dataclass(frozen=True)
class AllowedDistribution:
    """A distribution whose plugins may be loaded; `version` and `digest` narrow it where given."""

    name: str
    version: str | None = None
    digest: str | None = None


class Registry:
    """The plugins of some distributions, by group and name."""

    def __init__(
        self,
        modules: Iterable[object] = (),
        digests: Mapping[type[Plugin[Any]], str] | None = None,
        not_loaded: Iterable[str] = (),
        unasked: Iterable[str] = (),
    ) -> None:
        """A registry of the given modules or objects with hook implementations.

        `digests` has those of classes that stand for a plugin elsewhere, instead of their own files; `not_loaded`
        says of each allowed distribution that was left out why, and `unasked` of those among them that may have a
        check of releases.
        """
        self._pluggy = pluggy.PluginManager(hookspecs.PROJECT)
        self._digests = dict(digests or {})
        self.not_loaded = tuple(not_loaded)
        self.unasked = tuple(unasked)
        self._pluggy.add_hookspecs(hookspecs)
        self._classes: dict[str, dict[str, type[Plugin[Any]]]] = {}
        for module in modules:
            if not self._pluggy.is_registered(module):
                self._pluggy.register(module)
        self._collect()

    @classmethod
    def of_distributions(cls, allowed: Iterable[AllowedDistribution]) -> Registry:
        """Load the entry points of the allowed distributions, and of no others.

        Raises `PluginError` for a distribution that is not installed, or has another version or digest.
        """
        return cls(point.load() for wanted in allowed for point in installed_entry_points(wanted))

    @property
    def veto(self) -> pluggy.HookCaller:
        """The hook `fedcore_before_release`, to be asked through the release gate."""
        return self._pluggy.hook.fedcore_before_release

    def names(self, group: str) -> list[str]:
        """The names of a group's plugins, sorted."""
        return sorted(self._classes[group])

    def get(self, group: str, name: str) -> type[Plugin[Any]]:
        """The class of a plugin. Raises `UnknownPlugin` with the names that exist."""
        try:
            return self._classes[group][name]
        except KeyError:
            known = ", ".join(self.names(group)) or "none"
            text = f"There is no {group} plugin {name!r} here (there are: {known}). "
            if self.not_loaded:
                raise PluginNotLoaded(text + " ".join(self.not_loaded)) from None
            raise UnknownPlugin(
                f"{text}Install the package that has it and allow its distribution."
            ) from None

    def of_type(self, kind: type[SomePlugin], name: str) -> type[SomePlugin]:
        """The class of a plugin by its base class, such as `of_type(ModelType, "linear")`."""
        group = next(group for group, (_, base) in GROUPS.items() if issubclass(kind, base))
        found = self.get(group, name)
        if not issubclass(found, kind):
            raise UnknownPlugin(f"Plugin {name!r} of group {group} is no {kind.__name__}.")
        return found

    def pin(self, group: str, name: str) -> PluginPin:
        """The identity of an installed plugin: version, and digest of its source files."""
        found = self.get(group, name)
        digest = self._digests.get(found) or source_digest(found)
        return PluginPin(group=group, name=name, version=found.version, digest=digest)

    def check_pins(self, pins: Iterable[PluginPin]) -> None:
        """Raise `WireError` (`plugin_missing`, `plugin_mismatch`) unless exactly these are installed."""
        for pin in pins:
            try:
                installed = self.pin(pin.group, pin.name)
            except (UnknownPlugin, KeyError):
                raise WireError(RefusalCode.PLUGIN_MISSING, f"{pin.group}/{pin.name}") from None
            if installed != pin:
                raise WireError(RefusalCode.PLUGIN_MISMATCH, f"installed {installed}, ordered {pin}")

    def _collect(self) -> None:
        self._refuse_misspelt_hooks()
        for group, (hook, base) in GROUPS.items():
            self._classes[group] = {}
            for implementation in getattr(self._pluggy.hook, hook).get_hookimpls():
                for found in implementation.function():
                    self._add(group, base, found)

    def _refuse_misspelt_hooks(self) -> None:
        try:
            self._pluggy.check_pending()
        except pluggy.PluginValidationError as error:
            raise PluginError(
                f"{error}. The hooks are those of fedcore.plugin_api.hookspecs: correct the name."
            ) from None

    def _add(self, group: str, base: type[Plugin[Any]], found: type[Plugin[Any]]) -> None:
        _check_class(group, base, found)
        other = self._classes[group].setdefault(found.name, found)
        if other is not found:
            raise PluginError(
                f"Two {group} plugins are named {found.name!r}: {_path(other)} and {_path(found)}. Rename one, or "
                "allow only one of their distributions."
            )


def _check_class(group: str, base: type[Plugin[Any]], found: type[Plugin[Any]]) -> None:
    if not (inspect.isclass(found) and issubclass(found, base)):
        raise PluginError(
            f"Hook {GROUPS[group][0]} returned {found!r}, which is no subclass of {base.__name__}."
        )
    missing = [name for name in ("name", "version", "summary") if not getattr(found, name, None)]
    if missing:
        raise PluginError(f"Plugin {_path(found)} does not set {', '.join(missing)}.")
    if inspect.isabstract(found):
        methods = ", ".join(sorted(cast("Any", found).__abstractmethods__))
        raise PluginError(f"Plugin {_path(found)} does not implement {methods}.")
    if found.api_version != PLUGIN_API_VERSION:
        raise PluginError(
            f"Plugin {_path(found)} was written for version {found.api_version} of the plugin API, this is "
            f"version {PLUGIN_API_VERSION}. Install a release of the plugin for this version."
        )


def installed_entry_points(
    wanted: AllowedDistribution, found: Distribution | None = None
) -> list[EntryPoint]:
    """The entry points of an allowed distribution, none of them loaded; `found` is the distribution, if it is known.

    Raises `PluginError` for a distribution that is not installed, or has another version or digest.
    """
    found = found or installed_distribution(wanted.name)
    if wanted.version is not None and found.version != wanted.version:
        raise PluginError(
            f"Distribution {wanted.name!r} is installed as {found.version}, allowed is {wanted.version}."
        )
    if wanted.digest is not None and distribution_digest(found) != wanted.digest:
        raise PluginError(
            f"The files of distribution {wanted.name!r} have digest {distribution_digest(found)}, allowed is "
            f"{wanted.digest}. Compare the installation with the release before you allow it."
        )
    return [point for point in found.entry_points if point.group == ENTRY_POINT_GROUP]


def installed_distribution(name: str) -> Distribution:
    """The installed distribution of this name. Raises `PluginError`."""
    found = next((d for d in distributions() if d.name.lower() == name.lower()), None)
    if found is None:
        raise PluginError(f"Distribution {name!r} is allowed but not installed. Install it, or remove it.")
    return found


def distribution_digest(distribution: Distribution) -> str:
    """SHA-256 over names and contents of all code of a distribution, in sorted order: Python files and extensions.

    It is the same however the distribution was installed: for an editable installation its packages are read where
    they lie.
    """
    files = {str(file): Path(str(file.locate())) for file in distribution.files or [] if _is_code(file.name)}
    for name in _packages_of(distribution):
        spec = importlib.util.find_spec(name)
        folders = [] if spec is None else list(spec.submodule_search_locations or [])
        if spec is not None and spec.origin is not None and not folders:
            files[Path(spec.origin).name] = Path(spec.origin)
        for folder in map(Path, folders):
            files |= {str(file.relative_to(folder.parent)): file for file in _code_below(folder)}
    return _digest_of({name: file for name, file in files.items() if not name.startswith("__editable__")})


def top_level_names(distribution: str) -> list[str]:
    """The top-level packages and modules of an installed distribution. Raises `PluginError`."""
    return _packages_of(installed_distribution(distribution))


def _packages_of(distribution: Distribution) -> list[str]:
    listed = (distribution.read_text("top_level.txt") or "").split()
    points = [point.module for point in distribution.entry_points if point.group == ENTRY_POINT_GROUP]
    files = [str(file) for file in distribution.files or [] if _is_code(file.name)]
    names = {name.split(".")[0] for name in (*listed, *points)}
    names |= {file.split("/")[0].removesuffix(".py") for file in files}
    return sorted(name for name in names if name.isidentifier() and not name.startswith("__editable__"))


def _is_code(name: str) -> bool:
    return name.endswith((".py", ".so", ".pyd"))


def _code_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if _is_code(path.name) and path.is_file()]


@cache
def source_digest(plugin: type[Plugin[Any]]) -> str:
    """SHA-256 over names and contents of the Python files in the folder of the plugin's class."""
    package = inspect.getmodule(plugin)
    alone = package is not None and not package.__package__
    return folder_digest(Path(inspect.getfile(plugin)), alone)


def folder_digest(source: Path, alone: bool) -> str:
    """SHA-256 over the Python files in the folder of `source`, or over it `alone`."""
    files = [source] if alone else sorted(source.parent.rglob("*.py"))
    return _digest_of({str(file.relative_to(source.parent)): file for file in files})


def _digest_of(files: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name in sorted(files):
        content = files[name].read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _path(plugin: type[Plugin[Any]]) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"
