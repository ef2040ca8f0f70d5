"""Given cases and rounds, when visits are ordered, then each round sees each case, interleaved."""

from hypothesis import given
from hypothesis import strategies as st

from harness.engine.case import Case
from harness.engine.schedule import order, share


def _case(name: str, rounds: int, unavailable: str | None = None) -> Case:
    return Case(
        id=name,
        model="tiny",
        model_seed=0,
        model_label="tiny",
        backend="eager",
        backend_options={"dtype": "float32", "device": "cpu", "threads": 1},
        scenario="latency",
        scenario_options={},
        rounds=rounds,
        unavailable=unavailable,
    )


counts = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@given(counts, st.integers(0, 2**32))
def test_every_case_is_visited_once_in_each_of_its_rounds(rounds: list[int], seed: int) -> None:
    cases = [_case(f"c{i}", n) for i, n in enumerate(rounds)]
    visits = order(cases, max(rounds), seed)
    wanted = {(r, case.id) for case in cases for r in range(case.rounds)}
    assert sorted(visits) == sorted(wanted)


@given(counts, st.integers(0, 2**32))
def test_a_round_is_complete_before_the_next_begins(rounds: list[int], seed: int) -> None:
    visits = order([_case(f"c{i}", n) for i, n in enumerate(rounds)], max(rounds), seed)
    assert [number for number, _ in visits] == sorted(number for number, _ in visits)


def test_the_order_follows_from_the_seed_alone() -> None:
    cases = [_case(f"c{i}", 3) for i in range(6)]
    assert order(cases, 3, seed=1) == order(cases, 3, seed=1)
    assert order(cases, 3, seed=1) != order(cases, 3, seed=2)


def test_rounds_have_orders_of_their_own() -> None:
    visits = order([_case(f"c{i}", 2) for i in range(8)], 2, seed=0)
    first, second = visits[:8], visits[8:]
    assert [c for _, c in first] != [c for _, c in second]


def test_a_case_that_cannot_run_is_never_visited() -> None:
    assert order([_case("a", 2), _case("b", 2, "no GPU")], 2, 0) == [(0, "a"), (1, "a")]


@given(st.floats(0, 1e4), st.integers(1, 100), st.integers(1, 100), st.floats(0, 20))
def test_shares_of_a_budget_keep_it_unless_it_is_too_small_for_any_sample(
    left: float, points: int, visits: int, overhead: float
) -> None:
    seconds = share(left, points, visits, overhead, most=10.0)
    assert 0.5 <= seconds <= 10.0
    if seconds > 0.5:
        assert seconds * points + visits * overhead <= left * (1 + 1e-9)
