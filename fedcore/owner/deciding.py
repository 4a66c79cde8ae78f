"""From a delivered order to a decision: signatures verified, facts gathered, the policy asked.

The policy is read anew whenever its file has changed, so an edit takes effect with the next order. A file that
is missing or broken is no policy: then every order is refused.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from fedcore.owner.booking import Booking, Wanted, wanted_by
from fedcore.owner.config import Config
from fedcore.owner.config_problems import ConfigError
from fedcore.owner.datasets import DatasetProblem, Datasets
from fedcore.owner.facts import (
    Allowed,
    DatasetFacts,
    Decision,
    Facts,
    GrantFacts,
    PluginFacts,
    Refused,
    Role,
)
from fedcore.owner.grants import GrantStore
from fedcore.owner.held_grant import HeldGrant
from fedcore.owner.home import Home
from fedcore.owner.installed import allowed_registry, character_steps_asked, plugin_facts
from fedcore.owner.orders import OrderStore
from fedcore.owner.policy import decide
from fedcore.plugin_api.registry import PluginError, Registry
from fedcore.wire.access import AccessRequest
from fedcore.wire.codes import RefusalCode
from fedcore.wire.encoding import WireError
from fedcore.wire.orders import Order
from fedcore.wire.spec import RunSpec

logger = logging.getLogger(__name__)

_NOT_LOOKED_AT: Final = Refused(
    RefusalCode.INTERNAL, "The run's plugins were not looked at. The order is refused until they are."
)
"""What is known of the plugins before any rule has been asked. Whatever needs them is refused with this, and only that
is worth a look at them: a run of a scientist whom nobody named never gets so far."""


@dataclass(frozen=True)
class Governed:
    """The policy in force, with the plugins and datasets that it names."""

    policy: Config
    registry: Registry
    datasets: Datasets

    @classmethod
    def of(cls, home: Home, policy: Config) -> Governed:
        """Load what a home's policy names. Raises `PluginError`."""
        registry = allowed_registry(policy, home.path)
        return cls(policy, registry, Datasets(home, policy, registry))


@dataclass(frozen=True)
class Decided:
    """What was decided on an order, on which facts, under which policy, and what the run would book."""

    decision: Decision
    facts: Facts
    governed: Governed
    wanted: Wanted | None


class Governing:
    """Knows the policy of one home that is in force now."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.Lock()
        self._governed: Governed | None = None

    def governed(self) -> Governed:
        """The policy in force. Raises `ConfigError` or `PluginError`, and then nothing may run."""
        policy = self._home.load_config()
        with self._lock:
            known = self._governed
            # What could not be loaded is tried again from time to time: then there is another registry.
            if known is None or known.policy != policy or known.registry is not self._registry(policy):
                self._governed = known = Governed.of(self._home, policy)
            return known

    def _registry(self, policy: Config) -> Registry:
        return allowed_registry(policy, self._home.path)


class Deciding(Governing):
    """Decides on the orders of one host."""

    def __init__(
        self,
        home: Home,
        store: OrderStore,
        grants: GrantStore,
        booking: Booking,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(home)
        self._store = store
        self._grants = grants
        self._booking = booking
        self._clock = clock

    def decide(self, order: Order, signer: str) -> Decided | Refused:
        """Whether the order is carried out. `signer` has signed it. Never raises for what an order may hold."""
        try:
            governed = self.governed()
        except ConfigError as error:
            return Refused(RefusalCode.NO_POLICY, str(error))
        except PluginError as error:
            return Refused(RefusalCode.PLUGIN_MISSING, str(error))
        try:
            facts = self._facts(order, signer, governed)
            decision = decide(facts)
            if decision is not _NOT_LOOKED_AT:
                return Decided(decision, facts, governed, None)
            facts = _looked_up(facts, governed)
            wanted = _wanted(facts, governed)
        except WireError as error:
            return Refused(error.code, error.detail)
        except DatasetProblem as problem:
            return Refused(problem.code, str(problem))
        ledger, spent, counted = self._booking.looked_up(facts, wanted)
        facts = replace(facts, ledger=ledger, releases_spent=spent, counted=counted)
        return Decided(decide(facts), facts, governed, wanted)

    def _facts(self, order: Order, signer: str, governed: Governed) -> Facts:
        """What costs nothing to know: the code of plugins and the dataset's files come later, and not for anybody."""
        spec = order.spec.open(RunSpec)
        host = self._home.card.signing
        role = _role_of(spec, host)
        request = None if order.grant is None else order.grant.request.open(AccessRequest)
        return Facts(
            order=order,
            order_signer=signer,
            spec=spec,
            request=request,
            held=self._held(order, request, governed),
            host=host,
            role=role,
            policy=governed.policy,
            now=int(self._clock()),
            dataset=None,
            plugins=_NOT_LOOKED_AT,
            releases_spent=0,
            counted=False,
            done=self._store.done(order.run),
        )

    def _held(
        self, order: Order, request: AccessRequest | None, governed: Governed
    ) -> GrantFacts | Refused | None:
        """What this host holds of the order's grant, which is taken in or narrowed first."""
        if order.grant is None or request is None:
            return None
        host, signer = self._home.card.signing, order.grant.request.signer
        if request.dataset.host != host or governed.policy.scientist(signer) is None:
            return Refused(
                RefusalCode.NOT_GRANTED,
                f"The request is for data of {request.dataset.host} and signed by {signer}. This host, {host}, takes "
                "grants on its own data and of scientists whom [[scientists]] names.",
            )
        return grant_facts(self._grants.take(order.grant, request), governed.registry)


def grant_facts(held: HeldGrant, registry: Registry) -> GrantFacts:
    """What the policy decides on of a grant that this host holds."""
    steps = character_steps_asked(registry, held.request)
    return GrantFacts(held.signed.signer, held.limits, held.ruling, held.received_at, steps)


def _looked_up(facts: Facts, governed: Governed) -> Facts:
    """The facts with those that cost a look: options go to a plugin's own code, and the dataset's files are read."""
    named = facts.spec.dataset_of(facts.host)
    return replace(
        facts,
        dataset=None if named is None else governed.datasets.facts(named.name),
        plugins=_plugin_facts(governed.registry, facts.spec),
    )


def _wanted(facts: Facts, governed: Governed) -> Wanted | None:
    """What the run would book, where enough is known of it: else the policy refuses it anyway."""
    named, dataset, plugins = facts.spec.dataset_of(facts.host), facts.dataset, facts.plugins
    if named is None or facts.request is None or not isinstance(plugins, PluginFacts):
        return None
    if not isinstance(dataset, DatasetFacts) or not isinstance(facts.held, GrantFacts):
        return None
    offer, split = governed.policy.datasets[named.name], governed.datasets.split(named.name)
    return wanted_by(facts.order, facts.request, facts.held, offer, dataset, plugins, split)


def _plugin_facts(registry: Registry, spec: RunSpec) -> PluginFacts | Refused:
    try:
        return plugin_facts(registry, spec)
    except Exception as error:
        # The code of a plugin runs here: whatever it raises, the order is refused.
        logger.exception("A plugin of the run failed while it was looked at")
        return Refused(RefusalCode.INVALID_OPTIONS, f"a plugin failed with {error!r}")


def _role_of(spec: RunSpec, host: str) -> Role:
    if host == spec.reference_host:
        return Role.REFERENCE
    return Role.DEALER if host == spec.dealer else Role.OWNER


def allows(decision: Decision) -> bool:
    return isinstance(decision, Allowed)
