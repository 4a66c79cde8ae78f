"""Exact noise: discrete Laplace and discrete Gaussian numbers, in whole-number arithmetic alone.

Canonne, Kamath and Steinke, "The Discrete Gaussian for Differential Privacy", NeurIPS 2020, algorithms 1 to 3. No
floating-point number takes part: noise that is drawn with them has gaps that tell neighbouring datasets apart
(Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012).
"""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

from fedcore.privacy.randomness import Randomness


def discrete_laplace(scale: Fraction, random: Randomness) -> int:
    """A whole number `x` with probability proportional to exp(-|x| / scale). `scale` is above 0."""
    if scale <= 0:
        raise ValueError(f"The scale of discrete Laplace noise is above 0, not {scale}.")
    return _laplace(scale.numerator, scale.denominator, random)


def discrete_gaussian(variance: Fraction, random: Randomness) -> int:
    """A whole number `x` with probability proportional to exp(-x² / (2 variance)). `variance` is above 0."""
    if variance <= 0:
        raise ValueError(f"The variance parameter of discrete Gaussian noise is above 0, not {variance}.")
    top, bottom = variance.numerator, variance.denominator
    width = isqrt(top // bottom) + 1
    divisor = 2 * top * bottom * width * width
    while True:
        found = _laplace(width, 1, random)
        distance = abs(found) * bottom * width - top
        if _exponential(distance * distance, divisor, random):
            return found


def _laplace(top: int, bottom: int, random: Randomness) -> int:
    """Discrete Laplace noise of scale `top / bottom`."""
    below = random.below
    while True:
        rest = below(top)
        if not _exponential_of_share(rest, top, random):
            continue
        wholes = 0
        while _exponential_of_share(1, 1, random):
            wholes += 1
        size = (rest + top * wholes) // bottom
        if below(2):
            return size
        if size:  # 0 has one sign only, or it would come twice as often.
            return -size


def _exponential(top: int, bottom: int, random: Randomness) -> bool:
    """True with probability exp(-top / bottom), for a quotient of 0 or more."""
    wholes, rest = divmod(top, bottom)
    for _ in range(wholes):
        if not _exponential_of_share(1, 1, random):
            return False
    return _exponential_of_share(rest, bottom, random)


def _exponential_of_share(top: int, bottom: int, random: Randomness) -> bool:
    """True with probability exp(-top / bottom), for a quotient from 0 to 1."""
    below = random.below
    count, limit = 1, bottom
    while below(limit) < top:
        count += 1
        limit += bottom
    return count % 2 == 1
