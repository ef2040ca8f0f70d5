import numpy as np
import pytest

from harness.stats import NoDetectable, SequentialPlan, detectable
from harness.stats.detectable import pairs_to_settle
from harness.testing.noise import Array
from harness.testing.trials import tried


def aa(seed: int, pairs: int, spread: float) -> tuple[list[Array], list[Array]]:
    random = np.random.default_rng(seed)
    return tuple(  # type: ignore[return-value]
        [np.exp(random.normal(0, spread / np.sqrt(2), 1)) for _ in range(pairs)] for _ in range(2)
    )


def test_the_change_it_names_is_found_with_the_power_asked_for() -> None:
    base, cand = aa(1, 400, 0.04)
    found = detectable(base, cand, power=0.9)
    assert not isinstance(found, NoDetectable)
    noise = 0.04 * np.random.default_rng(2).standard_normal((3000, 30))

    for row in found:
        plan = SequentialPlan(
            looks=(*(n for n in SequentialPlan().looks if n < row.pairs), row.pairs)
        )
        share = tried(noise, row.change, plan).share("larger")

        assert 0.86 <= share <= 0.99


def test_more_pairs_show_smaller_changes() -> None:
    found = detectable(*aa(3, 20, 0.05))

    assert not isinstance(found, NoDetectable)
    assert [row.pairs for row in found] == [6, 10, 15, 20, 30]
    changes, margins = [row.change for row in found], [row.margin for row in found]
    assert changes == sorted(changes, reverse=True)
    assert margins == sorted(margins, reverse=True)


def test_a_quieter_machine_shows_smaller_changes() -> None:
    loud, quiet = detectable(*aa(4, 20, 0.08)), detectable(*aa(4, 20, 0.01))

    assert not isinstance(loud, NoDetectable)
    assert not isinstance(quiet, NoDetectable)
    assert all(q.change < x.change for q, x in zip(quiet, loud, strict=True))


def test_few_pairs_are_a_reason() -> None:
    found = detectable(*aa(5, 4, 0.05))

    assert found == NoDetectable("4 pairs say too little of their spread: take six or more")


def test_pairs_needed_grow_with_the_square_of_the_noise() -> None:
    assert pairs_to_settle(0.10, 0.03) == pytest.approx(4 * pairs_to_settle(0.05, 0.03), rel=0.1)
