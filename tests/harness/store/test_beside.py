"""Given a case's record, what stands beside its figures, in words."""

from typing import Any

from harness.reading import Reading
from harness.store.beside import Beside, beside, no_energy
from harness.store.record import (
    CaseRecord,
    EnergyRecord,
    PhaseRecord,
    RoundTelemetry,
    SamplerProcess,
    SamplerRecord,
)
from harness.testing.runs import example_record

_WATCHED = RoundTelemetry(hz=20, ticks=100, missed=0, late=0)


def _energy(phase: str, joules: Reading, **fields: Any) -> EnergyRecord:
    known = {
        "phase": phase, "source": "nvml", "device": "GPU-a", "rounds": 3, "seconds": 4.0,
        "joules": Reading(value=1.0), "net_joules": Reading(value=1.0), "method": "counter",
        "joules_per_token": joules, "net_joules_per_token": Reading(value=1.2, low=1.1, high=1.3),
        "idle_watts": Reading(value=65.0), "tokens": 8,
    }  # fmt: skip
    return EnergyRecord.model_validate(known | fields)


def _rows(case: CaseRecord) -> dict[str, Beside]:
    return {row.name: row for row in beside(case)}


def test_energy_per_token_is_gross_with_its_bound_and_net_with_the_idle_power() -> None:
    case = example_record().cases[0]
    case.energy = [_energy("measure", Reading(value=3.2, low=3.1, high=3.3))]

    row = _rows(case)["energy per token"]

    assert (row.value, row.spread) == ("3.20 J", "± 3.1 %")
    assert row.note == "net of 65 W idle 1.20 J ± 8.3 %; GPU-a, counter"


def test_a_net_that_may_be_nothing_is_not_given_as_a_figure() -> None:
    case = example_record().cases[0]
    none = Reading(value=0.004, low=-0.1, high=0.2)
    case.energy = [_energy("measure", Reading(value=3.2), net_joules_per_token=none)]

    note = _rows(case)["energy per token"].note

    assert note.startswith("net of 65 W idle nothing that can be told from 0")


def test_prefill_and_decode_stand_apart_and_one_that_is_not_known_says_why() -> None:
    case = example_record().cases[0]
    case.energy = [
        _energy("decode", Reading(value=0.004)),
        _energy("prefill", Reading.absent("a prefill takes 5 ms")),
        _energy("load", Reading.absent("no token was made")),
    ]

    rows = _rows(case)

    assert [name for name in rows if "token" in name] == [
        "prefill, per prompt token", "decode, per token",
    ]  # fmt: skip
    assert rows["prefill, per prompt token"].value == "–"
    assert rows["prefill, per prompt token"].note == "a prefill takes 5 ms"
    assert rows["decode, per token"].value == "4 mJ"


def test_two_devices_are_named_in_their_rows() -> None:
    case = example_record().cases[0]
    used = [_energy("measure", Reading(value=3.0), device=f"GPU-{n}") for n in "ab"]
    case.energy = used

    assert {"energy per token (GPU-a)", "energy per token (GPU-b)"} <= set(_rows(case))


def test_memory_is_shown_by_phase_with_the_peak_of_what_was_measured() -> None:
    case = example_record().cases[0]
    phases = [("load", 100, 150), ("measure", 220, 300)]
    case.rounds[0].phases = [
        PhaseRecord(name=name, start_ns=0, end_ns=1, current_bytes=now << 20, peak_bytes=top << 20)
        for name, now, top in phases
    ]

    row = _rows(case)["memory, peak while measured"]

    assert (row.value, row.note) == ("300 MiB", "after load 100 MiB, measure 220 MiB")


def test_disturbed_iterations_are_counted_and_those_left_out_are_said() -> None:
    case = example_record().cases[0]
    for record in case.rounds:
        record.telemetry = _WATCHED
    case.rounds[1].points[0].disturbed, case.rounds[1].points[0].dropped = 3, 2

    row = _rows(case)["iterations disturbed"]

    assert (row.value, row.note) == ("3 of 18", "2 left out of the figures")


def test_a_case_that_nobody_watched_and_waited_for_has_nothing_beside_it() -> None:
    assert beside(example_record().cases[0]) == []


def test_why_there_is_no_energy_is_said_once_for_the_run() -> None:
    record = example_record()
    missing = [
        SamplerRecord(name="host", ok=True),
        SamplerRecord(name="nvml", ok=False, reason="no driver"),
        SamplerRecord(name="rapl", ok=False, reason="no counters"),
    ]
    record.telemetry = [SamplerProcess(hz=20, samplers=missing)]
    assert no_energy(record) == "no energy: nvml: no driver; rapl: no counters"

    record.telemetry = []
    assert no_energy(record) is None  # made by another tool, or before there was telemetry
    record.suite_resolved["telemetry"] = {"enabled": False}
    assert no_energy(record) == "no energy: the suite says [telemetry] enabled = false"

    record.cases[0].energy = [_energy("measure", Reading(value=1.0))]
    assert no_energy(record) is None


def test_ready_is_what_later_rounds_took_and_the_first_one_stands_beside_it() -> None:
    case = example_record().cases[0]
    first = case.rounds[0]
    for number, seconds in ((0, 9.0), (1, 2.0), (2, 3.0)):
        load = PhaseRecord(name="load", start_ns=0, end_ns=int(5e8))
        prepare = PhaseRecord(name="prepare", start_ns=int(6e8), end_ns=int(6e8 + seconds * 1e9))
        update = {"round": number, "phases": [load, prepare], "status": "done"}
        case.rounds = [*case.rounds[:number], first.model_copy(update=update)]

    row = _rows(case)["ready after import"]

    assert row.value == "3 s"
    assert row.note == "loading and preparing; in the first round 9.50 s"
