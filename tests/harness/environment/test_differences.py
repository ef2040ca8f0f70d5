import copy
from fnmatch import fnmatchcase

import pytest

from harness.environment import differences, fingerprint
from harness.environment.differences import MATTERS


def test_a_fingerprint_does_not_differ_from_itself(machine):
    found = fingerprint(machine("xeon"), root=machine("xeon"), environ={})
    assert differences(found, copy.deepcopy(found)) == []


def test_two_machines_differ_in_what_matters_first(machine):
    one, other = (
        fingerprint(machine(n), root=machine(n), environ={}) for n in ("xeon", "graviton")
    )
    found = differences(one, other)
    keys = [difference.key for difference in found]
    assert "cpu.model" in keys
    assert [d.matters for d in found] == sorted((d.matters for d in found), reverse=True)


def test_a_change_is_shown_by_its_dotted_key_with_both_values_and_the_reason():
    (found,) = differences({"cpu": {"governor": "powersave"}}, {"cpu": {"governor": "performance"}})
    assert (found.key, found.a, found.b) == ("cpu.governor", "powersave", "performance")
    assert found.matters
    assert found.why == "the processor"


def test_a_gpu_is_compared_field_by_field():
    (found,) = differences(
        {"gpus": [{"driver": "550", "name": "A"}]}, {"gpus": [{"driver": "560", "name": "A"}]}
    )
    assert (found.key, found.matters) == ("gpus.0.driver", True)


def test_what_was_not_recorded_is_absent_and_not_empty():
    (found,) = differences({"cpu": {"model": "A"}}, {})
    assert found.b == {"absent": "not recorded"}


def test_two_reasons_for_not_knowing_are_no_difference():
    assert differences({"gpus": {"absent": "a"}}, {"gpus": {"absent": "b"}}) == []
    assert differences({"gpus": {"absent": "a"}}, {}) == []


@pytest.mark.parametrize(
    ("key", "matters"),
    [
        ("cpu.affinity", True), ("memory.total", True), ("memory.available", False),
        ("os.kernel", True), ("os.distribution", False), ("packages.torch", True),
        ("packages.rich", False), ("threads.OMP_NUM_THREADS", True), ("git.revision", False),
        ("environment.LD_PRELOAD", True), ("environment.LANG", False), ("python.version", True),
        ("limits.cpu_quota_cores", True), ("limits.container", False), ("torch.cuda", True),
    ],
)  # fmt: skip
def test_what_matters_for_speed_is_declared(key, matters):
    topic, _, name = key.partition(".")
    (found,) = differences({topic: {name: "a"}}, {topic: {name: "b"}})
    assert found.matters is matters


def test_every_topic_of_a_fingerprint_is_in_the_table(tmp_path):
    for topic in fingerprint(tmp_path):
        assert any(fnmatchcase(f"{topic}.x", p) or p.startswith(f"{topic}.") for p in MATTERS), (
            topic
        )
