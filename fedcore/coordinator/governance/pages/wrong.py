"""What a browser shows where there is no page, or none for whoever asks: why, and a way back."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template import loader
from django.utils.translation import gettext_lazy as _
from django.views.decorators.csrf import requires_csrf_token

WORDS: Final = {
    403: (
        _("Not for you"),
        _("Your roles do not allow this. If they should, ask an administrator of your organisation."),
    ),
    404: (_("Nothing here"), _("There is no page at this address, or none that you may see.")),
}
"""Title and text by status."""


@requires_csrf_token
def outdated(request: HttpRequest, reason: str = "") -> HttpResponse:
    """A form without the token of the session: it was open for too long, or comes from elsewhere."""
    text = _(
        "The form was open since before you logged in, or your browser keeps no cookies. Load its page again, and "
        "repeat what you did."
    )
    return page(request, 403, _("This form is too old"), text)


def failed(request: HttpRequest) -> HttpResponse:
    """An error of the program. Nothing is looked up: the database may be what fails."""
    text = _("It is noted in the coordinator's log, for its operator. Try again, or later.")
    return plain(500, _("Something went wrong"), text)


def not_understood(request: HttpRequest) -> HttpResponse:
    """What is answered to a request that was refused before it was known who asks."""
    text = _("What your browser sent is not what this site expects. Go back, and try again.")
    return plain(400, _("Not understood"), text)


def plain(status: int, title: Any, text: Any) -> HttpResponse:
    """Words on a page that asks neither the database nor the theme for anything."""
    words = {"title": title, "text": text}
    return HttpResponse(loader.get_template("governance/plain.html").render(words), status=status)


def page(request: HttpRequest, status: int, title: Any, text: Any) -> HttpResponse:
    """Words on a page of their own, with a way to the front page."""
    context = {**admin.site.each_context(request), "title": title, "text": text}
    return render(request, "governance/wrong.html", context, status=status)
