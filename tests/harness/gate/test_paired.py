"""Rounds of a duet as pairs of neighbouring blocks."""

import numpy as np
import pytest

from harness.gate.evidence import Evidence, Key
from harness.gate.paired import Pairs, are_paired, pairs_of
from harness.testing.sides import CASE, as_duet, side

KEY = Key(CASE, "itl_ms", "")


def paired(base: list[list[float]], cand: list[list[float]], *, drop: bool = False) -> Pairs:
    one, other = as_duet(side("a", {"itl_ms": base}), side("b", {"itl_ms": cand}))
    return pairs_of(one, other, KEY, KEY, drop=drop)


def ratios(pairs: Pairs) -> list[float]:
    both = zip(pairs.base, pairs.cand, strict=True)
    return [float(np.median(cand) / np.median(base)) for base, cand in both]


def test_a_rounds_ratio_is_the_median_over_neighbouring_blocks() -> None:
    # Blocks run base cand cand base; a slow spell over the last two hits both sides alike.
    pairs = paired([[10.0, 20.0, 10.0]], [[11.0, 22.0, 11.0]])

    assert ratios(pairs) == [pytest.approx(1.1)]
    assert pairs.blocks == 3


def test_one_disturbed_block_does_not_move_a_round() -> None:
    assert ratios(paired([[10.0] * 5], [[10.0, 10.0, 90.0, 10.0, 10.0]])) == [pytest.approx(1.0)]


def test_rounds_that_one_side_lacks_are_left_out() -> None:
    pairs = paired([[10.0], [10.0], [10.0]], [[11.0], [11.0]])

    assert len(pairs.base) == len(pairs.cand) == 2


def test_pairs_that_straddle_a_switch_are_counted_and_dropped_where_declared() -> None:
    def sides() -> tuple[Evidence, Evidence]:
        one, other = as_duet(
            side("a", {"itl_ms": [[10.0, 10.0, 10.0]]}), side("b", {"itl_ms": [[14.0, 14.0, 10.0]]})
        )
        blocks = other.record.cases[0].rounds[0].blocks
        for block in blocks[:2]:
            block.probe_after = 7e9  # it was 10e9 before, and in all other blocks
        return one, other

    kept = pairs_of(*sides(), KEY, KEY)
    dropped = pairs_of(*sides(), KEY, KEY, drop=True)

    assert (kept.blocks, kept.straddling) == (3, 2)
    assert ratios(kept) == [pytest.approx(1.4)]
    assert ratios(dropped) == [pytest.approx(1.0)]


def test_a_round_of_which_every_pair_straddles_is_kept() -> None:
    one, other = as_duet(side("a", {"itl_ms": [[10.0]]}), side("b", {"itl_ms": [[11.0]]}))
    other.record.cases[0].rounds[0].blocks[0].probe_after = 5e9

    assert ratios(pairs_of(one, other, KEY, KEY, drop=True)) == [pytest.approx(1.1)]


def test_whole_processes_in_turn_are_paired_as_they_are() -> None:
    one, other = as_duet(
        side("a", {"itl_ms": [[10.0, 12.0]]}), side("b", {"itl_ms": [[11.0]]}), "processes"
    )

    pairs = pairs_of(one, other, KEY, KEY)

    assert pairs.blocks == 0
    assert pairs.base[0].tolist() == [10.0, 12.0]


def test_only_the_two_sides_of_one_duet_are_paired() -> None:
    one, other = as_duet(side("a", {}), side("b", {}))
    third = side("c", {})

    assert are_paired(one, other)
    assert not are_paired(one, one)
    assert not are_paired(one, third)
    assert not are_paired(third, side("d", {}))
