import json
from pathlib import Path

import pytest

from harness.environment import fingerprint
from harness.environment.fingerprint import TOPICS


@pytest.mark.parametrize("name", ["xeon", "graviton", "docker-v1", "hybrid", "bare"])
def test_every_machine_gives_every_fact_or_a_reason(machine, name):
    found = fingerprint(machine(name), root=machine(name), environ={})
    for topic, table in TOPICS.items():
        assert set(found[topic]) == set(table)
    json.dumps(found, allow_nan=False)


def test_what_is_unknown_is_never_zero_or_empty(machine):
    found = fingerprint(machine("bare"), root=machine("bare"), environ={})
    for topic in ("cpu", "memory"):
        for fact in found[topic].values():
            assert fact["absent"]


def test_it_survives_json_unchanged(tmp_path):
    found = fingerprint(tmp_path)
    assert json.loads(json.dumps(found)) == found


def test_a_project_outside_git_says_why_it_has_no_revision(tmp_path):
    assert "not a git repository" in fingerprint(tmp_path)["git"]["absent"]


def test_the_hosts_name_is_not_recorded():
    import socket

    host = socket.gethostname()
    found = fingerprint(Path("/nowhere"))
    assert host not in [
        v for topic in found.values() if isinstance(topic, dict) for v in topic.values()
    ]
