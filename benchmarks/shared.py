"""`shared`: training on shares beside plain torch with the same batches, and what a whole run takes.

Two owners, character 1-3-grams hashed into 300 columns, two epochs; all request lines, of which the owners keep back
30 %.
*Online* is what the two compute owners' processes take from the first opening to the last, with a pipe between them;
the baseline is one linear layer with autograd and `torch.optim.SGD` on one thread, on the same rows in the same order.
*A whole run* goes over real processes: what preparing, dealing, training and all sending took, by the coordinator's
clock. *Against* CrypTen and SPU: see `shared_peers`.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.benchmark import Benchmark, Comparison, Goal, median
from benchmarks.lines import REAL, has_real_lines, request_files
from benchmarks.owners import COLUMN, owners_of
from benchmarks.shared_parties import Dealt, dealt, trained
from benchmarks.shared_peers import CRYPTEN, SPU, Task, against_peers
from examples.demo.data import make_offers
from examples.demo.governance import approve_waiting
from examples.demo.opening import session_of, start_everything
from examples.demo.organisations import PURPOSE, make_cast
from examples.demo.processes import ROOT, Processes
from examples.demo.settings import Settings
from fedcore.client import Dataset, RunPlan, Session
from fedcore.plugin_api import LabelledRows, Matrix, Records, Text
from fedcore.plugin_api.pipeline import BuiltPipeline
from fedcore.plugin_api.registry import Registry
from fedcore.sharing.plan import Loss, SharedPlan, plan_of
from fedcore.sharing.scales import Scales
from fedcore.wire.spec import Pipeline, PluginChoice, Training
from plugins import encryption, preprocessing

COLUMNS: Final = 300
EPOCHS: Final = 2
REPEATS: Final = 5
SCALES: Final = Scales(fraction_bits=13, score_bits=6)
WORK: Final = ROOT / "var" / "benchmark"
RATES: Final = {Loss.SQUARED_ERROR: 0.5, Loss.CROSS_ENTROPY: 8.0}
SQUARED, LOGISTIC = "squared error, online", "logistic, online"
SQUARED_1024, LOGISTIC_1024 = "squared error, batch 1,024", "logistic, batch 1,024"
SQUARED_WEIGHTS: Final = "squared error, furthest weight from plaintext"
LOGISTIC_AUC: Final = "logistic, ROC AUC from plaintext"
SQUARED_RUN, LOGISTIC_RUN = "squared error, a whole run", "logistic, a whole run"
RELAY: Final = "through the relay, batch 1,024"
PEERS: Final = {
    "logistic, batch 1,024, against CrypTen": CRYPTEN,
    "logistic, batch 1,024, against SPU": SPU,
}


@dataclass(frozen=True)
class Rows:
    """What the owners train on, and all of what they keep back."""

    owners: list[LabelledRows]
    kept_back: LabelledRows


class Shared(Benchmark):
    """The two losses, online and as whole runs."""

    name: ClassVar[str] = "shared"
    summary: ClassVar[str] = "training on shares beside plain torch, and whole runs over real processes"
    goals: ClassVar[dict[str, Goal]] = {
        SQUARED: Goal(1.5, at_least=False),
        LOGISTIC: Goal(2.5, at_least=False),
        SQUARED_WEIGHTS: Goal(0.001, "", at_least=False),
        LOGISTIC_AUC: Goal(0.001, "", at_least=False),
        SQUARED_1024: Goal(1.5, at_least=False),
        LOGISTIC_1024: Goal(2.5, at_least=False),
        SQUARED_RUN: Goal(8.0, "s", at_least=False),
        LOGISTIC_RUN: Goal(12.0, "s", at_least=False),
        RELAY: Goal(3.0, "s", at_least=False),
        **dict.fromkeys(PEERS, Goal(5.0)),
    }

    def measure(self) -> Iterator[Comparison]:
        rows = prepared_rows()
        direct = {}
        for loss, batch in ((Loss.SQUARED_ERROR, 128), (Loss.CROSS_ENTROPY, 128)):
            yield from self._online(rows, loss, batch)
        for loss in (Loss.SQUARED_ERROR, Loss.CROSS_ENTROPY):
            comparison, seconds = self._online_1024(rows, loss)
            direct[loss] = seconds
            yield comparison
        yield from against_peers(task_of(rows), PEERS, self.goals)
        yield from self._whole_runs(direct)

    def _online(self, rows: Rows, loss: Loss, batch: int) -> Iterator[Comparison]:
        given = dealt(plan_for(rows, loss, batch), rows.owners)
        name = SQUARED if loss is Loss.SQUARED_ERROR else LOGISTIC
        shares, comparison = _measured(name, rows, given, self.goals[name])
        yield comparison
        plain = plaintext(rows, given.plan)
        if loss is Loss.SQUARED_ERROR:
            furthest = float(np.abs(shares - plain).max())
            figures = {"furthest weight": f"{furthest:.2g}", "largest weight": f"{np.abs(plain).max():.3g}"}
            yield Comparison(SQUARED_WEIGHTS, figures, furthest, self.goals[SQUARED_WEIGHTS])
            return
        on_shares, on_plain = (auc_of(rows.kept_back, weights) for weights in (shares, plain))
        figures = {"on shares": f"{on_shares:.5f}", "on plaintext": f"{on_plain:.5f}"}
        yield Comparison(LOGISTIC_AUC, figures, abs(on_shares - on_plain), self.goals[LOGISTIC_AUC])

    def _online_1024(self, rows: Rows, loss: Loss) -> tuple[Comparison, float]:
        given = dealt(plan_for(rows, loss, 1024), rows.owners)
        name = SQUARED_1024 if loss is Loss.SQUARED_ERROR else LOGISTIC_1024
        _, comparison = _measured(name, rows, given, self.goals[name])
        return comparison, float(str(comparison.details["online"]))

    def _whole_runs(self, direct: dict[Loss, float]) -> Iterator[Comparison]:
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True, mode=0o700)
        try:
            with Processes(WORK) as processes:
                yield from self._runs(processes, direct)
        finally:
            shutil.rmtree(WORK, ignore_errors=True)

    def _runs(self, processes: Processes, direct: dict[Loss, float]) -> Iterator[Comparison]:
        plans = {
            (loss, batch): run_plan(loss, batch)
            for loss in (Loss.SQUARED_ERROR, Loss.CROSS_ENTROPY)
            for batch in (128, 1024)
        }
        session, datasets, grants, shared = _federation(processes, list(plans.values()))
        found = {
            key: [_report(session, plan.with_seed(seed), datasets, grants) for seed in range(3)]
            for key, plan in zip(plans, shared, strict=True)
        }
        for loss, name in ((Loss.SQUARED_ERROR, SQUARED_RUN), (Loss.CROSS_ENTROPY, LOGISTIC_RUN)):
            yield _whole(name, found[loss, 128], self.goals[name])
        computing = [_training(report) for report in found[Loss.CROSS_ENTROPY, 1024]]
        more = median(computing) - direct[Loss.CROSS_ENTROPY]
        figures = {
            "training, by the slower owner": f"{median(computing):.2f} s",
            "with a pipe": f"{direct[Loss.CROSS_ENTROPY]:.2f} s",
        }
        yield Comparison(RELAY, figures, more, self.goals[RELAY], {"training": computing})


def prepared_rows() -> Rows:
    """All request lines as two owners' features."""
    with request_files() as files:
        lines = {file.label: sorted(set(file.path.read_bytes().splitlines()) - {b""}) for file in files.files}
    benign, attacks = lines["benign"], lines["attack"]
    labels = np.repeat(np.array([0, 1], np.int64), [len(benign), len(attacks)])
    records = Records({COLUMN: Text.from_rows(benign + attacks)}, labels)
    order = np.random.default_rng(1).permutation(len(records))
    owners = owners_of(records.take(order), 1)
    pipeline = BuiltPipeline(
        Registry([preprocessing, encryption]),
        pipeline_for(COLUMN),
        PluginChoice(name="secret_sharing"),
        bytes(32),
    )
    kept = [_features(pipeline, owner.kept_back) for owner in owners]
    return Rows([_features(pipeline, owner.training) for owner in owners], _merged(kept))


