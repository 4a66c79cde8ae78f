"""Who the coordinator is: its signing key, made on first use in a file of mode 0600."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from django.conf import settings

from fedcore.wire.keys import SigningKey


def coordinator_key() -> SigningKey:
    """The key that signs the coordinator's orders. Raises `KeyFileError` if others may read its file."""
    return _key_in(Path(settings.FEDCORE_DATA_DIR) / "keys" / "signing.key")


@lru_cache(maxsize=4)
def _key_in(path: Path) -> SigningKey:
    return SigningKey.load_or_create(path)
