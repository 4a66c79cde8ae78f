"""The first administrator: made by whoever can read a code on the machine, while there is nobody yet.

No account comes with the program. The code is printed where the site is started, and lies in the data directory in a
file of mode 0600; it is gone with the first person.
"""

from __future__ import annotations

import base64
import contextlib
import hmac
import os
import secrets
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from fedcore.coordinator.governance import rights
from fedcore.coordinator.governance.models import Organisation, Person, Role
from fedcore.wire.keys import read_secret, write_secret


class Closed(Exception):
    """There is somebody already, who makes further people."""


class WrongCode(Exception):
    """Not the code of this site. The text says where it is."""


def is_open() -> bool:
    """Whether there is nobody yet."""
    return not Person.objects.exists()


def code_file() -> Path:
    return Path(settings.FEDCORE_DATA_DIR) / "first-run.code"


def code() -> str:
    """The code that makes the first administrator, made on first use. Raises `KeyFileError` if others may read it."""
    path = code_file()
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        write_secret(draft, _new_code().encode())
        # A link appears whole or not at all, and the first of several processes makes it.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return read_secret(path).decode()


def make_administrator(given_code: str, username: str, password: str, title: str) -> Person:
    """Make the operator's organisation and its first administrator. Raises `WrongCode` or `Closed`.

    Of several at the same time, one makes a person: each holds the organisation's row before it looks whether there
    is somebody, and the row can be made only once.
    """
    if not is_open():
        raise Closed
    if not hmac.compare_digest(_plain(given_code).encode(), _plain(code()).encode()):
        raise WrongCode(
            _("This is not the code. It was printed where the site was started, and lies in %(file)s.")
            % {"file": code_file().name}
        )
    with transaction.atomic():
        operator, _made = Organisation.objects.get_or_create(
            name=settings.FEDCORE_OPERATOR_ORGANISATION, defaults={"title": title}
        )
        Organisation.objects.select_for_update().get(pk=operator.pk)
        if not is_open():
            raise Closed
        person = Person.objects.create_user(username, password=password, organisation=operator)
        rights.set_roles(person, frozenset({Role.ADMINISTRATOR}))
    close()
    return person


def close() -> None:
    """Forget the code."""
    code_file().unlink(missing_ok=True)


def _new_code() -> str:
    letters = base64.b32encode(secrets.token_bytes(10)).decode().lower()
    return "-".join(letters[at : at + 4] for at in range(0, len(letters), 4))


def _plain(given: str) -> str:
    return "".join(given.lower().split()).replace("-", "")
