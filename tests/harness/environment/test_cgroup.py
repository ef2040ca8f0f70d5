import pytest

from harness.environment.cgroup import Cgroup
from harness.environment.facts import AbsentError, collect
from harness.environment.system import LIMITS

GIB = 2**30


def test_limits_of_version_2_in_a_namespace_are_read(machine):
    cgroup = Cgroup(machine("graviton"))
    assert cgroup.version == "2"
    assert cgroup.cpu_cores() == 2.5
    assert cgroup.memory_limit_bytes() == 4 * GIB
    assert cgroup.throttled_s() == 1.5


def test_limits_of_version_1_without_a_namespace_are_read(machine):
    cgroup = Cgroup(machine("docker-v1"))
    assert cgroup.version == "1"
    assert cgroup.cpu_cores() == 1.5
    assert cgroup.memory_limit_bytes() == 2 * GIB
    assert cgroup.throttled_s() == 2.5


def test_a_group_inside_the_one_that_is_mounted_is_found(machine):
    # given a container whose own group (1.5 CPUs) holds another that we are in (half a CPU)
    root = machine(
        "docker-v1",
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/docker/4f5ab2c0/inner\n",
            "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us": "50000\n",
            "sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us": "100000\n",
        },
    )
    assert Cgroup(root).cpu_cores() == 0.5


@pytest.mark.parametrize("name", ["graviton", "docker-v1"])
def test_file_pages_out_of_use_count_as_left(machine, name):
    # given a limit with all but 1 GiB used, of which 1 GiB (v2) or half of one (v1) is file cache
    expected = {"graviton": 2 * GIB, "docker-v1": 1.5 * GIB}[name]
    assert Cgroup(machine(name)).memory_left_bytes() == expected


def test_no_limit_is_known_to_be_none(machine):
    cgroup = Cgroup(machine("xeon"))
    assert cgroup.cpu_cores() is None
    assert cgroup.memory_limit_bytes() is None
    assert cgroup.memory_left_bytes() is None


def test_the_tightest_limit_on_the_way_up_counts(machine):
    root = machine(
        "xeon",
        {
            "sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
            "sys/fs/cgroup/user.slice/user-1000.slice/cpu.max": "400000 100000",
            "sys/fs/cgroup/user.slice/memory.max": str(GIB),
            "sys/fs/cgroup/user.slice/memory.current": str(GIB // 4),
            "sys/fs/cgroup/user.slice/memory.stat": "inactive_file 0\n",
        },
    )
    cgroup = Cgroup(root)
    assert cgroup.cpu_cores() == 2.0
    assert cgroup.memory_limit_bytes() == GIB
    assert cgroup.memory_left_bytes() == GIB - GIB // 4


def test_version_1_writes_a_huge_number_for_no_limit(machine):
    root = machine(
        "docker-v1",
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
        },
    )
    facts = collect(LIMITS, root)
    assert (facts["cpu_quota_cores"], facts["memory"]) == ("unlimited", "unlimited")


def test_where_controllers_are_split_each_is_read_where_it_is(machine):
    # given memory on version 1 and cpu on version 2, as on a host in hybrid mode
    root = machine(
        "bare",
        {
            "proc/self/cgroup": "4:memory:/jobs/7\n0::/jobs\n",
            "proc/self/mountinfo": "34 1 0:31 / /sys/fs/cgroup/memory rw - cgroup x rw,memory\n"
            "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
            "sys/fs/cgroup/memory/jobs/7/memory.limit_in_bytes": str(GIB),
            "sys/fs/cgroup/unified/jobs/cpu.max": "50000 100000",
        },
    )
    cgroup = Cgroup(root)
    assert cgroup.version == "1+2"
    assert cgroup.memory_limit_bytes() == GIB
    assert cgroup.cpu_cores() == 0.5


def test_a_machine_without_control_groups_says_so(machine):
    root = machine(
        "bare",
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": "1 0 8:1 / / rw - ext4 /dev/sda rw\n",
        },
    )
    with pytest.raises(AbsentError, match="no control groups are mounted"):
        _ = Cgroup(root).version
    with pytest.raises(AbsentError, match="holds memory"):
        Cgroup(root).memory_limit_bytes()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("xeon", "none seen"), ("graviton", "kubernetes"), ("docker-v1", "docker")],
)
def test_the_kind_of_container_is_named(machine, name, kind):
    assert collect(LIMITS, machine(name))["container"] == kind
