"""The loop of the sampler process: ticks at absolute deadlines, calls at phase boundaries.

It must not know where readings go or who gives commands.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from harness.contracts import Quantity, Sampler
from harness.reading import Reading
from harness.telemetry.lines import call_line, missed_line

__all__ = ["Beat", "Called", "Loop", "Opened", "Tick"]

_SLOW_NS = 1_000_000_000
_TIERS = ("fast", "slow", "boundary")


class Tick(NamedTuple):
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

    def pass_over(self, now_ns: int) -> int:
        """Give up the ticks that came due while another was read; return how many."""
        passed = max(0, (now_ns - self.next_ns) // self._period_ns + 1)
        self.next_ns += passed * self._period_ns
        self.missed += passed
        return passed


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

    def call(self, tier: str, due_ns: int | None, clock: Callable[[], int]) -> Called:
        """Read a tier that it has quantities of."""
        keys = self.keys[tier]
        before_ns = clock()
        try:
            readings = self.sampler.read(tier)
        except Exception as error:  # noqa: BLE001 - a third party's; its reason stands in its place
            reason = f"read raised {type(error).__name__}: {error}"
            readings = dict.fromkeys(keys, Reading.absent(reason))
        return Called(self.place, tier, due_ns, before_ns, clock(), keys, readings)


class Called(NamedTuple):
    """One call, as it becomes a line later."""

    place: int
    tier: str
    due_ns: int | None
    before_ns: int
    after_ns: int
    keys: list[tuple[str, str]]
    readings: Mapping[tuple[str, str], Reading]


class Loop:
    """Reads samplers tick by tick. What was read becomes lines only when they are asked for.

    Making lines takes longer than reading, and the worker pays for it where no core is left over:
    so it is done between phases, and not at every tick.
    """

    def __init__(
        self,
        samplers: Sequence[Opened],
        beat: Beat,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._beat = beat
        self._clock = clock
        self._pending: deque[Called | bytes] = deque()
        self._of_tier = {tier: [s for s in samplers if tier in s.keys] for tier in _TIERS}

    def tick(self) -> None:
        """Read what is due."""
        tick = self._beat.arrive(self._clock())
        self._note_missed(tick.missed, tick.due_ns)
        self._read("fast", tick.due_ns)
        if tick.slow:
            self._read("slow", tick.due_ns)
        # Sensors slower than the rate must not keep a core busy: some time is left to others.
        if passed := self._beat.pass_over(self._clock()):
            self._note_missed(passed, self._beat.next_ns)

    def _note_missed(self, ticks: int, before_ns: int) -> None:
        """Write down ticks that nobody read, the last of them a period before `before_ns`."""
        if ticks:
            period_ns = self._beat.period_ns
            first_ns, last_ns = before_ns - ticks * period_ns, before_ns - period_ns
            self._pending.append(missed_line(first_ns, last_ns, ticks))

    def boundary(self) -> None:
        """Read everything: a phase begins or ends."""
        for tier in _TIERS:
            self._read(tier, None)

    def _read(self, tier: str, due_ns: int | None) -> None:
        for opened in self._of_tier[tier]:
            self._pending.append(opened.call(tier, due_ns, self._clock))

    @property
    def waiting(self) -> int:
        """How many calls have not become lines yet."""
        return len(self._pending)

    def lines(self, most: int | None = None) -> bytes:
        """Return what was read first, as lines; all of it unless `most` says how many."""
        made = bytearray()
        for _ in range(self.waiting if most is None else min(most, self.waiting)):
            item = self._pending.popleft()
            made += item if isinstance(item, bytes) else call_line(*item)
        return bytes(made)
