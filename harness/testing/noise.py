"""Noise as it is on real machines, for tests of statistics: correlation, bursts, states.

It knows no plugin and no clock; every draw comes from the generator it is given.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MACHINES",
    "RECORDED_MS",
    "Array",
    "Machine",
    "correlated",
    "iterations",
    "pair_ratios",
    "processes",
]

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


@dataclass(frozen=True)
class Machine:
    """Noise as a model: what processes that follow one another take, all of the same code."""

    name: str
    levels: Callable[[np.random.Generator, int, int], Array]
    """Log level of each process: generator, draws, processes to [draws, processes]."""
    within: float
    """Log deviation of samples within a process, correlated with 0.5 from one to the next."""

    def samples(self, random: np.random.Generator, levels: Array, count: int) -> Array:
        """Return log samples [draws, processes, count]; 5 % of them slowed by 20 to 100 %."""
        from scipy.signal import lfilter

        shape = (*levels.shape, count)
        steps = random.standard_normal(shape)
        steps[..., 1:] *= np.sqrt(1 - 0.5**2)
        noise = self.within * lfilter([1.0], [1.0, -0.5], steps, axis=-1)
        burst = np.where(random.random(shape) < 0.05, np.log1p(random.uniform(0.2, 1, shape)), 0)
        return np.asarray(levels[..., None] + noise + burst)

    def centres(self, random: np.random.Generator, draws: int, processes: int) -> Array:
        """Return log medians of 100 samples each, [draws, processes], in the order they ran."""
        levels = self.levels(random, draws, processes)
        parts = np.array_split(levels, max(1, draws // 100))
        return np.concatenate([np.median(self.samples(random, x, 100), axis=-1) for x in parts])


def pair_ratios(centres: Array) -> Array:
    """Return log ratios of neighbours taken ABBA: [draws, 2 pairs] to [draws, pairs].

    Both sides are the same code: add the log of a change to plant one.
    """
    first, second = centres[:, 0::2], centres[:, 1::2]
    return (second - first) * np.where(np.arange(first.shape[1]) % 2 == 0, 1, -1)


def _steady(random: np.random.Generator, draws: int, processes: int) -> Array:
    """Draw a drift of 2 % that lasts some ten processes, and 3 % from process to process."""
    from scipy.signal import lfilter

    steps = random.standard_normal((draws, processes))
    steps[:, 1:] *= np.sqrt(1 - 0.9**2)
    drift = 0.02 * lfilter([1.0], [1.0, -0.9], steps, axis=-1)
    return np.asarray(drift + 0.03 * random.standard_normal((draws, processes)))


def _switching(random: np.random.Generator, draws: int, processes: int) -> Array:
    """Add two states 24 % apart that last five processes on average, and 3 % gross outliers."""
    begin = random.random((draws, 1)) < 0.5
    switched = np.cumsum(random.random((draws, processes - 1)) < 1 / 5, axis=1) % 2 == 1
    state = np.log(1.24) * np.concatenate([begin, begin ^ switched], axis=1)
    slowed = np.log(random.uniform(1.5, 3, (draws, processes)))
    outlier = np.where(random.random((draws, processes)) < 0.03, slowed, 0)
    return np.asarray(_steady(random, draws, processes) + state + outlier)


def _recorded(random: np.random.Generator, draws: int, processes: int) -> Array:
    """Draw blocks of seven from `RECORDED_MS`, which keeps its states and what lasts how long."""
    block = 7
    series = np.log(RECORDED_MS)
    begin = random.integers(0, series.size, (draws, -(-processes // block), 1))
    drawn = series[(begin + np.arange(block)) % series.size]
    return np.asarray(drawn.reshape(draws, -1)[:, :processes])


MACHINES = (
    Machine("steady", _steady, within=0.05),
    Machine("switching", _switching, within=0.05),
    Machine("recorded", _recorded, within=0.03),
)
"""The machines on which the gate is proven."""
