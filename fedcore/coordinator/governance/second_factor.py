"""The second factor: codes of an authenticator app (TOTP, RFC 6238), and recovery codes for when it is lost.

The database holds a random salt, from which the secret follows by the site's `SECRET_KEY`, and digests of the recovery
codes: who reads the database alone can compute no code. A code is accepted once. Wrong codes count as wrong passwords
do, and after each the next is looked at only after a while that doubles, up to half an hour.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Any, ClassVar, Final
from urllib.parse import quote

import qrcode
from django.conf import settings
from django.db import models, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django_otp.models import Device, DeviceManager, ThrottlingMixin, TimestampMixin
from django_otp.oath import TOTP
from qrcode.image.svg import SvgPathImage

from fedcore.coordinator.governance import guesses, logins
from fedcore.coordinator.governance.people import Person, Role

REQUIRED: Final = "required"
RECOVERY_CODES: Final = 10
LONGEST_WAIT: Final = 12
"""After so many wrong codes the wait doubles no longer: 2048 seconds, some half an hour."""

TOLERANCE: Final = 1
"""How many steps of 30 seconds a person's clock may be off."""

_MUST_HAVE_ONE: Final = frozenset({Role.ADMINISTRATOR, Role.DATA_OWNER})
_SECRET_BYTES: Final = 20
_DIGITS: Final = 6


class WrongCode(Exception):
    """A code that was not accepted. The text says what to do."""


class SecondFactor(TimestampMixin, ThrottlingMixin, Device):  # type: ignore[misc]
    """A person's authenticator app, with the recovery codes that are left."""

    salt = models.CharField(gettext_lazy("salt"), max_length=64)
    last_step = models.BigIntegerField(gettext_lazy("step of the last code"), default=-1)
    recovery = models.JSONField(gettext_lazy("digests of recovery codes"), default=list)

    objects: ClassVar[Any] = DeviceManager()

    class Meta:
        verbose_name = gettext_lazy("second factor")
        verbose_name_plural = gettext_lazy("second factors")
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["user"], name="governance_one_second_factor_per_person")
        ]

    @property
    def codes_left(self) -> int:
        """How many recovery codes have not been used."""
        return len(self.recovery)

    def verify_token(self, token: str) -> bool:
        """Whether this is a code that was not used before; it is used now. Call it with the row locked."""
        if not self.verify_is_allowed()[0]:
            return False
        given = "".join(token.lower().split())
        if not (self._is_current(given) or self._is_recovery(given)):
            self.throttle_increment()
            return False
        self.throttle_reset(commit=False)
        self.set_last_used_timestamp(commit=False)
        self.save()
        return True

    def renew_recovery_codes(self) -> list[str]:
        """New recovery codes, in the only moment in which they can be read. The former count no longer."""
        codes = [
            base64.b32encode(secrets.token_bytes(10)).decode().lower() for _number in range(RECOVERY_CODES)
        ]
        self.recovery = [self._digest(code) for code in codes]
        self.save(update_fields=["recovery"])
        return ["-".join(code[at : at + 4] for at in range(0, len(code), 4)) for code in codes]

    def get_throttle_factor(self) -> int:
        return 1

    def throttle_increment(self, commit: bool = True) -> None:
        """Count a wrong code, as far as the wait doubles: who knows the password shuts nobody out for days."""
        counted: int = self.throttling_failure_count  # type: ignore[has-type]
        self.throttling_failure_count = min(counted, LONGEST_WAIT - 1)
        super().throttle_increment(commit)

    def _is_current(self, code: str) -> bool:
        step = _step_of(self.salt, code, after=self.last_step)
        if step is None:
            return False
        self.last_step = step
        return True

    def _is_recovery(self, code: str) -> bool:
        digest = self._digest(code.replace("-", ""))
        if digest not in self.recovery:
            return False
        self.recovery = [other for other in self.recovery if other != digest]
        return True

    def _digest(self, code: str) -> str:
        return hashlib.sha256(f"{self.salt}\0{code}".encode()).hexdigest()


def is_required(person: Person) -> bool:
    """Whether the site demands a second factor of this person."""
    demands: bool = settings.FEDCORE_SECOND_FACTOR == REQUIRED
    return demands and (person.is_superuser or bool(person.roles & _MUST_HAVE_ONE))


def of(person: Person) -> SecondFactor | None:
    """The person's second factor."""
    found: SecondFactor | None = SecondFactor.objects.filter(user=person).first()
    return found


def new_salt() -> str:
    """What a new secret is made of."""
    return secrets.token_hex(16)


def secret_of(salt: str) -> str:
    """The secret as people type it into an app (base32)."""
    return base64.b32encode(_secrets(salt)[0]).decode()


def qr_code(person: Person, salt: str) -> str:
    """What an app reads by camera: an SVG without anything from elsewhere."""
    label = f"{quote(settings.FEDCORE_OPERATOR_ORGANISATION)}:{quote(person.username)}"
    address = f"otpauth://totp/{label}?secret={secret_of(salt)}&issuer=fedcore&digits={_DIGITS}&period=30"
    image: Any = qrcode.make(address, image_factory=SvgPathImage, border=2)
    drawn: str = image.to_string(encoding="unicode")
    return drawn


@transaction.atomic
def enrol(person: Person, salt: str, code: str) -> tuple[SecondFactor, list[str]]:
    """Give `person` a second factor whose app shows this code now; with the recovery codes, to be shown once.

    Tokens that were given without a code end. Raises `WrongCode`.
    """
    Person.objects.select_for_update().get(pk=person.pk)
    if of(person) is not None:
        raise WrongCode(_("You have a second factor. Remove it first to set up another."))
    step = _step_of(salt, "".join(code.split()), after=-1)
    if step is None:
        raise WrongCode(_("This is not the code that the app shows now. Compare the clock of your device."))
    factor = SecondFactor.objects.create(user=person, name="app", salt=salt, last_step=step)
    logins.ApiToken.objects.filter(user=person, has_factor=False).delete()
    return factor, factor.renew_recovery_codes()


def check(request: HttpRequest, person: Person, code: str, wanted: str = guesses.LOGGING_IN) -> SecondFactor:
    """The person's second factor, if this is a code of it. Raises `WrongCode`, and counts it as a failed login.

    `wanted`: the action of the audit that the code is given for.
    """
    if guesses.are_allowed(request, person):
        with transaction.atomic():
            factor: SecondFactor | None = SecondFactor.objects.select_for_update().filter(user=person).first()
            if factor is not None and factor.verify_token(code):
                return factor
    guesses.count(request, person, "wrong_code", wanted)
    raise WrongCode(
        _("This code is wrong, was used before, or came too soon after a wrong one. Wait for the next one.")
    )


def remove(person: Person) -> None:
    """Take a person's second factor away, and end every session and token: a login starts without it."""
    SecondFactor.objects.filter(user=person).delete()
    logins.end_all(person)


def _step_of(salt: str, code: str, after: int) -> int | None:
    """The step of time to which a code belongs, if that is now and later than `after`."""
    if not (code.isascii() and code.isdigit() and len(code) == _DIGITS):
        return None
    for secret in _secrets(salt):
        clock = TOTP(secret, digits=_DIGITS)
        if clock.verify(int(code), TOLERANCE, after + 1):
            return int(clock.t())
    return None


def _secrets(salt: str) -> list[bytes]:
    """The secret under the site's key, then under its former keys."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    message = b"fedcore/second-factor/v1\0" + salt.encode()
    return [hmac.digest(key.encode(), message, "sha256")[:_SECRET_BYTES] for key in keys]