def pipeline_for(column: str) -> Pipeline:
    """Character 1-3-grams in 300 columns."""
    steps = (
        PluginChoice(name="fields", options={"names": [column]}),
        PluginChoice(name="lower"),
        PluginChoice(name="char_ngrams", options={"minimum": 1, "maximum": 3}),
        PluginChoice(name="protect"),
        PluginChoice(name="hash_columns", options={"columns": COLUMNS}),
    )
    return Pipeline(steps=steps)


def training_for(loss: Loss, batch: int) -> Training:
    sgd = PluginChoice(name="sgd", options={"lr": RATES[loss]})
    return Training(optimiser=sgd, loss=loss.value, batch_size=batch, epochs=EPOCHS, seed=1)


def plan_for(rows: Rows, loss: Loss, batch: int) -> SharedPlan:
    sizes = [len(owner.labels) for owner in rows.owners]
    return plan_of(training_for(loss, batch), SCALES, COLUMNS, sizes)


def task_of(rows: Rows) -> Task:
    """Logistic regression with 1,024 rows in a batch, as peers train it."""
    loss, batch = Loss.CROSS_ENTROPY, 1024
    plan, training = plan_for(rows, loss, batch), training_for(loss, batch)
    return Task(rows.owners, *_dense(rows), plan, training, lambda weights: auc_of(rows.kept_back, weights))


