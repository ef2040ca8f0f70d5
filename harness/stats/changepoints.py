"""Where a series over runs changed its level: PELT finds, permutations judge.

`ruptures` finds the levels (PELT, Killick et al. 2012). A level that optimal segmentation prefers
is not yet evidence, so each change must also beat what the same values give in random order, as in
E-divisive (Matteson and James 2014). It must not know what a run is: numbers in, indices out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["ChangePoint", "change_points"]

Array = NDArray[np.float64]

_MIN_LENGTH = 3
"""Of a level, values: one or two are outliers."""
_PENALTY = 3.0
"""Of a further change, in units of noise variance × log n; the test afterwards is stricter."""
_CLIP = 3.0
_MAD = 1.4826
_PERMUTATIONS = 999
_RESAMPLES = 300


@dataclass(frozen=True)
class ChangePoint:
    """One change of level."""

    index: int
    """Of the first value of the new level."""
    low: int
    """Lower end of the index's 95 % interval."""
    high: int
    """Upper end of the index's 95 % interval."""
    before: float
    """Median from the change before to this one, in the series' unit."""
    after: float
    """Median from this change to the next."""
    p_value: float
    """That values in random order would show as large a change."""


def change_points(series: ArrayLike, *, alpha: float = 0.01) -> list[ChangePoint]:
    """Return the changes of level in a series, oldest first.

    Positive series are judged on a log scale. Values that are not finite are refused: leave out the
    runs that have no figure. Fewer than six values have no change point.

    Args:
        series: one value per run, oldest first.
        alpha: a change whose p-value is above is dropped, the weakest first.

    Raises:
        ValueError: where a value is not finite.
    """
    x = np.asarray(series, dtype=np.float64).ravel()
    if not np.isfinite(x).all():
        raise ValueError("a value of the series is not finite: leave out runs without a figure")
    if x.size < 2 * _MIN_LENGTH or x.min() == x.max():
        return []
    y = np.log(x) if x.min() > 0 else x
    noise = _noise(y)
    clipped = _without_outliers(y, noise)
    cuts = _pelt(clipped, _PENALTY * np.log(x.size) * noise**2)
    random = np.random.Generator(np.random.Philox(0))
    while cuts:
        bounds = [0, *cuts, x.size]
        spans = [(bounds[k], bounds[k + 2]) for k in range(len(cuts))]
        p_values = [_p_value(clipped[a:b], random) for a, b in spans]
        weakest = int(np.argmax(p_values))
        if p_values[weakest] <= alpha:
            break
        del cuts[weakest]
    else:
        return []
    found = []
    for (a, b), cut, p in zip(spans, cuts, p_values, strict=True):
        low, high = _interval(clipped[a:b], cut - a, random)
        before, after = float(np.median(x[a:cut])), float(np.median(x[cut:b]))
        found.append(ChangePoint(cut, a + low, a + high, before, after, p))
    return found


def _noise(y: Array) -> float:
    """Return the standard deviation about a level; differences hardly see changes of level."""
    steps = np.abs(np.diff(y))
    robust = _MAD * float(np.median(steps)) / np.sqrt(2)
    # More than half of the steps are none: a coarse clock or an exact count.
    return robust if robust > 0 else max(float(steps.mean()), 1e-9)


def _without_outliers(y: Array, noise: float) -> Array:
    """Pull what stands out of its five neighbours back to them; a change of level stays."""
    padded = np.concatenate([y[2:0:-1], y, y[-2:-4:-1]])
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    return np.clip(y, usual - _CLIP * noise, usual + _CLIP * noise)


def _pelt(y: Array, penalty: float) -> list[int]:
    import ruptures

    found = ruptures.Pelt(model="l2", min_size=_MIN_LENGTH, jump=1).fit(y).predict(pen=penalty)
    return [int(k) for k in found[:-1]]


def _gain(y: Array) -> Array:
    """Return what each cut takes off the squared error: [..., n] to [..., cuts]."""
    n = y.shape[-1]
    sums = np.cumsum(y - y.mean(axis=-1, keepdims=True), axis=-1)
    at = np.arange(_MIN_LENGTH, n - _MIN_LENGTH + 1)
    return np.asarray(sums[..., at - 1] ** 2 * n / (at * (n - at)))


def _p_value(y: Array, random: np.random.Generator) -> float:
    """Return how often the values in random order show a change as large as the best one."""
    orders = random.permuted(np.tile(y, (_PERMUTATIONS, 1)), axis=1)
    larger = np.count_nonzero(_gain(orders).max(axis=-1) >= _gain(y).max() * (1 - 1e-12))
    return float((1 + larger) / (1 + _PERMUTATIONS))


def _interval(y: Array, cut: int, random: np.random.Generator) -> tuple[int, int]:
    """Return where 95 % of resampled series have their cut: levels kept, deviations drawn anew."""
    fitted = np.where(np.arange(y.size) < cut, y[:cut].mean(), y[cut:].mean())
    left = random.choice(y[:cut] - y[:cut].mean(), size=(_RESAMPLES, cut))
    right = random.choice(y[cut:] - y[cut:].mean(), size=(_RESAMPLES, y.size - cut))
    cuts = _MIN_LENGTH + _gain(fitted + np.concatenate([left, right], axis=1)).argmax(axis=-1)
    low, high = np.quantile(cuts, [0.025, 0.975], method="inverted_cdf")
    return min(int(low), cut), max(int(high), cut)
