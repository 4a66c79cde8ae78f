"""What the plugins of a run, as installed here, say about themselves: facts for the policy."""

from __future__ import annotations

from typing import Any

from fedcore.owner.config import Config
from fedcore.owner.facts import BackendFacts, PluginFacts, Refused
from fedcore.plugin_api.backends import EncryptionBackend
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline, pins_of
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.private_training import hindrances
from fedcore.plugin_api.registry import AllowedDistribution, Registry, UnknownPlugin
from fedcore.plugin_api.steps import FittedStep
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import RunSpec


def allowed_registry(policy: Config) -> Registry:
    """The plugins of the distributions that the policy names. Raises `PluginError`."""
    return Registry.of_distributions(
        AllowedDistribution(allowed.distribution, allowed.version, allowed.digest)
        for allowed in policy.plugins
    )


def plugin_facts(registry: Registry, spec: RunSpec) -> PluginFacts | Refused:
    """What is installed of what the run uses, or why the run cannot be computed here."""
    try:
        pins = pins_of(registry, spec.pipeline, spec.backend, spec.model)
        backend: Any = registry.get("encryption", spec.backend.name)
        model: Any = registry.get("models", spec.model.name)
        made: ModelType[Any] = model(spec.model.options)
        built = BuiltPipeline(registry, spec.pipeline, spec.backend)
    except UnknownPlugin as error:
        return Refused(RefusalCode.PLUGIN_MISSING, str(error))
    except (InvalidPipeline, InvalidOptions) as error:
        return Refused(RefusalCode.INVALID_OPTIONS, str(error))
    if built.gives not in model.takes:
        return Refused(RefusalCode.INVALID_OPTIONS, _wrong_features(built, model))
    fitted = tuple(
        (place, step.rounds) for place, step in enumerate(built.steps) if isinstance(step, FittedStep)
    )
    return PluginFacts(
        pins=tuple(pins),
        character_steps=tuple(step.name for step in built.steps if step.shows_characters),
        fitted=fitted,
        backend=_backend_facts(backend),
        unbounded="; ".join(hindrances(spec, made, built.gives, bool(fitted))),
    )


def _wrong_features(built: BuiltPipeline, model: type[ModelType[Any]]) -> str:
    kinds = " or ".join(sorted(model.takes))
    return (
        f"Model {model.name} takes {kinds}, and the pipeline ends in {built.gives}. End it in another step, or choose "
        "another model."
    )


def _backend_facts(backend: type[EncryptionBackend[Any]]) -> BackendFacts:
    return BackendFacts(
        renames_only=backend.renames_only,
        key_holders=backend.key_holders,
        leakage=backend.leakage,
        minimum_owners=backend.minimum_owners,
    )
