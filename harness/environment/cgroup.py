"""Where this process stands in the control groups, version 1, 2 or both; limits and usage there.

A limit set on any group above holds too, so the tightest one on the way up is what counts. It must
not know what a limit is needed for.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.environment.facts import AbsentError, text

__all__ = ["Cgroup"]

_NO_LIMIT_BYTES = 1 << 60  # Version 1 writes the highest multiple of a page for "none".


@dataclass(frozen=True)
class _Mount:
    at: Path
    """Where the hierarchy is mounted, below the root that is read."""
    top: str
    """Which group of the hierarchy is mounted there."""
    controllers: frozenset[str]
    """Of version 1; empty for version 2."""


@dataclass(frozen=True)
class Cgroup:
    """The control groups of this process, as seen below `root`."""

    root: Path = Path("/")

    @cached_property
    def version(self) -> str:
        """`1`, `2` or `1+2` where controllers are split between them.

        Raises:
            AbsentError: where there are no control groups.
        """
        kinds = {"1" if mount.controllers else "2" for mount in self._mounts}
        if not kinds:
            raise AbsentError("no control groups are mounted")
        return "+".join(sorted(kinds))

    def folders(self, controller: str) -> list[Path]:
        """Return the folder of this process's group for a controller, then those above it.

        Raises:
            AbsentError: where no hierarchy holds the controller.
        """
        own = {}
        for line in text(self.root, "proc/self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            own[frozenset(c for c in controllers.split(",") if c)] = path
        # A controller is in version 1 or in version 2, never in both: look for it by name first.
        mounts = sorted(self._mounts, key=lambda mount: controller not in mount.controllers)
        for mount in mounts:
            if mount.controllers and controller not in mount.controllers:
                continue
            paths = [path for names, path in own.items() if self._belongs(names, mount)]
            if not paths:
                continue
            here = mount.at / self._below(paths[0], mount.top)
            if not here.is_dir():  # a path seen from another namespace
                here = mount.at
            return [here, *(p for p in here.parents if p.is_relative_to(mount.at))]
        raise AbsentError(f"no control group hierarchy holds {controller}")

    def cpu_cores(self) -> float | None:
        """Return the CPU quota in cores, None where there is none; AbsentError as `folders`."""
        quotas = []
        for folder in self.folders("cpu"):
            try:
                quota, period = text(folder, "cpu.max").split()
            except AbsentError:
                try:
                    quota = text(folder, "cpu.cfs_quota_us")
                    period = text(folder, "cpu.cfs_period_us")
                except AbsentError:
                    continue  # the topmost group has no limits
            if quota not in ("max", "-1"):
                quotas.append(int(quota) / int(period))
        return min(quotas, default=None)

    def memory_limit_bytes(self) -> int | None:
        """Return the tightest memory limit, None where there is none; AbsentError as `folders`."""
        return min((limit for limit, _ in self._memory()), default=None)

    def memory_left_bytes(self) -> int | None:
        """Return what may still be taken below the tightest limit; None where there is none.

        File pages not in use count as free: the kernel drops them before it kills.
        """
        lefts = []
        for limit, folder in self._memory():
            used = self._first(folder, "memory.current", "memory.usage_in_bytes")
            stat = dict(line.split(maxsplit=1) for line in text(folder, "memory.stat").splitlines())
            cached = int(stat.get("total_inactive_file", stat.get("inactive_file", 0)))
            lefts.append(max(limit - used + cached, 0))
        return min(lefts, default=None)

    def throttled_s(self) -> float:
        """Return the seconds that the CPU quota has kept this group waiting, since it began.

        Raises:
            AbsentError: where the group keeps no such count.
        """
        stat = dict(
            line.split(maxsplit=1) for line in text(self.folders("cpu")[0], "cpu.stat").splitlines()
        )
        if "throttled_usec" in stat:
            return int(stat["throttled_usec"]) / 1e6
        if "throttled_time" in stat:
            return int(stat["throttled_time"]) / 1e9
        raise AbsentError("the control group has no CPU quota to count against")

    def _memory(self) -> list[tuple[int, Path]]:
        found = []
        for folder in self.folders("memory"):
            try:
                limit = self._first(folder, "memory.max", "memory.limit_in_bytes")
            except AbsentError:
                continue  # the topmost group has no limits
            if limit < _NO_LIMIT_BYTES:
                found.append((limit, folder))
        return found

    @staticmethod
    def _first(folder: Path, *names: str) -> int:
        for name in names:
            try:
                value = text(folder, name)
            except AbsentError:
                continue
            return _NO_LIMIT_BYTES if value == "max" else int(value)
        raise AbsentError(f"{folder} has no {' or '.join(names)}")

    @cached_property
    def _mounts(self) -> list[_Mount]:
        found = []
        for line in text(self.root, "proc/self/mountinfo").splitlines():
            left, _, right = line.partition(" - ")
            fields, (kind, _, options) = left.split(), right.split(maxsplit=2)
            if kind not in ("cgroup", "cgroup2"):
                continue
            controllers = frozenset(options.split(",")) - {"rw", "ro"}
            found.append(
                _Mount(
                    at=self.root / re.sub(r"\\040", " ", fields[4]).lstrip("/"),
                    top=fields[3],
                    controllers=frozenset() if kind == "cgroup2" else controllers,
                )
            )
        return found

    @staticmethod
    def _belongs(controllers: frozenset[str], mount: _Mount) -> bool:
        return controllers <= mount.controllers if controllers else not mount.controllers

    @staticmethod
    def _below(path: str, top: str) -> str:
        # Docker without a cgroup namespace mounts the group itself, not the root of them all.
        top = top.rstrip("/")
        inside = path == top or path.startswith(f"{top}/")
        return (path.removeprefix(top) if inside else path).lstrip("/")
