"""Where a process has settled: change points in its series of iterations, and what they mean.

Steady state is detected, not assumed. The levels of a series are found by optimal segmentation
(least squares, as PELT finds it, but over at most six levels so that it is exact and quick), and
their order is classified as Barrett et al., *Virtual machine warmup blows hot and cold* (2017), do.
It must not know what the numbers measure; smaller is faster, and a rate gives the mirror verdict.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Steady", "steady_state"]

Verdict = Literal["flat", "warmup", "slowdown", "no-steady-state", "too-short"]
Array = NDArray[np.float64]

_TOO_SHORT = 5
_LEVELS = 6
_MIN_LENGTH = 3
"""Of a level, iterations: one or two are an outlier."""
_DISTURBANCE = 0.1
"""A shorter part of the series, between two stretches of one level, does not end that level."""
_SAME = 0.01
"""Levels within 1 % are one: less than the precision sampled for, and than any gate's margin."""
_PENALTY = 5.0
"""Of a further level, in units of noise variance × log n. 2 is BIC's for one known noise; noise
that is estimated from few iterations and correlated needs more. Calibrated in tests."""
_CLIP = 3.0
_MAD = 1.4826
"""Median absolute deviation to standard deviation."""
_MAX_CORRELATION = 0.7


@dataclass(frozen=True)
class Steady:
    """Which part of a series counts, and why."""

    start: int
    """First iteration that counts; never past the middle."""
    verdict: Verdict


@dataclass(frozen=True)
class _Level:
    start: int
    end: int
    value: float


def steady_state(series: Sequence[float] | Array, *, higher_is_faster: bool = False) -> Steady:
    """Classify a series of per-iteration centres and return where its steady part begins.

    - `flat`: one level all along.
    - `warmup`: slower first, then one level to the end.
    - `slowdown`: faster first, then one level to the end, as when a machine throttles.
    - `no-steady-state`: it returns to a level it had left, or its last level fills less than half.
      All of it counts then, but for a warm-up in front.
    - `too-short`: fewer than five iterations.

    One or two outlying iterations are no level, except in front, where they are a warm-up. Numbers
    that are not finite, and numbers of both signs, have no steady state.

    Args:
        series: Up to some hundreds of values; under a millisecond at 200.
        higher_is_faster: For rates: which way is slow.
    """
    x = np.asarray(series, dtype=np.float64)
    if x.size < _TOO_SHORT:
        return Steady(0, "too-short")
    if not np.isfinite(x).all():
        return Steady(0, "no-steady-state")
    if x.min() == x.max():
        return Steady(0, "flat")
    if x.min() <= 0:
        return Steady(0, "no-steady-state")
    y = np.log(x)
    if higher_is_faster:
        y = -y
    noise = _noise(y)
    skipped = _slow_front(y, noise)
    levels = [
        _Level(level.start + skipped, level.end + skipped, level.value)
        for level in _levels(y[skipped:], noise)
    ]
    return _classify(levels, skipped, x.size)


def _noise(y: Array) -> float:
    """Return the standard deviation of one iteration about its level, robustly.

    Differences of neighbours hardly see changes of level; their median does not see outliers.
    """
    steps = np.diff(y)
    return max(_MAD * float(np.median(np.abs(steps))) / math.sqrt(2), 1e-6)


