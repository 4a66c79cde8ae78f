"""What the plugins of a run, as installed here, say about themselves: facts for the policy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fedcore.owner.config import Config
from fedcore.owner.confined.calling import PluginStopped
from fedcore.owner.confined.plugins import plugins_of, terms_of
from fedcore.owner.confined.proxies import ConfinedBackend, ConfinedPlugin, not_trusted_with_keys
from fedcore.owner.description import Distribution
from fedcore.owner.facts import BackendFacts, PluginFacts, Refused
from fedcore.plugin_api.backends import EncryptionBackend, KeyHolders, ShareBackend
from fedcore.plugin_api.models import ModelType
from fedcore.plugin_api.pipeline import BuiltPipeline, InvalidPipeline, pins_of
from fedcore.plugin_api.plugins import InvalidOptions
from fedcore.plugin_api.private_training import hindrances
from fedcore.plugin_api.registry import PluginNotLoaded, Registry, UnknownPlugin
from fedcore.plugin_api.steps import FittedStep
from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import RunSpec


def allowed_registry(policy: Config, home: Path) -> Registry:
    """The plugins of the distributions that the policy names; third-party ones see nothing of `home`.

    Raises `PluginError`.
    """
    worker = policy.worker
    terms = terms_of(worker.memory_mb, worker.seconds, str(home), worker.unconfined_plugins)
    return plugins_of(distributions_of(policy), terms)


def distributions_of(policy: Config) -> tuple[Distribution, ...]:
    """The distributions whose plugins the policy allows, as a description names them."""
    return tuple(
        Distribution(
            name=plugin.distribution,
            version=plugin.version,
            digest=plugin.digest,
            holds_keys=plugin.holds_keys,
            checks_releases=plugin.checks_releases,
        )
        for plugin in policy.plugins
    )


def plugin_facts(registry: Registry, spec: RunSpec) -> PluginFacts | Refused:
    """What is installed of what the run uses, or why the run cannot be computed here."""
    try:
        pins = pins_of(registry, spec.pipeline, spec.backend, spec.model)
        backend: Any = registry.get("encryption", spec.backend.name)
        model: Any = registry.get("models", spec.model.name)
        made: ModelType[Any] = model(spec.model.options)
        built = BuiltPipeline(registry, spec.pipeline, spec.backend)
    except PluginStopped as error:
        return Refused(error.code, str(error))
    except PluginNotLoaded as error:
        return Refused(RefusalCode.PLUGIN_CONFINED, str(error))
    except UnknownPlugin as error:
        return Refused(RefusalCode.PLUGIN_MISSING, str(error))
    except (InvalidPipeline, InvalidOptions) as error:
        return Refused(RefusalCode.INVALID_OPTIONS, str(error))
    if _gets_a_key_it_must_not_have(backend):
        return Refused(RefusalCode.PLUGIN_CONFINED, not_trusted_with_keys(backend.name, backend.source))
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
        unbounded="; ".join(
            [*hindrances(spec, made, built.gives, bool(fitted)), *_of_others(built, backend)]
        ),
    )


def _of_others(built: BuiltPipeline, backend: type[EncryptionBackend[Any]]) -> Iterator[str]:
    """Every bound rests on features that are made of each row alone: nothing shows that other packages do so."""
    names = [step.name for step in built.steps if isinstance(step, ConfinedPlugin)]
    names += [backend.name] if issubclass(backend, ConfinedPlugin) else []
    if names:
        yield f"{', '.join(names)} of another package could make something of several rows: use fedcore's own"


def _gets_a_key_it_must_not_have(backend: type[EncryptionBackend[Any]]) -> bool:
    if backend.key_holders is KeyHolders.NOBODY or not issubclass(backend, ConfinedBackend):
        return False
    return not backend.source.holds_keys


def character_steps_asked(registry: Registry, request: AccessRequest) -> tuple[str, ...]:
    """The requested steps whose tokens are pieces of words, where a requested backend merely renames tokens.

    What is not installed here is left out: it cannot run.
    """
    backends = (_installed(registry, "encryption", name) for name in request.backends)
    if not any(backend.renames_only for backend in backends if backend is not None):
        return ()
    names = dict.fromkeys(step.name for pipeline in request.pipelines for step in pipeline.steps)
    steps = {name: _installed(registry, "preprocessing", name) for name in names}
    return tuple(name for name, step in steps.items() if step is not None and step.shows_characters)


def _installed(registry: Registry, group: str, name: str) -> Any:
    return registry.get(group, name) if name in registry.names(group) else None


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
        status=backend.status,
        shares=issubclass(backend, ShareBackend),
    )
