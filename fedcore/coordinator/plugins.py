"""The plugins that the coordinator has, and how they describe themselves to people."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.conf import settings

from fedcore.plugin_api.backends import LEAK_TEXTS, EncryptionBackend
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.plugins import Plugin
from fedcore.plugin_api.registry import GROUPS, AllowedDistribution, Registry, UnknownPlugin
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep


def installed() -> Registry:
    """The plugins of the distributions in `FEDCORE_PLUGIN_DISTRIBUTIONS`. Raises `PluginError`."""
    return _loaded(tuple(settings.FEDCORE_PLUGIN_DISTRIBUTIONS))


def backend(name: str) -> type[EncryptionBackend[Any]] | None:
    """The encryption backend of this name, or None where it is not installed here."""
    try:
        return installed().of_type(EncryptionBackend, name)
    except UnknownPlugin:
        return None


def leakage_of(plugin: type[EncryptionBackend[Any]]) -> list[str]:
    """What an observer of the protected bytes learns, one plain text for each leak."""
    return [text for leak, text in LEAK_TEXTS.items() if leak in plugin.leakage]


def described() -> dict[str, list[dict[str, Any]]]:
    """All plugins by group: options as JSON schemas, and what each declares."""
    registry = installed()
    return {
        group: [_description(registry.get(group, name)) for name in registry.names(group)] for group in GROUPS
    }


@lru_cache(maxsize=4)
def _loaded(distributions: tuple[str, ...]) -> Registry:
    return Registry.of_distributions(AllowedDistribution(name) for name in distributions)


def _description(plugin: type[Plugin[Any]]) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "version": plugin.version,
        "summary": plugin.summary,
        "options": plugin.Options.model_json_schema(),
        **_declared(plugin),
    }


def _declared(plugin: type[Plugin[Any]]) -> dict[str, Any]:
    if issubclass(plugin, EncryptionBackend):
        return {
            "operations": sorted(plugin.operations),
            "protects": sorted(plugin.protects),
            "leakage": leakage_of(plugin),
            "trust": list(plugin.trust),
            "minimum_owners": plugin.minimum_owners,
            "security_bits": plugin.security_bits,
            "status": plugin.status,
            "key_holders": plugin.key_holders,
            "pseudonymised": plugin.renames_only,
        }
    if issubclass(plugin, PreprocessingStep):
        return {
            "takes": plugin.takes,
            "gives": plugin.gives,
            "shows_characters": plugin.shows_characters,
            "fitted": issubclass(plugin, FittedStep),
        }
    if issubclass(plugin, ModelType):
        return {
            "takes": sorted(plugin.takes),
            "operations": {protocol: sorted(needed) for protocol, needed in plugin.operations.items()},
        }
    return {}
