"""Parts of /proc, /sys and /etc as other machines show them, laid out below a folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

Machine = Callable[..., Path]

_CPU = "sys/devices/system/cpu"


def _core(
    cpu: int, siblings: str, package: str = "0", capacity: str | None = None
) -> dict[str, str]:
    files = {
        f"{_CPU}/cpu{cpu}/topology/core_cpus_list": siblings,
        f"{_CPU}/cpu{cpu}/topology/physical_package_id": package,
    }
    if capacity:
        files[f"{_CPU}/cpu{cpu}/cpu_capacity"] = capacity
    return files


def _cache(cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> dict[str, str]:
    place = f"{_CPU}/cpu{cpu}/cache/index{index}"
    return {
        f"{place}/level": str(level),
        f"{place}/type": kind,
        f"{place}/size": size,
        f"{place}/shared_cpu_list": shared,
    }


# Two sockets of two cores with two threads each, bare metal, intel_pstate, systemd on cgroup v2.
XEON = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\n"
    "microcode\t: 0x2b000571\nflags\t\t: fpu sse4_2 avx2 avx512f avx512_bf16 amx_tile amx_bf16\n",
    "proc/meminfo": "MemTotal:  527988488 kB\nMemAvailable:  500000000 kB\n"
    "SwapTotal:  8388604 kB\nSwapFree:  1048576 kB\n",
    "proc/self/status": "Name:\tpython\nCapEff:\t0000000000000000\nCpus_allowed_list:\t0-7\n",
    "proc/self/cgroup": "0::/user.slice/user-1000.slice/session-3.scope\n",
    "proc/self/mountinfo": "35 24 0:30 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n",
    "proc/sys/kernel/osrelease": "6.8.0-45-generic\n",
    "proc/sys/kernel/perf_event_paranoid": "4\n",
    "proc/sys/kernel/yama/ptrace_scope": "1\n",
    "etc/os-release": 'NAME="Ubuntu"\nPRETTY_NAME="Ubuntu 24.04.1 LTS"\n',
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "sys/class/dmi/id/sys_vendor": "Dell Inc.\n",
    "sys/class/dmi/id/product_name": "PowerEdge R760\n",
    "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
    "sys/kernel/mm/transparent_hugepage/defrag": "always defer [madvise] never\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet\n",
    "sys/devices/system/node/online": "0-1\n",
    "sys/fs/cgroup/memory.stat": "inactive_file 1048576\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/cgroup.procs": "1\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/cpu.max": "max 100000\n",
    "sys/fs/cgroup/user.slice/user-1000.slice/session-3.scope/memory.max": "max\n",
    f"{_CPU}/online": "0-7\n",
    f"{_CPU}/smt/active": "1\n",
    f"{_CPU}/intel_pstate/no_turbo": "0\n",
} | {
    key: value
    for cpu in range(8)
    for key, value in {
        **_core(cpu, f"{cpu % 4},{cpu % 4 + 4}", str(cpu % 4 // 2)),
        **_cache(cpu, 0, 1, "Data", "48K", f"{cpu % 4},{cpu % 4 + 4}"),
        **_cache(cpu, 3, 3, "Unified", "107520K", "0-1,4-5" if cpu % 4 < 2 else "2-3,6-7"),
        f"{_CPU}/cpu{cpu}/cpufreq/scaling_governor": "powersave\n",
        f"{_CPU}/cpu{cpu}/cpufreq/scaling_driver": "intel_pstate\n",
        f"{_CPU}/cpu{cpu}/cpufreq/cpuinfo_min_freq": "800000\n",
        f"{_CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "3800000\n",
        f"{_CPU}/cpu{cpu}/cpufreq/scaling_cur_freq": f"{3000000 + cpu * 1000}\n",
    }.items()
}

# Four cores of a cloud's arm64 machine, no model name, no cpufreq; a Kubernetes pod on cgroup v2
# in a namespace of its own, 2.5 CPUs and 4 GiB.
GRAVITON = {
    "proc/cpuinfo": "processor\t: 0\nBogoMIPS\t: 2100.00\n"
    "Features\t: fp asimd asimdhp sve bf16 i8mm\nCPU implementer\t: 0x41\nCPU part\t: 0xd40\n",
    "proc/meminfo": "MemTotal:  32000000 kB\nMemAvailable:  30000000 kB\n"
    "SwapTotal:  0 kB\nSwapFree:  0 kB\n",
    "proc/self/status": "CapEff:\t00000000a80425fb\nCpus_allowed_list:\t0-3\n",
    "proc/self/cgroup": "0::/\n",
    "proc/1/cgroup": "0::/\n",
    "proc/self/mountinfo": "1301 1290 0:27 / /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n",
    "proc/sys/kernel/osrelease": "6.1.92-99.174.amzn2023.aarch64\n",
    "var/run/secrets/kubernetes.io/serviceaccount/namespace": "default\n",
    "sys/fs/cgroup/cpu.max": "250000 100000\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 5000000\nnr_throttled 3\nthrottled_usec 1500000\n",
    "sys/fs/cgroup/memory.max": "4294967296\n",
    "sys/fs/cgroup/memory.current": "3221225472\n",
    "sys/fs/cgroup/memory.stat": "anon 1073741824\ninactive_file 1073741824\n",
    "sys/class/dmi/id/sys_vendor": "Amazon EC2\n",
    "sys/class/dmi/id/product_name": "m7g.xlarge\n",
    f"{_CPU}/online": "0-3\n",
} | {key: value for cpu in range(4) for key, value in _core(cpu, str(cpu), "-1", "1024").items()}

# A container of Docker on cgroup v1 without a cgroup namespace: the group itself is mounted, and
# /proc/self/cgroup names it by its path in the host. 1.5 CPUs, 2 GiB.
_ID = "/docker/4f5ab2c0"
DOCKER_V1 = {
    "proc/cpuinfo": "processor\t: 0\nmodel name\t: AMD EPYC 7B13\nflags\t: avx2 hypervisor\n",
    "proc/meminfo": "MemTotal:  8000000 kB\nMemAvailable:  7000000 kB\n",
    "proc/self/status": "CapEff:\t0\nCpus_allowed_list:\t0,2\n",
    "proc/self/cgroup": f"5:memory:{_ID}\n3:cpu,cpuacct:{_ID}\n1:name=systemd:{_ID}\n",
    "proc/1/cgroup": f"5:memory:{_ID}\n",
    "proc/sys/kernel/osrelease": "4.19.0-27-cloud-amd64\n",
    "proc/self/mountinfo": f"900 800 0:33 {_ID} /sys/fs/cgroup/cpu,cpuacct ro - "
    "cgroup cgroup rw,cpu,cpuacct\n"
    f"901 800 0:36 {_ID} /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n"
    f"902 800 0:37 {_ID} /sys/fs/cgroup/systemd ro - cgroup cgroup rw,xattr,name=systemd\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "150000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.stat": "nr_throttled 2\nthrottled_time 2500000000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "2147483648\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "1073741824\n",
    "sys/fs/cgroup/memory/memory.stat": "cache 0\ninactive_file 0\ntotal_inactive_file 536870912\n",
    f"{_CPU}/online": "0-3\n",
    ".dockerenv": "",
}

# A laptop with two fast cores (two threads each) and four slow ones.
HYBRID = {
    "proc/cpuinfo": "model name\t: 12th Gen Intel(R) Core(TM) i5-1240P\nflags\t: avx2\n",
    "proc/self/status": "CapEff:\t0\nCpus_allowed_list:\t0-7\n",
    "sys/devices/cpu_core/cpus": "0-3\n",
    "sys/devices/cpu_atom/cpus": "4-7\n",
    f"{_CPU}/online": "0-7\n",
    f"{_CPU}/smt/active": "1\n",
} | {
    key: value
    for cpu in range(8)
    for key, value in {
        **_core(cpu, f"{cpu // 2 * 2}-{cpu // 2 * 2 + 1}" if cpu < 4 else str(cpu)),
        f"{_CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq": "4400000" if cpu < 4 else "3300000",
    }.items()
}

MACHINES = {
    "xeon": XEON,
    "graviton": GRAVITON,
    "docker-v1": DOCKER_V1,
    "hybrid": HYBRID,
    "bare": {},
}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Lay a recorded machine out and return its root; further files replace or add to it."""

    def lay_out(name: str, files: dict[str, str] | None = None) -> Path:
        root = tmp_path / name
        root.mkdir(exist_ok=True)
        for path, content in {**MACHINES[name], **(files or {})}.items():
            place = root / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)
        return root

    return lay_out
