"""What the processor is: model, cores, caches, NUMA, clock policy and the instructions that matter.

It must not know what load the processor carries: `harness.quiet` reads that.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from harness.environment.facts import AbsentError, Reader, cpu_list, text

__all__ = ["CPU", "last_level_cache_bytes"]

_SYS = "sys/devices/system/cpu"

# Instructions that decide which kernels a math library picks.
_FLAGS = (
    "sse4_2", "avx", "fma", "f16c", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl",
    "avx512dq", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_ne_convert", "amx_tile",
    "amx_int8", "amx_bf16", "amx_fp16", "hypervisor", "asimd", "asimdhp", "asimddp", "asimdfhm",
    "fphp", "sve", "sve2", "svei8mm", "svebf16", "i8mm", "bf16", "sme", "sme2",
)  # fmt: skip

# `CPU implementer`, `CPU part` of Arm's MIDR register, which is all that arm64 kernels print.
_ARM = {
    ("0x41", "0xd08"): "Arm Cortex-A72",
    ("0x41", "0xd0b"): "Arm Cortex-A76",
    ("0x41", "0xd0c"): "Arm Neoverse-N1",
    ("0x41", "0xd40"): "Arm Neoverse-V1",
    ("0x41", "0xd49"): "Arm Neoverse-N2",
    ("0x41", "0xd4f"): "Arm Neoverse-V2",
    ("0x41", "0xd84"): "Arm Neoverse-V3",
    ("0x41", "0xd8e"): "Arm Neoverse-N3",
    ("0xc0", "0xac3"): "Ampere-1",
}


def _cpuinfo(root: Path) -> dict[str, str]:
    """Return the first value of each key; cores that differ show in `kinds`."""
    found: dict[str, str] = {}
    for line in text(root, "proc/cpuinfo").splitlines():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _model(root: Path) -> str:
    info = _cpuinfo(root)
    if info.get("model name"):
        return info["model name"]
    implementer, part = info.get("CPU implementer", ""), info.get("CPU part", "")
    if part:
        return _ARM.get((implementer, part), f"implementer {implementer} part {part}")
    for key in ("cpu model", "cpu", "uarch"):  # MIPS, POWER, RISC-V
        if info.get(key):
            return info[key]
    raise AbsentError("/proc/cpuinfo names no model")


def _online(root: Path) -> list[int]:
    try:
        return cpu_list(text(root, f"{_SYS}/online"))
    except AbsentError:
        numbers = re.findall(r"^processor\s*:\s*(\d+)", text(root, "proc/cpuinfo"), re.MULTILINE)
        if not numbers:
            raise
        return [int(number) for number in numbers]


def _physical_cores(root: Path) -> int:
    # By the siblings of each: core ids repeat from cluster to cluster on arm64.
    siblings = set()
    for cpu in _online(root):
        topology = f"{_SYS}/cpu{cpu}/topology"
        try:
            siblings.add(text(root, f"{topology}/core_cpus_list"))
        except AbsentError:  # before Linux 5.3
            siblings.add(text(root, f"{topology}/thread_siblings_list"))
    return len(siblings)


def _sockets(root: Path) -> int:
    found = {text(root, f"{_SYS}/cpu{c}/topology/physical_package_id") for c in _online(root)}
    if found == {"-1"}:
        raise AbsentError("the firmware does not say which package a core is in")
    return len(found)


def _affinity(root: Path) -> list[int]:
    for line in text(root, "proc/self/status").splitlines():
        key, _, value = line.partition(":")
        if key == "Cpus_allowed_list":
            return cpu_list(value)
    raise AbsentError("/proc/self/status has no Cpus_allowed_list")


def _cache_files(root: Path) -> list[tuple[str, int, str]]:
    """Return (name such as L1d, bytes, CPUs that share it) once per cache of the machine."""
    found = set()
    for cpu in _online(root):
        for index in sorted((root / f"{_SYS}/cpu{cpu}/cache").glob("index*")):
            place = str(index.relative_to(root))
            kind = {"Data": "d", "Instruction": "i"}.get(text(root, f"{place}/type"), "")
            size = re.fullmatch(r"(\d+)([KM]?)", text(root, f"{place}/size"))
            if size:
                bytes_ = int(size[1]) * {"": 1, "K": 1024, "M": 1024**2}[size[2]]
                name = f"L{text(root, f'{place}/level')}{kind}"
                found.add((name, bytes_, text(root, f"{place}/shared_cpu_list")))
    if not found:
        raise AbsentError("the kernel shows no caches")
    return sorted(found)


def _caches(root: Path) -> dict[str, Any]:
    groups: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, bytes_, shared in _cache_files(root):
        groups[name].append((bytes_, shared))
    return {
        name: {
            "bytes_each": max(bytes_ for bytes_, _ in group),
            "bytes_total": sum(bytes_ for bytes_, _ in group),
            "instances": len(group),
            "cpus_each": max(len(cpu_list(shared)) for _, shared in group),
        }
        for name, group in groups.items()
    }


def last_level_cache_bytes(root: Path = Path("/")) -> int:
    """Return the bytes of all last-level caches together.

    Raises:
        AbsentError: where the kernel shows no caches.
    """
    caches = _cache_files(root)
    last = max(name for name, _, _ in caches)
    return sum(bytes_ for name, bytes_, _ in caches if name == last)


def _kinds(root: Path) -> dict[str, str]:
    """Return the CPUs of each kind of core: Intel's two, or by capacity on arm64."""
    intel = {
        name: (root / f"sys/devices/{name}/cpus").read_text().strip()
        for name in ("cpu_core", "cpu_atom")
        if (root / f"sys/devices/{name}/cpus").exists()
    }
    if len(intel) > 1:
        return intel
    groups: dict[str, list[str]] = defaultdict(list)
    for cpu in _online(root):
        groups[text(root, f"{_SYS}/cpu{cpu}/cpu_capacity")].append(str(cpu))
    return {f"capacity_{name}": ",".join(cpus) for name, cpus in sorted(groups.items())}


