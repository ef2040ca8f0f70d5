import mmap
import os
from pathlib import Path

import pytest

from harness.memory import CudaMeter, HostMeter, PortableHostMeter, meter

MIB = 2**20
SLACK = 4 * MIB
"""What the interpreter itself may take or give back meanwhile."""


def _touched(size: int) -> mmap.mmap:
    """Return anonymous memory, every page of it in use; closing it gives it back at once."""
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    for place in range(0, size, mmap.PAGESIZE):
        block[place] = 1
    return block


@pytest.fixture(params=[HostMeter, PortableHostMeter])
def host(request):
    return request.param()


def test_what_is_taken_shows_and_what_is_given_back_does_not(host):
    before = host.current_bytes()
    block = _touched(64 * MIB)
    assert host.current_bytes() - before == pytest.approx(64 * MIB, abs=SLACK)
    block.close()
    assert host.current_bytes() - before == pytest.approx(0, abs=SLACK)


def test_memory_that_is_asked_for_but_not_touched_is_not_in_use(host):
    before = host.current_bytes()
    block = mmap.mmap(-1, 256 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    assert host.current_bytes() - before < SLACK
    block.close()


def test_weights_mapped_from_a_file_count_once_they_are_read(host, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(os.urandom(MIB) * 32)
    before = host.current_bytes()
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        for place in range(0, len(mapped), mmap.PAGESIZE):
            _ = mapped[place]
        assert host.current_bytes() - before == pytest.approx(32 * MIB, abs=SLACK)


def test_a_peak_between_two_looks_is_seen():
    host = HostMeter()
    if not host.resets_peak:
        pytest.skip("this kernel does not reset the peak")
    before = host.current_bytes()
    _touched(64 * MIB).close()
    assert host.peak_bytes() - before == pytest.approx(64 * MIB, abs=SLACK)


def test_a_peak_is_forgotten_once_it_is_reset():
    host = HostMeter()
    if not host.resets_peak:
        pytest.skip("this kernel does not reset the peak")
    _touched(64 * MIB).close()
    host.reset_peak()
    assert host.peak_bytes() - host.current_bytes() < SLACK


def test_the_peak_is_never_below_what_is_in_use(host):
    block = _touched(16 * MIB)
    host.reset_peak()
    assert host.peak_bytes() >= host.current_bytes() - MIB
    block.close()


def _recorded(root: Path, *, rss_kb: int, hwm_kb: int, resets: bool = True) -> Path:
    """Lay out a process of another machine; without `resets` the kernel refuses to."""
    process = root / "proc/self"
    process.mkdir(parents=True, exist_ok=True)
    (process / "status").write_text(f"VmHWM:\t{hwm_kb} kB\nVmRSS:\t{rss_kb} kB\n")
    (process / "smaps_rollup").write_text(
        f"1-2 ---p 0 0 0 [rollup]\nRss: {rss_kb} kB\nPss: 1 kB\n"
        "Shared_Hugetlb: 0 kB\nPrivate_Hugetlb: 2048 kB\n"
    )
    (process / "cgroup").write_text("0::/\n")
    (process / "mountinfo").write_text("1 0 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n")
    (root / "proc/meminfo").write_text("MemAvailable: 8192 kB\n")
    if not resets:
        (process / "clear_refs").mkdir(exist_ok=True)  # even root cannot write to a folder
    return root


def test_huge_pages_count_though_the_kernel_leaves_them_out_of_the_resident_size(tmp_path):
    host = HostMeter(_recorded(tmp_path, rss_kb=1000, hwm_kb=1000))
    assert host.current_bytes() == (1000 + 2048) * 1024


def test_where_the_kernel_refuses_a_reset_a_new_record_is_still_the_peak(tmp_path):
    host = HostMeter(_recorded(tmp_path, rss_kb=1000, hwm_kb=9000, resets=False))
    assert not host.resets_peak
    _recorded(tmp_path, rss_kb=1000, hwm_kb=20000, resets=False)
    assert host.peak_bytes() == 20000 * 1024


def test_where_the_kernel_refuses_a_reset_an_old_record_is_not_taken_for_the_peak(tmp_path):
    host = HostMeter(_recorded(tmp_path, rss_kb=1000, hwm_kb=9000, resets=False))
    _recorded(tmp_path, rss_kb=3000, hwm_kb=9000, resets=False)
    host.current_bytes()
    _recorded(tmp_path, rss_kb=2000, hwm_kb=9000, resets=False)
    assert host.peak_bytes() == (3000 + 2048) * 1024


def test_what_is_available_is_limited_by_the_control_group(tmp_path):
    host = HostMeter(_recorded(tmp_path, rss_kb=1, hwm_kb=1))
    assert host.available_bytes() == 8 * MIB
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.max").write_text(str(4 * MIB))
    (group / "memory.current").write_text(str(3 * MIB))
    (group / "memory.stat").write_text(f"inactive_file {MIB}\n")
    assert host.available_bytes() == 2 * MIB


def test_available_memory_is_within_the_machines(host):
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < host.available_bytes() <= total


def test_a_gpu_that_is_not_there_is_an_error_and_not_zero_bytes():
    import torch

    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(RuntimeError, match="no CUDA device"):
        CudaMeter()
    with pytest.raises(RuntimeError, match="no CUDA device"):
        meter("cuda")


@pytest.mark.gpu
def test_a_tensor_on_the_gpu_shows():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("no GPU is here")
    gpu = meter("cuda")
    before = gpu.current_bytes()
    tensor = torch.ones(16 * MIB, device="cuda")
    assert gpu.current_bytes() - before == 64 * MIB
    del tensor
    assert gpu.current_bytes() == before
    assert gpu.peak_bytes() - before >= 64 * MIB
    gpu.reset_peak()
    assert gpu.peak_bytes() == before
