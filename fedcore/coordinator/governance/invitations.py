"""How people get a password: by a link that works once, so that nobody else ever knows it."""

from __future__ import annotations

from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from fedcore.coordinator.governance import logins
from fedcore.coordinator.governance.models import Person


def path_for(person: Person) -> str:
    """Where the person sets a password. It holds until the password changes, at most `PASSWORD_RESET_TIMEOUT`."""
    place = urlsafe_base64_encode(force_bytes(person.pk))
    return reverse("welcome", args=(place, default_token_generator.make_token(person)))


@transaction.atomic
def reset(person: Person) -> None:
    """End the person's password, sessions and tokens. Links that were given before end with it."""
    person.set_unusable_password()
    person.save(update_fields=["password"])
    logins.end_all(person)
