import json
from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import InputError, StoreError
from harness.store import Run, Store
from harness.store.record import RunRecord
from harness.testing.runs import example_record

Command = Callable[..., Any]
Keep = Callable[..., Run]

_LATENCY = "smollm2-135m/eager[dtype=float32]/latency"
_THROUGHPUT = "smollm2-135m/eager[dtype=bfloat16]/throughput"
_MEMORY = "smollm2-135m/eager[dtype=bfloat16]/memory"

_TABLE = """\
default, 2026-11-24 04:15 UTC, 3 rounds
AMD EPYC 7B13, 2 cores, 8 GiB, torch 2.13.0, harness 0.1.0
run 20261124-041502-default-3f2a

smollm2-135m/eager[dtype=float32]/latency  tokens agree, audited
                               p50               p90      p99
  ttft_ms                   104 ms  ± 1.2 %   110 ms        –  MFU 41 %
  itl_ms                   27.4 ms  ± 1.2 %  29.0 ms  33.2 ms  MBU 62 %
  e2e_ms                  1,830 ms  ± 1.2 % 1,940 ms        –
  ! others used 0.31 cores while it was measured (round 1): stop other work on
  the machine and run again

smollm2-135m/eager[dtype=float32]/throughput  tokens agree, audited
  decode_tokens_per_s
    batch=1                     37.1 tok/s  ± 1.2 %  MBU 62 %
    batch=4                      121 tok/s  ± 1.2 %  MBU 62 %

smollm2-135m/eager[dtype=float32]/memory  tokens agree, audited
  peak_bytes                       658 MiB

smollm2-135m/eager[dtype=bfloat16]/latency  tokens agree, audited
                               p50               p90      p99
  ttft_ms                  58.4 ms  ± 1.2 %  61.9 ms        –  MFU 41 %
  itl_ms                   15.4 ms  ± 1.2 %  16.3 ms  18.6 ms  MBU 62 %
  e2e_ms                  1,028 ms  ± 1.2 % 1,090 ms        –

smollm2-135m/eager[dtype=bfloat16]/throughput
  incorrect: no speed is given; tokens wrong: top-1 51 % of 96 positions, logits
  off by up to 4.20 σ; prompt 2, position 17: token 311, the reference has 284

smollm2-135m/eager[dtype=bfloat16]/memory
  failed in measure: the worker was killed (SIGSEGV)
    File decoder.py, line 88

– is not known from these samples; harness show -a says why
latency itl_ms, lower is better
eager bfloat16                 15.4 ms  ●┤                           ± 1.2 %
eager float32                  27.4 ms                         ●┤    ± 1.2 %
eager bfloat16: itl_ms 15.4 ms ± 1.2 %, 1.78× [1.75, 1.81] faster than eager
float32 (27.4 ms)
eager float32: decode_tokens_per_s (batch=1) 37.1 tok/s ± 1.2 %
eager float32: decode_tokens_per_s (batch=4) 121 tok/s ± 1.2 %
eager float32: peak_bytes 658 MiB
the other cases' tokens agree with the float32 reference; 1 incorrect and 1
failed without figures
"""


def as_lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_the_whole_table_fits_into_80_columns_and_reads_like_this(
    keep: Keep, harness: Command
) -> None:
    keep(statuses={_THROUGHPUT: "incorrect", _MEMORY: "failed"})

    assert as_lines(harness("show").stdout) == as_lines(_TABLE)


def test_json_is_the_record_and_nothing_else(keep: Keep, harness: Command) -> None:
    run = keep()

    assert RunRecord.model_validate(json.loads(harness("show", "--json").stdout)) == run.record


def test_all_statistics_come_with_their_interval_or_its_absence(
    keep: Keep, harness: Command
) -> None:
    keep()

    shown = " ".join(harness("show", "--all").stdout.split())

    assert "p50 27.4 ms 27.1 ms to 27.7 ms 378" in shown
    assert "p99 – needs 368 samples, has 120: raise run.max_seconds" in shown
    assert "MBU 62 % of the ceiling" in shown
    assert "exact, one process" in shown


def test_a_metric_that_is_chosen_is_shown_alone(keep: Keep, harness: Command) -> None:
    keep()

    shown = harness("show", "-m", "itl_ms").stdout.split("eager bfloat16: itl_ms")[0]

    assert "itl_ms" in shown
    assert "ttft_ms" not in shown
    assert "throughput" not in shown


def test_a_metric_the_run_has_not_is_bad_input_with_the_nearest_name(
    keep: Keep, harness: Command
) -> None:
    keep()

    with pytest.raises(InputError, match='has no metric "itl"; expected one of ttft_ms'):
        harness("show", "-m", "itl")


def test_a_run_that_is_not_there_is_bad_input(store: Store, harness: Command) -> None:
    with pytest.raises(StoreError, match="holds no run"):
        harness("show")


def test_a_run_that_was_resumed_or_interrupted_says_so_on_top(keep: Keep, harness: Command) -> None:
    keep(resumed_at=["2026-11-24T05:00:00+00:00"], status="interrupted")

    top = " ".join(harness("show").stdout.splitlines()[:2])

    assert "resumed 1×, interrupted after 18 of 18 visits" in " ".join(top.split())


def test_the_log_of_a_failed_case_is_named_where_there_is_one(keep: Keep, harness: Command) -> None:
    run = keep(statuses={_MEMORY: "failed"})
    log = run.log_path(_MEMORY, 0)
    log.write_text("Segmentation fault")

    assert log.name in harness("show").stdout.replace("\n", "").replace(" ", "")


def test_a_damaged_part_is_named_beneath_the_table(keep: Keep, harness: Command) -> None:
    run = keep()
    (run.path / "parts" / "0000-x.npz").write_bytes(b"nothing")

    assert "left out: " in harness("show").stdout


def test_names_with_escapes_and_markup_are_shown_as_they_are(keep: Keep, harness: Command) -> None:
    record = example_record()
    record.cases[0].id = "\x1b]0;title\x07[red]x[/red]\u202e" + "y" * 10_000
    record.cases[0].figures[0].point = "\x1b[2J"
    keep(cases=record.cases)

    shown = harness("show").stdout

    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert r"\x1b]0;title\x07[red]x[/red]\u202e" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert len(shown) < 10_000


def test_colours_stay_away_where_they_are_not_wanted(
    keep: Keep, harness: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep()
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in harness("show").stdout

    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR")
    assert "\x1b[" not in harness("show").stdout


def test_a_run_that_is_going_on_shows_what_is_finished(store: Store, harness: Command) -> None:
    whole, begun = example_record(), example_record()
    begun.status = "running"
    for case in begun.cases:
        case.status, case.figures, case.rounds = "pending", [], []
    with store.create(begun) as writer:
        writer.add_round(whole.cases[0].id, whole.cases[0].rounds[0], [])
        shown = harness("show").stdout

    assert "running after 1 of 18 visits" in shown
    assert "not run yet" in shown
    assert "No case has a figure." in shown
