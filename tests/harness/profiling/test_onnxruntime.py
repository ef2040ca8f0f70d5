"""onnxruntime's own profile becomes rows of the same families."""

from pathlib import Path

import pytest

from harness.profiling.onnxruntime import EngineProfiles, events_of, phases_of, rows_of

NODE = {"cat": "Node", "ts": 5, "dur": 30}
DOCUMENT = [
    {**NODE, "name": "/layers.0/mlp/MatMul_kernel_time", "args": {"op_name": "MatMul"}},
    {**NODE, "name": "/layers.0/mlp/MatMul_fence_before", "args": {"op_name": "MatMul"}},
    {"cat": "Session", "name": "model_run", "ts": 1, "dur": 60},
]


def test_only_kernels_count_and_layers_are_one() -> None:
    assert events_of(DOCUMENT, 1_000_000) == [("MatMul", "/layers.*/mlp/MatMul", 1_005_000, 30_000)]


def test_rows_add_up_to_the_call_and_the_rest_is_the_hosts() -> None:
    events = [("MatMul", "a", 10, 30), ("Add", "b", 50, 10), ("MatMul", "a", 1010, 999)]

    whole, rows = rows_of(events, [(0, 100), (1000, 3000)])

    assert whole == 100  # the quieter half
    assert {row.operator: row.ns for row in rows} == {"MatMul": 30, "Add": 10, "(host)": 60}
    assert {row.operator: row.family for row in rows} == {
        "MatMul": "gemm", "Add": "elementwise", "(host)": "host",
    }  # fmt: skip


def test_a_session_is_profiled_though_its_owner_ends_a_profile_of_its_own(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    import time

    import numpy as np

    helper, floats = onnx.helper, onnx.TensorProto.FLOAT
    value = {name: helper.make_tensor_value_info(name, floats, [64, 64]) for name in "xy"}
    node = helper.make_node("MatMul", ["x", "x"], ["y"], name="product")
    graph = helper.make_graph([node], "g", [value["x"]], [value["y"]])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.ones((64, 64), dtype=np.float32)
    ours = onnxruntime.InferenceSession

    with EngineProfiles(tmp_path / "engine") as engines:
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        session.run(None, {"x": x})
        assert Path(session.end_profiling()).exists()
        start = time.time_ns()
        session.run(None, {"x": x})
        calls = [("decode", start, time.time_ns())]
        (phase,) = phases_of(engines.finish(), calls, lambda _: 1000.0)

    assert onnxruntime.InferenceSession is ours
    product = next(row for row in phase.rows if row.operator == "MatMul")
    assert product.calls == 1
    assert product.function == "product"
    assert sum(row.ns for row in phase.rows) == pytest.approx(phase.profiled_ns, rel=0.01)
