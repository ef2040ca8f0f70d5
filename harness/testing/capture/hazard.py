"""What stands in the way of a capture, as values: kind, file and line, and what was seen there."""

from __future__ import annotations

import linecache
import sys
import traceback
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from types import FrameType
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict

__all__ = ["HAZARDS", "Hazard", "Place", "distinct", "user_place", "user_place_of"]


class Kind(NamedTuple):
    """One way in which a step cannot be captured, or is wrong when replayed."""

    why: str
    remedy: str


HAZARDS: dict[str, Kind] = {
    "waits": Kind(
        "the host waits for a value of the device, which a capture refuses",
        "keep the value in a tensor, and decide with torch.where",
    ),
    "shape": Kind(
        "a shape that depends on data: the host must wait to learn it",
        "compute with all and mask what is not wanted",
    ),
    "random": Kind(
        "random numbers: a replay cannot be compared with anything",
        "draw them outside of the step, into a tensor that is there already",
    ),
    "from-host": Kind(
        "a tensor made of Python values: a copy from the host in every step",
        "make it once, before the step, on the device",
    ),
    "copy": Kind(
        "a copy between host and device inside of the step",
        "copy before or after the step",
    ),
    "pinned": Kind(
        "pinned memory is allocated inside of the step, which a capture refuses",
        "allocate it once, before the step",
    ),
    "host-tensor": Kind(
        "a tensor on the host among those on the device: refused, or its value is frozen",
        "make it with device=",
    ),
    "branches": Kind(
        "another step calls other operations: the graph repeats those of one",
        "take the same way in each step, and decide with torch.where",
    ),
    "argument": Kind(
        "a Python value or a shape differs between steps: the graph repeats that of one",
        "keep it in a tensor and change that in place",
    ),
    "address": Kind(
        "another tensor is read in another step: the graph reads the one it was captured with",
        "copy into the tensor that is there (copy_) instead of replacing it",
    ),
    "kept": Kind(
        "memory made in the step outlives it: it lies in the graph's pool, and is overwritten",
        "allocate it before the step and write it in place",
    ),
    "raises": Kind(
        "the step raises an error",
        "see the error",
    ),
    "replay": Kind(
        "what is replayed is not what the step computes",
        "look for tensors that are replaced, freed or left in the pool",
    ),
}  # fmt: skip


class Place(NamedTuple):
    """A line of source."""

    file: str
    line: int

    @property
    def text(self) -> str:
        """The line itself, or nothing where the source is not to be had."""
        return linecache.getline(self.file, self.line).strip()


class Hazard(BaseModel):
    """One thing that stands in the way of a capture."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    """A key of `HAZARDS`."""
    seen: str
    """What was seen: the operation, the difference, the error."""
    file: str | None = None
    line: int | None = None
    """Where; None where it has no place of its own."""
    source: str = ""
    """The line itself."""
    found_by: str = ""
    """Which look found it: `operations`, `pretended` or `replayed`."""

    @classmethod
    def at(cls, kind: str, place: Place | None, seen: str) -> Hazard:
        """Make one of a kind at a place."""
        if place is None:
            return cls(kind=kind, seen=seen)
        return cls(kind=kind, seen=seen, file=place.file, line=place.line, source=place.text)

    def by(self, look: str) -> Hazard:
        """Say which look found it."""
        return self.model_copy(update={"found_by": look})


def distinct(hazards: Iterable[Hazard]) -> list[Hazard]:
    """Leave one of each kind and place; an error only where nothing else explains its line."""
    kept: dict[tuple[str, str | None, int | None], Hazard] = {}
    for hazard in hazards:
        kept.setdefault((hazard.kind, hazard.file, hazard.line), hazard)
    explained = {(h.file, h.line) for h in kept.values() if h.kind != "raises"}
    return [h for h in kept.values() if h.kind != "raises" or (h.file, h.line) not in explained]


_OURS = (str(Path(__file__).parent), str(Path(__file__).parents[1] / "tape.py"))


def user_place() -> Place | None:
    """Return the line of the step that is being run: the innermost outside of torch and us."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001 - a cheap look at one's callers
    while frame is not None:
        place = Place(frame.f_code.co_filename, frame.f_lineno)
        if _is_users(place):
            return place
        frame = frame.f_back
    return None


def user_place_of(error: BaseException) -> Place | None:
    """Return the innermost line outside of torch and us that an error came through."""
    frames = traceback.extract_tb(error.__traceback__)
    places = (Place(frame.filename, frame.lineno or 0) for frame in reversed(frames))
    return next((place for place in places if _is_users(place)), None)


def _is_users(place: Place) -> bool:
    return not place.file.startswith((*_OURS, _torch(), "<"))


@cache
def _torch() -> str:
    import torch

    return str(Path(torch.__file__).parent)
