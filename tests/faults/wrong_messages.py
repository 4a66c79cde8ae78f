"""Messages that follow their schema, are signed with the right key, and still must not have any effect.

Each entry says which rule forbids it. The mutations of `mutations.py` are for everything that the schema forbids.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any, Final

from fedcore.wire.access import Standing
from fedcore.wire.codes import RefusalCode
from fedcore.wire.orders import ArtefactRef, Order, Phase, order_id
from fedcore.wire.reports import (
    Announcement,
    Closed,
    Evaluated,
    Report,
    Spent,
    Status,
    Trained,
)
from fedcore.wire.signing import SignedMessage
from fedcore.wire.spec import DatasetVersion, Pipeline, PluginChoice, Privacy, Protocol
from tests.faults.endpoint import NAMES, Endpoint, pipeline

LARGEST: Final = 2**53 - 1
HALF: Final = LARGEST // 2
LONG_AGO, YEARS_AHEAD = 1_000_000_000, 5_000_000_000
NORTH, SOUTH, NOTARY = NAMES

Wrong = tuple[str, SignedMessage]


def wrong_reports(endpoint: Endpoint, order: Order, others: list[Order]) -> Iterator[Wrong]:
    """Reports on `order` that its host may not make. `others` are orders of another host or of other work."""

    def but(**changes: Any) -> Report:
        return endpoint.report(order, **changes)

    yield "an order that nobody made", but(order=secrets.token_hex(16))
    yield "another run", but(run=secrets.token_hex(32))
    for other in others:
        yield "the order of another host or phase", but(order=other.id)
        if (other.run, other.phase) != (order.run, order.phase):
            yield "another order's report under this order", endpoint.report(other, order=order.id)
    for phase in Phase:
        if phase is not order.phase:
            yield (
                "another phase",
                but(phase=phase, status=Status.FAILED, result=None, code=RefusalCode.INTERNAL),
            )
    yield "another step", but(step=3)
    yield "another round", but(round=LARGEST % 1_000_000)
    due = order_id(order.run, Phase.CLOSE, 0, 0, order.audience)
    yield "an order that is not made yet", but(order=due, phase=Phase.CLOSE, result=Closed(kept=False))
    for role, audience in (("features", None), ("model", endpoint.host_keys[SOUTH].public), ("x", None)):
        ref = ArtefactRef(role=role, digest=secrets.token_hex(32), size=10, audience=audience)
        yield "an artefact that was never uploaded", but(artefacts=(ref,))
    if order.phase is Phase.TRAIN:
        yield "a training without a curve", but(result=Trained(rows=700, curve=None))
    if order.phase is Phase.EVALUATE:
        yield from _wrong_counts(but)
        spent = Spent(epsilon_micro=1, delta=1e-6, mechanisms=("a promise",))
        bounded = endpoint.report(order).result.model_copy(update={"spent": spent})
        yield "exact counts that are called bounded", but(result=bounded)


def _wrong_counts(but: Any) -> Iterator[Wrong]:
    zeros = ((0,) * 2048, (0,) * 2048)
    one_each = ((1, *(0,) * 2047), (1, *(0,) * 2047))
    huge = ((LARGEST, *(0,) * 2047),) * 2
    half = ((HALF, *(0,) * 2047),) * 2
    square = ((1, 0), (0, 1))
    for what, result in {
        "ragged histograms": Evaluated(rows=2, histograms=((one_each[0], (1,)),), confusion=square),
        "a ragged confusion matrix": Evaluated(rows=2, histograms=(one_each,), confusion=((1, 0), (1,))),
        "too few bins": Evaluated(rows=2, histograms=(((1,), (1,)),), confusion=square),
        "counts that contradict each other": Evaluated(rows=2, histograms=(zeros,), confusion=square),
        "another number of rows": Evaluated(rows=3, histograms=(one_each,), confusion=square),
        "three classes": Evaluated(rows=3, histograms=(one_each,) * 3, confusion=((1, 0, 0),) * 3),
        "more rows than there can be": Evaluated(
            rows=LARGEST, histograms=(huge,), confusion=((LARGEST, 0),) * 2
        ),
        "as many rows as a number holds": Evaluated(
            rows=2 * HALF, histograms=(half,), confusion=((HALF, 0),) * 2
        ),
    }.items():
        yield what, but(result=result)


def wrong_announcements(endpoint: Endpoint) -> Iterator[Wrong]:
    good = endpoint.announcement(NORTH)
    offer = good.datasets[0]

    def but(**changes: Any) -> Announcement:
        return endpoint.announcement(NORTH, **changes)

    yield "a dataset twice", but(datasets=(offer, offer.model_copy(update={"title": "Again"})))
    yield "older than what is known", but(announced_at=LONG_AGO)
    yield "from 1970", but(announced_at=0)
    for moment in (YEARS_AHEAD, 10**12, 253_402_300_800, LARGEST):
        yield "from the future", but(announced_at=moment)
    # `model_copy` checks nothing, as a host with a program of its own.
    for text in ("a\x00b", "\x1b[2J"):
        yield "a control character", but(datasets=(offer.model_copy(update={"title": text}),))
        yield "a control character", but(datasets=(offer.model_copy(update={"description": text}),))


def wrong_standings(endpoint: Endpoint) -> Iterator[Wrong]:
    """A host's word on grants that are not on its data, from another time, or on no grant at all."""
    yield "a grant on another host's data", endpoint.standing(endpoint.grants[1])
    for digest in (secrets.token_hex(32), "0" * 64):
        yield "a grant that nobody gave", endpoint.standing(digest)
    for moment in (0, 1, LONG_AGO):
        yield "older than what is known", endpoint.standing(endpoint.grants[0], decided_at=moment)
    for moment in (YEARS_AHEAD, 253_402_300_800, LARGEST):
        yield "from the future", endpoint.standing(endpoint.grants[0], decided_at=moment)
    for standing in Standing:
        yield "another host's grant", endpoint.standing(endpoint.grants[1], standing=standing)


