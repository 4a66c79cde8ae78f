"""The dialogs in which people decide: reasons, questions, and limits that are preset and can only be lowered."""

from __future__ import annotations

from datetime import UTC, datetime, time
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.forms import BaseDialogForm
from unfold.widgets import (
    INPUT_CLASSES,
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from fedcore.coordinator.governance import decisions
from fedcore.coordinator.governance.limits import (
    LISTS,
    MICRO,
    MOST_OWNERS,
    NO_PROMISE,
    Epsilon,
    Limited,
    Limits,
    shown_epsilon,
)
from fedcore.coordinator.governance.models import AccessRequest
from fedcore.coordinator.governance.people import person_of
from fedcore.coordinator.governance.problems import DecisionError


class ReasonForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("Reason"),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text=_("The scientist reads it."),
    )


class NoteForm(BaseDialogForm):
    reason = forms.CharField(
        label=_("Note"),
        required=False,
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}),
        help_text=_("The other side reads it."),
    )


class QuestionForm(BaseDialogForm):
    text = forms.CharField(
        label=_("Question"),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=_("The scientist reads it, and the request waits for the answer."),
    )


class AnswerForm(BaseDialogForm):
    text = forms.CharField(
        label=_("Answer"),
        max_length=2000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=_("The owner reads it, and the request waits for a decision again."),
    )


class LimitsForm(BaseDialogForm):
    """Every limit, preset to what it is at most. What is wider, empty or unknown is an error beside the field."""

    field_order = (
        *(*LISTS, "releases", "minimum_owners", "epsilon_micro", "expires_at", "download"),
        "reason",
    )

    protocols = forms.MultipleChoiceField(
        label=_("Protocols"), widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    backends = forms.MultipleChoiceField(
        label=_("Encryption backends"), widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    model_types = forms.MultipleChoiceField(
        label=_("Model types"), widget=UnfoldAdminCheckboxSelectMultipleWidget
    )
    releases = forms.IntegerField(label=_("Releases"), widget=UnfoldAdminIntegerFieldWidget)
    minimum_owners = forms.IntegerField(
        label=_("Owners in each run, at least"), widget=UnfoldAdminIntegerFieldWidget
    )
    epsilon_micro = forms.CharField(
        label=_("Privacy limit (epsilon of all runs together)"), widget=UnfoldAdminTextInputWidget
    )
    expires_at = forms.DateField(
        label=_("Until the end of (UTC)"),
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date", "class": " ".join(INPUT_CLASSES)}),
    )
    download = forms.BooleanField(
        label=_("May download the merged pseudonymised dataset"),
        required=False,
        widget=UnfoldBooleanSwitchWidget,
    )

    def __init__(self, request: HttpRequest, object_id: str | None = None, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, object_id, *args, **kwargs)
        asked = AccessRequest.objects.visible_to(person_of(request)).select_related("grant").get(pk=object_id)
        self.bound = bound = self.bound_of(asked)
        for name in LISTS:
            self.fields[name].choices = [(value, value) for value in getattr(bound, name)]
            self.fields[name].initial = list(getattr(bound, name))
        for name in ("releases", "minimum_owners", "download"):
            self.fields[name].initial = getattr(bound, name)
        self.fields["epsilon_micro"].initial = shown_epsilon(bound.epsilon_micro)
        self.fields["expires_at"].initial = bound.expires_at.date()
        self._explain(bound)
        if not bound.download:
            del self.fields["download"]

    @staticmethod
    def bound_of(asked: AccessRequest) -> Limited:
        return decisions.bound_of(asked)

    def _explain(self, bound: Limited) -> None:
        texts = {
            "releases": gettext("How many runs may start. Between 1 and %(most)d.")
            % {"most": bound.releases},
            "minimum_owners": gettext("Between %(least)d and %(most)d.")
            % {"least": bound.minimum_owners, "most": MOST_OWNERS},
            "epsilon_micro": gettext(
                "“none” promises nothing. With a number, runs that cannot keep it are refused."
            )
            if bound.epsilon_micro == NO_PROMISE
            else gettext("More than 0, and at most %(most)s.") % {"most": shown_epsilon(bound.epsilon_micro)},
            "expires_at": gettext("At the latest %(last)s UTC.")
            % {"last": f"{bound.expires_at:%Y-%m-%d, %H:%M}"},
        }
        for name, text in texts.items():
            self.fields[name].help_text = text

    def clean_epsilon_micro(self) -> Epsilon:
        text = self.cleaned_data["epsilon_micro"].strip().lower()
        if text == NO_PROMISE:
            return NO_PROMISE
        try:
            micro = Decimal(text) * MICRO
            if micro != micro.to_integral_value():
                raise forms.ValidationError(gettext("An epsilon has six decimals at most."))
        except InvalidOperation:
            raise forms.ValidationError(gettext("An epsilon is a number such as 0.5, or “none”.")) from None
        return int(micro)

    def clean_expires_at(self) -> datetime:
        day = self.cleaned_data["expires_at"]
        # The last day ends at the moment that bounds it.
        last = self.bound.expires_at
        return last if day == last.date() else datetime.combine(day, time.max, UTC)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        if not self.errors:
            try:
                decisions.within(self.bound, self.limits, timezone.now())
            except DecisionError as error:
                for name, text in error.mistakes.items():
                    self.add_error(name, text)
        return given

    @property
    def limits(self) -> Limits:
        given = self.cleaned_data
        return Limits(
            protocols=tuple(given["protocols"]),
            backends=tuple(given["backends"]),
            model_types=tuple(given["model_types"]),
            epsilon_micro=given["epsilon_micro"],
            releases=given["releases"],
            minimum_owners=given["minimum_owners"],
            expires_at=given["expires_at"],
            download=given.get("download", False),
        )


class ApprovalForm(LimitsForm, NoteForm):
    """The limits as they were asked for, or as a first owner approved them; the owner may lower them."""


class TighteningForm(LimitsForm, ReasonForm):
    """The limits as they were granted; the owner may lower them."""

    @staticmethod
    def bound_of(asked: AccessRequest) -> Limited:
        return asked.limits
