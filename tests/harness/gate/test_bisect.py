"""Bisection over commits some of which cannot be judged."""

from hypothesis import given
from hypothesis import strategies as st

from harness.gate.bisect import Outcome, search


@given(st.integers(1, 200), st.data())
def test_the_first_bad_commit_is_found_in_a_logarithm_of_steps(
    commits: int, data: st.DataObject
) -> None:
    first_bad = data.draw(st.integers(0, commits - 1))

    found = search(commits, lambda n: "bad" if n >= first_bad else "good")

    assert (found.first_bad, found.certain) == (first_bad, True)
    assert found.asked <= commits.bit_length()


@given(st.integers(1, 40), st.data())
def test_with_commits_that_cannot_be_judged_the_range_still_holds_the_first_bad_one(
    commits: int, data: st.DataObject
) -> None:
    first_bad = data.draw(st.integers(0, commits - 1))
    unknown = data.draw(st.sets(st.integers(0, commits - 1)))

    def ask(number: int) -> Outcome:
        if number in unknown:
            return "unknown"
        return "bad" if number >= first_bad else "good"

    found = search(commits, ask)

    assert found.last_good < first_bad <= found.first_bad
    between = set(range(found.last_good + 1, found.first_bad))
    assert between <= unknown


def test_a_single_commit_needs_no_comparison() -> None:
    assert search(1, lambda _: "good").asked == 0
