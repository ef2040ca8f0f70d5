"""The first look: the step on the CPU, several times. Do all of them do the same, in place?"""

from __future__ import annotations

import difflib
import gc
import itertools
from collections.abc import Callable, Iterator, Sequence

from harness.contracts import StepSession
from harness.testing.capture.hazard import Hazard, user_place_of
from harness.testing.capture.prompts import PROMPTS, fed, start
from harness.testing.capture.watch import Operation, Watch

__all__ = ["look_at_operations"]

_STEPS = 3


def look_at_operations(session: StepSession, step: Callable[[], None]) -> tuple[list[Hazard], int]:
    """Run a step a few times; return what stands in the way, and how many operations it has.

    Between steps a prompt is started and tokens are fed, so that what these replace shows too.
    """
    watches: list[Watch] = []
    hazards: list[Hazard] = []
    try:
        for number in range(_STEPS + 1):
            start(session, number % len(PROMPTS))
            session.feed(fed())
            watch = Watch()
            with watch.watching():
                step()
            if number == 0:
                continue  # what is made once, at the first call, does no harm
            watches.append(watch)
            if watch.still_alive():
                gc.collect()  # a cycle may hold it, which is no harm
            hazards += [
                Hazard.at("kept", place, "alive after the step") for place in watch.still_alive()
            ]
    except Exception as error:  # noqa: BLE001 - whatever a step raises is what was found
        reason = f"{type(error).__name__}: {error}"
        hazards += [*watch.hazards, Hazard.at("raises", user_place_of(error), reason)]
    hazards += [hazard for watch in watches for hazard in watch.hazards]
    for before, after in itertools.pairwise(watch.operations for watch in watches):
        hazards += _differences(before, after)
    return hazards, len(watches[0].operations) if watches else 0


def _differences(before: Sequence[Operation], after: Sequence[Operation]) -> Iterator[Hazard]:
    """Yield where two steps part: in operations, else in their arguments and addresses."""
    names = [operation.name for operation in before], [operation.name for operation in after]
    if names[0] != names[1]:
        matcher = difflib.SequenceMatcher(None, *names, autojunk=False)
        for tag, start, end, other, other_end in matcher.get_opcodes():
            if tag != "equal":
                extra = (after[other:other_end] or before[start:end])[0]
                yield Hazard.at("branches", extra.place, f"{extra.name} in one step only")
                return
    for one, two in zip(before, after, strict=True):
        if one.fixed != two.fixed:
            pairs = zip(one.fixed, two.fixed, strict=False)
            changed = next((f"{a}, then {b}" for a, b in pairs if a != b), "more, then fewer")
            yield Hazard.at("argument", two.place, f"{two.name}: {changed}")
        elif one.reads != two.reads:
            yield Hazard.at("address", two.place, f"{two.name} reads another address")
