"""The loop of the sampler process: ticks at absolute deadlines, calls at phase boundaries.

It must not know where readings go or who gives commands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.contracts import Quantity, Sampler
from harness.reading import Reading
from harness.telemetry.lines import call_line, missed_line

__all__ = ["Beat", "Loop", "Opened", "Tick"]

_SLOW_NS = 1_000_000_000
_TIERS = ("fast", "slow", "boundary")


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick that is read now, and those before it that nobody read."""

    due_ns: int
    missed: int
    slow: bool
    """Whether the slow tier is due too."""


class Beat:
    """When readings are due: `start_ns` + k periods, whatever happened at earlier ones.

    Attributes:
        next_ns: When the next one is due.
        ticks: Those that were read.
        missed: Those that were not.
    """

    def __init__(self, start_ns: int, hz: float) -> None:
        self._period_ns = round(1e9 / hz)
        self.next_ns = start_ns
        self._slow_ns = start_ns
        self.ticks = 0
        self.missed = 0

    @property
    def period_ns(self) -> int:
        """Time from one deadline to the next."""
        return self._period_ns

    def arrive(self, now_ns: int) -> Tick:
        """Take the latest tick that is due at `now_ns`, which is not before `next_ns`."""
        late = (now_ns - self.next_ns) // self._period_ns
        due_ns = self.next_ns + late * self._period_ns
        self.next_ns = due_ns + self._period_ns
        slow = due_ns >= self._slow_ns
        if slow:
            self._slow_ns = due_ns - (due_ns - self._slow_ns) % _SLOW_NS + _SLOW_NS
        self.ticks += 1
        self.missed += late
        return Tick(due_ns, late, slow)


@dataclass
class Opened:
    """A sampler at work, and its quantities by tier."""

    sampler: Sampler
    place: int
    """In the header."""
    keys: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def of(cls, sampler: Sampler, place: int, quantities: Sequence[Quantity]) -> Opened:
        """Sort what is here by tier."""
        here = [q for q in quantities if q.reason is None]
        keys = {tier: [q.key for q in here if q.tier == tier] for tier in _TIERS}
        return cls(sampler, place, {tier: found for tier, found in keys.items() if found})

    def call(self, tier: str, due_ns: int | None, clock: Callable[[], int]) -> bytes | None:
        """Read a tier; return the line, None where it has no quantity."""
        keys = self.keys.get(tier)
        if keys is None:
            return None
        before_ns = clock()
        try:
            readings = self.sampler.read(tier)
        except Exception as error:  # noqa: BLE001 - a third party's; its reason stands in its place
            reason = f"read raised {type(error).__name__}: {error}"
            readings = dict.fromkeys(keys, Reading.absent(reason))
        after_ns = clock()
        return call_line(self.place, tier, due_ns, before_ns, after_ns, keys, readings)


class Loop:
    """Reads samplers tick by tick; lines go to `write`."""

    def __init__(
        self,
        samplers: Sequence[Opened],
        beat: Beat,
        write: Callable[[bytes], None],
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._samplers = samplers
        self._beat = beat
        self._write = write
        self._clock = clock

    def tick(self) -> bool:
        """Read what is due; say whether the slow tier was."""
        tick = self._beat.arrive(self._clock())
        if tick.missed:
            period_ns = self._beat.period_ns
            first_ns = tick.due_ns - tick.missed * period_ns
            self._write(missed_line(first_ns, tick.due_ns - period_ns, tick.missed))
        self._read("fast", tick.due_ns)
        if tick.slow:
            self._read("slow", tick.due_ns)
        return tick.slow

    def boundary(self) -> None:
        """Read everything: a phase begins or ends."""
        for tier in _TIERS:
            self._read(tier, None)

    def _read(self, tier: str, due_ns: int | None) -> None:
        for opened in self._samplers:
            if line := opened.call(tier, due_ns, self._clock):
                self._write(line)