def wrong_requests(endpoint: Endpoint) -> Iterator[Wrong]:
    right = endpoint.dataset(NORTH)

    def but(**changes: Any) -> SignedMessage:
        return endpoint.request(**changes)

    for what, dataset in {
        "an unknown dataset": right.model_copy(update={"name": "secrets"}),
        "an unknown host": right.model_copy(update={"host": endpoint.sam_key.public}),
        "a host without datasets": right.model_copy(update={"host": endpoint.host_keys[NOTARY].public}),
        "another version": right.model_copy(update={"version": secrets.token_hex(32)}),
    }.items():
        yield what, but(dataset=dataset)
    for moment in (0, LONG_AGO, YEARS_AHEAD, 253_402_300_800, LARGEST):
        yield "an impossible expiry", but(expires_at=moment)
    yield "another organisation", but(organisation="north-hospital")
    yield "an unknown model type", but(models=("linear", "gpt"))
    yield "an unknown backend", but(backends=("rot13",))
    yield "a control character", endpoint.request().model_copy(update={"reason": "a\x00b"})
    yield from (("an unusable pipeline", but(pipelines=(wrong,))) for wrong in wrong_pipelines())


def wrong_specs(endpoint: Endpoint) -> Iterator[Wrong]:
    north, south = (endpoint.dataset(name) for name in NAMES[:2])

    def but(**changes: Any) -> SignedMessage:
        return endpoint.spec(**changes)

    for moment in (0, LONG_AGO, YEARS_AHEAD, 253_402_300_800, LARGEST - 1):
        yield "signed long ago or in the future", but(submitted_at=moment, deadline=moment + 1)
    for moment in (253_402_300_800, LARGEST):
        yield "a deadline that no calendar has", but(deadline=moment)
    yield "the grants of others", but(grants=tuple(reversed(endpoint.grants)))
    yield "grants that nobody gave", but(grants=(secrets.token_hex(32),) * 2)
    yield "one grant twice", but(grants=(endpoint.grants[0],) * 2)
    yield "another version", but(datasets=(north, south.model_copy(update={"version": "0" * 64})))
    yield "an unknown dataset", but(datasets=(north, south.model_copy(update={"name": "secrets"})))
    stranger = DatasetVersion(host=endpoint.sam_key.public, name="access", version="0" * 64)
    yield "an unknown host", but(datasets=(north, stranger))
    yield "too few owners", but(minimum_owners=3)
    alone = {"datasets": (north,), "grants": tuple(endpoint.grants[:1])}
    yield (
        "too few owners for a shared key",
        but(protocol=Protocol.POOLED, backend=PluginChoice(name="keyed_tokens"), **alone),
    )
    yield (
        "no reference host",
        but(protocol=Protocol.REFERENCE, reference_host=endpoint.host_keys[SOUTH].public),
    )
    yield (
        "a protocol without leave",
        but(protocol=Protocol.REFERENCE, reference_host=endpoint.host_keys[NOTARY].public),
    )
    yield (
        "plaintext to the coordinator",
        but(protocol=Protocol.POOLED, backend=PluginChoice(name="plaintext")),
    )
    yield "an unknown backend", but(backend=PluginChoice(name="rot13"))
    yield "a model without leave", but(model=PluginChoice(name="mlp"))
    yield "a purpose without leave", but(purpose="marketing")
    one = Privacy(epsilon_micro=1_000_000, delta=1e-6)
    yield "a privacy limit that nothing keeps", endpoint.spec(Protocol.POOLED, privacy=one)
    yield "a privacy limit without a delta", but(privacy=Privacy(epsilon_micro=1_000_000))
    steps = pipeline().steps
    yield "a pipeline without leave", but(pipeline=Pipeline(steps=(*steps[:1], *steps[2:])))
    yield from (("an unusable pipeline", but(pipeline=wrong)) for wrong in wrong_pipelines())
    yield from _wrong_trainings(endpoint)


