"""An owner host as a script: real keys, signatures, key agreement and seals, on made-up features."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from django.test import Client

from fedcore.coordinator.governance.models import (
    OwnerHost,
)
from fedcore.coordinator.identity import coordinator_key
from fedcore.coordinator.plugins import installed
from fedcore.plugin_api.arrays import pack_arrays
from fedcore.plugin_api.evaluation import count_scores, to_evaluated
from fedcore.plugin_api.models import LabelledRows, ModelType
from fedcore.plugin_api.pipeline import BuiltPipeline, state_digest
from fedcore.plugin_api.serialise import (
    StoredModel,
    pack_features,
    pack_model,
    pack_summary,
    unpack_features,
    unpack_model,
    unpack_summary,
)
from fedcore.plugin_api.steps import Summary
from fedcore.plugin_api.values import Matrix
from fedcore.wire.access import GrantNotice, GrantStanding, Standing
from fedcore.wire.agreement import (
    check_proofs,
    open_share,
    proof_of,
    run_key_of,
    seal_shares,
    transcript_of,
)
from fedcore.wire.keys import SealingKey, SigningKey, encode_key
from fedcore.wire.orders import ArtefactRef, Order, Phase
from fedcore.wire.reports import (
    Announcement,
    Checked,
    Closed,
    Confirmed,
    DatasetOffer,
    Dealt,
    Offered,
    Prepared,
    Report,
    Settled,
    Shared,
    Spent,
    Status,
    Summarised,
    Trained,
    TrainingCurve,
)
from fedcore.wire.requests import sign_request
from fedcore.wire.sealing import open_at_host, open_under_run_key, seal_to_host, seal_under_run_key
from fedcore.wire.signing import Signed
from fedcore.wire.spec import (
    Protocol,
    RunSpec,
)

COLUMNS = 64
WEIGHT_BITS = 44
"""Bits of fraction of weights on shares, with the usual options of `secret_sharing`."""
ROWS = 40
PEER_SEALING_KEYS: dict[str, str] = {}


def features_of(seed: int, rows: int = ROWS) -> LabelledRows:
    """Rows whose class shows in column 0 or 1, beside a column of noise."""
    random = np.random.default_rng(seed)
    labels = (np.arange(rows) % 2).astype(np.int64)
    indices = np.stack([labels, random.integers(2, COLUMNS, rows)], axis=1).astype(np.int32)
    matrix = Matrix(
        np.arange(0, 2 * rows + 1, 2, dtype=np.int64), indices.ravel(), np.ones(2 * rows, np.float32), COLUMNS
    )
    return LabelledRows(matrix, labels)


@dataclass
class ScriptedHost:
    """An owner host that answers orders as the real one does, on made-up features, over the real API."""

    row: OwnerHost
    key: SigningKey
    sealing: SealingKey
    seed: int
    client: Client = field(default_factory=Client)
    cursor: int = 0
    memory: dict[str, Any] = field(default_factory=dict)

    def send(self, method: str, path: str, body: bytes = b"", **headers: Any) -> Any:
        """One signed request."""
        signed = sign_request(self.key, method, path, body, int(time.time()))
        return self.client.generic(
            method, path, body, content_type="application/json", headers={**signed, **headers}
        )

    def announce(self, *offers: DatasetOffer, at: int | None = None) -> Any:
        message = Announcement(datasets=offers, announced_at=at or int(time.time()))
        body = message.signed_by(self.key).encode().encode()
        return self.send("POST", "/api/host/announcements", body)

    def stand(self, grant: str, standing: Standing = Standing.IN_FORCE, decided_at: int | None = None) -> Any:
        """Tell how a grant stands here."""
        at = int(time.time()) if decided_at is None else decided_at
        message = GrantStanding(request=grant, standing=standing, decided_at=at)
        return self.send("POST", "/api/host/standings", message.signed_by(self.key).encode().encode())

    def notices(self, after: int = 0) -> list[GrantNotice]:
        """What is new of the grants on this host's data, verified as a host does."""
        answer = json.loads(self.send("GET", f"/api/host/grants?after={after}").content)
        key = coordinator_key().public
        envelopes = [Signed.parse(json.dumps(notice), 2**22) for notice in answer["notices"]]
        return [signed.open(GrantNotice, signer=key) for signed in envelopes]

    def orders(self, after: int | None = None) -> list[Order]:
        """The open orders, verified as a host does."""
        path = f"/api/host/orders?after={self.cursor if after is None else after}&wait=0"
        answer = json.loads(self.send("GET", path).content)
        self.cursor = answer["cursor"]
        return [Signed.parse(json.dumps(order), 2**22).open(Order) for order in answer["orders"]]

    def upload(self, order: Order, data: bytes, chunk: int = 4 * 1024 * 1024) -> str:
        digest = hashlib.sha256(data).hexdigest()
        for offset in range(0, max(len(data), 1), chunk):
            answer = self.upload_chunk(order.id, digest, offset, len(data), data[offset : offset + chunk])
            assert answer.status_code == 204, answer.content
        return digest

    def upload_chunk(self, order: str, digest: str, offset: int, length: int, chunk: bytes) -> Any:
        headers = {"Upload-Offset": str(offset), "Upload-Length": str(length)}
        return self.send("PATCH", f"/api/host/artefacts/{order}/{digest}", chunk, **headers)

    def fetch(self, order: Order, digest: str) -> Any:
        return self.send("GET", f"/api/host/artefacts/{order.id}/{digest}")

    def fetched(self, order: Order, digest: str) -> bytes:
        answer = self.fetch(order, digest)
        assert answer.status_code == 200, answer.content
        return b"".join(answer.streaming_content)

    def answer(self, order: Order, result: Any, artefacts: Iterable[ArtefactRef] = (), **changes: Any) -> Any:
        return self.send("POST", "/api/host/reports", self.report(order, result, artefacts, **changes))

    def report(
        self, order: Order, result: Any, artefacts: Iterable[ArtefactRef] = (), **changes: Any
    ) -> bytes:
        facts: dict[str, Any] = {
            "order": order.id,
            "run": order.run,
            "phase": order.phase,
            "step": order.step,
            "round": order.round,
            "status": Status.DONE,
            "result": result,
            "artefacts": tuple(artefacts),
            "seconds": {"computing": 0.001},
            "finished_at": int(time.time()),
        }
        return Report.model_validate({**facts, **changes}).signed_by(self.key).encode().encode()

    def refuse(self, order: Order, code: Any, status: Status = Status.REFUSED) -> Any:
        return self.answer(order, None, status=status, code=code)

    def work(self, phases: Iterable[Phase] = tuple(Phase)) -> list[Order]:
        """Answer all open orders of these phases."""
        found = [order for order in self.orders(after=0) if order.phase in set(phases)]
        for order in found:
            answer = self.answer(order, *self.do(order))
            assert answer.status_code == 200, answer.content
        return found

    def do(self, order: Order) -> tuple[Any, list[ArtefactRef]]:
        """The result of an order, and the artefacts that were uploaded for it."""
        return getattr(self, f"_{order.phase}")(order)  # type: ignore[no-any-return]

    def _check(self, order: Order) -> Any:
        return Checked(rows=100), []

    def _offer(self, order: Order) -> Any:
        self.memory["ephemeral"] = X25519PrivateKey.generate()
        public = self.memory["ephemeral"].public_key().public_bytes_raw()
        return Offered(ephemeral=encode_key(public)), []

    def _share(self, order: Order) -> Any:
        ephemerals = self._ephemerals(order)
        transcript = transcript_of(order.run, ephemerals)
        self.memory["contribution"] = secrets.token_bytes(32)
        shares = seal_shares(
            self.memory["contribution"], self.memory["ephemeral"], self.key.public, ephemerals, transcript
        )
        return Shared(transcript=transcript, shares=shares), []

    def _confirm(self, order: Order) -> Any:
        ephemerals = self._ephemerals(order)
        transcript = transcript_of(order.run, ephemerals)
        contributions = {self.key.public: self.memory["contribution"]}
        for signer, report in self._evidence(order, Phase.SHARE):
            for share in report.result.shares:
                if share.to == self.key.public:
                    contributions[signer] = open_share(
                        share, signer, self.memory["ephemeral"], ephemerals, transcript
                    )
        self.memory |= {"transcript": transcript, "run_key": run_key_of(contributions, transcript)}
        return Confirmed(proof=proof_of(self.memory["run_key"], transcript, self.key.public)), []

    def _summarise(self, order: Order) -> Any:
        self._check_confirmed(order)
        summary = Summary(np.array([3, 1], np.uint64), np.array([10 + self.seed, 5], np.int64))
        context = f"{order.run}/summary/{self.key.public}/{order.step}/{order.round}"
        data = seal_under_run_key(pack_summary(summary), self.memory["run_key"], context)
        ref = ArtefactRef(role="summary", digest=self.upload(order, data), size=len(data))
        return Summarised(), [ref]

    def _settle(self, order: Order) -> Any:
        parts = []
        for signer, report in self._evidence(order, Phase.SUMMARISE):
            sealed = self.fetched(order, report.artefacts[0].digest)
            context = f"{order.run}/summary/{signer}/{report.step}/{report.round}"
            parts.append(unpack_summary(open_under_run_key(sealed, self.memory["run_key"], context)))
        spec = order.spec.open(RunSpec)
        state = BuiltPipeline(installed(), spec.pipeline, spec.backend).finish(
            order.step, [Summary.add(parts)]
        )
        return Settled(state=state_digest(state)), []

    def _prepare(self, order: Order) -> Any:
        spec = order.spec.open(RunSpec)
        if spec.protocol is Protocol.SHARED:
            return self._prepare_shares(order, spec)
        if spec.protocol is Protocol.POOLED:
            self._check_confirmed(order)
        rows = self.memory.get("rows") or features_of(self.seed)
        data = pack_features(rows.features, rows.labels)
        audience = spec.reference_host
        if audience is not None:
            context = f"{order.run}/features/{self.key.public}/0"
            data = seal_to_host(data, PEER_SEALING_KEYS[audience], context)
        ref = ArtefactRef(role="features", digest=self.upload(order, data), size=len(data), audience=audience)
        return Prepared(rows=len(rows.labels), columns=COLUMNS, plaintext_bytes=1000), [ref]

    def _prepare_shares(self, order: Order, spec: RunSpec) -> Any:
        """Sealed bytes for each of the other two or three: what is in them, nobody here looks at."""
        self._check_confirmed(order)
        others = sorted({*spec.compute_owners, spec.dealer or ""} - {self.key.public})
        return Prepared(rows=100, columns=COLUMNS, plaintext_bytes=1000), self._sealed(
            order, "shares", others
        )

    def _deal(self, order: Order) -> Any:
        for _, report in self._evidence(order, Phase.PREPARE):
            own = next(ref for ref in report.artefacts if ref.audience == self.key.public)
            assert open_at_host(self.fetched(order, own.digest), self.sealing, "shares")
        return Dealt(), self._sealed(order, "dealt", order.spec.open(RunSpec).compute_owners)

    def _sealed(self, order: Order, role: str, audiences: Iterable[str]) -> list[ArtefactRef]:
        refs = []
        for audience in audiences:
            data = seal_to_host(secrets.token_bytes(64), PEER_SEALING_KEYS[audience], role)
            digest = self.upload(order, data)
            refs.append(ArtefactRef(role=role, digest=digest, size=len(data), audience=audience))
        return refs

    def _train_shares(self, order: Order, spec: RunSpec) -> Any:
        """This side's share of weights that tell the two classes of `features_of` apart."""
        share = np.random.default_rng(spec.training.seed).integers(0, 2**64, COLUMNS + 1, np.uint64)
        if self.key.public == spec.compute_owners[1]:
            weights = np.zeros(COLUMNS + 1)
            weights[:2] = (-1.0, 1.0)
            share = np.rint(weights * 2.0**WEIGHT_BITS).astype(np.int64).view(np.uint64) - share
        data = pack_arrays({"weights": share})
        ref = ArtefactRef(role="weights", digest=self.upload(order, data), size=len(data))
        return Trained(rows=200, curve=None), [ref]

    def _train(self, order: Order) -> Any:
        spec = order.spec.open(RunSpec)
        if spec.protocol is Protocol.SHARED:
            return self._train_shares(order, spec)
        rows = features_of(self.seed) if spec.protocol is Protocol.LOCAL else self._sealed_rows(order)
        model = installed().of_type(ModelType, spec.model.name)(spec.model.options)  # type: ignore[type-abstract]
        outcome = model.train(model.initial(rows.features, 2, spec.training), rows, 2, spec.training)
        stored = StoredModel(spec.model, 2, "matrix", COLUMNS, 0, outcome.parameters)  # type: ignore[arg-type]
        self.memory["model"] = pack_model(stored)
        curve = TrainingCurve(
            every=1,
            loss=tuple(outcome.loss),
            accuracy=tuple(outcome.accuracy),
            epochs=1,
            steps=len(outcome.loss),
        )
        refs = []
        for owner in spec.hosts if spec.protocol is Protocol.REFERENCE else ():
            context = f"{order.run}/model/{owner}"
            data = seal_to_host(self.memory["model"], PEER_SEALING_KEYS[owner], context)
            digest = self.upload(order, data)
            refs.append(ArtefactRef(role="model", digest=digest, size=len(data), audience=owner))
        if spec.privacy.epsilon_micro != "none":
            return Trained(rows=0, curve=None), refs
        return Trained(rows=len(rows.labels), curve=curve), refs

    def _sealed_rows(self, order: Order) -> LabelledRows:
        parts = []
        for signer, report in self._evidence(order, Phase.PREPARE):
            sealed = self.fetched(order, report.artefacts[0].digest)
            data = open_at_host(sealed, self.sealing, f"{order.run}/features/{signer}/0")
            parts.append(unpack_features(data, 2))
        matrix = Matrix.concatenate([part.features for part in parts])  # type: ignore[misc]
        return LabelledRows(matrix, np.concatenate([part.labels for part in parts]))

    def _evaluate(self, order: Order) -> Any:
        spec = order.spec.open(RunSpec)
        if spec.protocol in (Protocol.POOLED, Protocol.SHARED):
            data = self.fetched(order, order.artefacts[0].digest)
        elif spec.protocol is Protocol.REFERENCE:
            [(_, report)] = self._evidence(order, Phase.TRAIN)
            own = next(ref for ref in report.artefacts if ref.audience == self.key.public)
            sealed = self.fetched(order, own.digest)
            data = open_at_host(sealed, self.sealing, f"{order.run}/model/{self.key.public}")
        else:
            data = self.memory["model"]
        stored = unpack_model(data)
        rows = features_of(self.seed + 100, 20)
        model = installed().of_type(ModelType, stored.model.name)(stored.model.options)  # type: ignore[type-abstract]
        evaluated = to_evaluated(count_scores(model.scores(stored.parameters, rows.features), rows.labels, 2))
        epsilon = spec.privacy.epsilon_micro
        if epsilon != "none":
            spent = Spent(epsilon_micro=epsilon, delta=spec.privacy.delta, mechanisms=("noise",))
            evaluated = evaluated.model_copy(update={"spent": spent})
        return evaluated, []

    def _close(self, order: Order) -> Any:
        return Closed(kept=order.keep), []

    def _evidence(self, order: Order, phase: Phase) -> list[tuple[str, Any]]:
        opened = [(signed.signer, signed.open(Report)) for signed in order.evidence]
        return [(signer, report) for signer, report in opened if report.phase is phase]

    def _ephemerals(self, order: Order) -> dict[str, str]:
        return {signer: r.result.ephemeral for signer, r in self._evidence(order, Phase.OFFER)}

    def _check_confirmed(self, order: Order) -> None:
        proofs = {signer: report.result.proof for signer, report in self._evidence(order, Phase.CONFIRM)}
        if order.round == 0 and order.phase is not Phase.SUMMARISE:
            assert set(proofs) == set(order.spec.open(RunSpec).hosts)
        check_proofs(self.memory["run_key"], self.memory["transcript"], proofs)
