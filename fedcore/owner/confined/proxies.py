"""Third-party plugins as the rest of the host uses them: classes like any plugin's, whose work is done elsewhere.

What a confined process gives back is checked like any hostile input: the kind that the step declared, as many rows
as it was given, finite numbers, labels in range. A step that sees plaintext and one that sees protected values
never share a process, even if they come from one distribution, so that none can carry rows past the protection.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict

from fedcore.owner.confined.calling import Child, PluginStopped, Terms, calling
from fedcore.owner.confined.frames import Frame, named
from fedcore.owner.confined.remembered import Remembered
from fedcore.plugin_api.backends import TokenBackend
from fedcore.plugin_api.checks import check_finite, check_labels, check_summary
from fedcore.plugin_api.models import LabelledRows, ModelType, Parameters, Progress, TrainingOutcome
from fedcore.plugin_api.plugins import Options, Plugin
from fedcore.plugin_api.readers import DatasetReader, MockFile, Shard, SourceFile
from fedcore.plugin_api.registry import AllowedDistribution
from fedcore.plugin_api.serialise_values import value_arrays, value_of
from fedcore.plugin_api.steps import FittedStep, PreprocessingStep, State, Summary
from fedcore.plugin_api.values import KIND_OF, Features, Pseudonyms, Records, Tokens, ValueKind
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.spec import Training

_MOST_MOCK_FILES: Final = 64
_MOST_SHARDS: Final = 1_000_000
_MOST_STEPS: Final = 100_000_000
_MOMENTS: Final = 60
_PLAIN: Final = frozenset({ValueKind.RECORDS, ValueKind.TEXT, ValueKind.TOKENS})


class Side(StrEnum):
    """On which side of the protection a plugin works, and so with whom it may share a process."""

    BEFORE = "before"
    PROTECTION = "protection"
    AFTER = "after"


@dataclass(frozen=True)
class Source:
    """Where a third-party plugin comes from, and on what terms it runs.

    With `holds_keys` its encryption backends get the run's key.
    """

    distribution: AllowedDistribution
    terms: Terms
    holds_keys: bool

    @property
    def hurried(self) -> Source:
        """The same for what takes moments: looking at a plugin, its options or a verdict."""
        seconds = min(self.terms.seconds, _MOMENTS)
        return replace(self, terms=replace(self.terms, seconds=seconds))


Key = tuple[str, Side, tuple[Path, ...]]


class Children:
    """The confined processes of this process: one for each call, or kept for the length of one task."""

    def __init__(self) -> None:
        self._kept: dict[Key, Child] | None = None

    def keep(self) -> None:
        """From now on keep each process for further calls. For a process that does one task and ends."""
        self._kept = {}

    @contextmanager
    def child(self, source: Source, side: Side, files: tuple[Path, ...] = ()) -> Iterator[Child]:
        """A confined process with the plugins of this source."""
        if self._kept is None:
            with calling(source.distribution, source.terms, files) as child:
                yield child
            return
        key = (source.distribution.name, side, files)
        if key not in self._kept:
            self._kept[key] = Child(source.distribution, source.terms, files)
        yield self._kept[key]


CHILDREN: Final = Children()


class GivenOptions(Options):
    """Options that a confined process has validated: whatever its plugin declares, as plain values."""

    model_config = ConfigDict(frozen=True, extra="allow")


class ConfinedPlugin(Plugin[Any]):
    """What all stand-ins have. A subclass for each plugin carries what the plugin said of itself."""

    group: ClassVar[str]
    source: ClassVar[Source]
    side: ClassVar[Side]
    Options: ClassVar[type[Any]] = GivenOptions

    @classmethod
    def parse_options(cls, values: Any) -> Any:
        if isinstance(values, GivenOptions):
            return values
        text = json.dumps(values, sort_keys=True, default=str)
        return GivenOptions.model_validate(_validated(cls.source, cls.group, cls.name, text))

    def ask(
        self,
        call: str,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        texts: Mapping[str, str] | None = None,
        within: tuple[Path, ...] = (),
        **facts: Any,
    ) -> Frame:
        """The answer of the plugin itself, in its process, which can read the files `within`."""
        with CHILDREN.child(self.source, self.side, within) as child:
            return child.call(self.frame(call, arrays, texts, **facts), self.shown)

    def frame(
        self,
        call: str,
        arrays: Mapping[str, NDArray[Any]] | None = None,
        texts: Mapping[str, str] | None = None,
        **facts: Any,
    ) -> Frame:
        identity = {"group": self.group, "name": self.name, "options": self.options.model_dump(mode="json")}
        return Frame(call, arrays or {}, texts or {}, {**identity, **facts})

    @property
    def shown(self) -> str:
        return f"{self.group}/{self.name}"

    def broken(self, rule: str) -> PluginStopped:
        """The error for an answer that is not what the plugin declared."""
        text = f"Plugin {self.shown} of distribution {self.source.distribution.name} gave back {rule}."
        return PluginStopped(RefusalCode.PLUGIN_CONFINED, text)

    @contextmanager
    def checking(self) -> Iterator[None]:
        """An answer that does not hold what its form promises is the plugin's fault, and named so."""
        try:
            yield
        except WireError as error:
            raise self.broken(f"what no valid answer is ({error.detail})") from None


