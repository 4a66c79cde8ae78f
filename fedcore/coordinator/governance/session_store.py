"""Sessions in the database, found by the digest of their key: who reads the table cannot take a session over."""

from __future__ import annotations

from typing import Any

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
