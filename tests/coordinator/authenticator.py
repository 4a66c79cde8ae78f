"""An authenticator app: it shows the codes of a secret, at any time that a test wants."""

from __future__ import annotations

import time

import pytest

from fedcore.coordinator.governance import second_factor
from fedcore.coordinator.governance.models import Person, SecondFactor
from tests.authenticator import code_of


class App:
    """Shows codes. Time passes by `wait`, for the app and for the site."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, secret: str = "") -> None:
        self.secret = secret
        self._now = time.time()
        monkeypatch.setattr("django_otp.oath.time", lambda: self._now)

    def code(self) -> str:
        return code_of(self.secret)

    def wait(self, seconds: float = 30.0) -> None:
        self._now += seconds


def set_up(person: Person, app: App) -> tuple[SecondFactor, list[str]]:
    """Give a person a second factor whose app this is; the code that confirmed it is used."""
    salt = second_factor.new_salt()
    app.secret = second_factor.secret_of(salt)
    made = second_factor.enrol(person, salt, app.code())
    app.wait()
    return made