def run_plan(loss: Loss, batch: int) -> RunPlan:
    column = "request" if has_real_lines() else "target"
    return RunPlan(
        title=f"{loss.value}, {batch}",
        purpose=PURPOSE,
        pipeline=pipeline_for(column),
        training=training_for(loss, batch),
        minutes=20,
    )


def plaintext(rows: Rows, plan: SharedPlan) -> NDArray[np.float64]:
    """The same training in float64, from zeros: weights and bias of the difference of the two outputs."""
    features, labels = _dense(rows)
    weights = np.zeros(COLUMNS + 1)
    for number in range(plan.batches):
        batch = plan.batch(number).rows
        part, classes = features[batch], labels[batch]
        score = part @ weights[:-1] + weights[-1]
        squared = plan.loss is Loss.SQUARED_ERROR
        error = score - (2 * classes - 1) if squared else 1 / (1 + np.exp(-score)) - classes
        error *= 2 * plan.rate / len(batch)  # The difference of two outputs moves twice as fast as each.
        weights[:-1] -= part.T @ error
        weights[-1] -= error.sum()
    return weights


def autograd_seconds(rows: Rows, plan: SharedPlan) -> float:
    """One linear layer under autograd and SGD, on the same batches, on one thread."""
    import torch

    torch.set_num_threads(1)
    dense, classes = _dense(rows)
    features, labels = torch.from_numpy(dense.astype(np.float32)), torch.from_numpy(classes).float()
    batches = [torch.from_numpy(plan.batch(number).rows) for number in range(plan.batches)]
    squared = plan.loss is Loss.SQUARED_ERROR
    criterion: Any = torch.nn.MSELoss() if squared else torch.nn.BCEWithLogitsLoss()
    targets = 2 * labels - 1 if squared else labels
    layer = torch.nn.Linear(COLUMNS, 1)
    optimiser = torch.optim.SGD(layer.parameters(), lr=plan.rate * (1 if squared else 2))
    started = time.perf_counter()
    for batch in batches:
        optimiser.zero_grad()
        criterion(layer(features[batch])[:, 0], targets[batch]).backward()
        optimiser.step()
    return time.perf_counter() - started


def auc_of(rows: LabelledRows, weights: NDArray[np.float64]) -> float:
    from sklearn.metrics import roc_auc_score

    assert isinstance(rows.features, Matrix)
    return float(roc_auc_score(rows.labels, rows.features.to_scipy() @ weights[:-1] + weights[-1]))


