"""`privacy`: what an epsilon costs a model that one owner trains alone, and what the ledger costs.

One owner of those in the benchmark `quality` trains a linear layer on its own rows (protocol `local`): once without an
epsilon, as the preset says, and once at each of some epsilons (delta 1e-6), as a plan `with_epsilon` says. Scored are
the rows that it keeps back, without noise. Five splits, each with another sample of the attacks, another secret and
fresh noise; differences are taken in pairs, split by split. What the scientist reads has noise too: how far its ROC
AUC is from that without is a comparison of its own. The peer is Opacus, at the same epsilon and delta.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Benchmark, Comparison, Goal, PeerAbsent, median
from benchmarks.booking import accounting_seconds, booking_seconds
from benchmarks.lines import REAL, has_real_lines, request_files
from benchmarks.opacus_peer import REQUIREMENTS, opacus_scores
from benchmarks.owners import Prepared, on_every_core, owners_of, prepared, records_of, trained
from benchmarks.peers import with_peer
from fedcore.client.runs import DELTA, RunPlan
from fedcore.plugin_api.evaluation import Metrics, count_scores, metrics_of
from fedcore.plugin_api.noisy_evaluation import with_noise
from fedcore.plugin_api.private_training import fit_privately, private_scores
from fedcore.privacy.planning import local_plan
from fedcore.wire.presets import char_ngrams_4096
from fedcore.wire.spec import PluginChoice
from plugins.models.linear import Linear

SPLITS: Final = 5
EPSILONS: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
NAMED: Final = 4.0
"""The epsilon that the goals of quality are about."""
PEER_SPLITS: Final = 3
PEER_EPSILON: Final = 1.0
MADE: Final = "made lines"
REAL_ONES: Final = "real lines"
BELOW: Final = "below no epsilon"
AWAY: Final = "in the median"
MANY: Final = 1000


@dataclass(frozen=True)
class Quality:
    """ROC AUC and F1 on the rows that are kept back, and the ROC AUC that a report with noise says."""

    auc: float
    f1: float
    told_auc: float


@dataclass(frozen=True)
class Split:
    """One split: without an epsilon, at each epsilon, and by the peer where it took part."""

    plain: Quality
    private: Mapping[float, Quality]
    peer: Quality | None
    rows: int


class Privacy(Benchmark):
    """Quality under an epsilon, and the cost of booking and accounting."""

    name = "privacy"
    summary = "a model trained alone under an epsilon, against the same without one; the ledger"
    goals: ClassVar = {
        f"{MADE}, ROC AUC at epsilon 4": Goal(0.03, BELOW, at_least=False),
        f"{MADE}, F1 at epsilon 4": Goal(0.3, BELOW, at_least=False),
        f"{REAL_ONES}, ROC AUC at epsilon 4": Goal(0.03, BELOW, at_least=False),
        f"{REAL_ONES}, F1 at epsilon 4": Goal(0.15, BELOW, at_least=False),
        "ROC AUC as told, at epsilon 1": Goal(0.02, AWAY, at_least=False),
        "ROC AUC against Opacus, at epsilon 1": Goal(0.03, "below Opacus", at_least=False),
        "booking a run and giving it back": Goal(30, "inserts", at_least=False),
        "booking beside 1,000 runs": Goal(0.5, "s", at_least=False),
        "accounting for 1,000 releases": Goal(5, "x"),
    }

    def measure(self) -> Iterator[Comparison]:
        yield from self._booking()
        yield self._accounting()
        absent = _peer_absent()
        made, real = _splits(with_the_peer=absent is None)
        yield from self._quality(made, MADE)
        yield from self._quality(real, REAL_ONES)
        yield self._told(real or made)
        if absent:
            raise absent
        yield self._against_peer(real or made)

    def _quality(self, splits: Sequence[Split], source: str) -> Iterator[Comparison]:
        readings: Mapping[str, Callable[[Quality], float]] = {
            "ROC AUC": lambda quality: quality.auc,
            "F1": lambda quality: quality.f1,
        }
        for title, read in readings.items():
            name = f"{source}, {title} at epsilon {NAMED:g}"
            if not splits:
                yield Comparison(name, {"reason": f"{REAL} has no real lines"}, None, self.goals[name])
                continue
            plain = [read(split.plain) for split in splits]
            private = {e: [read(split.private[e]) for split in splits] for e in EPSILONS}
            below = {e: _median_difference(plain, private[e]) for e in EPSILONS}
            shown = {"no epsilon": f"{median(plain):.3f}"}
            shown |= {f"epsilon {e:g}": f"{median(private[e]):.3f} ({-below[e]:+.3f})" for e in EPSILONS}
            shown["on"] = f"{splits[0].rows:,} rows of one owner"
            details = {"no epsilon": plain} | {f"epsilon {e:g}": values for e, values in private.items()}
            yield Comparison(name, shown, below[NAMED], self.goals[name], details)

    def _told(self, splits: Sequence[Split]) -> Comparison:
        name = "ROC AUC as told, at epsilon 1"
        away = {e: [abs(s.private[e].told_auc - s.private[e].auc) for s in splits] for e in EPSILONS}
        shown = {f"epsilon {e:g}": f"{median(away[e]):.4f} away" for e in EPSILONS}
        return Comparison(name, shown, median(away[1.0]), self.goals[name], {"away": away[1.0]})

    def _against_peer(self, splits: Sequence[Split]) -> Comparison:
        name = "ROC AUC against Opacus, at epsilon 1"
        pairs = [(split.peer, split.private[PEER_EPSILON]) for split in splits if split.peer]
        figures = {
            "Opacus": _both([peer for peer, _ in pairs]),
            "fedcore": _both([ours for _, ours in pairs]),
            "splits": str(len(pairs)),
        }
        below = _median_difference([peer.auc for peer, _ in pairs], [ours.auc for _, ours in pairs])
        return Comparison(name, figures, below, self.goals[name])

    def _booking(self) -> Iterator[Comparison]:
        first, insert = booking_seconds(0)
        later, _ = booking_seconds(MANY)
        figures = {"ledger": f"{1e3 * first:.2f} ms", "insert": f"{1e3 * insert:.2f} ms"}
        name = "booking a run and giving it back"
        yield Comparison(name, figures, first / insert, self.goals[name])
        name = "booking beside 1,000 runs"
        yield Comparison(name, {"ledger": f"{1e3 * later:.1f} ms"}, later, self.goals[name])

    def _accounting(self) -> Comparison:
        name = "accounting for 1,000 releases"
        ours, theirs = accounting_seconds(MANY)
        figures = {"fedcore": f"{1e3 * ours:.1f} ms", "dp-accounting": f"{1e3 * theirs:.0f} ms"}
        return Comparison(name, figures, theirs / ours, self.goals[name])


BENCHMARK = Privacy()


def measured(job: tuple[bool, bool, int]) -> Split:
    """One split: on made or on real lines, with or without the peer, and its number."""
    import torch

    real, with_the_peer, number = job
    torch.set_num_threads(1)
    with request_files(made=not real) as files:
        records = records_of(files, number)
    owner = prepared(owners_of(records, number)[:1], PluginChoice(name="plaintext"), None)[0]
    peer = None
    if with_the_peer:
        peer = _quality_of(owner, opacus_scores(owner.training, owner.kept_back, PEER_EPSILON, DELTA))
    private = {epsilon: _private(owner, epsilon) for epsilon in EPSILONS}
    return Split(_plain(owner, number), private, peer, len(owner.training.labels))


def _splits(with_the_peer: bool) -> tuple[list[Split], list[Split]]:
    """All splits on made lines, and on real ones if they are there; the peer takes part on the latter if it can."""
    there = has_real_lines()
    peers = PEER_SPLITS if with_the_peer else 0
    # The long jobs first, so that no process waits long for another one's at the end.
    jobs = [(there, number < peers, number) for number in range(SPLITS)]
    jobs += [(False, False, number) for number in range(SPLITS if there else 0)]
    found = list(zip(jobs, on_every_core(measured, jobs), strict=True))
    made, real = ([split for job, split in found if job[0] is kind] for kind in (False, True))
    return made, real


def _plain(owner: Prepared, seed: int) -> Quality:
    return _quality_of(owner, Linear().scores(trained([owner], seed), owner.kept_back.features))


def _private(owner: Prepared, epsilon: float) -> Quality:
    preset = char_ngrams_4096()
    words = RunPlan("", "", preset.pipeline, training=preset.training).with_epsilon(epsilon, DELTA)
    spent = words.privacy.epsilon_micro
    assert isinstance(spent, int)
    plan = local_plan(spent, DELTA, words.training.epochs, 2)
    parameters = fit_privately(Linear(), owner.training, 2, words.training, plan.training)
    scores = private_scores(Linear(), parameters, owner.kept_back.features)
    told = metrics_of(with_noise(count_scores(scores, owner.kept_back.labels, 2), plan.counts))
    return _quality_of(owner, scores, told)


def _quality_of(owner: Prepared, scores: NDArray[np.float64], told: Metrics | None = None) -> Quality:
    metrics = metrics_of(count_scores(scores, owner.kept_back.labels, 2))
    assert metrics.roc_auc is not None
    told_auc = metrics.roc_auc if told is None or told.roc_auc is None else told.roc_auc
    return Quality(metrics.roc_auc, metrics.f1, told_auc)


def _both(found: Sequence[Quality]) -> str:
    auc, f1 = median([quality.auc for quality in found]), median([quality.f1 for quality in found])
    return f"{auc:.4f} (F1 {f1:.3f})"


def _median_difference(better: Sequence[float], worse: Sequence[float]) -> float:
    return median([first - second for first, second in zip(better, worse, strict=True)])


def _peer_absent() -> PeerAbsent | None:
    try:
        with_peer(REQUIREMENTS)
    except PeerAbsent as absent:
        return absent
    return None
