"""The fixture that runs a case under pytest-benchmark, in a pytest of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bridges import read_files

TESTS = """
pytest_plugins = ["harness.pytest_plugin"]

def test_decode(inference_benchmark):
    found = inference_benchmark(
        model="tiny", scenario="latency", prompt_tokens=8, new_tokens=4,
        backend_options={"threads": 1},
    )
    assert found["itl_ms"] > 0

def test_wrong_option(inference_benchmark):
    inference_benchmark(model="tiny", scenario="latency", new_token=4)
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("plugin")
    (folder / "test_mine.py").write_text(TESTS)
    # pytest-benchmark does not measure where it believes that others run beside it.
    alone = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    done = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py",
            "--benchmark-json=out.json", "--benchmark-max-time=0.05", "--benchmark-min-rounds=3",
        ],
        cwd=folder, env=alone, capture_output=True, text=True,
    )  # fmt: skip
    return done.stdout, folder / "out.json"


def test_a_case_is_timed_with_the_tools_own_options(ran: tuple[str, Path]) -> None:
    (benchmark,) = json.loads(ran[1].read_text())["benchmarks"]

    assert benchmark["name"] == "test_decode"
    assert benchmark["options"]["min_rounds"] == 3
    assert benchmark["extra_info"]["case"].startswith("tiny/eager")
    assert benchmark["extra_info"]["top1_agreement"] == 1.0
    assert benchmark["extra_info"]["metrics"]["itl_ms"] > 0


def test_an_option_that_is_none_fails_the_test_with_the_nearest_name(ran: tuple[str, Path]) -> None:
    assert "1 failed, 1 passed" in ran[0]
    assert 'did you mean "new_tokens"?' in ran[0]


def test_the_gate_reads_what_it_writes(ran: tuple[str, Path]) -> None:
    record, samples = read_files([ran[1]])

    (case,) = record.cases
    assert case.status == "done"
    assert len(samples[case.id, 0][0].values) >= 3
