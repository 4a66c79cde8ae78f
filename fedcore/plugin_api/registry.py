"""The registry: which plugins are installed, allowed and used, by group and name.

Loading an entry point runs its code, so only allowed distributions are loaded. After loading, a misspelt
hook is an error, as are two providers of one name: nothing is renamed or shadowed silently.
"""

from __future__ import annotations

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
from fedcore.plugin_api.footprint import (
    ENTRY_POINT_GROUP,
    distribution_digest,
    folder_digest,
    packages_of,
    trespasses,
)
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.plugins import PLUGIN_API_VERSION, Plugin
from fedcore.plugin_api.readers import DatasetReader
from fedcore.plugin_api.steps import PreprocessingStep
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import PluginPin

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


def check_footprint(wanted: AllowedDistribution) -> None:
    """Raise `PluginError` if an allowed distribution has installed more than packages of its own."""
    found = list(trespasses(installed_distribution(wanted.name), pinned=wanted.digest is not None))
    if found:
        raise PluginError(
            f"Distribution {wanted.name!r} {'; '.join(found[:5])}. What lies there runs or is read outside of any "
            "confinement: remove the distribution, and ask its author for one that only brings its plugins."
        )


def installed_distribution(name: str) -> Distribution:
    """The installed distribution of this name. Raises `PluginError`."""
    found = next((d for d in distributions() if str(d.name).lower() == name.lower()), None)
    if found is None:
        raise PluginError(f"Distribution {name!r} is allowed but not installed. Install it, or remove it.")
    return found


def top_level_names(distribution: str) -> list[str]:
    """The top-level packages and modules of an installed distribution. Raises `PluginError`."""
    return packages_of(installed_distribution(distribution))


@cache
def source_digest(plugin: type[Plugin[Any]]) -> str:
    """SHA-256 over names and contents of the Python files in the folder of the plugin's class."""
    package = inspect.getmodule(plugin)
    alone = package is not None and not package.__package__
    return folder_digest(Path(inspect.getfile(plugin)), alone)


def _path(plugin: type[Plugin[Any]]) -> str:
    return f"{plugin.__module__}.{plugin.__qualname__}"
