"""Memory, limits and operating system: what surrounds the process.

It must not know who the machine belongs to: of its identity only a keyed hash is kept.
"""

import hashlib
import os
import platform
import re
from pathlib import Path

from harness.environment.cgroup import Cgroup
from harness.environment.facts import AbsentError, Reader, text

__all__ = ["LIMITS", "MEMORY", "OS", "meminfo_bytes"]


def meminfo_bytes(root: Path, key: str) -> int:
    """Return one row of /proc/meminfo.

    Raises:
        AbsentError: where there is no such row.
    """
    for line in text(root, "proc/meminfo").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return int(value.split()[0]) * 1024
    raise AbsentError(f"/proc/meminfo has no {key}")


def _chosen(path: str) -> Reader:
    """Return a reader of a file that marks its choice: `always [madvise] never`."""

    def read(root: Path) -> str:
        marked = re.search(r"\[(\S+)\]", text(root, path))
        if not marked:
            raise AbsentError(f"/{path} marks no choice")
        return marked[1]

    return read


def _row(key: str) -> Reader:
    return lambda root: meminfo_bytes(root, key)


MEMORY: dict[str, Reader] = {  # bytes
    "total": _row("MemTotal"),
    "available": _row("MemAvailable"),
    "swap": _row("SwapTotal"),
    "transparent_hugepages": _chosen("sys/kernel/mm/transparent_hugepage/enabled"),
    "transparent_hugepages_defrag": _chosen("sys/kernel/mm/transparent_hugepage/defrag"),
}


def _limit(value: float | None) -> float | str:
    return "unlimited" if value is None else value


def _container(root: Path) -> str:
    cgroup = ""
    if (root / "proc/1/cgroup").exists():
        cgroup = text(root, "proc/1/cgroup") + text(root, "proc/self/cgroup")
    for kind, seen in (
        ("kubernetes", "kubepods" in cgroup or (root / "var/run/secrets/kubernetes.io").exists()),
        ("podman", (root / "run/.containerenv").exists()),
        ("docker", (root / ".dockerenv").exists() or "/docker/" in cgroup),
        ("lxc", "/lxc" in cgroup),
    ):
        if seen:
            return kind
    if (root / "run/systemd/container").exists():
        return text(root, "run/systemd/container")
    return "none seen"


LIMITS: dict[str, Reader] = {
    "cgroup_version": lambda root: Cgroup(root).version,
    "cpu_quota_cores": lambda root: _limit(Cgroup(root).cpu_cores()),
    "memory": lambda root: _limit(Cgroup(root).memory_limit_bytes()),
    "container": _container,
}


def _distribution(root: Path) -> str:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text(root, "etc/os-release"), re.MULTILINE)
    if not found:
        raise AbsentError("/etc/os-release has no PRETTY_NAME")
    return found[1]


def _libc(_root: Path) -> str:
    try:
        return os.confstr("CS_GNU_LIBC_VERSION") or "unnamed"
    except (AttributeError, ValueError, OSError):
        raise AbsentError("not glibc") from None


def _hypervisor(root: Path) -> str:
    if (root / "sys/hypervisor/type").exists():
        return text(root, "sys/hypervisor/type")
    if "microsoft" in text(root, "proc/sys/kernel/osrelease").lower():
        return "wsl"
    names = []
    for name in ("sys_vendor", "product_name"):
        try:
            names.append(text(root, f"sys/class/dmi/id/{name}"))
        except AbsentError:
            continue
    known = re.search(r"QEMU|KVM|VMware|VirtualBox|Xen|Amazon EC2|Google|Virtual", " ".join(names))
    if re.search(r"^flags\s*:.*\bhypervisor\b", text(root, "proc/cpuinfo"), re.MULTILINE):
        return " ".join(names) or "unnamed"
    if known and "metal" not in " ".join(names):
        return " ".join(names)
    return "none seen"


def _machine(root: Path) -> str:
    # machine-id(5): the id itself is confidential, a hash keyed by the application may be shown.
    for path in ("etc/machine-id", "var/lib/dbus/machine-id"):
        try:
            machine_id = text(root, path)
        except AbsentError:
            continue
        if re.fullmatch(r"[0-9a-f]{32}", machine_id):
            return hashlib.sha256(f"inference-harness:{machine_id}".encode()).hexdigest()[:16]
    raise AbsentError("the machine has no id")


OS: dict[str, Reader] = {
    "system": lambda _root: platform.system(),
    "architecture": lambda _root: platform.machine(),
    "kernel": lambda root: text(root, "proc/sys/kernel/osrelease"),
    "distribution": _distribution,
    "libc": _libc,
    "hypervisor": _hypervisor,
    "machine": _machine,
}
