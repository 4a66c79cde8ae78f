"""An authenticator app: it shows the codes of a secret (RFC 6238)."""

from __future__ import annotations

import base64

from django_otp.oath import totp


def code_of(secret: str, ahead: int = 0) -> str:
    """What an app shows for this secret (base32) now, or some steps from now."""
    return f"{totp(base64.b32decode(secret), drift=ahead):06d}"
