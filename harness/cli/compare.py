"""`harness compare`: two runs side by side, figure by figure, with verdicts and intervals."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.arguments import JsonOption, StoreOption
from harness.cli.complete import run_ids
from harness.cli.gate_options import AllowOption, MarginOption, MetricOption, rules_for
from harness.store.folder import DEFAULT_ROOT

__all__ = ["compare"]


def compare(
    base: Annotated[
        str,
        typer.Argument(help="A run, a baseline, or another tool's file.", autocompletion=run_ids),
    ],
    cand: Annotated[
        str, typer.Argument(metavar="CAND", help="What to hold against it.", autocompletion=run_ids)
    ],
    margin: MarginOption = None,
    metric: MetricOption = None,
    allow_different: AllowOption = None,
    everything: Annotated[
        bool, typer.Option("--all", "-a", help="Show what is explored as well.")
    ] = False,
    json: JsonOption = False,
    store: StoreOption = Path(DEFAULT_ROOT),
) -> None:
    """Compare two runs: ratio, interval and verdict of each figure. Exit 0 whatever it finds."""
    from harness.cli.judgement import print_judgement
    from harness.gate.judge import judge
    from harness.gate.sources import earlier_runs, two_sides
    from harness.store import Store

    opened = Store(store)
    one, other = two_sides(opened, [base], [cand])
    rules = rules_for(
        other.record.suite_resolved,
        margin=margin,
        allow=allow_different or (),
        metrics=metric or (),
    )
    history = earlier_runs(opened, one, other)
    judgement = judge(one, other, rules, labels=(base, cand), history=history)
    print_judgement(judgement, everything=everything, json_=json)