class ConfinedStep(ConfinedPlugin, PreprocessingStep[Any]):
    """A preprocessing step in a process of its own."""

    def apply(self, value: Any) -> Any:
        return self._applied(value, {})

    def _applied(self, value: Any, state: State) -> Any:
        arrays, texts = named("value", *value_arrays(value))
        answer = self.ask("apply", {**arrays, **named("state", state)[0]}, texts)
        with self.checking():
            found = value_of(*answer.part("value"))
        if KIND_OF[type(found)] is not self.gives:
            raise self.broken(f"{KIND_OF[type(found)]}, and declares {self.gives}")
        if len(found) != len(value):
            raise self.broken(f"{len(found)} rows for {len(value)}")
        return found


class ConfinedFittedStep(ConfinedStep, FittedStep[Any]):
    """A fitted step in a process of its own."""

    def summarise(self, value: Any, so_far: Sequence[Summary]) -> Summary:
        arrays, texts = named("value", *value_arrays(value))
        answer = self.ask("summarise", {**arrays, **_sum_arrays(so_far)}, texts, sums=len(so_far))
        with self.checking():
            return _summary(answer)

    def finish(self, sums: Sequence[Summary]) -> State:
        answer = self.ask("finish", _sum_arrays(sums), sums=len(sums))
        with self.checking():
            check_finite(answer.arrays)
        return dict(answer.arrays)

    def apply_fitted(self, value: Any, state: State) -> Any:
        return self._applied(value, state)

    def apply(self, value: Any) -> Any:
        return FittedStep.apply(self, value)


class ConfinedBackend(ConfinedPlugin, TokenBackend[Any]):
    """An encryption backend in a process of its own. It gets the run's key only where the policy says so by name."""

    def protect(self, tokens: Tokens, key: bytes | None) -> Pseudonyms:
        if key is not None and not self.source.holds_keys:
            raise PluginStopped(RefusalCode.PLUGIN_CONFINED, not_trusted_with_keys(self.name, self.source))
        arrays, texts = named("value", *value_arrays(tokens))
        secret = {} if key is None else {"key": np.frombuffer(key, np.uint8)}
        answer = self.ask("protect", {**arrays, **secret}, texts)
        with self.checking():
            found = value_of(*answer.part("value"))
        same = isinstance(found, Pseudonyms) and np.array_equal(found.codes, tokens.codes)
        if not same or not np.array_equal(found.offsets, tokens.offsets):  # type: ignore[union-attr]
            raise self.broken("other rows than it was given")
        return found  # type: ignore[return-value]


class ConfinedModel(ConfinedPlugin, ModelType[Any]):
    """A model type in a process of its own."""

    def initial(self, features: Features, classes: int, training: Training) -> Parameters:
        arrays, texts = named("value", *value_arrays(features))
        answer = self.ask("initial", arrays, texts, classes=classes, training=training.encode())
        return self._parameters(answer.arrays)

    def train(
        self,
        parameters: Parameters,
        rows: LabelledRows,
        classes: int,
        training: Training,
        progress: Progress | None = None,
    ) -> TrainingOutcome:
        arrays, texts = named("value", *value_arrays(rows.features))
        given = {**arrays, **named("parameters", parameters)[0], "labels": rows.labels}
        answer = self.ask("train", given, texts, classes=classes, training=training.encode())
        loss, accuracy, epochs = answer.arrays.get("loss"), answer.arrays.get("accuracy"), answer.facts
        if not _is_curve(loss) or not _is_curve(accuracy) or len(loss) != len(accuracy):  # type: ignore[arg-type]
            raise self.broken("no curve of its training")
        if type(epochs) is not int or not 0 <= epochs <= _MOST_STEPS:
            raise self.broken("no number of epochs")
        found = self._parameters(answer.part("parameters")[0])
        return TrainingOutcome(found, loss.tolist(), accuracy.tolist(), epochs)  # type: ignore[union-attr]

    def scores(self, parameters: Parameters, features: Features) -> NDArray[np.float64]:
        arrays, texts = named("value", *value_arrays(features))
        answer = self.ask("scores", {**arrays, **named("parameters", parameters)[0]}, texts)
        scores = answer.arrays.get("scores")
        if scores is None or scores.dtype != np.float64 or scores.ndim != 2 or len(scores) != len(features):
            raise self.broken("no scores of its rows")
        return scores

    def _parameters(self, arrays: Mapping[str, NDArray[Any]]) -> Parameters:
        if any(array.dtype.kind != "f" for array in arrays.values()):
            raise self.broken("parameters that are neither float32 nor float64")
        check_finite(arrays)
        return dict(arrays)


