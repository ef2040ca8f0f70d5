"""Options of all verbs that judge (`compare`, `gate`, `ab`, `bisect`), and the rules they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError

from harness.errors import InputError

if TYPE_CHECKING:
    from harness.gate.judge import Rules

__all__ = ["AllowOption", "MarginOption", "MetricOption", "rules_for"]

AllowOption = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-different",
        metavar="KEY",
        help="Compare though KEY differs, and say so: cpu.model, packages, precision, tokens, …",
    ),
]
MarginOption = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Relative change that matters.", show_default="0.03, or the suite's"
    ),
]
MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", "-m", help="Decide by this metric instead of the primary ones."),
]


def rules_for(
    suite: Mapping[str, Any],
    *,
    margin: float | None = None,
    allow: Sequence[str] = (),
    metrics: Sequence[str] = (),
    drop_straddling: bool = False,
) -> Rules:
    """Return the rules: the suite's `[gate]`, and what the command line says over it.

    Raises:
        InputError: where the margin is no share, or the suite's gate is none.
    """
    from harness.gate.judge import Rules
    from harness.spec import GateSpec

    try:
        spec = GateSpec.model_validate(suite.get("gate") or {})
    except ValidationError as error:
        raise InputError(f"the run's [gate] is none: {error.errors()[0]['msg']}") from error
    if margin is not None and not 0 < margin < 1:
        raise InputError(f"--margin {margin}", expected="a share between 0 and 1, such as 0.03")
    return Rules(
        margin=spec.margin if margin is None else margin,
        margins=dict(spec.margins) if margin is None else {},
        allow=tuple(allow),
        only=tuple(metrics),
        drop_straddling=drop_straddling,
    )
