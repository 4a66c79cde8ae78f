"""The plugins of an owner's host: fedcore's own are loaded here, all others stand in for confined processes.

No code of a third party is ever imported by the agent, a worker or the process of a task. What a distribution has is
asked of a confined process that loads it; a distribution that cannot be confined, or that tries something while it is
loaded, is left out with its reason. Then the runs that need it are refused, and nothing is released at all, because
nobody knows whether it has a check that would refuse, unless its entry in the policy says that it has none. It is
tried again after a while: a machine that was busy is enough to be left out.
"""

from __future__ import annotations

import logging
import math
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from fedcore.owner.confined.calling import LAUNCHER, PluginStopped, Terms, calling
from fedcore.owner.confined.descriptions import (
    BackendSaid,
    DistributionSaid,
    ModelSaid,
    PluginSaid,
    ReaderSaid,
    StepSaid,
)
from fedcore.owner.confined.frames import Frame
from fedcore.owner.confined.proxies import (
    ConfinedBackend,
    ConfinedFittedStep,
    ConfinedModel,
    ConfinedPlugin,
    ConfinedReader,
    ConfinedStep,
    Side,
    Source,
    side_of,
)
from fedcore.owner.confined.reach import package_folders
from fedcore.owner.confined.release_check import ConfinedCheck
from fedcore.owner.description import Distribution
from fedcore.plugin_api.footprint import folder_digest
from fedcore.plugin_api.hookspecs import Release, Verdict, hookimpl
from fedcore.plugin_api.models import TrainingDiverged
from fedcore.plugin_api.plugins import InvalidOptions, Plugin
from fedcore.plugin_api.readers import UnreadableDataset
from fedcore.plugin_api.registry import (
    BUILT_IN,
    AllowedDistribution,
    PluginError,
    Registry,
    check_footprint,
    installed_entry_points,
    top_level_names,
)
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError

logger = logging.getLogger(__name__)

_SHARE_OF_TIME: Final = 0.9
"""A plugin gets this share of its task's seconds, so that it is the plugin that is stopped and named, not the task."""
AGAIN_SECONDS: Final = 30.0
"""After this long, at the soonest, what could not be loaded is tried again."""
_MOST_REGISTRIES: Final = 4
_UNTIL_THEN: Final = {
    True: "Nothing is released until it is: it may check releases.",
    False: "Runs that need it are refused.",
}
_OF_ITS_CLASS: Final = frozenset({"group", "file", "alone", "path", "rounds"})


class ConfinedPackage:
    """The hooks of a third-party distribution, answered with stand-ins."""

    def __init__(self, name: str, classes: dict[str, list[type[ConfinedPlugin]]]) -> None:
        self.__name__ = name
        self._classes = classes

    @hookimpl
    def fedcore_encryption_backends(self) -> list[Any]:
        return self._classes["encryption"]

    @hookimpl
    def fedcore_preprocessing_steps(self) -> list[Any]:
        return self._classes["preprocessing"]

    @hookimpl
    def fedcore_model_types(self) -> list[Any]:
        return self._classes["models"]

    @hookimpl
    def fedcore_dataset_readers(self) -> list[Any]:
        return self._classes["readers"]


class CheckingPackage(ConfinedPackage):
    """A distribution that also checks releases."""

    def __init__(self, name: str, classes: dict[str, list[type[ConfinedPlugin]]], source: Source) -> None:
        super().__init__(name, classes)
        self._check = ConfinedCheck(source)

    @hookimpl
    def fedcore_before_release(self, release: Release) -> Verdict:
        return self._check.verdict(release)  # type: ignore[return-value]


@dataclass(frozen=True)
class _Tried:
    """A registry, and the moment from which on what it lacks is tried again."""

    registry: Registry
    again_at: float


_TRIED: Final[dict[tuple[tuple[Distribution, ...], Terms], _Tried]] = {}


def plugins_of(distributions: tuple[Distribution, ...], terms: Terms) -> Registry:
    """The plugins of these distributions, as the policy allows them. A process asks for each distribution once.

    One that could not be loaded is asked for again, but no sooner than after ten times as long as that took.
    Raises `PluginError` for a distribution that is not installed, is another version, or is wrong in itself.
    """
    key, began = (distributions, terms), time.monotonic()
    tried = _TRIED.get(key)
    if tried is None or began >= tried.again_at:
        registry, now = _registry(distributions, terms), time.monotonic()
        again_at = now + max(AGAIN_SECONDS, 10 * (now - began)) if registry.not_loaded else math.inf
        if len(_TRIED) >= _MOST_REGISTRIES:
            _TRIED.clear()
        tried = _TRIED[key] = _Tried(registry, again_at)
    return tried.registry


