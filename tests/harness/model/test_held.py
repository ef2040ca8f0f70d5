"""What a session says it holds is what its process grows by, on a model big enough to tell."""

import json
import subprocess
import sys

import pytest

_MEASURE = """
import json, sys
from backends.eager import EagerBackend, EagerOptions
from harness.memory import HostMeter
from harness.model import open_model
from harness.model.session import return_freed_pages

def own():
    return_freed_pages()
    return meter.current_bytes() - meter.mapped_bytes()

meter, options = HostMeter(), EagerOptions(threads=2, dtype="bfloat16", linear=sys.argv[1])
import torch; torch.zeros(1 << 20).add_(1)  # its threads have started
before = own()
session = EagerBackend().load(open_model("smollm2-135m"), "cpu", options)
loaded = own()
session.prepare(4, 512)
prepared, held = own(), session.held()
print(json.dumps({
    "weights": [loaded - before, held.weights], "state": [prepared - loaded, held.state],
    "twice": held.twice,
}))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("linear", ["plain", "auto"])
def test_weights_and_cache_take_what_the_session_says_within_5_percent(linear: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", _MEASURE, linear], capture_output=True, text=True, check=True
    )

    found = json.loads(done.stdout)
    for part in ("weights", "state"):
        measured, held = found[part]
        assert measured == pytest.approx(held, rel=0.05), part
    if linear == "plain":
        assert found["twice"] == 0