def _measured(name: str, rows: Rows, given: Dealt, goal: Goal) -> tuple[NDArray[np.float64], Comparison]:
    """The two in turns. The ratio is that of the medians."""
    ours, plain = [], []
    for _ in range(REPEATS):
        result = trained(given)
        ours.append(result.seconds)
        plain.append(autograd_seconds(rows, given.plan))
    figures = {
        "online": f"{median(ours):.2f} s ({min(ours):.2f} to {max(ours):.2f})",
        "autograd": f"{median(plain):.2f} s",
        "masking": f"{given.masking:.2f} s",
        "dealing": f"{given.dealing:.2f} s",
        "an owner sends": _mb(given.bytes_of_owner),
        "the dealer": _mb(given.bytes_of_dealer),
        "a compute owner, online": _mb(result.sent),
        "rows": f"{given.plan.total:,}",
    }
    details = {"online": median(ours), "all": ours, "autograd": plain}
    return result.weights, Comparison(name, figures, median(ours) / median(plain), goal, details)


def _whole(name: str, reports: list[dict[str, Any]], goal: Goal) -> Comparison:
    """Preparing, dealing and training with all sending, by the coordinator's clock; the bytes of each party."""
    walls = [
        sum(report["seconds"].get(phase, 0.0) for phase in ("prepare", "deal", "train")) for report in reports
    ]
    middle = reports[walls.index(sorted(walls)[len(walls) // 2])]
    seconds = middle["seconds"]
    figures = {phase: f"{seconds[phase]:.2f} s" for phase in ("prepare", "deal", "train")}
    figures |= {owner["host_name"]: _mb(owner["bytes_sent"]) for owner in middle["owners"]}
    figures["ROC AUC"] = f"{middle['metrics']['roc_auc']:.5f}"
    return Comparison(name, figures, median(walls), goal, {"walls": walls})


def _training(report: dict[str, Any]) -> float:
    return max(float(owner["seconds"].get("train.training", math.nan)) for owner in report["owners"])


def _federation(
    processes: Processes, plans: list[RunPlan]
) -> tuple[Session, list[Dataset], list[str], list[RunPlan]]:
    """Everything started, access asked for and granted."""
    real = (
        {"good": REAL / "goodqueries.txt.gz", "bad": REAL / "badqueries.txt.gz"} if has_real_lines() else {}
    )
    settings = Settings(once=True, good=real.get("good"), bad=real.get("bad"), log=None, rows=60_000)
    cast = make_cast(WORK)
    offers = make_offers(settings, (cast.owners[0].directory, cast.owners[1].directory))
    coordinator = start_everything(cast, [[offer] for offer in offers], processes)
    session = Session.open(coordinator.url, cast.university.directory / ".fedcore")
    dealer = next(host for host in session.hosts() if host.is_dealer)
    shared = [plan.as_shared(dealer.card.signing) for plan in plans]
    datasets = session.datasets()
    terms: dict[str, Any] = {"purpose": PURPOSE, "reason": "A benchmark.", "releases": 20, "days": 1}
    grants = [session.request_access(dataset, shared, **terms) for dataset in datasets]
    for name in ("olga", "otto"):
        approve_waiting(session_of(cast, coordinator, cast.person(name)))
    return session, datasets, grants, shared


def _report(session: Session, plan: RunPlan, datasets: list[Dataset], grants: list[str]) -> dict[str, Any]:
    run = session.submit(plan, datasets, grants)
    session.wait(run)
    return dict(session.report(run))


def _features(pipeline: BuiltPipeline, records: Records) -> LabelledRows:
    assert records.labels is not None
    return LabelledRows(pipeline.features(records, {}), records.labels)


def _merged(parts: list[LabelledRows]) -> LabelledRows:
    matrix = Matrix.concatenate([part.features for part in parts if isinstance(part.features, Matrix)])
    return LabelledRows(matrix, np.concatenate([part.labels for part in parts]))


def _dense(rows: Rows) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    merged = _merged(rows.owners)
    assert isinstance(merged.features, Matrix)
    return merged.features.to_scipy().toarray().astype(np.float64), merged.labels


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


BENCHMARK: Final = Shared()
