"""What is held against what, and which verdict decides."""

import numpy as np
import pytest

from harness.gate.judge import Rules, judge
from harness.gate.judgement import Judgement, Row
from harness.testing.sides import CASE, as_duet, side

Samples = list[list[float]]


def noisy(centre: float, processes: int = 10, blocks: int = 4, *, seed: int = 0) -> Samples:
    """Processes around a centre, 0.5 % apart."""
    random = np.random.default_rng(seed)
    return [[centre * float(np.exp(random.normal(0, 0.005)))] * blocks for _ in range(processes)]


def duet(base: float, cand: float, rules: Rules | None = None, **fields: object) -> Judgement:
    one = side("a", {"itl_ms": noisy(base)})
    other = side("b", {"itl_ms": noisy(cand, seed=1)}, **fields)  # type: ignore[arg-type]
    return judge(*as_duet(one, other), rules or Rules())


def only(judgement: Judgement) -> Row:
    (row,) = [row for row in judgement.rows if row.kind == "speed"]
    return row


@pytest.mark.parametrize(
    ("ratio", "verdict", "status"),
    [(1.0, "pass", 0), (1.10, "regression", 1), (0.90, "improvement", 0)],
)
def test_a_duet_gives_the_verdict_and_its_exit_status(
    ratio: float, verdict: str, status: int
) -> None:
    judgement = duet(20.0, 20.0 * ratio)

    assert judgement.verdict == verdict
    assert judgement.exit_status() == status


def test_a_row_names_case_metric_and_interval() -> None:
    row = only(duet(20.0, 22.0))

    assert (row.case, row.metric, row.pairs) == (CASE, "itl_ms", 10)
    assert row.low is not None
    assert row.high is not None
    assert row.low < 1.1 < row.high
    assert row.ratio == pytest.approx(1.1, rel=0.01)


def test_a_higher_rate_is_an_improvement() -> None:
    one = side("a", {"decode_tokens_per_s": noisy(100.0)})
    other = side("b", {"decode_tokens_per_s": noisy(110.0, seed=1)})

    assert judge(*as_duet(one, other), Rules()).verdict == "improvement"


def test_a_switch_of_state_between_rounds_cancels_in_a_duet() -> None:
    state = [1.0, 1.25, 1.25, 1.0, 1.0, 1.25, 1.0, 1.0, 1.25, 1.0]
    sides = [
        side(name, {"itl_ms": [[x * s for x in p] for p, s in zip(samples, state, strict=True)]})
        for name, samples in (("a", noisy(20.0)), ("b", noisy(20.0, seed=1)))
    ]

    assert judge(*as_duet(*sides), Rules()).verdict == "pass"


def test_too_few_pairs_are_inconclusive_and_exit_4_unless_told_otherwise() -> None:
    one, other = side("a", {"itl_ms": [[20.0], [22.0]]}), side("b", {"itl_ms": [[21.0], [20.5]]})

    judgement = judge(*as_duet(one, other), Rules())

    assert judgement.verdict == "inconclusive"
    assert judgement.exit_status() == 4
    assert judgement.exit_status(inconclusive_passes=True) == 0


def test_a_case_that_became_incorrect_fails_whatever_its_speed() -> None:
    one = side("a", {"itl_ms": noisy(20.0)})
    other = side("b", {"itl_ms": noisy(2.0)}, case={"status": "incorrect"})

    judgement = judge(one, other, Rules())

    (row,) = judgement.rows
    assert (row.kind, row.verdict) == ("correctness", "regression")
    assert judgement.exit_status() == 1


@pytest.mark.parametrize("status", ["failed", "unavailable"])
def test_a_case_without_a_figure_exits_3(status: str) -> None:
    one = side("a", {"itl_ms": noisy(20.0)})
    other = side("b", {"itl_ms": noisy(20.0)}, case={"status": status})

    assert judge(one, other, Rules()).exit_status() == 3


def test_a_case_that_is_gone_exits_3_and_a_new_one_is_noted() -> None:
    one = side("a", {"itl_ms": noisy(20.0)})
    other = side("b", {"itl_ms": noisy(20.0)}, case={"id": "tiny/compile/latency"})

    judgement = judge(one, other, Rules())

    assert judgement.exit_status() == 3
    assert any("tiny/compile/latency is new" in note for note in judgement.notes)


def test_other_tokens_fail_though_both_pass_the_check() -> None:
    judgement = duet(20.0, 20.0, digest="ffffffff")

    wrong = [row for row in judgement.rows if row.kind == "correctness"]
    assert [row.metric for row in wrong] == ["tokens"]
    assert judgement.verdict == "regression"


def test_other_tokens_can_be_taken_on_record() -> None:
    judgement = duet(20.0, 20.0, Rules(allow=("tokens",)), digest="ffffffff")

    assert judgement.verdict == "pass"
    assert any("other tokens" in note for note in judgement.notes)


