"""Encryption backends: how what leaves an owner is protected."""

from __future__ import annotations

from typing import Any

from fedcore.plugin_api import EncryptionBackend, hookimpl

from .ckks import Ckks, CkksSums
from .elgamal import ElGamal, ElGamalCounts
from .keyed_tokens import KeyedTokens
from .paillier import Paillier
from .pairwise_masks import PairwiseMasks
from .plaintext import Plaintext
from .rsa import Rsa
from .secret_sharing import SecretSharing


@hookimpl
def fedcore_encryption_backends() -> list[type[EncryptionBackend[Any]]]:
    return [
        *(KeyedTokens, PairwiseMasks, Paillier, Plaintext, Ckks, CkksSums),
        *(ElGamal, ElGamalCounts, Rsa, SecretSharing),
    ]
