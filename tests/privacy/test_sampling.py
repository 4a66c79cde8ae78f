"""Exact noise: it has the distribution that the paper gives it, and none of the gaps of floating-point noise."""

from __future__ import annotations

import ast
import math
import time
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import fedcore.privacy
from fedcore.privacy.mechanisms import DiscreteLaplace, Rows
from fedcore.privacy.randomness import Randomness
from fedcore.privacy.sampling import discrete_gaussian, discrete_laplace
from tests.privacy.seeded import randomness, seeded

Sampler = Callable[[Fraction, Randomness], int]
DRAWS = 20_000


def laplace_weight(x: int, scale: Fraction) -> float:
    return math.exp(-abs(x) / float(scale))


def gaussian_weight(x: int, variance: Fraction) -> float:
    return math.exp(-(x**2) / (2 * float(variance)))


def p_value(drawn: list[int], weight: Callable[[int, Fraction], float], parameter: Fraction) -> float:
    """How well the numbers fit the distribution (chi-square, cells of at least 5 expected draws)."""
    reach, count = 12 * max(map(abs, drawn)) + 60, Counter(drawn)
    weights = {x: weight(x, parameter) for x in range(-reach, reach + 1)}
    total = sum(weights.values())
    observed, expected, o, e = [], [], 0, 0.0
    for x, part in weights.items():
        o += count[x]
        e += part / total * len(drawn)
        if e >= 5:
            observed, expected, o, e = [*observed, o], [*expected, e], 0, 0.0
    observed[-1] += o
    expected[-1] += e
    scaled = np.array(expected) * sum(observed) / sum(expected)
    return float(stats.chisquare(observed, scaled).pvalue)


@pytest.mark.parametrize("scale", [Fraction(1, 3), Fraction(1), Fraction(7, 3), Fraction(2_000_000, 567_891)])
def test_discrete_laplace_noise_has_its_distribution(scale: Fraction) -> None:
    random = randomness(1)
    drawn = [discrete_laplace(scale, random) for _ in range(DRAWS)]
    assert p_value(drawn, laplace_weight, scale) > 1e-3
    assert p_value(drawn, laplace_weight, scale * Fraction(9, 10)) < 1e-6, "a scale that is 10 % off is found"


@pytest.mark.parametrize("variance", [Fraction(1, 4), Fraction(1), Fraction(100, 7), Fraction(900)])
def test_discrete_gaussian_noise_has_its_distribution(variance: Fraction) -> None:
    random = randomness(2)
    drawn = [discrete_gaussian(variance, random) for _ in range(DRAWS)]
    assert p_value(drawn, gaussian_weight, variance) > 1e-3
    assert p_value(drawn, gaussian_weight, variance * Fraction(8, 10)) < 1e-6


def test_wide_gaussian_noise_has_its_spread() -> None:
    random, variance = randomness(3), Fraction(10**14 + 1, 3)
    drawn = np.array([discrete_gaussian(variance, random) for _ in range(DRAWS)], float)
    assert stats.kstest(drawn / math.sqrt(variance), "norm").pvalue > 1e-3


def test_uniform_numbers_are_uniform_and_within_their_limit() -> None:
    random = randomness(4)
    for limit in (1, 2, 3, 10, 1000, 2**70 + 1):
        drawn = [random.below(limit) for _ in range(3000)]
        assert 0 <= min(drawn) <= max(drawn) < limit
        if limit > 1:
            halves = [sum(number < limit / 2 for number in drawn), 0]
            halves[1] = len(drawn) - halves[0]
            share = math.ceil(limit / 2) / limit
            assert stats.chisquare(halves, [3000 * share, 3000 * (1 - share)]).pvalue > 1e-4


def test_the_same_randomness_gives_the_same_noise_and_other_randomness_other_noise() -> None:
    def draw(seed: int) -> list[int]:
        random = randomness(seed)
        return [discrete_gaussian(Fraction(50), random) for _ in range(20)]

    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_noise_without_a_source_is_the_operating_systems() -> None:
    first, second = Randomness(), Randomness()
    assert [first.below(2**64) for _ in range(4)] != [second.below(2**64) for _ in range(4)]


