"""Metrics as data: a name with its unit, a direction, a definition, how samples are summarised.

Scenarios declare their metrics as rows; the run stores them: a figure's definition travels with it.
"""

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

__all__ = ["Ceiling", "Direction", "Metric", "Statistic"]

Direction = Literal["lower", "higher", "neither"]
Statistic = Literal["p50", "p90", "p99", "mean", "min", "max", "once"]
Ceiling = Literal["read_bytes_per_s", "gemm_flop_per_s"]


class Metric(BaseModel):
    """A named quantity. The first statistic is the headline: what is compared and stopped on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """Field term with the unit as suffix: `itl_ms`."""
    unit: str
    """As shown: `ms`, `tokens/s`, `bytes`."""
    better: Direction
    """Which way is better."""
    definition: str
    """The formula, what counts as a token, and whether the first token is in or out."""
    pooled: str
    """What one sample is: `per gap`, `per request`, `per batch`, `per process`."""
    statistics: tuple[Statistic, ...] = ("p50",)
    """How samples are summarised within a process; `once` is a single exact observation."""
    primary: bool = False
    """Whether the scenario's warm-up, stopping rule and gate look at it first."""
    achieved: str | None = None
    """The metric that holds the rate this one implies (`decode_bytes_per_s` for `itl_ms`)."""
    ceiling: Ceiling | None = None
    """For a rate: the measured limit it is a share of (read bandwidth: MBU, FLOP/s: MFU)."""

    @model_validator(mode="after")
    def _has_a_statistic(self) -> Self:
        if not self.statistics:
            raise ValueError(f"metric {self.name} has no statistic")
        return self

    @property
    def headline(self) -> Statistic:
        """The statistic that stands for the metric in a single line."""
        return self.statistics[0]
