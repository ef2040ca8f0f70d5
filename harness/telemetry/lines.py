"""The readings as JSON lines: a header, a line for each call of a sampler, a footer.

    {"header": {...}}                                  who reads what, how often, at which priority
    {"s": 0, "t": "fast", "due": 1, "b": 2, "a": 3, "v": [0.5, null], "why": {"1": "no worker"}}
    {"missed": [from_ns, to_ns, 7]}                    ticks that no reading was made for
    {"footer": {...}}                                  why it ended; absent where it was killed

Times are nanoseconds of the monotonic clock: when a reading was due, before the call, after it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from harness.contracts import Quantity
from harness.reading import Reading

__all__ = [
    "Call",
    "Footer",
    "Header",
    "Missed",
    "SamplerHeader",
    "call_line",
    "missed_line",
    "parse",
    "parse_lines",
]


@dataclass(frozen=True)
class SamplerHeader:
    """One sampler: whether it works here, and what it reads."""

    name: str
    ok: bool
    reason: str | None = None
    """Why it does not work here."""
    remedy: str | None = None
    quantities: tuple[Quantity, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def tier(self, tier: str) -> list[Quantity]:
        """Return what is read of a tier, in the order of a call's values."""
        return [q for q in self.quantities if q.tier == tier and q.reason is None]


@dataclass(frozen=True)
class Header:
    """What the sampler process says before its first reading."""

    pid: int
    started_ns: int
    hz: float
    priority: str
    """How the scheduler treats it."""
    cores: tuple[int, ...] | None
    """The cores it is pinned to; None where it is not."""
    samplers: tuple[SamplerHeader, ...]

    def line(self) -> bytes:
        """Return it as a line."""
        return _dumped({"header": asdict(self)})


@dataclass(frozen=True, slots=True)
class Call:
    """One call of one sampler."""

    sampler: int
    """Place in the header."""
    tier: str
    due_ns: int | None
    """The tick it was made for; None where a phase began or ended."""
    before_ns: int
    after_ns: int
    values: tuple[float | None, ...]
    """In the order of the tier's quantities."""
    why: Mapping[int, str] = field(default_factory=dict)
    """Place to the reason, for each value that is None."""

    @property
    def at_ns(self) -> int:
        """The middle of the call: off by no more than half of it."""
        return (self.before_ns + self.after_ns) // 2


@dataclass(frozen=True, slots=True)
class Missed:
    """Ticks that passed without a reading."""

    from_ns: int
    to_ns: int
    """The first and the last of them."""
    ticks: int


@dataclass(frozen=True)
class Footer:
    """What the sampler process says last."""

    ended_ns: int
    why: str
    ticks: int
    missed: int
    cpu_s: float
    """What it has used itself."""

    def line(self) -> bytes:
        """Return it as a line."""
        return _dumped({"footer": asdict(self)})


def call_line(
    sampler: int,
    tier: str,
    due_ns: int | None,
    before_ns: int,
    after_ns: int,
    keys: Sequence[tuple[str, str]],
    readings: Mapping[tuple[str, str], Reading],
) -> bytes:
    """Return one call's readings as a line."""
    values: list[float | None] = []
    why: dict[int, str] = {}
    for place, key in enumerate(keys):
        reading = readings.get(key)
        value = reading.value if reading is not None else None
        values.append(value)
        if value is None:
            why[place] = (reading and reading.reason) or "the sampler returned nothing"
    head = f'{{"s":{sampler},"t":"{tier}","due":{"null" if due_ns is None else due_ns},'
    tail = f',"why":{json.dumps(why)}' if why else ""
    text = f'{head}"b":{before_ns},"a":{after_ns},"v":{json.dumps(values)}{tail}}}\n'
    return text.encode()


def missed_line(from_ns: int, to_ns: int, ticks: int) -> bytes:
    """Return a spell without readings as a line."""
    return _dumped({"missed": [from_ns, to_ns, ticks]})


def parse(line: bytes) -> Header | Call | Missed | Footer:
    """Read one line.

    Raises:
        ValueError: where it is none of them.
    """
    try:
        data = json.loads(line)
        if "v" in data:
            why = {int(place): reason for place, reason in data.get("why", {}).items()}
            return Call(
                data["s"], data["t"], data["due"], data["b"], data["a"], tuple(data["v"]), why
            )
        if "missed" in data:
            return Missed(*data["missed"])
        if "footer" in data:
            return Footer(**data["footer"])
        return _header(data["header"])
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"is not a line of readings: {line[:60]!r}") from error


def parse_lines(lines: Iterable[bytes]) -> Iterator[Header | Call | Missed | Footer]:
    """Read lines; one that was cut off by a kill ends them."""
    for line in lines:
        if not line.endswith(b"\n"):
            return
        yield parse(line)


def _header(data: dict[str, Any]) -> Header:
    samplers = tuple(
        SamplerHeader(**{**each, "quantities": tuple(Quantity(**q) for q in each["quantities"])})
        for each in data.pop("samplers")
    )
    cores = data.pop("cores")
    return Header(**data, cores=None if cores is None else tuple(cores), samplers=samplers)


def _dumped(data: Any) -> bytes:
    return json.dumps(data, allow_nan=False, default=str).encode() + b"\n"
