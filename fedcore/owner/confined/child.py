"""What runs inside a confined process: load one distribution's plugins, and do what the host asks, call by call.

Everything in here has rows at most. What it answers is checked by the host.
"""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedcore.owner.confined.frames import DONE, ERROR, Frame, PipeClosed, named, receive, send
from fedcore.plugin_api.backends import TokenBackend
from fedcore.plugin_api.hookspecs import Release, Verdict
from fedcore.plugin_api.models import LabelledRows, ModelType, TrainingDiverged
from fedcore.plugin_api.plugins import InvalidOptions, Plugin
from fedcore.plugin_api.readers import DatasetReader, Shard, SourceFile, UnreadableDataset
from fedcore.plugin_api.registry import PluginError, Registry
from fedcore.plugin_api.serialise_values import value_arrays, value_of
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, Summary
from fedcore.plugin_api.values import Records
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.spec import Training

MOST_BYTES: Final = 2**31
PRELOADED: Final = re.compile(
    r"(numba|scipy|sklearn|torch)(\.[a-z][a-z0-9_]*)?|fedcore\.plugin_api\.[a-z][a-z0-9_]*"
)
"""Modules of fedcore and its own libraries, which take long to load: the launcher loads those that a distribution
needs before it forks. No other package is ever loaded there."""

_MOST_MODULES: Final = 200

_LONGEST_TEXT: Final = 4000


class Service:
    """Answers the calls of one host process on one distribution's plugins."""

    def __init__(self, points: Sequence[EntryPoint]) -> None:
        self._registry = Registry([point.load() for point in points])
        self._made: dict[str, Plugin[Any]] = {}
        self._blocks: Iterator[Records] = iter(())
        self._calls: dict[str, Callable[[Frame], Frame]] = {
            "describe": self._describe,
            "options": self._options,
            "verdict": self._verdict,
            "apply": self._apply,
            "summarise": self._summarise,
            "finish": self._finish,
            "protect": self._protect,
            "shards": self._shards,
            "read": self._read,
            "next": self._next,
            "mock": self._mock,
            "initial": self._initial,
            "train": self._train,
            "scores": self._scores,
        }

    def answer(self, asked: Frame) -> Frame:
        try:
            return self._calls[asked.call](asked)
        except Exception as error:
            return failure(error)

    def _plugin(self, asked: Frame) -> Any:
        key = repr((asked.facts["group"], asked.facts["name"], asked.facts["options"]))
        if key not in self._made:
            found = self._registry.get(asked.facts["group"], asked.facts["name"])
            self._made[key] = found(asked.facts["options"])
        return self._made[key]

    def _describe(self, asked: Frame) -> Frame:
        groups = ("preprocessing", "encryption", "models", "readers")
        classes = [
            (group, self._registry.get(group, name))
            for group in groups
            for name in self._registry.names(group)
        ]
        said = [_said(group, found) for group, found in classes]
        not_warmed = [found.name for _, found in classes if not _warmed(found)]
        imported = sorted(name for name in sys.modules if PRELOADED.fullmatch(name))[:_MOST_MODULES]
        vetoes = len(self._registry.veto.get_hookimpls())
        facts = {"plugins": said, "vetoes": vetoes, "imported": imported, "not_warmed": not_warmed}
        return Frame(DONE, facts=facts)

    def _options(self, asked: Frame) -> Frame:
        return Frame(DONE, facts=self._plugin(asked).options.model_dump(mode="json"))

    def _verdict(self, asked: Frame) -> Frame:
        said = dict(asked.facts)
        artefacts = tuple(ArtefactRef.model_validate(ref) for ref in said.pop("artefacts"))
        release = Release(**{**said, "phase": Phase(said["phase"]), "artefacts": artefacts})
        for implementation in self._registry.veto.get_hookimpls():
            verdict: object = implementation.function(*([release] if implementation.argnames else []))
            if not isinstance(verdict, Verdict):
                return Frame(DONE, facts=None)
            if verdict.allowed is not True:
                return Frame(DONE, facts={"allowed": False, "reason": str(verdict.reason)[:_LONGEST_TEXT]})
        return Frame(DONE, facts={"allowed": True, "reason": ""})

    def _apply(self, asked: Frame) -> Frame:
        step, value = self._plugin(asked), value_of(*asked.part("value"))
        if isinstance(step, FittedStep):
            return _value(step.apply_fitted(value, asked.part("state")[0]))
        return _value(step.apply(value))

    def _summarise(self, asked: Frame) -> Frame:
        summary = self._plugin(asked).summarise(value_of(*asked.part("value")), _sums(asked))
        return Frame(DONE, {"keys": summary.keys, "counts": summary.counts})

    def _finish(self, asked: Frame) -> Frame:
        return Frame(DONE, dict(self._plugin(asked).finish(_sums(asked))))

    def _protect(self, asked: Frame) -> Frame:
        key = asked.arrays.get("key")
        return _value(
            self._plugin(asked).protect(
                value_of(*asked.part("value")), None if key is None else key.tobytes()
            )
        )

    def _shards(self, asked: Frame) -> Frame:
        shards = self._plugin(asked).shards(_files(asked), asked.facts["size"])
        found = [(shard.file, shard.start, shard.end) for shard in shards]
        return Frame(DONE, {"shards": np.array(found, np.int64).reshape(len(found), 3)})

    def _read(self, asked: Frame) -> Frame:
        shard = Shard(*asked.facts["shard"])
        self._blocks = iter(self._plugin(asked).read(_files(asked), shard, asked.facts["labelled"]))
        return Frame(DONE)

    def _next(self, asked: Frame) -> Frame:
        block = next(self._blocks, None)
        return Frame(DONE, facts="end") if block is None else _value(block)

    def _mock(self, asked: Frame) -> Frame:
        files = self._plugin(asked).mock(asked.facts["rows"], asked.facts["seed"])
        contents = {
            f"file.{number}": np.frombuffer(file.content, np.uint8) for number, file in enumerate(files)
        }
        return Frame(DONE, contents, facts=[file.label for file in files])

    def _initial(self, asked: Frame) -> Frame:
        features: Any = value_of(*asked.part("value"))
        return Frame(
            DONE, dict(self._plugin(asked).initial(features, asked.facts["classes"], _training(asked)))
        )

    def _train(self, asked: Frame) -> Frame:
        features: Any = value_of(*asked.part("value"))
        rows = LabelledRows(features, asked.arrays["labels"])
        start = asked.part("parameters")[0]
        outcome = self._plugin(asked).train(start, rows, asked.facts["classes"], _training(asked))
        arrays, _ = named("parameters", outcome.parameters)
        curve = {
            "loss": np.array(outcome.loss, np.float64),
            "accuracy": np.array(outcome.accuracy, np.float64),
        }
        return Frame(DONE, {**arrays, **curve}, facts=int(outcome.epochs))

    def _scores(self, asked: Frame) -> Frame:
        features: Any = value_of(*asked.part("value"))
        return Frame(DONE, {"scores": self._plugin(asked).scores(asked.part("parameters")[0], features)})


