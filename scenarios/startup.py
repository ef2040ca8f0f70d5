"""Start-up: how long until a session is ready, with nothing cached and with a warm cache.

The first round of a case starts with an empty cache folder: what is exported or compiled there is
the cold start. Later rounds find it. It must not know which backend it has: it reads how long the
phases took that every worker goes through, and asks for one short answer, which is checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from pydantic import Field

from harness.contracts import (
    Lab,
    Observation,
    Options,
    Point,
    Request,
    Scenario,
    StreamSession,
    Transcript,
)
from harness.errors import SpecError
from harness.metrics import Metric
from harness.model.config import ModelConfig
from harness.reading import Reading
from scenarios.workload import Prompts

__all__ = ["StartupOptions", "StartupScenario"]

_PHASES = {
    "import": "Importing the libraries and the plugin, before the model is opened.",
    "load": "Bringing the weights to where they will be used.",
    "prepare": "Allocating, exporting, compiling or capturing for the shape.",
    "verify": "The first requests, held against the reference: a backend that leaves work to its "
    "first call pays here, and the comparison takes a little of it.",
}
_STATES = {
    "cold": ("cold_", "with an empty cache folder: the first round"),
    "warm": ("", "with the cache as earlier rounds left it"),
}
_ONE_ROUND = "needs a second round: only then is the cache warm"


class StartupOptions(Options):
    """The shape that is prepared, and the one answer that is asked for."""

    batch: int = Field(default=1, ge=1)
    """Rows."""
    context: int = Field(default=192, ge=32)
    """Positions per row."""
    prompt_tokens: int = Field(default=24, ge=1)
    """Length of the prompt."""
    new_tokens: int = Field(default=8, ge=2)
    """Tokens made of it."""


def _row(name: str, definition: str, state: str) -> Metric:
    prefix, when = _STATES[state]
    return Metric(
        name=f"{prefix}{name}",
        unit="s",
        better="lower",
        definition=f"{definition} Measured {when}. Files may lie in the system's page cache.",
        pooled="per process",
        statistics=("p50",) if state == "warm" else ("once",),
        primary=name == "ready_s" and state == "warm",
    )


class StartupScenario(Scenario):
    """Seconds until a session is ready, by phase, cold and warm."""

    summary = "time until a session is ready, by phase: with an empty cache, and with a warm one"
    level = "stream"
    cold_start = True
    Options = StartupOptions
    metrics = tuple(
        _row(name, definition, state)
        for state in ("warm", "cold")
        for name, definition in {
            "ready_s": "Load and prepare together: from libraries imported to ready to serve.",
            **{f"{phase}_s": definition for phase, definition in _PHASES.items()},
        }.items()
    )

    def points(self, options: StartupOptions, model: ModelConfig) -> Sequence[Point]:
        """Return one point, observed once in each process."""
        if options.context > model.max_context:
            raise SpecError(
                f"context of {options.context} positions",
                expected=f"at most the model's {model.max_context}",
            )
        if options.prompt_tokens + options.new_tokens > options.context:
            raise SpecError(
                f"prompt_tokens + new_tokens reach {options.prompt_tokens + options.new_tokens}",
                expected=f"at most the context of {options.context}",
            )
        return [Point(batch=options.batch, context=options.context, once=True)]

    def measure(
        self, session: StreamSession, point: Point, options: StartupOptions, lab: Lab
    ) -> Iterator[Observation]:
        """Yield what the phases took, and the answers of one batch for the audit."""
        prompts = Prompts(lab.model, lab.seed, f"startup/{point.label}")
        requests = [
            Request(prompts.at(row, options.prompt_tokens), options.new_tokens)
            for row in range(point.batch)
        ]
        made: list[list[int]] = [[] for _ in requests]
        for event in session.stream(requests):
            made[event.request].append(event.token)
        prefix, _ = _STATES["cold" if lab.cold else "warm"]
        seconds = {f"{phase}_s": lab.phase_s[phase] for phase in _PHASES if phase in lab.phase_s}
        seconds["ready_s"] = lab.phase_s["load"] + lab.phase_s["prepare"]
        yield Observation(
            values={f"{prefix}{name}": [value] for name, value in seconds.items()},
            transcripts=[
                Transcript(request.prompt_ids, tuple(tokens))
                for request, tokens in zip(requests, made, strict=True)
            ],
        )

    def derive(self, headline: Mapping[tuple[str, str], Reading]) -> Mapping[str, Reading]:
        """Say why there is no warm start where there was one round only."""
        warm = [metric.name for metric in self.metrics if not metric.name.startswith("cold_")]
        measured = {metric for metric, _ in headline}
        return {name: Reading.absent(_ONE_ROUND) for name in warm if name not in measured}
