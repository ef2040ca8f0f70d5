"""Noise as it is on real machines, for tests of statistics: correlation, bursts, states.

It knows no plugin and no clock; every draw comes from the generator it is given.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["RECORDED_MS", "Array", "correlated", "iterations", "processes"]

Array = NDArray[np.float64]

# Median ms per token of 28 fresh processes in a row, recorded on a shared two-core machine.
RECORDED_MS = [
    33.4, 15.7, 16.0, 15.9, 19.5, 19.2, 19.4, 20.7, 19.4, 18.9, 20.2, 15.7, 15.8, 19.2,
    15.8, 16.2, 15.6, 16.1, 15.9, 15.7, 15.7, 15.4, 15.3, 15.5, 15.4, 19.3, 19.3, 19.4,
]  # fmt: skip


def correlated(random: np.random.Generator, n: int, rho: float, spread: float) -> Array:
    """Log deviations of consecutive iterations: AR(1)."""
    steps = random.normal(0, 1, n)
    for i in range(1, n):
        steps[i] = rho * steps[i - 1] + np.sqrt(1 - rho**2) * steps[i]
    return spread * steps


def iterations(
    random: np.random.Generator, n: int, *, rho: float = 0.5, spread: float = 0.03,
    bursts: float = 0.05,
) -> Array:  # fmt: skip
    """Iterations of one process around 1: correlated, some slowed by 20 to 100 %."""
    burst = np.where(random.random(n) < bursts, np.log1p(random.uniform(0.2, 1, n)), 0)
    return np.exp(correlated(random, n, rho, spread) + burst)


def processes(random: np.random.Generator, count: int, n: int) -> list[Array]:
    """Processes that differ by 3 %, with 5 % within them."""
    return [
        np.exp(random.normal(0, 0.03)) * iterations(random, n, spread=0.05) for _ in range(count)
    ]
