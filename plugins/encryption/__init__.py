"""Encryption backends: how what leaves an owner is protected."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import EncryptionBackend, hookimpl

from .keyed_tokens import KeyedTokens
from .paillier import Paillier
from .plaintext import Plaintext


@hookimpl
def fedcore_encryption_backends() -> list[type[EncryptionBackend[Any]]]:
    return [KeyedTokens, Paillier, Plaintext]
