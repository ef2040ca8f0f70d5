"""Who allocates, and what lives at the peak."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from harness.profiling.memory import Change, Ledger, timeline
from harness.profiling.record import Memory

MIB = 2**20


def kept_and_dropped() -> Memory:
    with Ledger() as ledger:
        ledger.begin("load")
        kept = torch.ones(MIB)  # 4 MiB that stay
        ledger.begin("decode")
        for _ in range(3):
            torch.ones(4 * MIB)  # 16 MiB that go again
        kept.add_(1)
        memory, notes = ledger.close()
    assert notes == []
    return memory


def test_a_phase_holds_what_stays_and_peaks_with_what_goes() -> None:
    memory = kept_and_dropped()

    load, decode = (next(h for h in memory.phases if h.phase == p) for p in ("load", "decode"))
    assert load.tensor_bytes == 4 * MIB
    assert decode.tensor_bytes == 4 * MIB
    assert decode.tensor_peak_bytes == 20 * MIB
    assert decode.allocations == 3


def test_what_lived_at_the_peak_is_named_with_line_phase_and_shape() -> None:
    first, second = kept_and_dropped().largest[:2]

    assert (first.bytes, first.shape, first.dtype, first.phase) == (
        16 * MIB, [4 * MIB], "float32", "decode",
    )  # fmt: skip
    assert first.place.endswith("(kept_and_dropped)")
    assert (second.bytes, second.phase) == (4 * MIB, "load")


def test_the_timeline_rises_and_falls_with_its_owners() -> None:
    found = kept_and_dropped().timeline
    assert found is not None
    totals = [sum(moment) for moment in zip(*found.bytes, strict=True)]

    assert max(totals) == 20 * MIB
    assert 4 * MIB in totals
    # then the most is held by the line that drops it, and the rest by the one that keeps it
    dropped, kept = found.owners
    assert dropped.endswith("(kept_and_dropped)")
    assert max(found.bytes[0]) == 16 * MIB
    assert found.bytes[1][-1] == 4 * MIB
    assert dropped != kept
    assert [name for name, _ in found.phases] == ["import", "load", "decode"]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 500), st.sampled_from("abcdefgh"), st.integers(-(2**20), 2**20)
        ),
        min_size=1, max_size=900,
    )
)  # fmt: skip
def test_every_moment_of_a_timeline_adds_up_and_the_peak_is_never_thinned_away(
    told: list[tuple[int, str, int]],
) -> None:
    changes = [Change(float(ms), owner, size) for ms, owner, size in sorted(told)]
    found = timeline(changes, [("load", 0.0)])
    assert found is not None

    def held(at: float) -> int:
        return sum(change.bytes for change in changes if change.ms <= at)

    totals = [sum(moment) for moment in zip(*found.bytes, strict=True)]
    assert totals == [held(ms) for ms in found.ms]
    assert max(totals) == max(held(change.ms) for change in changes)
    assert len(found.ms) <= 300
    assert found.ms == sorted(found.ms)


def test_of_nothing_there_is_no_timeline() -> None:
    assert timeline([], [("load", 0.0)]) is None


def test_without_operators_it_says_that_tensors_are_unseen() -> None:
    with Ledger() as ledger:
        memory, notes = ledger.close()

    assert memory.largest == []
    assert "tensors unseen" in notes[0]
