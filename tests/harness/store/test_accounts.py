"""Given what is known of memory, when it is added up, then the remainder is named or unknown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reading import Reading
from harness.store.accounts import Account, Part, accounts_of, device_accounts, host_account
from harness.store.record import Figure, PhaseTelemetry, QuantityRecord
from harness.testing.runs import example_record

GIB = 2**30


def value(size: float) -> Reading:
    return Reading(value=size)


HOST = {
    "peak_bytes": value(1000.0),
    "import_bytes": value(200.0),
    "weights_bytes": value(505.0),
    "computed_weights_bytes": value(500.0),
    "kv_bytes": value(100.0),
    "computed_kv_bytes": value(100.0),
    "activation_bytes": value(50.0),
}


def test_a_remainder_is_what_no_part_explains() -> None:
    account = host_account(HOST)

    assert account.remainder.value == 1000 - 200 - 505 - 100 - 50
    assert account.rest


def test_a_part_that_is_computed_too_says_how_far_it_is_off() -> None:
    weights = next(p for p in host_account(HOST).parts if p.name == "weights")

    assert weights.off_by == pytest.approx(0.01)


def test_what_the_session_says_it_holds_comes_before_the_configuration() -> None:
    held = {"held_weights_bytes": value(510.0), "kept_twice_bytes": value(10.0)}
    weights = next(p for p in host_account(HOST | held).parts if p.name == "weights")

    assert weights.off_by == pytest.approx(505 / 510 - 1)
    assert (weights.computed_by, weights.note) == ("the session", "10 B kept in two layouts")


def test_pages_of_files_are_a_part_of_their_own_where_they_are_known() -> None:
    account = host_account(HOST | {"mapped_bytes": value(40.0)})

    assert account.remainder.value == 1000 - 200 - 505 - 100 - 50 - 40


def test_an_unknown_part_leaves_the_remainder_unknown_and_names_the_part() -> None:
    account = host_account({**HOST, "kv_bytes": Reading.absent("the backend does not say")})

    assert account.remainder.value is None
    assert account.remainder.reason == "KV cache: the backend does not say"


@given(st.lists(st.floats(0, 1e12), max_size=6), st.floats(0, 1e12))
def test_parts_and_remainder_are_the_total(parts: list[float], total: float) -> None:
    account = Account("all", value(total), tuple(Part("p", value(p)) for p in parts), "rest")

    assert account.remainder.value is not None
    assert account.remainder.value + sum(parts) == pytest.approx(total, abs=1e-2)


def test_a_device_adds_up_from_the_whole_to_the_tensors() -> None:
    accounts = list(
        device_accounts(
            {"weights_bytes": value(2 * GIB), "kv_bytes": value(GIB)},
            {"allocated_bytes": value(3.5 * GIB), "reserved_bytes": value(4 * GIB)},
            {
                "memory_used_bytes": value(8 * GIB),
                "worker_memory_bytes": value(5 * GIB),
                "other_processes_memory_bytes": value(2 * GIB),
            },
        )
    )

    assert {a.name: (a.remainder.value or 0) / GIB for a in accounts} == {
        "in use on the device": 1.0,
        "this process, as the driver says": 1.0,
        "held by the allocator": 0.5,
        "in tensors": 0.5,
    }


def test_a_case_on_a_gpu_takes_the_drivers_figures_from_telemetry() -> None:
    case = example_record().cases[2]
    case.backend_options["device"] = "cuda"
    case.figures = [
        Figure(metric=m, statistic="once", reading=r) for m, r in HOST.items()
    ]  # fmt: skip
    used = QuantityRecord(
        source="nvml", device="GPU-1", quantity="memory_used_bytes", unit="bytes", kind="gauge",
        n=3, mean=7000.0, highest=9000.0,
    )  # fmt: skip
    case.telemetry = [
        PhaseTelemetry(phase="measure", rounds=1, seconds=1, missed=0, rate_hz=50,
                       quantities=[used])
    ]  # fmt: skip

    whole = accounts_of(case)[0]

    assert whole.total.value == 9000.0
    assert whole.remainder.value is None
    assert "not measured in this run" in str(whole.remainder.reason)


def test_a_case_that_did_not_measure_memory_has_no_account() -> None:
    assert accounts_of(example_record().cases[0]) == ()