def _slow_front(y: Array, noise: float) -> int:
    """Count slow iterations in front, too few to be a level: cold caches, first touch."""
    rest = y[_MIN_LENGTH - 1 :]
    usual = float(np.median(rest[: max(_TOO_SHORT, rest.size // 4)]))
    margin = max(2 * _CLIP * noise, _SAME)
    count = 0
    while count < _MIN_LENGTH - 1 and count < y.size // 2 and y[count] > usual + margin:
        count += 1
    return count


def _levels(y: Array, noise: float) -> list[_Level]:
    """Cut a series into levels; the number of levels is what a penalised likelihood prefers."""
    clipped = _without_outliers(y, noise)
    penalty = _PENALTY * math.log(y.size) * noise**2 * _inflation(clipped)
    bounds = _segment(clipped, penalty)
    return _absorb([_Level(a, b, float(np.median(y[a:b]))) for a, b in bounds], y)


def _without_outliers(y: Array, noise: float) -> Array:
    """Pull what stands out of its five neighbours back to them; a change of level stays."""
    padded = np.concatenate([y[2:0:-1], y, y[-2:-4:-1]])
    usual = np.median(np.lib.stride_tricks.sliding_window_view(padded, 5), axis=1)
    reach = _CLIP * noise
    return np.clip(y, usual - reach, usual + reach)


def _inflation(y: Array) -> float:
    """Return how much more a mean of correlated iterations varies than `_noise` says.

    With correlation r from one to the next, differences show (1 - r) of the variance, and a mean
    has (1 + r) / (1 - r) of it. r comes from differences over one and over two iterations, which
    see (1 - r) and (1 - r^2).
    """
    one, two = (float(np.median(np.abs(y[k:] - y[:-k]))) ** 2 for k in (1, 2))
    r = min(max(two / one - 1, 0.0), _MAX_CORRELATION) if one > 0 else 0.0
    return (1 + r) / (1 - r) ** 2


def _segment(y: Array, penalty: float) -> list[tuple[int, int]]:
    """Return the bounds of levels that minimise squared error + penalty × levels, exactly.

    Best cut of the first j iterations into k + 1 levels: over all i, the best cut of the first i
    into k, and one level from i to j (Auger and Lawrence 1989). Each k is one matrix operation.
    """
    n = y.size
    sums = np.concatenate([[0.0], np.cumsum(y - y.mean())])
    squares = np.concatenate([[0.0], np.cumsum((y - y.mean()) ** 2)])
    at = np.arange(n + 1)
    length = at[None, :] - at[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        error = squares[None, :] - squares[:, None] - (sums[None, :] - sums[:, None]) ** 2 / length
    error[length < _MIN_LENGTH] = np.inf
    best = error[0]
    costs, cuts = [float(best[n])], []
    for _ in range(min(_LEVELS, n // _MIN_LENGTH) - 1):
        total = best[:, None] + error
        cut = total.argmin(axis=0)
        best = total[cut, at]
        cuts.append(cut)
        costs.append(float(best[n]))
    count = int(np.argmin([cost + penalty * k for k, cost in enumerate(costs)]))
    bounds, end = [], n
    for cut in reversed(cuts[:count]):
        bounds.append((int(cut[end]), end))
        end = int(cut[end])
    return [(0, end), *reversed(bounds)]


def _absorb(levels: list[_Level], y: Array) -> list[_Level]:
    """Join neighbours of one level, and what lies for a moment between two of one level."""
    short = max(_MIN_LENGTH, round(_DISTURBANCE * y.size))
    joined: list[_Level] = []
    for level in levels:
        joined.append(level)
        while len(joined) > 1:
            last = joined[-1]
            reach = next(
                (
                    back
                    for back in (2, 3)
                    if len(joined) >= back
                    and _same(joined[-back], last)
                    and (back == 2 or joined[-2].end - joined[-2].start <= short)
                ),
                None,
            )
            if reach is None:
                break
            start = joined[-reach].start
            joined[-reach:] = [_Level(start, last.end, float(np.median(y[start : last.end])))]
    return joined


def _same(a: _Level, b: _Level) -> bool:
    return abs(a.value - b.value) <= _SAME


def _classify(levels: list[_Level], skipped: int, n: int) -> Steady:
    last, earlier = levels[-1], levels[:-1]
    if not earlier:
        return Steady(skipped, "warmup" if skipped else "flat")
    returned = any(_same(level, last) for level in earlier)
    if last.start <= n // 2 and not returned:
        fastest = min(level.value for level in earlier)
        return Steady(last.start, "slowdown" if fastest < last.value else "warmup")
    start = skipped
    for index, level in enumerate(earlier):
        if not all(level.value > later.value + _SAME for later in levels[index + 1 :]):
            break
        start = level.end
    return Steady(min(start, n // 2), "no-steady-state")
