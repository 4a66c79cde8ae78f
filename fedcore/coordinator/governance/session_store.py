"""Sessions in the database, found by the digest of their key and sealed under it.

Who reads the table can neither take a session over nor see what is in it, not even who has the site's `SECRET_KEY`
too: the key of a session is with its browser alone. There are secrets in sessions, such as that of the link by which a
password is being set.
"""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import DatabaseError, IntegrityError, transaction
from django.utils import timezone

from fedcore.coordinator.governance.logins import StoredSession, digest_of


class SessionStore(SessionBase):
    """Django's session, kept in `StoredSession`. Without its row, it is a new session in which nobody is logged in."""

    def load(self) -> dict[str, Any]:
        rows = StoredSession.objects.filter(
            digest=digest_of(self.session_key or ""), expires_at__gt=timezone.now()
        )
        row = rows.first()
        if row is None:
            self._session_key = None
            return {}
        row.note_use()
        content: dict[str, Any] = self.decode(row.content)
        return content

    def encode(self, session_dict: dict[str, Any]) -> str:
        return self._seal().encrypt(json.dumps(session_dict).encode()).decode()

    def decode(self, session_data: bytes | str) -> dict[str, Any]:
        """What was sealed for this session; nothing where that was under another key, of session or site."""
        try:
            found: dict[str, Any] = json.loads(self._seal().decrypt(session_data))
        except InvalidToken:
            return {}
        return found

    def _seal(self) -> MultiFernet:
        message = b"fedcore/session/v1\0" + (self.session_key or "").encode()
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return MultiFernet(
            Fernet(base64.urlsafe_b64encode(hmac.digest(key.encode(), message, "sha256"))) for key in keys
        )

    def cycle_key(self) -> None:
        """Go on under another key. The row of the former one goes, and no session has ended."""
        former, content = self.session_key, self._session  # type: ignore[attr-defined]
        self.create()
        self._session_cache = content
        if former is not None:
            StoredSession.objects.filter(digest=digest_of(former)).update(expires_at=timezone.now())
            self.delete(former)

    def exists(self, session_key: str) -> bool:
        return StoredSession.objects.filter(digest=digest_of(session_key)).exists()

    def create(self) -> None:
        while True:
            self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]
            try:
                self.save(must_create=True)
            except CreateError:  # Somebody has drawn the same key.
                continue
            self.modified = True
            return

    def save(self, must_create: bool = False) -> None:
        if self.session_key is None:
            return self.create()
        content = self._get_session(no_load=must_create)  # type: ignore[attr-defined]
        row = StoredSession.of(self.session_key, content, self.encode(content), self.get_expiry_date())
        try:
            with transaction.atomic():
                row.save(force_insert=must_create, force_update=not must_create)
        except IntegrityError:
            if must_create:
                raise CreateError from None
            raise
        except DatabaseError:
            if must_create:
                raise
            raise UpdateError from None  # It was ended meanwhile, and stays ended.

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            StoredSession.objects.filter(digest=digest_of(key)).delete()

    @classmethod
    def clear_expired(cls) -> None:
        StoredSession.objects.filter(expires_at__lt=timezone.now()).delete()
