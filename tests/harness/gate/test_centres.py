"""Medians of processes say what all samples say, where stored runs are held against each other."""

import math
import random
from pathlib import Path

import pytest

from harness.gate.evidence import Evidence, centres_of, evidence_of
from harness.gate.judge import judge
from harness.gate.judgement import Judgement
from harness.gate.rules import Rules
from harness.store import Run, Samples, Store
from harness.testing.runs import example_record


def stored(folder: Path, seed: int, factor: float) -> Run:
    """A run whose samples are drawn anew, with a process of its own kind here and there."""
    noise = random.Random(seed)
    record = example_record(run_id=f"20261124-{seed:06}-default-0000")
    with Store(folder).create(record) as writer:
        for case in record.cases:
            for each in case.rounds:
                rows = []
                for metric in record.metrics:
                    values = [
                        factor * math.exp(noise.gauss(0, 0.03)) for _ in range(noise.randint(1, 9))
                    ]
                    if noise.random() < 0.02:
                        values[0] = 0.0  # impossible, and makes the figure incomparable
                    rows.append(Samples("", "measure", 0, metric.name, values))
                    rows.append(Samples("", "warmup", 0, metric.name, [99.0]))
                writer.add_round(case.id, each, rows)
        writer.finish(record)
    return Run(writer.path)


def decided(judgement: Judgement) -> dict[tuple[str, str], tuple[object, ...]]:
    return {
        (row.case, row.metric): (row.verdict, row.ratio, row.low, row.high, row.reason)
        for row in judgement.rows
        if row.primary
    }


@pytest.mark.parametrize("seed", range(6))
def test_verdicts_from_medians_are_those_from_all_samples(seed: int, tmp_path: Path) -> None:
    runs = [stored(tmp_path, 10 * seed + n, 1 + 0.2 * (n == 2) * seed) for n in range(3)]
    rules = Rules()

    def judged(sides: list[Evidence]) -> Judgement:
        earlier, base, cand = sides
        return judge(base, cand, rules, history=[earlier])

    whole, medians = ([take(run) for run in runs] for take in (evidence_of, centres_of))

    assert decided(judged(medians)) == decided(judged(whole))
    assert {key.metric for key in medians[0].series} == {key.metric for key in whole[0].series}


def test_a_run_without_samples_has_nothing_to_show(tmp_path: Path) -> None:
    with Store(tmp_path).create(example_record()) as writer:
        pass

    assert centres_of(Run(writer.path)).series == {}
