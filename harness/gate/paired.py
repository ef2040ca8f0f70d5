"""The rounds of a duet as pairs: neighbouring blocks of the two sides fall into one machine state.

A round's log ratio is the median over its pairs of neighbouring blocks, so a switch of state that
falls between two blocks spoils one pair and not the round.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.gate.evidence import Evidence, Key, Series
from harness.store.record import BlockRecord, RoundRecord

__all__ = ["SWITCH", "Pairs", "are_paired", "pairs_of"]

Array = NDArray[np.float64]

SWITCH = 0.12
"""Bandwidth that changes by more between two probes is another state of the machine: recorded
states lie some 24 % apart, and repeated probes of one state agree within a few per cent."""


@dataclass(frozen=True)
class Pairs:
    """Two sides, round by round, ready to be compared as pairs."""

    base: list[Array]
    cand: list[Array]
    blocks: int
    """Pairs of blocks behind them; 0 where whole processes took turns."""
    straddling: int
    """How many of those had a switch of state within them."""


def are_paired(base: Evidence, cand: Evidence) -> bool:
    """Whether two runs are the two sides of one duet."""
    one, other = base.record.duet, cand.record.duet
    return bool(one and other and one.partner == cand.record.id and other.side != one.side)


def pairs_of(
    base: Evidence, cand: Evidence, base_key: Key, cand_key: Key, *, drop: bool = False
) -> Pairs:
    """Return the rounds that both sides finished.

    Args:
        base: One run of a duet.
        cand: The other.
        base_key: What to compare, as the base calls it.
        cand_key: The same, as the candidate calls it.
        drop: Leave pairs out that straddle a switch of state, unless a round has no others.
    """
    one, other = base.series[base_key], cand.series[cand_key]
    blocks = [_blocks(e, k) for e, k in ((base, base_key), (cand, cand_key))]
    found = Pairs([], [], 0, 0)
    counted, straddling = 0, 0
    for number in sorted(set(one.rounds) & set(other.rounds)):
        ratios = _ratios(
            _blocks_in(one, number, blocks[0][number]), _blocks_in(other, number, blocks[1][number])
        )
        at_base = one.processes[one.rounds.index(number)]
        at_cand = other.processes[other.rounds.index(number)]
        if ratios:
            counted += len(ratios)
            straddling += sum(ratio.straddles for ratio in ratios)
            calm = [r.log for r in ratios if not (drop and r.straddles)]
            centre = float(np.median(at_base))
            step = float(np.median(calm or [r.log for r in ratios]))
            at_base, at_cand = np.array([centre]), np.array([centre * math.exp(step)])
        found.base.append(at_base)
        found.cand.append(at_cand)
    return Pairs(found.base, found.cand, counted, straddling)


@dataclass(frozen=True)
class _Block:
    centre: float
    """Median of its samples."""
    states: tuple[float, ...]
    """Bandwidth before and after it, as a share of what that side usually sees in the round."""


@dataclass(frozen=True)
class _Ratio:
    log: float
    straddles: bool


def _ratios(base: Mapping[int, _Block], cand: Mapping[int, _Block]) -> list[_Ratio]:
    """Return one log ratio per pair of neighbours: places 0 and 1, 2 and 3, …, whoever is first."""
    found = []
    for place, block in base.items():
        beside = cand.get(place ^ 1)
        if beside is not None and block.centre > 0 and beside.centre > 0:
            log = math.log(beside.centre / block.centre)
            states = block.states + beside.states
            switched = len(states) > 1 and max(states) / min(states) - 1 > SWITCH
            found.append(_Ratio(log, switched))
    return found


def _blocks_in(series: Series, number: int, blocks: Sequence[BlockRecord]) -> dict[int, _Block]:
    """Return one side's blocks of a round by place.

    States are relative to the side's own, since its probe reads with its own number of threads.
    """
    at = series.rounds.index(number)
    values, iterations = series.processes[at], series.iterations[at]
    probes = [p for b in blocks for p in (b.probe_before, b.probe_after) if p]
    usual = float(np.median(probes)) if probes else 1.0
    found = {}
    for block in blocks:
        last = block.first_iteration + block.iterations
        inside = values[(iterations >= block.first_iteration) & (iterations < last)]
        states = tuple(p / usual for p in (block.probe_before, block.probe_after) if p)
        if inside.size:
            found[block.place] = _Block(float(np.median(inside)), states)
    return found


def _blocks(evidence: Evidence, key: Key) -> dict[int, list[BlockRecord]]:
    def of_point(record: RoundRecord) -> list[BlockRecord]:
        return [block for block in record.blocks if block.point == key.point]

    return {each.round: of_point(each) for each in evidence.cases[key.case].rounds}