def serve(descriptor: int, points: Sequence[EntryPoint]) -> None:
    """Load the plugins behind these entry points and answer calls until the host hangs up."""
    try:
        service = Service(points)
    except Exception as error:
        send(descriptor, failure(error))
        return
    send(descriptor, Frame(DONE))
    while True:
        try:
            asked = receive(descriptor, MOST_BYTES)
        except PipeClosed:
            return
        send(descriptor, service.answer(asked))


def failure(error: Exception) -> Frame:
    """The answer to a call that failed: of what kind, and a text for the owner's own log."""
    facts: dict[str, Any] = {"kind": "failed", "text": _told(error)}
    match error:
        case InvalidOptions():
            problems = {str(option)[:63]: str(problem)[:500] for option, problem in error.problems.items()}
            facts |= {"kind": "options", "problems": problems}
        case UnreadableDataset():
            facts |= {"kind": "unreadable", "text": str(error)[:_LONGEST_TEXT]}
        case PluginError():
            facts |= {"kind": "plugin", "text": str(error)[:_LONGEST_TEXT]}
        case TrainingDiverged():
            facts |= {"kind": "diverged", "text": str(error)[:_LONGEST_TEXT]}
        case WireError():
            facts |= {"kind": "wire", "code": error.code.value, "text": error.detail[:_LONGEST_TEXT]}
        case MemoryError():
            facts["kind"] = "memory"
    return Frame(ERROR, facts=facts)


def _told(error: Exception) -> str:
    """The end of the traceback: where it happened, and what."""
    return "".join(traceback.format_exception(error))[-_LONGEST_TEXT:].replace("\0", "")


def _warmed(plugin: type[Plugin[Any]]) -> bool:
    """Whether the plugin could load what its first use needs. If not, it fails, if it does, when it is used."""
    try:
        plugin.warm()
    except Exception:
        return False
    return True


def _value(value: Any) -> Frame:
    return Frame(DONE, *named("value", *value_arrays(value)))


def _sums(asked: Frame) -> list[Summary]:
    arrays: Mapping[str, NDArray[Any]] = asked.arrays
    return [
        Summary(arrays[f"keys.{place}"], arrays[f"counts.{place}"]) for place in range(asked.facts["sums"])
    ]


def _files(asked: Frame) -> list[SourceFile]:
    return [SourceFile(Path(path), label) for path, label in asked.facts["files"]]


def _training(asked: Frame) -> Training:
    return Training.model_validate_json(asked.facts["training"])


def _said(group: str, found: Any) -> dict[str, Any]:
    package = inspect.getmodule(found)
    said: dict[str, Any] = {
        "group": group,
        "name": found.name,
        "version": found.version,
        "summary": found.summary,
        "api_version": found.api_version,
        "path": f"{found.__module__}.{found.__qualname__}"[:200],
        "file": inspect.getfile(found),
        "alone": package is not None and not package.__package__,
    }
    if issubclass(found, PreprocessingStep):
        said |= {"takes": found.takes, "gives": found.gives, "shows_characters": found.shows_characters}
        return said | ({"rounds": found.rounds} if issubclass(found, FittedStep) else {})
    if issubclass(found, ModelType):
        needed = {protocol: sorted(operations) for protocol, operations in found.operations.items()}
        return said | {"takes": sorted(found.takes), "operations": needed}
    if issubclass(found, DatasetReader):
        names = ("columns", "kinds", "compared", "classes")
        return said | {name: getattr(found, name) for name in names}
    if issubclass(found, TokenBackend):
        sets = {name: sorted(getattr(found, name)) for name in ("operations", "protects", "leakage")}
        plain = ("trust", "minimum_owners", "security_bits", "status", "key_holders", "renames_only")
        return said | sets | {name: getattr(found, name) for name in plain}
    raise PluginError(f"Plugin {found.name!r} is of a kind that an owner's host cannot confine.")


def release_facts(release: Release) -> dict[str, Any]:
    """A release as it travels to a confined check."""
    facts = asdict(release)
    return facts | {"artefacts": [ref.model_dump(mode="json") for ref in release.artefacts]}
