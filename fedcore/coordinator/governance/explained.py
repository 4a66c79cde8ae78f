"""An access request in plain words, as the data owner reads it before deciding.

What leaves, what it shows and which coalitions could read rows comes from the declarations of the encryption
backends that are installed here; where one is not installed, the page says that nothing is known.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from fedcore.coordinator import plugins
from fedcore.coordinator.governance.budget import Budget, budgets_of
from fedcore.coordinator.governance.limits import NO_PROMISE, shown_epsilon
from fedcore.coordinator.governance.models import UNDECIDED, AccessRequest, Person, ThreadEntry
from fedcore.coordinator.governance.renewals import is_renewal
from fedcore.coordinator.governance.shown_limits import LimitTable, limits_table
from fedcore.plugin_api.backends import Leak
from fedcore.plugin_api.pipeline import PROTECT
from fedcore.plugin_api.registry import UnknownPlugin
from fedcore.plugin_api.steps import PreprocessingStep
from fedcore.wire.spec import Protocol

PROTOCOL_TEXTS: Final[dict[str, Any]] = {
    Protocol.LOCAL: gettext_lazy(
        "Your host trains on your data alone. Only counts of scores leave, for the metrics; rows, features and "
        "model stay."
    ),
    Protocol.REFERENCE: gettext_lazy(
        "Your preprocessed rows go, sealed on the way, to a reference host that your policy trusts. It trains on the "
        "rows of all owners and can read them as far as the backend lets it. The coordinator cannot."
    ),
    Protocol.POOLED: gettext_lazy(
        "Your preprocessed and protected rows, with their labels, go to the coordinator, which trains one model on the "
        "rows of all owners. The scientist gets the model."
    ),
    Protocol.SHARED: gettext_lazy(
        "Your preprocessed rows go, in two shares that each look random, to two compute owners, which train one model "
        "without seeing a row, with randomness from a dealer that sees none either. Any two of these three together "
        "could read the rows of all owners: your policy names whom it trusts. The coordinator and the scientist get "
        "the model."
    ),
}


@dataclass(frozen=True)
class Step:
    """One step of a pipeline, and whether its tokens are pieces of words."""

    name: str
    options: str
    summary: str
    shows_characters: bool


@dataclass(frozen=True)
class Protection:
    """What one encryption backend declares."""

    name: str
    verb: str
    summary: str
    leakage: list[str]
    trust: list[str]
    is_known: bool
    renames_only: bool = False
    is_bare: bool = False
    minimum_owners: int = 1


@dataclass(frozen=True)
class Explanation:
    """Everything that the page of a request says."""

    request: AccessRequest
    protocols: list[tuple[str, Any]]
    pipelines: list[list[Step]]
    protections: list[Protection]
    limits: LimitTable
    thread: list[ThreadEntry]
    budget: Budget | None
    """What the dataset has given to everybody; only for who oversees it."""
    is_renewal: bool
    warnings: list[str] = field(default_factory=list)
    irrevocable: list[str] = field(default_factory=list)
    revocation: list[str] = field(default_factory=list)

    @property
    def replaces(self) -> AccessRequest | None:
        """The earlier request that this one stands in for."""
        found: AccessRequest | None = self.request.replaces
        return found

    @property
    def asked_epsilon(self) -> str:
        """The epsilon that is asked for."""
        return shown_epsilon(self.request.epsilon_micro)

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return self.request.is_over()

    @property
    def rows_leave(self) -> bool:
        """Whether any of the protocols lets rows, in whatever form, leave the owner."""
        return any(name != Protocol.LOCAL for name, _text in self.protocols)


def explain(request: AccessRequest, person: Person) -> Explanation:
    """The request in plain words, for `person`, who may see it."""
    pipelines = [[_step(choice) for choice in pipeline["steps"]] for pipeline in request.pipelines]
    protections = [_protection(name) for name in request.backends]
    return Explanation(
        request=request,
        protocols=[
            (name, PROTOCOL_TEXTS.get(name, _("This protocol is not known here.")))
            for name in request.protocols
        ],
        pipelines=pipelines,
        protections=protections,
        limits=limits_table(request),
        thread=list(request.thread.select_related("person")),
        budget=_budget(request, person),
        is_renewal=is_renewal(request),
        revocation=_revocation(request),
        warnings=_warnings(request, pipelines, protections),
        irrevocable=_irrevocable(request),
    )


def _budget(request: AccessRequest, person: Person) -> Budget | None:
    dataset = request.dataset
    return budgets_of([dataset], timezone.now())[0] if person.oversees(dataset.organisation) else None


def _step(choice: dict[str, Any]) -> Step:
    name = choice["name"]
    options = ", ".join(f"{option} = {_shown(value)}" for option, value in choice["options"].items())
    if name == PROTECT:
        return Step(name, options, _("Here the encryption backend takes the tokens."), False)
    try:
        plugin = plugins.installed().of_type(PreprocessingStep, name)  # type: ignore[type-abstract]
    except UnknownPlugin:
        return Step(name, options, _("Not installed here: nothing is known about it."), False)
    return Step(name, options, plugin.summary, plugin.shows_characters)


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _protection(name: str) -> Protection:
    backend = plugins.backend(name)
    if backend is None:
        return Protection(name, _("unknown"), _("Not installed here."), [], [], is_known=False)
    is_bare = Leak.PLAINTEXT in backend.leakage
    verb = _("not protected") if is_bare else _("encrypted")
    return Protection(
        name,
        _("pseudonymised") if backend.renames_only else verb,
        backend.summary,
        plugins.leakage_of(backend),
        list(backend.trust),
        is_known=True,
        renames_only=backend.renames_only,
        is_bare=is_bare,
        minimum_owners=backend.minimum_owners,
    )


def _warnings(
    request: AccessRequest, pipelines: list[list[Step]], protections: list[Protection]
) -> list[str]:
    found = []
    rows_leave = any(protocol != Protocol.LOCAL for protocol in request.protocols)
    renames = rows_leave and any(protection.renames_only for protection in protections)
    characters = sorted({step.name for pipeline in pipelines for step in pipeline if step.shows_characters})
    if characters and renames:
        found.append(
            _(
                "%(steps)s makes tokens of a few characters, and the backend only renames tokens. That is close to "
                "a substitution cipher: with enough text much of it can be read. Your host's policy must allow it "
                "by name."
            )
            % {"steps": ", ".join(characters)}
        )
    if renames:
        found.append(
            _(
                "Whoever can write to your data, such as a visitor whose requests are logged, can plant known text and "
                "recognise it afterwards."
            )
        )
    bare = sorted(protection.name for protection in protections if protection.is_bare)
    if bare and rows_leave:
        found.append(
            _("%(backends)s protects nothing: whoever receives your rows reads their tokens.")
            % {"backends": ", ".join(bare)}
        )
    if any(not protection.is_known for protection in protections):
        found.append(
            _("A backend is not installed here, so nobody can tell what leaves. Refuse the request.")
        )
    if rows_leave and request.minimum_owners == 1 and any(each.minimum_owners == 1 for each in protections):
        found.append(
            _("It asks for runs with your data alone, too. More owners in each run hide yours among others'.")
        )
    return found + _warnings_of_standing(request)


def _warnings_of_standing(request: AccessRequest) -> list[str]:
    """What stands in the way of a decision, or makes it a wide one."""
    found = []
    if request.dataset_version != request.dataset.current_version:
        found.append(_("The dataset has a new version since this was asked: it can no longer be approved."))
    if request.state not in UNDECIDED:
        return found
    if request.is_over():
        found.append(_("The time that it asks for has passed: it can no longer be approved."))
    if request.epsilon_micro == NO_PROMISE:
        found.append(
            _("It asks for no privacy limit: nothing bounds what models and counts tell about a single row.")
        )
    return found


def _revocation(request: AccessRequest) -> list[str]:
    """What a revocation does, and what it cannot do."""
    found = [_("No run starts under the grant, and those under way are stopped at their next step.")]
    if Protocol.POOLED in request.protocols:
        found.append(
            _("The coordinator deletes the rows, models and merged datasets that it still holds of it.")
        )
    found.append(
        _(
            "Your host has the last word: to be certain that a revocation holds, whatever the coordinator does, run "
            "there: `fedcore-owner grants revoke %(grant)s`"
        )
        % {"grant": request.pk[:12]}
    )
    return found


def _irrevocable(request: AccessRequest) -> list[str]:
    found = []
    if Protocol.POOLED in request.protocols:
        found.append(_("Protected rows that the coordinator has received, while a run works with them."))
        found.append(_("The model that a finished run has given to the scientist and to the other owners."))
    if Protocol.REFERENCE in request.protocols:
        found.append(_("Rows that the reference host has read."))
    if Protocol.SHARED in request.protocols:
        found.append(_("Shares that the compute owners have received, while a run works with them."))
        found.append(_("The model of a finished run on shares."))
    if request.download:
        found.append(_("The merged pseudonymised dataset, once the scientist has downloaded it."))
    found.append(_("Metrics of finished runs."))
    return found
