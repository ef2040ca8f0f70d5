"""What differs beside the time of rows."""

from harness.profiling.noticed import noticed
from harness.profiling.record import Profile


def profiles(faults: list[float], **facts: object) -> list[Profile]:
    return [
        Profile(case="case", round=n, phases=[], counters={"minor_faults": value}, facts=facts)
        for n, value in enumerate(faults)
    ]


def test_faults_are_told_where_every_process_has_more() -> None:
    assert list(noticed(profiles([1, 2, 1]), profiles([90, 100, 80]))) == [
        "more page faults: 1 a token before, now 90"
    ]
    assert list(noticed(profiles([1, 95, 1]), profiles([90, 100, 80]))) == []


def test_a_hardly_larger_count_is_no_news() -> None:
    assert list(noticed(profiles([100, 100]), profiles([110, 111]))) == []
    assert list(noticed(profiles([0, 0]), profiles([0.1, 0.1]))) == []


def test_a_new_graph_break_and_more_graphs_are_told() -> None:
    base = profiles([1], graph_breaks=["a.py:1: print"], graphs=3)
    cand = profiles([1], graph_breaks=["a.py:1: print", "b.py:2: item"], graphs=5)

    assert list(noticed(base, cand)) == [
        "new graph break: b.py:2: item",
        "3 graphs were compiled before, now 5: something recompiles",
    ]