def _wrong_trainings(endpoint: Endpoint) -> Iterator[Wrong]:
    good = endpoint.spec().training
    optimisers = [
        PluginChoice(name="system", options={}),
        PluginChoice(name="adam", options={"lr": -1}),
        PluginChoice(name="adam", options={"lr": "0.1"}),
        PluginChoice(name="adam", options={"params": []}),
        PluginChoice(name="sgd", options={"lr": 1e308, "closure": {"a": [1]}}),
    ]
    changes: list[dict[str, Any]] = [{"optimiser": wrong} for wrong in optimisers]
    changes += [
        {"loss": "eval"},
        {"class_weights": (1.0,) * 7},
        {"scheduler": PluginChoice(name="lambda_lr")},
    ]
    for change in changes:
        yield "a training that nothing can do", endpoint.spec(training=good.model_copy(update=change))


def wrong_pipelines() -> Iterator[Pipeline]:
    first, *_, last = pipeline().steps
    middle = pipeline().steps[1:-1]
    for steps in (
        (first,),
        (last, first),
        (first, *middle),
        (*middle, last),
        (first, *middle, last, last),
        (first, PluginChoice(name="no_such_step"), *middle, last),
        (first, *middle, PluginChoice(name="hash_columns", options={"columns": -1})),
        (first, *middle, PluginChoice(name="hash_columns", options={"columns": 2**40})),
        (first, *middle, PluginChoice(name="hash_columns", options={"columns": 64, "more": 1})),
        (PluginChoice(name="fields", options={"names": ["../../etc/passwd"] * 300}), *middle, last),
        (PluginChoice(name="fields", options={"names": {"a": 1}}), *middle, last),
    ):
        yield Pipeline(steps=steps)
