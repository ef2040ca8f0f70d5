import re

from harness.cli.openmetrics import openmetrics
from harness.testing.runs import example_record

_LINE = re.compile(r'^[a-zA-Z_]\w*\{(?:\w+="(?:[^"\\\n]|\\.)*",?)+\} \S+ \d+\.\d{3}$')


def test_every_figure_is_a_sample_with_its_interval() -> None:
    text = openmetrics(example_record())

    assert text.endswith("# EOF\n")
    itl = [line for line in text.splitlines() if line.startswith("inference_itl_ms{")]
    assert any('statistic="p50",interval=""} 27.4 ' in line for line in itl)
    assert any('interval="low"' in line for line in itl)


def test_names_with_quotes_and_line_breaks_stay_in_their_label() -> None:
    record = example_record()
    record.cases[0].id = 'a"b\\c\nd'

    for line in openmetrics(record).splitlines():
        assert line.startswith("# ") or _LINE.match(line), line


def test_a_case_without_figures_is_zero_and_has_no_others() -> None:
    failed = "smollm2-135m/eager[dtype=bfloat16]/memory"
    text = openmetrics(example_record(statuses={failed: "failed"}))

    ok = [line for line in text.splitlines() if line.startswith("inference_case_ok")]
    assert sum("} 0 " in line for line in ok) == 1
    assert not any(failed in line for line in text.splitlines() if "peak_bytes" in line)
