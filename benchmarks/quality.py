"""`quality`: what pseudonymising costs a model, and how far the plaintext reference is from scikit-learn.

Request lines without repeats, 4 % of them attacks, lie at two owners, near-duplicates at one of them. In each
of ten splits every owner keeps back rows by a secret of its own. Character 1-3-grams, signed and hashed into 4,096
columns, train one linear layer in three ways on the same rows, from the same initial weights, over the same batches:
under `keyed_tokens` with a fresh key (pooled), under `plaintext` (reference), and by each owner alone. The peer
is scikit-learn's logistic regression on the reference's features, fitted to convergence, with the best of three
regularisations for the split. Differences are taken in pairs, split by split.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final

import numpy as np

from benchmarks.benchmark import Benchmark, Comparison, Goal, median
from benchmarks.lines import request_files
from benchmarks.owners import Prepared, merged, on_every_core, owners_of, prepared, records_of, trained
from fedcore.plugin_api.evaluation import Metrics, ScoreCounts, count_scores, metrics_of
from fedcore.wire.spec import PluginChoice
from plugins.models.linear import Linear

SPLITS: Final = 10
REGULARISATIONS: Final = (1.0, 10.0, 100.0)
POOLED: Final = "pooled against reference"
PEER: Final = "reference against scikit-learn"
WAYS: Final = ("pooled", "reference", "owner 1 alone", "owner 2 alone", "scikit-learn")


@dataclass(frozen=True)
class Split:
    """The quality of every way in one split: area under the ROC curve, and F1."""

    auc: dict[str, float]
    f1: dict[str, float]
    rows: int
    source: str
    real: bool


class Quality(Benchmark):
    """Paired differences over ten splits, in AUC and in F1."""

    name = "quality"
    summary = "pooled against the plaintext reference, and the reference against scikit-learn"
    goals: ClassVar = {
        f"{POOLED}, AUC": Goal(0.002, "median difference", at_least=False),
        f"{POOLED}, F1": Goal(0.01, "median difference", at_least=False),
        f"{PEER}, AUC": Goal(0.002, "median difference", at_least=False),
        f"{PEER}, F1": Goal(0.01, "median difference", at_least=False),
    }

    def measure(self) -> Iterator[Comparison]:
        splits = on_every_core(measured, range(SPLITS))
        yield self._comparison(f"{POOLED}, AUC", [split.auc for split in splits], WAYS[:4], splits[0])
        yield self._comparison(f"{POOLED}, F1", [split.f1 for split in splits], WAYS[:4], splits[0])
        peers = ("reference", "scikit-learn")
        yield self._comparison(f"{PEER}, AUC", [split.auc for split in splits], peers, splits[0])
        yield self._comparison(f"{PEER}, F1", [split.f1 for split in splits], peers, splits[0])

    def _comparison(
        self, name: str, figures: Sequence[dict[str, float]], ways: Sequence[str], of: Split
    ) -> Comparison:
        ours, theirs = ways[:2]
        differences = [figure[ours] - figure[theirs] for figure in figures]
        shown = {way: f"{median([figure[way] for figure in figures]):.4f}" for way in ways}
        shown |= {
            "median difference": f"{median(differences):+.5f}",
            "from": f"{min(differences):+.4f} to {max(differences):+.4f}",
            "on": f"{of.rows:,} {of.source}",
        }
        details = {way: [round(figure[way], 6) for figure in figures] for way in ways}
        # The goal is about real lines: made ones are shown, and do not meet it.
        value = abs(median(differences)) if of.real else None
        return Comparison(name, shown, value, self.goals[name], details)


BENCHMARK = Quality()


def measured(number: int) -> Split:
    """All ways in split `number`."""
    import torch

    torch.set_num_threads(1)
    with request_files() as files:
        records = records_of(files, number)
    owners = owners_of(records, number)
    key = sha256(f"run key {number}".encode()).digest()
    reference = prepared(owners, PluginChoice(name="plaintext"), None)
    pooled = prepared(owners, PluginChoice(name="keyed_tokens"), key)
    metrics = {
        "pooled": _trained(pooled, pooled, number),
        "reference": _trained(reference, reference, number),
        "owner 1 alone": _trained(reference[:1], reference[:1], number),
        "owner 2 alone": _trained(reference[1:], reference[1:], number),
        "scikit-learn": _peer(reference),
    }
    auc = {way: found.roc_auc or 0.0 for way, found in metrics.items()}
    return Split(
        auc, {way: found.f1 for way, found in metrics.items()}, len(records), files.source, files.real
    )


def _trained(training: Sequence[Prepared], scored: Sequence[Prepared], seed: int) -> Metrics:
    parameters = trained(training, seed)
    kept_back = [owner.kept_back for owner in scored]
    parts = [count_scores(Linear().scores(parameters, rows.features), rows.labels, 2) for rows in kept_back]
    return metrics_of(ScoreCounts.add(parts))


def _peer(owners: Sequence[Prepared]) -> Metrics:
    """The best of the regularisations, by F1 on the very rows that are kept back: to the peer's advantage."""
    from sklearn.linear_model import LogisticRegression

    rows, kept_back = (
        merged([owner.training for owner in owners]),
        merged([owner.kept_back for owner in owners]),
    )
    inputs, scored = (part.features.to_scipy().astype(np.float64) for part in (rows, kept_back))
    found = []
    for regularisation in REGULARISATIONS:
        # The default tolerance stops long before the optimum on these features.
        peer = LogisticRegression(C=regularisation, tol=1e-7, max_iter=3000).fit(inputs, rows.labels)
        margins = peer.decision_function(scored)
        scores = np.stack([np.zeros_like(margins), margins], axis=1)
        found.append(metrics_of(count_scores(scores, kept_back.labels, 2)))
    return max(found, key=lambda metrics: metrics.f1)
