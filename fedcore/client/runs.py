"""Run plans: what a scientist decides about a run, before datasets and grants make it a run spec."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedcore.wire.spec import (
    DatasetVersion,
    Pipeline,
    PluginChoice,
    Privacy,
    Protocol,
    RunSpec,
    Training,
    in_millionths,
)

PLAINTEXT = PluginChoice(name="plaintext")
KEYED_TOKENS = PluginChoice(name="keyed_tokens")
SECRET_SHARING = PluginChoice(name="secret_sharing")
DELTA = 1e-6
"""The delta that goes with an epsilon where nobody says another."""


@dataclass(frozen=True)
class RunPlan:
    """One training: pipeline, protocol, protection, model, and how it is trained.

    `minutes` is how long the run may take before it is given up.
    """

    title: str
    purpose: str
    pipeline: Pipeline
    protocol: Protocol = Protocol.POOLED
    backend: PluginChoice = KEYED_TOKENS
    model: PluginChoice = field(default_factory=lambda: PluginChoice(name="linear"))
    training: Training = field(default_factory=Training)
    privacy: Privacy = field(default_factory=Privacy)
    minimum_owners: int = 1
    first_rows: int | None = None
    reference_host: str | None = None
    dealer: str | None = None
    minutes: int = 60

    def as_local(self) -> RunPlan:
        """The same training by each owner alone."""
        return self._under(Protocol.LOCAL, PLAINTEXT, minimum_owners=1)

    def as_reference(self, host: str) -> RunPlan:
        """The same training on plaintext, at the reference host with this signing key."""
        return self._under(Protocol.REFERENCE, PLAINTEXT, reference_host=host)

    def as_shared(self, dealer: str, backend: PluginChoice = SECRET_SHARING) -> RunPlan:
        """The same training on shares by the first two owners, with the dealer that has this signing key."""
        return self._under(Protocol.SHARED, backend, dealer=dealer)

    def _under(self, protocol: Protocol, backend: PluginChoice, **hosts: Any) -> RunPlan:
        others = {"reference_host": None, "dealer": None, **hosts}
        return replace(self, protocol=protocol, backend=backend, **others)

    def with_epsilon(self, epsilon: float, delta: float = DELTA) -> RunPlan:
        """The same model trained by each owner alone so that no row shows in it, or in its evaluation, by more than
        `epsilon`: in 50 noisy passes over all rows with the class weights of this plan, if they are numbers."""
        weights = self.training.class_weights
        noisy = Training(
            optimiser=PluginChoice(name="adam", options={"lr": 0.3}),
            epochs=50,
            class_weights=weights if isinstance(weights, tuple) else None,
        )
        privacy = Privacy(epsilon_micro=in_millionths(epsilon), delta=delta)
        return replace(self.as_local(), first_rows=None, training=noisy, privacy=privacy)

    def with_seed(self, seed: int) -> RunPlan:
        """The same plan with other initial weights and another order of batches."""
        return replace(self, training=self.training.model_copy(update={"seed": seed}))

    def spec(self, datasets: Sequence[DatasetVersion], grants: Sequence[str], now: int) -> RunSpec:
        """The run spec of this plan on `datasets`, under `grants` in the same order, submitted `now`."""
        return RunSpec(
            title=self.title,
            purpose=self.purpose,
            datasets=tuple(datasets),
            first_rows=self.first_rows,
            pipeline=self.pipeline,
            protocol=self.protocol,
            backend=self.backend,
            model=self.model,
            training=self.training,
            privacy=self.privacy,
            minimum_owners=self.minimum_owners,
            reference_host=self.reference_host,
            dealer=self.dealer,
            grants=tuple(grants),
            submitted_at=now,
            deadline=now + 60 * self.minutes,
            nonce=new_nonce(),
        )

    @classmethod
    def from_mapping(cls, values: dict[str, Any]) -> RunPlan:
        """A plan from plain values, as a TOML or JSON file has them. Raises `ValueError` naming the field."""
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            known = ", ".join(cls.__dataclass_fields__)
            raise ValueError(f"A plan has no field {', '.join(sorted(unknown))}. Its fields are {known}.")
        parsers: dict[str, Callable[[Any], Any]] = {
            "pipeline": lambda value: Pipeline.model_validate({"steps": value}, strict=False),
            "backend": lambda value: PluginChoice.model_validate(value, strict=False),
            "model": lambda value: PluginChoice.model_validate(value, strict=False),
            "training": lambda value: Training.model_validate(value, strict=False),
            "privacy": lambda value: Privacy.model_validate(value, strict=False),
            "protocol": Protocol,
        }
        parsed: dict[str, Any] = {
            name: parsers[name](value) if name in parsers else value for name, value in values.items()
        }
        try:
            return cls(**parsed)
        except TypeError as error:
            raise ValueError(f"The plan is not complete: {error}") from None


def new_nonce() -> str:
    """128 random bits in hexadecimal."""
    return secrets.token_hex(16)