def test_used_bits_are_never_used_again() -> None:
    asked: list[int] = []

    def source(count: int) -> bytes:
        asked.append(count)
        return seeded(5)(count)

    random = Randomness(source)
    for _ in range(10):
        random.below(2**2000)
    assert 8 * sum(asked) >= 10 * 2000


@pytest.mark.parametrize("sampler", [discrete_laplace, discrete_gaussian])
@pytest.mark.parametrize("parameter", [Fraction(0), Fraction(-1)])
def test_a_parameter_that_is_not_above_0_is_refused(sampler: Sampler, parameter: Fraction) -> None:
    with pytest.raises(ValueError, match="above 0"):
        sampler(parameter, randomness(0))


def test_some_thousand_cells_take_less_than_a_third_of_a_second() -> None:
    random, started = Randomness(), time.perf_counter()
    for _ in range(5000):
        discrete_laplace(Fraction(2), random)
    assert time.perf_counter() - started < 0.3


def test_every_output_can_be_reached_from_every_neighbour() -> None:
    """Mironov's attack: floating-point Laplace noise cannot give most of its outputs around a neighbouring value."""
    random = randomness(6)
    around_0 = {discrete_laplace(Fraction(1), random) for _ in range(20_000)}
    around_1 = {1 + discrete_laplace(Fraction(1), random) for _ in range(20_000)}
    near = range(-5, 6)
    assert set(near) <= around_0
    assert set(near) <= around_1
    floating = np.random.default_rng(0).laplace(1.0, 1.0, 20_000)
    impossible = [float(y) for y in floating if y < 0 and not reachable_from_0(float(y))]
    assert len(impossible) > 0.5 * (floating < 0).sum(), "the attack itself works on floating-point noise"


def reachable_from_0(y: float) -> bool:
    """Whether numpy could have given `y` as Laplace noise of scale 1 around 0."""
    k = round(math.exp(y) / 2 * 2**53)
    return any(k + d > 0 and np.log((k + d) * 2.0**-53 * 2) == y for d in range(-6, 7))


def test_the_samplers_use_no_floating_point_number() -> None:
    for name in ("sampling.py", "randomness.py"):
        tree = ast.parse((Path(fedcore.privacy.__file__).parent / name).read_text())
        floats = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, float)]
        quotients = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and isinstance(n.op, ast.Div)]
        named = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
        assert not floats
        assert not quotients
        assert not named & {"float", "numpy", "np", "sqrt", "exp", "log"}


def empirical_epsilon(noise_of_0: np.ndarray, noise_of_1: np.ndarray, alpha: float = 1e-6) -> float:
    """A lower bound on epsilon, right but for a probability of `alpha` a test: what an observer could tell apart."""
    best = 0.0
    for threshold in range(-3, 5):
        for tail in (lambda x, t=threshold: x >= t, lambda x, t=threshold: x <= t):
            for first, second in ((noise_of_0, noise_of_1), (noise_of_1, noise_of_0)):
                low = stats.beta.ppf(alpha / 2, tail(first).sum(), (~tail(first)).sum() + 1)
                high = stats.beta.ppf(1 - alpha / 2, tail(second).sum() + 1, (~tail(second)).sum())
                if low > 0 and high < 1:
                    best = max(best, math.log(low / high))
    return best


@pytest.mark.parametrize(("factor", "kept"), [(Fraction(1), True), (Fraction(9, 10), False)])
def test_an_observer_learns_no_more_than_the_epsilon_claimed(factor: Fraction, kept: bool) -> None:
    """With a scale that is a tenth too small the observer does learn more: the test would see it."""
    claimed = DiscreteLaplace(Fraction(1), 1, Rows.ALL)
    random = randomness(9)
    noise = np.array([discrete_laplace(claimed.scale * factor, random) for _ in range(200_000)])
    bound = empirical_epsilon(noise[:100_000], noise[100_000:] + 1)
    assert (bound <= claimed.epsilon) is kept, bound
    assert bound > 0.9, "the observer is a good one"
