"""The phases that compute on rows: prepare, train and evaluate; and check and close, the first and the last.

Who can see what: under `pooled` the coordinator gets protected features and labels; under `reference` they are
sealed to the reference host, and the model is sealed back to each owner; under `local` only the training's
curve leaves, and in a run with an epsilon not even that. Evaluation gives counts of scores, under an epsilon with
noise that is drawn here once and stored with the answer. Held-out rows never leave in any form.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from fedcore.owner.agreement_phases import agreed_key
from fedcore.owner.datasets import rounded
from fedcore.owner.describing import compute, describe
from fedcore.owner.description import LEAST_ROWS, Finished, Kind, Noise, Work
from fedcore.owner.evidence import Said, only_artefact
from fedcore.owner.facts import Role
from fedcore.owner.fitting_phases import check_states
from fedcore.owner.phase_work import Outcome, PhaseWork
from fedcore.owner.release_checks import two_digits
from fedcore.owner.shards import add_seconds
from fedcore.owner.sharing_phases import prepare_shares, train_shares
from fedcore.owner.spending import plan_of, spent_by
from fedcore.owner.spool import OrderSpool, make_directory
from fedcore.plugin_api.evaluation import ScoreCounts, from_evaluated, to_evaluated
from fedcore.plugin_api.noisy_evaluation import with_noise
from fedcore.plugin_api.serialise import unpack_arrays, unpack_features, unpack_model, unpack_state
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import ArtefactRef, Phase
from fedcore.wire.reports import Checked, Closed, Prepared, Trained, TrainingCurve
from fedcore.wire.sealing import open_at_host, seal_to_host
from fedcore.wire.spec import Protocol


def check(work: PhaseWork) -> Outcome:
    """Take part: the decision was to allow it. Says how many rows there are, rounded or with noise."""
    work.folder.keep_spec(work.order.spec)
    if work.role is not Role.OWNER:
        return Outcome(Checked(rows=0))
    name, datasets = work.dataset_name, work.means.datasets
    rows = work.means.booking.shown_rows(datasets, work.offer, name, datasets.look(name))
    return Outcome(Checked(rows=rows))


def prepare(work: PhaseWork) -> Outcome:
    """The protected training rows, one part for each shard; under `reference` sealed to the reference host, and under
    `shared` in shares for the compute owners."""
    if work.spec.protocol is Protocol.SHARED:
        return prepare_shares(work)
    if work.key_is_agreed:
        agreed_key(work)
    check_states(work)
    description = describe(work, Kind.PREPARE, states=work.folder.states)
    finished = compute(work, description)
    started = time.perf_counter()
    tasks = [task for task, facts in enumerate(finished) if facts.rows]
    if not tasks:
        raise WireError(RefusalCode.DATASET_EMPTY, "no training row is left")
    _check_features(work, description, finished)
    refs = tuple(_features_part(work, part, task) for part, task in enumerate(tasks))
    rows = sum(facts.rows for facts in finished)
    # The coordinator counts the rows that it gets itself; of rows that are sealed to another host it need not know.
    shown = rows if work.spec.protocol is Protocol.POOLED else rounded(rows, work.offer.round_rows_to)
    plain = two_digits(sum(facts.plaintext_bytes for facts in finished))
    result = Prepared(rows=shown, columns=finished[tasks[0]].columns, plaintext_bytes=plain)
    seconds = {**add_seconds(finished), "sealing": time.perf_counter() - started}
    return Outcome(result, refs, rows, seconds)


def train(work: PhaseWork) -> Outcome:
    """Train here: under `local` on this owner's rows, at a reference host on the features of all owners, at a compute
    owner on shares."""
    if work.spec.protocol is Protocol.SHARED:
        return train_shares(work)
    return _train_for_all(work) if work.role is Role.REFERENCE else _train_alone(work)


def evaluate(work: PhaseWork) -> Outcome:
    """Score this owner's held-out rows with the run's model; what leaves are counts. The model is kept."""
    if work.spec.protocol is not Protocol.LOCAL:
        data = _model_from_outside(work)
        unpack_model(data)
        work.folder.keep_model(data)
    inputs, noise = (str(work.folder.model_path),), _noise(work)
    description = describe(work, Kind.EVALUATE, states=work.folder.states, inputs=inputs, noise=noise)
    finished = compute(work, description)
    counts = ScoreCounts.add([_counts(work, task) for task in range(len(finished))])
    plan = plan_of(work.spec, len(counts.confusion))
    if plan is None and not counts.rows:
        raise WireError(RefusalCode.DATASET_EMPTY, "no row is held out")
    evaluated = to_evaluated(counts if plan is None else with_noise(counts, plan.counts))
    if plan is not None:
        evaluated = evaluated.model_copy(update={"spent": spent_by(work.spec, plan)})
    from_evaluated(evaluated)
    return Outcome(evaluated, rows=counts.rows, seconds=add_seconds(finished))


def close(work: PhaseWork) -> Outcome:
    """End the run: its spool goes, and unless it is to be kept for predictions its key, states and model too."""
    for order in work.means.store.of_run(work.run):
        OrderSpool(work.means.home.spool_directory(order.id)).delete()
    return Outcome(Closed(kept=work.folder.close(work.order.keep)))


def features_context(run: str, owner: str, part: int) -> str:
    """What a sealed part of an owner's features is bound to."""
    return f"{run}/features/{owner}/{part}"


