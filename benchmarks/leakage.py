"""`leakage`: what somebody who sees pseudonymised rows, or a finished model, finds out; each figure beside its control.

On made logs, and on real request lines where they are: words and character 1-3-grams, with and without the minimum
count. Half of the rows are attacked by somebody who knows the other half in plain text, the run's pipeline and its
options. The goals are those of the controls: an attack that fails on unprotected rows would show nothing. The figures
under `keyed_tokens` are stated, not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar, Final

import numpy as np

from benchmarks.benchmark import Benchmark, Comparison, Goal
from benchmarks.lines import has_real_lines, request_files
from benchmarks.owners import on_every_core
from fedcore.plugin_api import Records, Shard, SourceFile, Text
from fedcore.plugin_api.attacks import AttackFigure, PrivacyAudit
from fedcore.plugin_api.attacks.audit import audit
from fedcore.plugin_api.attacks.stage import Attacked
from fedcore.plugin_api.registry import Registry
from fedcore.wire.presets import char_ngrams_4096, words_4096
from fedcore.wire.spec import PluginChoice
from plugins import encryption, models, preprocessing, readers
from plugins.readers.apache.generator import generate
from plugins.readers.apache.reader import ApacheCombined

ROWS: Final = 20_000
MADE: Final = "made logs"
REAL: Final = "real lines"
MINIMUM_COUNTS: Final = (1, 5, 20)
PIPELINES: Final = {"words": words_4096, "character n-grams": char_ngrams_4096}
CONTROLS: Final = {
    "tokens named": 0.6,
    "distinct tokens named": 0.6,
    "rows found": 0.6,
    "rows recognised": 0.6,
    "area under the curve": 0.8,
    "typical tokens": 0.6,
}


@dataclass(frozen=True)
class Case:
    """One audit: which rows, which tokens, and from how many rows on a token keeps its number."""

    source: str
    tokens: str
    minimum_count: int


class Leakage(Benchmark):
    """One row for each attack, pipeline and source, with the figures at every minimum count."""

    name = "leakage"
    summary = "attacks on rows under keyed_tokens, each beside the same attack on plain rows"
    goals: ClassVar = {
        f"{source}, {tokens}: {figure}, control": Goal(least, "")
        for source in (MADE, REAL)
        for tokens in PIPELINES
        for figure, least in CONTROLS.items()
    }

    def measure(self) -> Iterator[Comparison]:
        sources = [MADE, *([REAL] if has_real_lines() else [])]
        cases = [
            Case(source, tokens, k) for source in sources for tokens in PIPELINES for k in MINIMUM_COUNTS
        ]
        found = dict(zip(cases, on_every_core(measured, cases), strict=True))
        for source in sources:
            for tokens in PIPELINES:
                audits = {
                    case.minimum_count: found[case]
                    for case in cases
                    if (case.source, case.tokens) == (source, tokens)
                }
                yield from self._rows(source, tokens, audits)

    def _rows(self, source: str, tokens: str, audits: dict[int, PrivacyAudit]) -> Iterator[Comparison]:
        for title in CONTROLS:
            figures = {k: _figure(found, title) for k, found in audits.items()}
            first = figures[1]
            name = f"{source}, {tokens}: {title}, control"
            shown = {f"minimum count {k}": f"{figure.found:.3f}" for k, figure in figures.items()}
            shown |= {"unprotected": f"{first.control:.3f}", "guessing": f"{first.chance:.3f}"}
            shown["on"] = f"{audits[1].rows:,} rows of {source}"
            yield Comparison(name, shown, first.control, self.goals[name], {"meaning": first.meaning})


BENCHMARK = Leakage()


def measured(case: Case) -> PrivacyAudit:
    """The audit of one case."""
    import torch

    torch.set_num_threads(1)
    made = case.source == MADE
    columns = ("user", "time", "target") if made else ("request",)
    preset = PIPELINES[case.tokens](columns)
    backend = PluginChoice(name="keyed_tokens", options={"minimum_count": case.minimum_count})
    attacked = Attacked(
        Registry([encryption, models, preprocessing, readers]),
        preset.pipeline,
        backend,
        preset.model,
        preset.training,
        person=("user",) if made else (),
        moment="time" if made else None,
    )
    return audit(attacked, case.source, _made() if made else _real(), lambda told: None)


def _figure(found: PrivacyAudit, title: str) -> AttackFigure:
    return next(figure for figure in found.figures if figure.figure.startswith(title))


def _made() -> Records:
    with TemporaryDirectory(prefix="fedcore-bench-") as folder:
        path = Path(folder) / "access.log"
        path.write_text("".join(f"{line}\n" for line in generate(ROWS, 1, attack_share=0.2)))
        reader = ApacheCombined({"labels": True})
        shard = Shard(0, 0, path.stat().st_size)
        return Records.concatenate(list(reader.read([SourceFile(path)], shard)))


def _real() -> Records:
    """As many real lines of each class as in the files, drawn at random."""
    lines: list[bytes] = []
    labels: list[int] = []
    with request_files() as files:
        for file in files.files:
            found = [line for line in file.path.read_bytes().splitlines() if line]
            lines += found
            labels += [int(file.label == "attack")] * len(found)
    chosen: Sequence[int] = np.random.default_rng(1).permutation(len(lines))[:ROWS].tolist()
    texts = Text.from_rows([lines[row] for row in chosen])
    return Records({"request": texts}, np.array([labels[row] for row in chosen], np.int64))