def _registry(distributions: tuple[Distribution, ...], terms: Terms) -> Registry:
    modules: list[object] = []
    digests: dict[type[Plugin[Any]], str] = {}
    not_loaded: list[str] = []
    unasked: list[str] = []
    for distribution in distributions:
        allowed = AllowedDistribution(distribution.name, distribution.version, distribution.digest)
        if distribution.name.lower() == BUILT_IN:
            modules += [point.load() for point in installed_entry_points(allowed)]
            continue
        try:
            package, its_digests = _confined(Source(allowed, terms, distribution.holds_keys))
        except PluginStopped as error:
            if error.code is RefusalCode.WORKER_LOST:
                raise PluginError(str(error)) from None
            not_loaded.append(str(error))
            if distribution.checks_releases:
                unasked.append(str(error))
            logger.error("%s It is not loaded. %s", error, _UNTIL_THEN[distribution.checks_releases])
            continue
        if isinstance(package, CheckingPackage) and not distribution.checks_releases:
            raise PluginError(
                f"Distribution {distribution.name!r} checks releases, and its [[plugins]] entry says checks_releases = "
                "false. Remove that line."
            )
        modules.append(package)
        digests |= its_digests
    return Registry(modules, digests, not_loaded, unasked)


def terms_of(memory_mb: int, seconds: int, hidden: str, unconfined: bool) -> Terms:
    """The terms on which third-party plugins run, by the limits of a task and the policy."""
    return Terms(memory_mb, max(1, int(seconds * _SHARE_OF_TIME)), Path(hidden), needed=not unconfined)


@lru_cache(maxsize=16)
def _confined(source: Source) -> tuple[ConfinedPackage, dict[type[Plugin[Any]], str]]:
    """The stand-ins for a distribution's plugins, and the digests of what they stand for."""
    name = source.distribution.name
    digests: dict[type[Plugin[Any]], str] = {}
    installed_entry_points(source.distribution)
    check_footprint(source.distribution)
    said = _said(source)
    for cold in said.not_warmed:
        logger.warning("Plugin %s of distribution %s could not be warmed.", cold, name)
    if said.imported:
        LAUNCHER.preload(said.imported)
    classes: dict[str, list[type[ConfinedPlugin]]] = {
        "encryption": [], "preprocessing": [], "models": [], "readers": []
    }  # fmt: skip
    folders = [os.path.realpath(folder) for folder in package_folders(top_level_names(name))]
    for plugin in said.plugins:
        stand_in = _stand_in(source, plugin)
        classes[plugin.group].append(stand_in)
        digests[stand_in] = folder_digest(_checked_file(plugin, name, folders), plugin.alone)
    package = CheckingPackage(name, classes, source) if said.vetoes else ConfinedPackage(name, classes)
    return package, digests


def _said(source: Source) -> DistributionSaid:
    try:
        with calling(source.distribution, source.hurried.terms) as child:
            facts = child.call(Frame("describe"), "its package").facts
        return DistributionSaid.model_validate(facts)
    except (ValidationError, WireError, InvalidOptions, UnreadableDataset, TrainingDiverged) as error:
        raise PluginError(
            f"Distribution {source.distribution.name!r} describes its plugins wrongly: {error}"
        ) from None


def _checked_file(plugin: PluginSaid, distribution: str, folders: Iterable[str]) -> Path:
    """The file of the plugin's class, which must be the distribution's own: its digest identifies the plugin."""
    real = os.path.realpath(plugin.file)
    if not any(real == folder or real.startswith(f"{folder}/") for folder in folders):
        raise PluginError(
            f"Plugin {plugin.path} is not in a file of its distribution {distribution!r}, so nothing identifies it."
        )
    return Path(real)


def _stand_in(source: Source, said: StepSaid | BackendSaid | ModelSaid | ReaderSaid) -> type[ConfinedPlugin]:
    declared = {name: getattr(said, name) for name in type(said).model_fields if name not in _OF_ITS_CLASS}
    common = {"group": said.group, "source": source, "__module__": said.path.rpartition(".")[0]}
    name = said.path.rpartition(".")[2]
    match said:
        case StepSaid(rounds=None):
            return type(name, (ConfinedStep,), {**declared, **common, "side": side_of(said.takes)})
        case StepSaid():
            steps = {"rounds": said.rounds, "side": side_of(said.takes)}
            return type(name, (ConfinedFittedStep,), {**declared, **common, **steps})
        case BackendSaid():
            return type(name, (ConfinedBackend,), {**declared, **common, "side": Side.PROTECTION})
        case ModelSaid():
            return type(name, (ConfinedModel,), {**declared, **common, "side": Side.AFTER})
        case _:
            return type(name, (ConfinedReader,), {**declared, **common})