def model_context(run: str, owner: str) -> str:
    """What a model that is sealed to an owner is bound to."""
    return f"{run}/model/{owner}"


def _check_features(work: PhaseWork, description: Work, finished: list[Finished]) -> None:
    """What a worker has written is looked at before it may leave: form, finite numbers, rows, columns."""
    columns = {facts.columns for facts in finished if facts.rows}
    for task, facts in enumerate(finished):
        if not facts.rows:
            continue
        rows = unpack_features(work.spool.payload_path(task).read_bytes(), description.classes or 2)
        if len(rows.labels) != facts.rows or {rows.features.columns} != columns:
            raise WireError(
                RefusalCode.ARTEFACT_INVALID, f"shard {task} does not have the rows and columns it says"
            )


def _features_part(work: PhaseWork, part: int, task: int) -> ArtefactRef:
    data = work.spool.payload_path(task).read_bytes()
    audience = None
    if work.spec.protocol is Protocol.REFERENCE:
        audience = work.spec.reference_host
        data = seal_to_host(data, _sealing_key(work, audience), features_context(work.run, work.host, part))
    digest = work.spool.keep_artefact(data)
    return ArtefactRef(role="features", part=part, digest=digest, size=len(data), audience=audience)


def _sealing_key(work: PhaseWork, host: str | None) -> str:
    peer = None if host is None else work.means.policy.peer(host)
    if peer is None:
        raise WireError(RefusalCode.UNKNOWN_PEER, f"{host} is not pinned")
    return peer.sealing_key


def _train_alone(work: PhaseWork) -> Outcome:
    noise = _noise(work)
    (facts,) = compute(work, describe(work, Kind.TRAIN, noise=noise))
    data = work.spool.payload_path(0).read_bytes()
    unpack_model(data)
    for place in work.pipeline().fitted:
        path = work.spool.directory / f"state-{place}.safetensors"
        work.folder.keep_state(place, unpack_state(path.read_bytes()))
        path.unlink()
    work.folder.keep_model(data)
    shown = rounded(facts.rows, work.offer.round_rows_to)
    trained = Trained(rows=0, curve=None) if noise else Trained(rows=shown, curve=_curve(facts))
    return Outcome(trained, rows=facts.rows, seconds=add_seconds([facts]))


