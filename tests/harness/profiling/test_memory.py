"""Who allocates, and what lives at the peak."""

import torch

from harness.profiling.memory import Ledger
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


def test_the_timeline_rises_and_falls() -> None:
    levels = [level for _, level in kept_and_dropped().timeline]

    assert max(levels) == 20 * MIB
    assert 4 * MIB in levels


def test_without_operators_it_says_that_tensors_are_unseen() -> None:
    with Ledger() as ledger:
        memory, notes = ledger.close()

    assert memory.largest == []
    assert "tensors unseen" in notes[0]