class ConfinedReader(ConfinedPlugin, DatasetReader[Any]):
    """A dataset reader in a process that can read the dataset's files and no others."""

    side = Side.BEFORE

    def shards(self, files: Sequence[SourceFile], size: int) -> list[Shard]:
        answer = self.ask("shards", within=_paths(files), size=size, **_named_files(files))
        found = answer.arrays.get("shards")
        if found is None or found.dtype != np.int64 or found.ndim != 2 or found.shape[1] != 3:
            raise self.broken("no shards")
        self._check_shards(found, files)
        return [Shard(*map(int, shard)) for shard in found]

    def read(self, files: Sequence[SourceFile], shard: Shard, labelled: bool = True) -> Iterator[Records]:
        place = [shard.file, shard.start, shard.end]
        with CHILDREN.child(self.source, self.side, _paths(files)) as child:
            asked = self.frame("read", shard=place, labelled=labelled, **_named_files(files))
            child.call(asked, self.shown)
            while True:
                answer = child.call(self.frame("next"), self.shown)
                if answer.facts == "end":
                    return
                yield self._block(answer, labelled)

    def mock(self, rows: int, seed: int) -> Sequence[MockFile]:
        """Made in a fresh process that can read no file of the host, so that no row can be among the made-up ones."""
        with calling(self.source.distribution, self.source.hurried.terms) as child:
            answer = child.call(self.frame("mock", rows=rows, seed=seed), self.shown)
        labels = answer.facts
        if (
            not isinstance(labels, list)
            or len(labels) > _MOST_MOCK_FILES
            or len(labels) != len(answer.arrays)
        ):
            raise self.broken("no files of made-up rows")
        return [
            MockFile(self._content(answer, number), label if label in self.classes else None)
            for number, label in enumerate(labels)
        ]

    def _content(self, answer: Frame, number: int) -> bytes:
        content = answer.arrays.get(f"file.{number}")
        if content is None or content.dtype != np.uint8:
            raise self.broken("no files of made-up rows")
        return content.tobytes()

    def _block(self, answer: Frame, labelled: bool) -> Records:
        with self.checking():
            block = value_of(*answer.part("value"))
            if not isinstance(block, Records) or tuple(block.columns) != self.columns:
                raise self.broken("other columns than it declares")
            if (block.labels is not None) != labelled:
                raise self.broken("labels where none are due, or none where they are")
            if block.labels is not None:
                check_labels(LabelledRows(block, block.labels), len(self.classes))  # type: ignore[arg-type]
            return block

    def _check_shards(self, found: NDArray[np.int64], files: Sequence[SourceFile]) -> None:
        sizes = [file.path.stat().st_size for file in files]
        if not 1 <= len(found) <= _MOST_SHARDS:
            raise self.broken(f"{len(found)} shards")
        before = (0, 0)
        for file, start, end in found.tolist():
            fits = 0 <= file < len(sizes) and (file, start) >= before and 0 <= start < end <= sizes[file]
            if not fits:
                raise self.broken("shards that overlap or lie outside the files")
            before = (file, end)


def side_of(takes: ValueKind) -> Side:
    """On which side of the protection a step works that takes this kind of value."""
    return Side.BEFORE if takes in _PLAIN else Side.AFTER


def not_trusted_with_keys(name: str, source: Source) -> str:
    """Why a third-party backend is refused that needs the run's key."""
    return (
        f"Backend {name} of distribution {source.distribution.name} needs the run's key. Set holds_keys = true in its "
        "[[plugins]] entry if you trust it with the key, or choose another backend."
    )


_OPTIONS: Final = Remembered(8 * 2**20)


def _validated(source: Source, group: str, name: str, values: str) -> Any:
    key = (source, group, name, values)
    found = _OPTIONS.get(key)
    if found is None:
        asked = Frame("options", facts={"group": group, "name": name, "options": json.loads(values)})
        with CHILDREN.child(source.hurried, Side.AFTER) as child:
            found = child.call(asked, f"{group}/{name}").facts
        _OPTIONS.keep(key, found, len(values) + len(json.dumps(found)))
    return found


def _sum_arrays(sums: Sequence[Summary]) -> dict[str, NDArray[Any]]:
    keys = {f"keys.{place}": summary.keys for place, summary in enumerate(sums)}
    return keys | {f"counts.{place}": summary.counts for place, summary in enumerate(sums)}


def _summary(answer: Frame) -> Summary:
    keys, counts = answer.arrays.get("keys"), answer.arrays.get("counts")
    if keys is None or counts is None or keys.dtype != np.uint64 or counts.dtype != np.int64:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "a summary without keys or counts")
    summary = Summary(keys, counts)
    check_summary(summary)
    return summary


def _is_curve(found: NDArray[Any] | None) -> bool:
    return (
        found is not None
        and found.dtype == np.float64
        and found.ndim == 1
        and len(found) <= _MOST_STEPS
        and bool(np.isfinite(found).all())
    )


def _paths(files: Sequence[SourceFile]) -> tuple[Path, ...]:
    return tuple(file.path for file in files)


def _named_files(files: Sequence[SourceFile]) -> dict[str, Any]:
    return {"files": [(str(file.path), file.label) for file in files]}