def _train_for_all(work: PhaseWork) -> Outcome:
    started = time.perf_counter()
    said = work.evidence.of(Prepared, work.roster, Phase.PREPARE)
    inputs = tuple(path for owner in work.roster for path in _opened_parts(work, said[owner]))
    opening = time.perf_counter() - started
    try:
        (facts,) = compute(work, describe(work, Kind.TRAIN, own_rows=False, inputs=inputs))
    finally:
        work.spool.forget_inputs()
    if facts.rows < sum(said[owner].result.rows for owner in work.roster):
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the owners' parts do not have the rows that they say")
    data = work.spool.payload_path(0).read_bytes()
    unpack_model(data)
    refs = tuple(_model_for(work, owner, data) for owner in work.roster)
    seconds = {**add_seconds([facts]), "opening": opening}
    shown = rounded(facts.rows, LEAST_ROWS)
    return Outcome(Trained(rows=shown, curve=_curve(facts)), refs, facts.rows, seconds)


def _opened_parts(work: PhaseWork, said: Said[Prepared]) -> Iterator[str]:
    """The owner's parts, opened into files of this order, in the order of their numbers."""
    refs = sorted((ref for ref in said.artefacts if ref.role == "features"), key=lambda ref: ref.part)
    if [ref.part for ref in refs] != list(range(len(refs))) or not refs:
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"the parts of {said.host} are not numbered from 0")
    make_directory(work.spool.inputs)
    for ref in refs:
        work.go_on()
        if ref.audience != work.host:
            raise WireError(RefusalCode.ARTEFACT_INVALID, f"a part of {said.host} is not for this host")
        sealed = work.download(ref)
        context = features_context(work.run, said.host, ref.part)
        data = open_at_host(sealed.read_bytes(), work.means.home.sealing_key, context)
        sealed.unlink()
        yield str(work.spool.keep_input(f"{work.roster.index(said.host)}-{ref.part}.safetensors", data))


def _model_for(work: PhaseWork, owner: str, data: bytes) -> ArtefactRef:
    sealed = seal_to_host(data, _sealing_key(work, owner), model_context(work.run, owner))
    digest = work.spool.keep_artefact(sealed)
    return ArtefactRef(role="model", digest=digest, size=len(sealed), audience=owner)


def _model_from_outside(work: PhaseWork) -> bytes:
    """The model that the coordinator, or the reference host, has trained."""
    if work.spec.protocol is Protocol.REFERENCE:
        trainer = work.spec.reference_host or ""
        said = work.evidence.of(Trained, (trainer,), Phase.TRAIN)[trainer]
        sealed = work.download(only_artefact(said, "model", work.host)).read_bytes()
        return open_at_host(sealed, work.means.home.sealing_key, model_context(work.run, work.host))
    models = [ref for ref in work.order.artefacts if ref.role == "model" and ref.audience is None]
    if len(models) != 1:
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"the order names {len(models)} models, not 1")
    return work.download(models[0]).read_bytes()


def _counts(work: PhaseWork, task: int) -> ScoreCounts:
    arrays, _ = unpack_arrays(work.spool.payload_path(task).read_bytes())
    histograms, confusion = arrays["histograms"], arrays["confusion"]
    if (
        histograms.dtype != np.int64
        or confusion.dtype != np.int64
        or histograms.min() < 0
        or confusion.min() < 0
    ):
        raise WireError(RefusalCode.ARTEFACT_INVALID, f"shard {task} gives no counts")
    return ScoreCounts(histograms, confusion)


def _noise(work: PhaseWork) -> Noise | None:
    """The noise of a training under an epsilon, as the workers are told of it."""
    classes = len(work.means.datasets.open(work.dataset_name).reader.classes)
    plan = plan_of(work.spec, classes)
    if plan is None:
        return None
    noise = plan.training
    return Noise(variance=int(noise.variance), sensitivity=noise.sensitivity, passes=noise.times)


def _curve(facts: Finished) -> TrainingCurve:
    if facts.curve is None:
        raise WireError(RefusalCode.ARTEFACT_INVALID, "the training gives no curve")
    return facts.curve
