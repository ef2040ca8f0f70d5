"""Doubts as values: each stands beside the figure it makes doubtful and names the next step."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict

__all__ = ["Caution", "CautionKind", "caution"]


class CautionKind(StrEnum):
    """What can make a figure doubtful."""

    NOT_STEADY = "not-steady"
    WIDE = "wide"
    FEW_ROUNDS = "few-rounds"
    OTHERS_LOAD = "others-load"
    SWAP = "swap"
    PAGE_FAULTS = "page-faults"
    FREQUENCY = "frequency"
    CPU_LIMIT = "cpu-limit"
    DESCHEDULED = "descheduled"
    NOT_AUDITED = "not-audited"
    LAZY = "lazy"
    ROUND_LOST = "round-lost"
    BIMODAL = "bimodal"
    SIMULATED = "simulated"
    TOKENS_DIFFER = "tokens-differ"
    ABOVE_CEILING = "above-ceiling"
    THROTTLED = "throttled"
    CLOCKS = "clocks"
    THERMAL = "thermal"
    OTHER_PROCESS = "other-process"
    MEMORY_FULL = "memory-full"
    SAMPLER_STARVED = "sampler-starved"
    NOT_WATCHED = "not-watched"
    DISCARDED = "discarded"
    REPEATED = "repeated"


_NEXT_STEP = {
    CautionKind.NOT_STEADY: "raise run.max_seconds, or look at the samples for drift",
    CautionKind.WIDE: "raise run.rounds or run.max_seconds",
    CautionKind.FEW_ROUNDS: "run again with --rounds 3 or more",
    CautionKind.OTHERS_LOAD: "stop other work on the machine and run again",
    CautionKind.SWAP: "free memory or choose a smaller model, batch or context",
    CautionKind.PAGE_FAULTS: "warm up longer: memory was touched for the first time while timed",
    CautionKind.FREQUENCY: "fix the CPU frequency governor to performance",
    CautionKind.CPU_LIMIT: "lower threads to the cgroup's CPU limit, or raise that limit",
    CautionKind.DESCHEDULED: "leave a core free, or lower threads",
    CautionKind.NOT_AUDITED: "free memory so that the float32 reference fits beside nothing else",
    CautionKind.LAZY: "make synchronize() wait for all work that was submitted",
    CautionKind.ROUND_LOST: "read the log of the round that failed",
    CautionKind.BIMODAL: "look at the samples: the machine switched between two states",
    CautionKind.SIMULATED: "do not publish: a sensor was simulated",
    CautionKind.TOKENS_DIFFER: "look for non-determinism in the backend",
    CautionKind.ABOVE_CEILING: "the ceiling was measured too low: run again on a quiet machine",
    CautionKind.THROTTLED: "cool it, raise its power limit, or fix a clock that it can hold",
    CautionKind.CLOCKS: "fix the clocks, or warm up until they hold",
    CautionKind.THERMAL: "cool the machine, or lower the load beside the run",
    CautionKind.OTHER_PROCESS: "end the other process, or choose another device",
    CautionKind.MEMORY_FULL: "choose a smaller model, batch or context",
    CautionKind.SAMPLER_STARVED: "lower threads or telemetry.hz: what happened meanwhile is unseen",
    CautionKind.NOT_WATCHED: "look at the sampler's log; harness doctor says which sensors work",
    CautionKind.DISCARDED: "look at telemetry for what disturbed them, and run again without it",
    CautionKind.REPEATED: "look at telemetry for what disturbed it, and run again without it",
}


class Caution(BaseModel):
    """One doubt about one or all figures of a case."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: CautionKind
    """What sort of doubt."""
    message: str
    """What was seen, with its numbers."""
    next_step: str
    """What to do about it."""
    metric: str | None = None
    """The metric it concerns; None for all of the case."""
    point: str | None = None
    """The point it concerns; None for all of the case."""
    round: int | None = None
    """The round it was seen in; None for all."""


def caution(
    kind: CautionKind,
    message: str,
    *,
    metric: str | None = None,
    point: str | None = None,
    round: int | None = None,  # noqa: A002
) -> Caution:
    """Return a caution of a kind, with that kind's next step."""
    return Caution(
        kind=kind,
        message=message,
        next_step=_NEXT_STEP[kind],
        metric=metric,
        point=point,
        round=round,
    )
