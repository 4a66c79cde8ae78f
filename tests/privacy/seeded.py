"""Randomness that tests can repeat."""

from __future__ import annotations

import random

from fedcore.privacy.randomness import Bytes, Randomness


def seeded(seed: int) -> Bytes:
    return random.Random(seed).randbytes


def randomness(seed: int) -> Randomness:
    return Randomness(seeded(seed))
