"""How full the file systems are: the smallest sampler that does something.

A run that fills the disk it reads weights from is a run that slows down; this shows it, phase by
phase, beside everything else. What each method must do stands in `harness.contracts`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.contracts import Availability, Quantity, Sampler, Watched
from harness.reading import Reading

__all__ = ["DiskSampler"]

_PLACES = ("/", "/dev/shm", "/nowhere")


class DiskSampler(Sampler):
    """Free bytes of some file systems."""

    summary = "free bytes of the file systems a run may fill"

    def availability(self) -> Availability:
        """It asks statvfs, which Linux and macOS have."""
        if not hasattr(os, "statvfs"):
            return Availability.no("this system has no statvfs")
        return Availability.yes()

    def open(self, watched: Watched) -> Sequence[Quantity]:
        """Probe each place once; one that is not there is absent with the reason."""
        del watched
        self._here = [place for place in _PLACES if Path(place).is_dir()]
        return [
            Quantity(
                "free_bytes",
                "bytes",
                device=place,
                tier="slow",
                reason=None if place in self._here else f"there is no folder {place}",
            )
            for place in _PLACES
        ]

    def read(self, tier: str) -> Mapping[tuple[str, str], Reading]:
        """Read what is of the tier; what cannot be read now is absent with the reason, never 0."""
        return {(place, "free_bytes"): _free(place) for place in self._here if tier == "slow"}


def _free(place: str) -> Reading:
    try:
        found = os.statvfs(place)
    except OSError as error:
        return Reading.absent(f"{place}: {error.strerror}")
    return Reading(value=float(found.f_bavail * found.f_frsize))
