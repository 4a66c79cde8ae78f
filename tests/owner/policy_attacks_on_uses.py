"""Attacks that use data otherwise than policy and granted request allow."""

from __future__ import annotations

from fedcore.wire.codes import RefusalCode
from fedcore.wire.spec import PluginChoice, Protocol

from .attack import Attack
from .policy_cases import (
    NGRAMS,
    POOLED,
    REFEREE,
    REFERENCE,
    SOUTH,
    STRANGER,
    TEACHING,
    card,
)

WITHOUT_TRUST = [
    {"name": "south", "card": card(SOUTH), "organisation": "south-bank"},
    {"name": "refer", "card": card(REFEREE), "organisation": "referees", "reference": False},
]

ON_USES = [
    Attack(
        "data is used for a purpose that the policy does not name",
        "purpose_is_allowed",
        RefusalCode.PURPOSE_NOT_ALLOWED,
        "marketing",
        POOLED.but(spec={"purpose": "marketing"}, request={"purpose": "marketing"}),
    ),
    Attack(
        "data is used for another purpose than was asked for",
        "purpose_is_allowed",
        RefusalCode.PURPOSE_NOT_ALLOWED,
        "Request access",
        POOLED.but(request={"purpose": "research"}),
    ),
    Attack(
        "a run uses a protocol that the policy does not name",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        "allows the protocols local",
        POOLED.with_dataset_policy(protocols=["local"]),
    ),
    Attack(
        "a run uses a protocol that was not asked for",
        "protocol_is_allowed",
        RefusalCode.PROTOCOL_NOT_ALLOWED,
        "grant covers the protocols local",
        POOLED.but(request={"protocols": (Protocol.LOCAL,)}),
    ),
    Attack(
        "a run uses a backend that the policy does not name",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "allows the backends plaintext",
        POOLED.with_dataset_policy(backends=["plaintext"]),
    ),
    Attack(
        "a run uses a backend that was not asked for",
        "backend_is_allowed",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "grant covers the backends plaintext",
        POOLED.but(request={"backends": ("plaintext",)}),
    ),
    Attack(
        "a run trains a model that the policy does not name",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        "allows the models mlp",
        POOLED.with_dataset_policy(models=["mlp"]),
    ),
    Attack(
        "a run trains a model that was not asked for",
        "model_is_allowed",
        RefusalCode.MODEL_NOT_ALLOWED,
        "grant covers the models linear",
        POOLED.but(spec={"model": PluginChoice(name="mlp")}),
    ),
    Attack(
        "a run uses a pipeline that was not asked for",
        "pipeline_is_granted",
        RefusalCode.PIPELINE_NOT_GRANTED,
        "covers no pipeline",
        POOLED.but(spec={"pipeline": NGRAMS}),
    ),
    Attack(
        "the coordinator is to receive plaintext",
        "plaintext_goes_to_the_reference_host_only",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "shows plaintext",
        REFERENCE.but(spec={"protocol": Protocol.POOLED, "reference_host": None}),
    ),
    Attack(
        "plaintext is sent to a peer that is not trusted with it",
        "reference_host_is_trusted",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        "reference = true",
        REFERENCE.with_policy(peers=WITHOUT_TRUST),
    ),
    Attack(
        "plaintext is sent to a reference host that nobody has pinned",
        "reference_host_is_trusted",
        RefusalCode.REFERENCE_NOT_TRUSTED,
        "reference = true",
        REFERENCE.but(spec={"reference_host": STRANGER.public}),
    ),
    Attack(
        "characters are merely renamed without the policy's leave",
        "character_steps_are_named",
        RefusalCode.STEP_NOT_ALLOWED,
        "char_ngrams",
        POOLED.but(
            spec={"pipeline": NGRAMS}, request={"pipelines": (NGRAMS,)}, character_steps=("char_ngrams",)
        ),
    ),
    Attack(
        "rows are protected by a backend for teaching that the policy names among all backends only",
        "teaching_backend_is_named",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "teaching_backends of [datasets.access-2026]",
        TEACHING.with_dataset_policy(teaching_backends=[]),
    ),
    Attack(
        "rows are protected by another backend for teaching than the policy names",
        "teaching_backend_is_named",
        RefusalCode.BACKEND_NOT_ALLOWED,
        "rsa is for teaching only",
        TEACHING.with_dataset_policy(teaching_backends=["caesar"]),
    ),
]
