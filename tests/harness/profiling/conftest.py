import numpy as np
import pytest

from harness.profiling.record import PhaseProfile, Profile, Row


@pytest.fixture
def profiles():
    """Make profiles of one side: rows as (operator, function, calls, ns), with noise between."""

    def make(
        rows: list[tuple[str, str, float, float]],
        *,
        count: int = 5,
        noise: float = 0.01,
        seed: int = 0,
    ) -> list[Profile]:
        rng = np.random.default_rng(seed)
        made = []
        for number in range(count):
            noisy = [
                Row(
                    operator=operator,
                    function=function,
                    family="host" if operator == "(host)" else "gemm",
                    calls=calls,
                    ns=ns * float(1 + noise * rng.standard_normal()),
                    line=41,
                    dtypes="float32",
                )
                for operator, function, calls, ns in rows
            ]
            total = sum(row.ns for row in noisy)
            phase = PhaseProfile(phase="decode", plain_ns=total, profiled_ns=total, rows=noisy)
            made.append(Profile(case="case", round=number, phases=[phase]))
        return made

    return make
