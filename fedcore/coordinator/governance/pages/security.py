"""Where a person is logged in, and with what: the own page, and the same page of those whom one administrates.

Everything is ended by POST, after a page that says what will happen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from fedcore.coordinator.governance import audit, logins, rules, second_factor
from fedcore.coordinator.governance.audit import Action
from fedcore.coordinator.governance.models import ApiToken, Person, StoredSession
from fedcore.coordinator.governance.pages.fields import code_field
from fedcore.coordinator.governance.pages.login import show_recovery_codes
from fedcore.coordinator.governance.people import person_of

OTHERS: Final = "others"


@dataclass(frozen=True)
class Question:
    """What a page asks before it is done."""

    title: Any
    text: Any
    button: Any


QUESTIONS: Final = {
    "session": Question(
        gettext_lazy("End this session?"),
        gettext_lazy("Whoever uses it is logged out at once."),
        gettext_lazy("End session"),
    ),
    "token": Question(
        gettext_lazy("End this token?"),
        gettext_lazy("Programs that use it get no answer from now on."),
        gettext_lazy("End token"),
    ),
    OTHERS: Question(
        gettext_lazy("Log out everywhere else?"),
        gettext_lazy("Every other session and every API token end at once."),
        gettext_lazy("Log out everywhere else"),
    ),
}
OF_ANOTHER: Final = Question(
    gettext_lazy("Log %(person)s out everywhere?"),
    gettext_lazy("All sessions and API tokens end at once."),
    gettext_lazy("Log out everywhere"),
)
FACTOR_QUESTIONS: Final = {
    "codes": Question(
        gettext_lazy("Make new recovery codes?"),
        gettext_lazy("The former codes count no longer. Enter a code of your app, or a recovery code."),
        gettext_lazy("Make new codes"),
    ),
    "remove": Question(
        gettext_lazy("Remove your second factor?"),
        gettext_lazy(
            "You are logged out everywhere. Where the site requires a second factor of you, you set up another at "
            "the next login. Enter a code of your app, or a recovery code."
        ),
        gettext_lazy("Remove"),
    ),
}

WANTED: Final = {"codes": Action.RENEW_CODES, "remove": Action.REMOVE_FACTOR}
"""What a wrong code was given for, in the audit."""


class CodeForm(forms.Form):
    code = code_field()


@require_safe
def own(request: HttpRequest) -> HttpResponse:
    """Where I am logged in, and my second factor."""
    return _page(request, person_of(request))


@require_safe
def of_person(request: HttpRequest, person_id: int) -> HttpResponse:
    """Where a person is logged in whom one administrates."""
    return _page(request, _person(request, person_id))


@require_http_methods(["GET", "POST"])
def end(request: HttpRequest, person_id: int) -> HttpResponse:
    """Ask whether to end a session, a token, or all but the session of this request; on POST, end it."""
    person = _person(request, person_id)
    kind = next((name for name in QUESTIONS if name in request.GET), "")
    rows = _chosen(person, kind, request.GET.get(kind, ""))
    if request.method == "GET":
        is_own = person.pk == person_of(request).pk
        question = QUESTIONS[kind] if is_own or kind != OTHERS else OF_ANOTHER
        return _ask(request, person, question, rows.first() if rows is not None else None)
    if rows is None:
        logins.end_all(person, but=request.session.session_key)
    else:
        rows.delete()
    messages.success(request, _("It is ended."))
    return redirect(_address(request, person))


@sensitive_post_parameters("code")
@require_http_methods(["GET", "POST"])
def factor(request: HttpRequest) -> HttpResponse:
    """Make new recovery codes, or remove one's own second factor; only with a code."""
    person, what = person_of(request), request.GET.get("do", "")
    if what not in FACTOR_QUESTIONS or second_factor.of(person) is None:
        raise Http404
    form = CodeForm(request.POST or None)
    if form.is_valid():
        try:
            found = second_factor.check(request, person, form.cleaned_data["code"], WANTED[what])
        except second_factor.WrongCode as error:
            form.add_error("code", str(error))
        else:
            if what == "codes":
                audit.record(Action.RENEW_CODES, found)
                return show_recovery_codes(request, found.renew_recovery_codes(), reverse("admin:security"))
            second_factor.remove(person)
            return redirect("admin:login")
    return _ask(request, person, FACTOR_QUESTIONS[what], form=form)


def _person(request: HttpRequest, person_id: int) -> Person:
    """Oneself, or somebody whom one administrates; everybody else does not exist here."""
    asking = person_of(request)
    found: Person | None = Person.objects.visible_to(asking).filter(pk=person_id).first()
    if found is None or not (found.pk == asking.pk or rules.may_administrate(asking, found)):
        raise Http404
    return found


def _chosen(person: Person, kind: str, which: str) -> Any:
    """The session or token of this person that was chosen; None for all others."""
    if kind == OTHERS:
        return None
    if kind == "session":
        rows: Any = StoredSession.objects.filter(person=person, digest=which)
    elif kind == "token":
        rows = ApiToken.named(person, which)
    else:
        raise Http404
    if not rows.exists():
        raise Http404
    return rows


def _page(request: HttpRequest, person: Person) -> HttpResponse:
    key = request.session.session_key or ""
    is_own = person.pk == person_of(request).pk
    context = {
        "title": _("My security") if is_own else _("Security of %(person)s") % {"person": person},
        "person": person,
        "is_own": is_own,
        "factor": second_factor.of(person),
        "is_required": second_factor.is_required(person),
        "sessions": person.sessions.all(),
        "tokens": ApiToken.objects.filter(user=person),
        "this_session": logins.digest_of(key),
        "keys": person.keys.filter(revoked_at=None).count(),
    }
    if not is_own:
        context["back"] = reverse("admin:governance_person_change", args=(person.pk,))
    return render(request, "governance/security.html", _context(request) | context)


def _ask(
    request: HttpRequest, person: Person, question: Question, subject: Any = None, form: Any = None
) -> HttpResponse:
    context = {
        "title": question.title % {"person": person},
        "question": question,
        "subject": subject,
        "form": form,
        "back": _address(request, person),
    }
    return render(request, "governance/question.html", _context(request) | context)


def _address(request: HttpRequest, person: Person) -> str:
    if person.pk == person_of(request).pk:
        return reverse("admin:security")
    return reverse("admin:security-of", args=(person.pk,))


def _context(request: HttpRequest) -> dict[str, Any]:
    from django.contrib import admin

    context: dict[str, Any] = admin.site.each_context(request)
    return context
