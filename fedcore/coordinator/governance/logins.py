"""Where people are logged in: browser sessions and API tokens, each with its device, address and last use.

Of a session's key and of a token a digest is kept (and a token's first characters, to find it), so that the database
lets nobody in; what is in a session is sealed under its key. A session or token whose row is gone is over: that is how
both are ended.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any, ClassVar, Final, Self

from django.contrib.auth import SESSION_KEY
from django.db import models
from django.http import HttpRequest
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django_otp import DEVICE_ID_SESSION_KEY
from knox.models import AbstractAuthToken, AuthTokenManager

from fedcore.coordinator.governance.people import Person

LOGIN: Final = "login"
"""Where a session keeps when and from where its person logged in."""

USE_IS_NOTED_EVERY: Final = timedelta(minutes=1)
"""How exactly a last use is known: a write for every request would keep the database busy."""

NAME_LENGTH: Final = 16
"""Digits of a token's digest that name it."""

_BROWSERS: Final = (
    ("fedcore", "fedcore client"),
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("Firefox", "Firefox"),
    ("Chrome", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS: Final = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Darwin", "macOS"),
    ("Linux", "Linux"),
)


class Login(models.Model):
    """What sessions and tokens have in common."""

    address = models.GenericIPAddressField(_("address"), null=True)
    device = models.CharField(_("device"), max_length=100, blank=True)
    last_used_at = models.DateTimeField(_("last use"), default=timezone.now)
    has_factor = models.BooleanField(_("second factor"), default=False)

    class Meta:
        abstract = True

    def note_use(self, address: str | None = None) -> None:
        """Note that the login is in use now, and from where; once a minute at most."""
        now = timezone.now()
        if now - self.last_used_at < USE_IS_NOTED_EVERY:
            return
        found: dict[str, Any] = {"last_used_at": now} | ({"address": address} if address else {})
        type(self)._default_manager.filter(pk=self.pk).update(**found)


class StoredSession(Login):
    """A browser's session. It has a person once somebody has logged in."""

    digest = models.CharField(_("digest of the key"), max_length=64, primary_key=True)
    content = models.TextField(_("content"))
    person = models.ForeignKey(
        Person, verbose_name=_("person"), on_delete=models.CASCADE, related_name="sessions", null=True
    )
    started_at = models.DateTimeField(_("started"), default=timezone.now)
    expires_at = models.DateTimeField(_("expires"), db_index=True)

    class Meta:
        verbose_name = _("session")
        verbose_name_plural = _("sessions")
        ordering = ("-last_used_at",)

    def __str__(self) -> str:
        return f"{self.device} ({self.started_at:%Y-%m-%d %H:%M})"

    @classmethod
    def of(cls, key: str, content: dict[str, Any], text: str, expires_at: datetime) -> Self:
        """The row of a session with this content; `text` is the content as it is stored."""
        login = content.get(LOGIN) or {}
        started = login.get("at")
        return cls(
            digest=digest_of(key),
            content=text,
            person_id=content.get(SESSION_KEY),
            address=login.get("address"),
            device=login.get("device", ""),
            has_factor=DEVICE_ID_SESSION_KEY in content,
            started_at=datetime.fromisoformat(started) if started else timezone.now(),
            expires_at=expires_at,
        )


class ApiToken(AbstractAuthToken, Login):  # type: ignore[misc]
    """A token of the REST API."""

    objects: ClassVar[Any] = AuthTokenManager()

    class Meta:
        verbose_name = _("API token")
        verbose_name_plural = _("API tokens")
        ordering = ("-created",)

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """How lists and addresses name the token: the beginning of its digest, which lets nobody in."""
        return str(self.digest)[:NAME_LENGTH]

    @classmethod
    def named(cls, person: Person, name: str) -> models.QuerySet[Self]:
        """The token of this person that has this name; none for a part of a name."""
        own: models.QuerySet[Self] = cls.objects.filter(user=person)
        return own.filter(digest__startswith=name) if len(name) == NAME_LENGTH else own.none()


def digest_of(key: str) -> str:
    """What is stored of a session's key."""
    return hashlib.sha256(key.encode()).hexdigest()


def note_login(sender: Any, request: HttpRequest, user: Person, **more: Any) -> None:
    """Write into a browser's session when and from where its person has logged in."""
    session = getattr(request, "session", None)
    if session is not None and SESSION_KEY in session:
        StoredSession.objects.filter(expires_at__lt=timezone.now()).delete()
        session[LOGIN] = {"at": timezone.now().isoformat(), **origin_of(request)}


def issue_token(person: Person, request: HttpRequest, has_factor: bool) -> tuple[ApiToken, str]:
    """A new token, and its text, which is not kept."""
    ApiToken.objects.filter(expiry__lt=timezone.now()).delete()
    made: tuple[ApiToken, str] = ApiToken.objects.create(
        user=person, has_factor=has_factor, **origin_of(request)
    )
    return made


def end_all(person: Person, *, but: str | None = None) -> None:
    """End every session and every token of a person; `but` is the key of a session that stays."""
    StoredSession.objects.filter(person=person).exclude(digest=digest_of(but or "")).delete()
    ApiToken.objects.filter(user=person).delete()


def origin_of(request: HttpRequest) -> dict[str, Any]:
    """From where, and with what, a request comes."""
    return {
        "address": address_of(request),
        "device": _in_words(request.META.get("HTTP_USER_AGENT", "")),
    }


def address_of(request: HttpRequest) -> str | None:
    """The visitor's address, as the lock-out counts it: behind a proxy, the one that the proxy names."""
    from axes.helpers import get_client_ip_address

    found: str | None = get_client_ip_address(request)
    return found


def _in_words(agent: str) -> str:
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    return ", ".join(filter(None, (browser, system)))