def test_another_machine_is_incomparable_and_says_what_differs() -> None:
    one = side("a", {"itl_ms": noisy(20.0)}, environment={"cpu": {"model": "EPYC 7B13"}})
    other = side("b", {"itl_ms": noisy(20.0)}, environment={"cpu": {"model": "Xeon"}})

    judgement = judge(one, other, Rules())

    assert judgement.exit_status() == 5
    assert "cpu.model: EPYC 7B13 -> Xeon" in only(judgement).reason
    assert "--allow-different cpu.model" in only(judgement).reason


@pytest.mark.parametrize("key", ["cpu.model", "cpu", "cpu.*"])
def test_a_difference_that_is_allowed_stays_on_record(key: str) -> None:
    one = side("a", {"itl_ms": noisy(20.0)}, environment={"cpu": {"model": "EPYC 7B13"}})
    other = side("b", {"itl_ms": noisy(20.0)}, environment={"cpu": {"model": "Xeon"}})

    judgement = judge(one, other, Rules(allow=(key,)))

    assert judgement.verdict != "incomparable"
    assert [(d.key, d.allowed) for d in judgement.differences] == [("cpu.model", True)]


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"model_digest": "seeded:tiny:1:1"}, "model"),
        ({"scenario_version": 2}, "scenario_version"),
        ({"scenario_options": {"prompt_tokens": 8}}, "scenario_options.prompt_tokens"),
        ({"backend_options": {"dtype": "bfloat16"}}, "precision"),
        ({"backend_options": {"dtype": "float32", "threads": 1}}, "backend_options.threads"),
    ],
)
def test_a_case_that_asks_for_something_else_is_incomparable(
    fields: dict[str, object], key: str
) -> None:
    judgement = judge(
        side("a", {"itl_ms": noisy(20.0)}), side("b", {"itl_ms": noisy(20.0)}, case=fields), Rules()
    )

    assert judgement.exit_status() == 5
    assert key in [d.key for d in judgement.differences]


def test_two_settings_in_a_duet_are_what_is_compared() -> None:
    options = {"backend_options": {"dtype": "float32", "threads": 1}}

    judgement = duet(20.0, 22.0, case={"id": "tiny/eager[threads=1]/latency", **options})

    assert judgement.verdict == "regression"
    assert [(d.key, d.allowed) for d in judgement.differences] == [
        ("backend_options.threads", True)
    ]


def test_another_model_in_a_duet_is_incomparable() -> None:
    assert duet(20.0, 20.0, case={"model_digest": "other"}).verdict == "incomparable"


def test_bytes_are_compared_exactly_with_a_margin_of_their_own() -> None:
    def of(cand: float) -> Judgement:
        sides = side("a", {"peak_bytes": [[1e9]]}), side("b", {"peak_bytes": [[cand]]})
        return judge(*sides, Rules())

    assert of(1.005e9).verdict == "pass"
    assert of(1.02e9).verdict == "regression"
    assert of(0.95e9).verdict == "improvement"


def test_a_margin_of_its_own_is_the_metrics_only() -> None:
    assert duet(20.0, 21.6, Rules(margins={"itl_ms": 0.2})).verdict == "pass"
    assert duet(20.0, 21.6, Rules(margins={"ttft_ms": 0.2})).verdict == "regression"


def test_metrics_that_are_not_primary_decide_nothing_unless_named() -> None:
    figures = [
        {"itl_ms": noisy(20.0), "ttft_ms": noisy(c, seed=s)} for c, s in ((100, 2), (150, 3))
    ]
    sides = as_duet(side("a", figures[0]), side("b", figures[1]))

    assert judge(*sides, Rules()).verdict == "pass"
    assert judge(*sides, Rules(only=("ttft_ms",))).verdict == "regression"


def test_a_tail_without_enough_samples_is_refused_with_their_number() -> None:
    tails = [row for row in duet(20.0, 20.0).rows if row.statistic == "p99"]

    assert [row.verdict for row in tails] == ["inconclusive"]
    assert "needs 368 samples" in tails[0].reason
    assert not tails[0].primary


def test_a_stored_baseline_says_that_it_knows_little_of_other_runs() -> None:
    judgement = judge(
        side("a", {"itl_ms": noisy(20.0, 3)}), side("b", {"itl_ms": noisy(20.4, 3)}), Rules()
    )

    assert judgement.verdict == "inconclusive"
    assert "assumed" in only(judgement).reason
    assert "harness ab" in only(judgement).reason


def test_many_figures_share_their_false_alarms() -> None:
    # 3.1 % off at 0.9 % standard error: alone a change, among forty figures perhaps chance.
    random = np.random.default_rng(5)
    noise = [random.normal(0, 0.02, 10) for _ in range(2)]
    cand = noise[1] - noise[1].mean() + noise[0].mean() + 0.031

    def judged(rules: Rules) -> Row:
        one = side("a", {"itl_ms": [[float(np.exp(x))] for x in noise[0]]})
        other = side("b", {"itl_ms": [[float(np.exp(x))] for x in cand]})
        return only(judge(*as_duet(one, other), rules))

    alone = judged(Rules(alpha=0.05))
    among_forty = judged(Rules(alpha=0.05 / 40))

    assert alone.verdict == "regression"
    assert among_forty.verdict == "inconclusive"
