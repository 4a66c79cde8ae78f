"""What the agent asks of its own workers: a description of work, and the facts that come back.

Both are files in the spool. A description names paths, plugins and limits; it holds no key and no row. Tasks
carry only the order's id and the number of a shard, so a broker learns nothing else.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fedcore.plugin_api.readers import Shard, SourceFile
from fedcore.privacy.mechanisms import DiscreteGaussian, Rows
from fedcore.wire.encoding import Digest, Name
from fedcore.wire.reports import Count, TrainingCurve
from fedcore.wire.spec import Pipeline, PluginChoice, Training

LEAST_ROWS: Final = 100
"""How many rows stand behind what leaves where no policy says how many: the default of `minimum_rows`."""


class Local(BaseModel):
    """Base class of what stays on the host, as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Kind(StrEnum):
    """The kinds of work; each is a task of its own, `fedcore.<kind>`."""

    SUMMARISE = "summarise"
    SETTLE = "settle"
    PREPARE = "prepare"
    MASK = "mask"
    DEAL = "deal"
    TRAIN_SHARES = "train_shares"
    TRAIN = "train"
    EVALUATE = "evaluate"
    PREDICT = "predict"


class File(Local):
    """One file of the dataset, by its absolute path."""

    path: str
    label: str | None = None


class Part(Local):
    """What one task reads: a shard, and at most how many rows from its start (`None`: all)."""

    file: int
    start: int
    end: int
    rows: int | None = None

    @property
    def shard(self) -> Shard:
        return Shard(self.file, self.start, self.end)


class Distribution(Local):
    """A distribution whose plugins the policy allows to be loaded."""

    name: str
    version: str | None = None
    digest: str | None = None
    holds_keys: bool = False
    checks_releases: bool = True


class StatePath(Local):
    """Where the state of the fitted step at this place lies."""

    place: int
    path: str


class Noise(Local):
    """The discrete Gaussian noise of each pass of a training under an epsilon, in the units of its sums."""

    variance: Annotated[int, Field(gt=0)]
    sensitivity: Annotated[int, Field(gt=0)]
    passes: Annotated[int, Field(gt=0)]

    @property
    def mechanism(self) -> DiscreteGaussian:
        return DiscreteGaussian(Fraction(self.variance), self.sensitivity, self.passes, Rows.TRAINING)


class Sharing(Local):
    """What a training on shares is about, beyond the run spec.

    `rows` has the number of rows of every masked part, in order; `side` is that of this compute owner, and `pipes`
    the folder of the pipes to the other one. `secret` is where the secret lies from which an owner's mask keys, or
    the dealer's seeds, are made; `blocks` is how much is dealt.
    """

    columns: Count = 0
    rows: Annotated[tuple[Count, ...], Field(max_length=1_000_000)] = ()
    side: Annotated[int, Field(ge=0, le=1)] | None = None
    pipes: str | None = None
    secret: str | None = None
    blocks: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class Work(Local):
    """One order's computation. Paths are absolute; keys are read from their files by the forked process.

    `home` is the host's directory: of it the process reaches what is named here, and its own spool. Third-party
    plugins run confined, or as far as the kernel gives the means with `unconfined_plugins`.
    `classes` is unknown at a reference host, which has no dataset of its own: then the labels say it. `least_rows`
    stand behind every point of a training's curve. With `noise` the run has an epsilon: training draws it, and scoring
    is exact.
    """

    kind: Kind
    run: Digest
    plugins: tuple[Distribution, ...]
    pipeline: Pipeline
    backend: PluginChoice
    model: PluginChoice
    training: Training
    classes: Annotated[int, Field(ge=2, le=64)] | None = None
    reader: Name | None = None
    reader_options: dict[str, JsonValue] = Field(default_factory=dict)
    files: tuple[File, ...] = ()
    parts: Annotated[tuple[Part, ...], Field(max_length=1_000_000)] = ()
    place: int = 0
    split_key: str | None = None
    run_key: str | None = None
    states: tuple[StatePath, ...] = ()
    sums: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    least_rows: Annotated[int, Field(ge=1)] = LEAST_ROWS
    noise: Noise | None = None
    sharing: Sharing = Sharing()
    memory_mb: int
    seconds: int
    home: str
    unconfined_plugins: bool = False

    @property
    def tasks(self) -> int:
        """How many tasks share the work: one for each part or block, but training and settling are one each."""
        if self.kind is Kind.DEAL:
            return self.sharing.blocks
        return 1 if self.kind in (Kind.TRAIN, Kind.TRAIN_SHARES, Kind.SETTLE) else len(self.parts)

    @property
    def attempts(self) -> int:
        """How often a task is begun before the work is given up. Randomness that was dealt is never used again."""
        return 1 if self.kind is Kind.TRAIN_SHARES else 3

    @property
    def sources(self) -> list[SourceFile]:
        return [SourceFile(Path(file.path), file.label) for file in self.files]


class Finished(Local):
    """The facts of one finished task. `digest` is that of its payload, `worker` the worker process that did it."""

    rows: Count = 0
    columns: Count = 0
    plaintext_bytes: Count = 0
    digest: Digest
    seconds: dict[Name, float] = Field(default_factory=dict)
    curve: TrainingCurve | None = None
    state: Digest | None = None
    worker: int = 0
