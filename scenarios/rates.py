"""What decoding must read and prefill must compute, as rates: the same for every scenario.

They are computed from the model's configuration, never from what an implementation happens to do;
over a measured ceiling they are MBU and MFU. One definition, so that a run holds one.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.metrics import Metric
from harness.model.config import ModelConfig

__all__ = ["DECODE_BYTES_PER_S", "PREFILL_FLOP_PER_S", "decode_read_bytes", "prefill_flops"]

DECODE_BYTES_PER_S = Metric(
    name="decode_bytes_per_s",
    unit="bytes/s",
    better="higher",
    definition="Bytes that decoding must read (every weight once per step, and each row's keys and "
    "values so far; computed from the configuration) / time of decoding: in latency from the "
    "request's first token to its last, in throughput the decode window of the batch.",
    pooled="per request or batch",
    ceiling="read_bytes_per_s",
)

PREFILL_FLOP_PER_S = Metric(
    name="prefill_flop_per_s",
    unit="FLOP/s",
    better="higher",
    definition="Floating-point operations that the prompts need (multiply-adds × 2, causal "
    "attention, head on the last token only; computed from the configuration) / time of prefill: "
    "in latency the time to first token, in throughput the prefill window of the batch.",
    pooled="per request or batch",
    ceiling="gemm_flop_per_s",
)


def decode_read_bytes(
    model: ModelConfig, dtype: str, prompt_lengths: Sequence[int], steps: int
) -> int:
    """Return the bytes that `steps` decode steps must read after prompts of these lengths.

    Step i feeds each row one token and reads what is then in the cache: its prompt and i tokens.
    """
    positions = sum(length * steps + steps * (steps + 1) // 2 for length in prompt_lengths)
    weights = steps * model.decode_bytes(len(prompt_lengths), 0, dtype)
    return weights + model.kv_bytes(1, positions, dtype)


def prefill_flops(model: ModelConfig, prompt_lengths: Sequence[int]) -> int:
    """Return the operations that prompts of these lengths need."""
    return sum(model.prefill_flops(length) for length in prompt_lengths)