def _frequency_policy(name: str) -> Reader:
    """Return a reader of one cpufreq file, with its values joined where cores differ."""

    def read(root: Path) -> str:
        values = []
        for cpu in _online(root):
            try:
                values.append(text(root, f"{_SYS}/cpu{cpu}/cpufreq/{name}"))
            except AbsentError:
                continue
        if not values:
            raise AbsentError("no cpufreq: the clock is the firmware's or the hypervisor's")
        return "/".join(sorted(set(values)))

    return read


def _megahertz(name: str, pick: Any) -> Reader:
    policy = _frequency_policy(name)
    return lambda root: pick(int(khz) for khz in policy(root).split("/")) / 1000


def _boost(root: Path) -> bool:
    try:
        return text(root, f"{_SYS}/cpufreq/boost") == "1"
    except AbsentError:
        try:
            return text(root, f"{_SYS}/intel_pstate/no_turbo") == "0"
        except AbsentError:
            raise AbsentError("the kernel does not say whether the clock may boost") from None


def _numa_nodes(root: Path) -> int:
    return len(cpu_list(text(root, "sys/devices/system/node/online")))


def _flags(root: Path) -> list[str]:
    info = _cpuinfo(root)
    here = set((info.get("flags") or info.get("Features") or "").split())
    if not here:
        raise AbsentError("/proc/cpuinfo lists no features")
    return [flag for flag in _FLAGS if flag in here]


def _microcode(root: Path) -> str:
    info = _cpuinfo(root)
    if "microcode" not in info:
        raise AbsentError("/proc/cpuinfo has no microcode")
    return info["microcode"]


CPU: dict[str, Reader] = {
    "model": _model,
    "sockets": _sockets,
    "physical_cores": _physical_cores,
    "logical_cores": lambda root: len(_online(root)),
    "affinity": _affinity,
    "kinds": _kinds,
    "smt": lambda root: text(root, f"{_SYS}/smt/active") == "1",
    "caches": _caches,
    "numa_nodes": _numa_nodes,
    "governor": _frequency_policy("scaling_governor"),
    "scaling_driver": _frequency_policy("scaling_driver"),
    "min_mhz": _megahertz("cpuinfo_min_freq", min),
    "max_mhz": _megahertz("cpuinfo_max_freq", max),
    "boost": _boost,
    "flags": _flags,
    "microcode": _microcode,
}
