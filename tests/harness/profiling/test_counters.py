"""Hardware counters, or the setting that forbids them."""

import errno

import pytest

from harness.contracts import Observation, Transcript
from harness.errors import UnavailableError
from harness.profiling.counted import counted
from harness.profiling.counters import hardware_counters, why_refused

TWO_TOKENS = Observation(values={}, transcripts=[Transcript((1,), (2, 3))])


@pytest.mark.parametrize(
    ("number", "paranoid", "said"),
    [
        (errno.EACCES, "4", "kernel.perf_event_paranoid is 4"),
        (errno.EPERM, "3", "sysctl kernel.perf_event_paranoid=2"),
        (errno.EPERM, "2", "a filter of the container"),
        (errno.EPERM, "not set", "a filter of the container"),
        (errno.ENOENT, "2", "the processor shows this machine no counters"),
        (errno.ENOSYS, "2", "no perf_event_open on this kernel"),
        (errno.EMFILE, "2", "Too many open files"),
    ],
)
def test_a_refusal_names_what_forbids_it(number: int, paranoid: str, said: str) -> None:
    assert said in why_refused(number, paranoid)


def test_where_none_can_be_opened_nothing_is_counted() -> None:
    with pytest.raises(UnavailableError, match="counters: "):
        hardware_counters(lambda: TWO_TOKENS, lambda *_: -errno.EACCES)


def test_work_is_counted_per_token_or_refused_with_a_reason() -> None:
    def work() -> Observation:
        sum(range(100_000))
        return TWO_TOKENS

    found, refused = {}, ""
    try:
        found = hardware_counters(work)
    except UnavailableError as error:
        refused = str(error)

    assert found.get("instructions", 0) > 100_000 or refused.startswith("counters: ")


def test_what_the_kernel_counts_is_per_token() -> None:
    kept = []

    def work() -> Observation:
        kept.append(bytearray(b"x" * (8 << 20)))
        return TWO_TOKENS

    found = counted(work)

    assert found["minor_faults"] + found["user_ms"] + found["system_ms"] > 0
    assert counted(lambda: Observation(values={})) == {}
