"""What people do about a request on its page: dialogs that post, each of which calls one function of `decisions`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.admin.base import GovernedAdmin
from fedcore.coordinator.governance.admin.decision_forms import (
    AnswerForm,
    ApprovalForm,
    NoteForm,
    QuestionForm,
    ReasonForm,
    TighteningForm,
)
from fedcore.coordinator.governance.decisions import Decision
from fedcore.coordinator.governance.models import AccessRequest, Person
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.governance.problems import DecisionError


def _dialog(decision: Decision, title: Any, description: Any, button: Any, form: type[BaseDialogForm]) -> Any:
    """The settings of an action that only whoever may take the decision now sees, and may use."""
    return {
        "permissions": [str(decision)],
        "dialog": {
            "title": title,
            "description": description,
            "form_class": form,
            "form_submit_text": button,
        },
    }


def _may(decision: Decision) -> Callable[[DecidingAdmin, HttpRequest, str | None], bool]:
    """The theme's question whether an action is for the person who looks."""

    def has_permission(admin: DecidingAdmin, request: HttpRequest, object_id: str | None = None) -> bool:
        return decision in admin.open_decisions(request, object_id)

    return has_permission


class DecidingAdmin(GovernedAdmin):
    """The actions of a request's page. Which of them a person sees is what `decisions.open_to` says."""

    actions_detail: ClassVar = [
        *("renew", "approve", "ask", "refuse", "tighten", "revoke"),
        *("answer", "withdraw"),
    ]

    @action(
        description=_("Renew as before"),
        icon="autorenew",
        variant=ActionVariant.PRIMARY,
        **_dialog(
            Decision.RENEW,
            _("Renew this grant?"),
            _(
                "With the limits of the grant before, for the period and the number of runs that are asked now."
            ),
            _("Renew"),
            NoteForm,
        ),
    )
    def renew(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self._decided(request, object_id, lambda asked, person: decisions.renew(asked, person, reason))

    @action(
        description=_("Approve"),
        icon="check",
        variant=ActionVariant.PRIMARY,
        **_dialog(
            Decision.APPROVE,
            _("Approve this request?"),
            _(
                "Runs may start at once, within these limits: lower what you will. What is handed over cannot be "
                "called back."
            ),
            _("Approve"),
            ApprovalForm,
        ),
    )
    def approve(self, request: HttpRequest, form: ApprovalForm, object_id: str) -> HttpResponse:
        limits, reason = form.limits, form.cleaned_data["reason"]
        return self._decided(
            request, object_id, lambda asked, person: decisions.approve(asked, person, limits, reason)
        )

    @action(
        description=_("Ask back"),
        icon="forum",
        **_dialog(
            Decision.ASK,
            _("Ask the scientist?"),
            _("A request does not change once it is signed: the scientist answers, or asks anew."),
            _("Ask"),
            QuestionForm,
        ),
    )
    def ask(self, request: HttpRequest, form: QuestionForm, object_id: str) -> HttpResponse:
        text = form.cleaned_data["text"]
        return self._decided(request, object_id, lambda asked, person: decisions.ask(asked, person, text))

    @action(
        description=_("Refuse"),
        icon="close",
        **_dialog(
            Decision.REFUSE,
            _("Refuse this request?"),
            _("The scientist may ask again, with another request."),
            _("Refuse"),
            ReasonForm,
        ),
    )
    def refuse(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self._decided(
            request, object_id, lambda asked, person: decisions.refuse(asked, person, reason)
        )

    @action(
        description=_("Tighten"),
        icon="compress",
        **_dialog(
            Decision.TIGHTEN,
            _("Tighten this grant?"),
            _(
                "The lower limits hold at once; runs under way that exceed them are stopped. They are never widened "
                "again. What was handed over before cannot be called back."
            ),
            _("Tighten"),
            TighteningForm,
        ),
    )
    def tighten(self, request: HttpRequest, form: TighteningForm, object_id: str) -> HttpResponse:
        limits, reason = form.limits, form.cleaned_data["reason"]
        return self._decided(
            request, object_id, lambda asked, person: decisions.tighten(asked, person, limits, reason)
        )

    @action(
        description=_("Revoke"),
        icon="block",
        variant=ActionVariant.DANGER,
        **_dialog(
            Decision.REVOKE,
            _("Revoke this grant?"),
            _(
                "No run starts or goes on under it, and the coordinator deletes what it still holds of finished ones. "
                "What was handed over before cannot be called back."
            ),
            _("Revoke"),
            ReasonForm,
        ),
    )
    def revoke(self, request: HttpRequest, form: ReasonForm, object_id: str) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self._decided(
            request, object_id, lambda asked, person: decisions.revoke(asked, person, reason)
        )

    @action(
        description=_("Answer"),
        icon="reply",
        variant=ActionVariant.PRIMARY,
        **_dialog(
            Decision.ANSWER,
            _("Answer the owner"),
            _("If something else should be asked for, sign another request, which may replace this one."),
            _("Answer"),
            AnswerForm,
        ),
    )
    def answer(self, request: HttpRequest, form: AnswerForm, object_id: str) -> HttpResponse:
        text = form.cleaned_data["text"]
        return self._decided(request, object_id, lambda asked, person: decisions.answer(asked, person, text))

    @action(
        description=_("Withdraw"),
        icon="undo",
        **_dialog(
            Decision.WITHDRAW,
            _("Withdraw this request?"),
            _("A grant that came of it ends: no run starts or goes on under it. This cannot be undone."),
            _("Withdraw"),
            NoteForm,
        ),
    )
    def withdraw(self, request: HttpRequest, form: NoteForm, object_id: str) -> HttpResponse:
        reason = form.cleaned_data["reason"]
        return self._decided(
            request, object_id, lambda asked, person: decisions.withdraw(asked, person, reason)
        )

    has_approve_permission = _may(Decision.APPROVE)
    has_renew_permission = _may(Decision.RENEW)
    has_ask_permission = _may(Decision.ASK)
    has_refuse_permission = _may(Decision.REFUSE)
    has_tighten_permission = _may(Decision.TIGHTEN)
    has_revoke_permission = _may(Decision.REVOKE)
    has_answer_permission = _may(Decision.ANSWER)
    has_withdraw_permission = _may(Decision.WITHDRAW)

    def open_decisions(self, request: HttpRequest, object_id: str | None) -> frozenset[Decision]:
        """What the person who looks may do about the request now; looked up once for a page."""
        known: dict[str | None, frozenset[Decision]] = request.__dict__.setdefault("_open_decisions", {})
        if object_id not in known:
            asked = self.get_queryset(request).filter(pk=object_id).first()
            known[object_id] = decisions.open_to(asked, person_of(request)) if asked else frozenset()
        return known[object_id]

    def _decided(
        self, request: HttpRequest, object_id: str, decide: Callable[[AccessRequest, Person], object]
    ) -> HttpResponse:
        asked = AccessRequest.objects.get(pk=object_id)
        try:
            decide(asked, person_of(request))
        except DecisionError as error:
            messages.error(request, error.detail)
        else:
            asked.refresh_from_db()
            told = gettext("The request is %(state)s.") % {"state": asked.get_state_display()}
            messages.success(request, told)
        return self._to_request(object_id)

    @staticmethod
    def _to_request(object_id: str) -> HttpResponse:
        """Back to the page, out of a dialog: htmx has loaded it and follows this header; a 302 would leave it open."""
        address = reverse("admin:governance_accessrequest_change", args=(object_id,))
        return HttpResponse(headers={"HX-Redirect": address})
