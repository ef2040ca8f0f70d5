"""Is our eager as fast as Hugging Face's? The same weights, prompts and loop, strictly alternating.

    python -m benchmarks.vs_transformers [--model PATH.gguf] [--rounds 15] [--json]

Both sides live in one process, so that a round sees one state of the machine: ours, theirs, theirs,
ours, and the next round the other way about; each prefills 128 tokens and makes 64 by default. A
round gives one ratio of times, ours to theirs; shown is the median over rounds with its
distribution-free 95 % interval. Below 1, ours is faster. Greedy tokens must agree in float32 before
anything is timed. Theirs is `LlamaForCausalLM` with SDPA attention and its dynamic cache, driven by
a bare loop (its `generate` would only add to it).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.contracts import usable_cores
from harness.errors import HarnessError, ModelError
from harness.reading import Reading
from harness.stats.quantiles import needed, quantile_interval

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from harness.model import Model

DTYPES = ("float32", "bfloat16")
BATCHES = (1, 8)
PARTS = {"prefill_ms": "prefill", "decode_ms": "decode, per token"}


@dataclass(frozen=True)
class Timing:
    """One generation: what it took, and the tokens it made [B, new]."""

    prefill_ms: float
    decode_ms: float
    """Per token of a row."""
    tokens: list[list[int]]


Generate = Callable[["Tensor"], Timing]
"""From prompts int64 [B, T]."""


# --- The worker: both sides, one precision and batch --------------------------------------------


def ours(model: Model, given: argparse.Namespace) -> Generate:
    """Our eager backend, through its session."""
    import torch

    from backends.eager import EagerBackend, EagerOptions

    options = EagerOptions(dtype=given.dtype, threads=given.threads)
    session = EagerBackend().load(model, "cpu", options)
    session.prepare(given.batch, given.prompt + given.new)

    def generate(prompts: Tensor) -> Timing:
        session.reset()
        lengths = torch.full((given.batch,), given.prompt)
        begin = time.perf_counter_ns()
        made = [session.prefill(prompts, lengths).clone()]
        middle = time.perf_counter_ns()
        made += [session.decode().clone() for _ in range(given.new - 1)]
        return timing(begin, middle, time.perf_counter_ns(), made)

    return generate


def theirs(model: Model, given: argparse.Namespace) -> Generate:
    """Transformers' Llama with its dynamic cache."""
    import torch
    from transformers import DynamicCache

    hf = hugging_face(model, getattr(torch, given.dtype))

    @torch.inference_mode()
    def generate(prompts: Tensor) -> Timing:
        begin = time.perf_counter_ns()
        cache = DynamicCache(config=hf.config)
        token, made = prompts, []
        middle = 0
        for _ in range(given.new):
            out = hf(token, past_key_values=cache, use_cache=True, logits_to_keep=1)
            token = out.logits[:, -1].argmax(-1, keepdim=True)
            made.append(token[:, 0])
            middle = middle or time.perf_counter_ns()
        return timing(begin, middle, time.perf_counter_ns(), made)

    return generate


def timing(begin: int, middle: int, end: int, made: list[Tensor]) -> Timing:
    """Put nanoseconds and tokens together; reading the tokens is not timed on either side."""
    tokens = [list(row) for row in zip(*(t.tolist() for t in made), strict=True)]
    return Timing((middle - begin) / 1e6, (end - middle) / 1e6 / (len(made) - 1), tokens)


def hugging_face(model: Model, dtype: torch.dtype) -> Any:
    """Build `LlamaForCausalLM` from our model's tensors."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = model.config
    if config.qkv_bias or config.rope_scaling:
        raise ModelError(
            "has biases or scaled rotary frequencies",
            where=model.name,
            expected="a plain Llama, such as SmolLM2",
        )
    hf: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_dim,
            max_position_embeddings=config.max_context,
            rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
            rms_norm_eps=config.norm_eps,
            tie_word_embeddings=config.tied,
        )
    )
    hf.to(dtype).set_attn_implementation("sdpa")
    weights = {name: model.tensor(name) for name in model.names()}
    result = hf.load_state_dict(weights, strict=False)
    if set(result.missing_keys) - {"lm_head.weight"} or result.unexpected_keys:
        raise ModelError(f"does not fit LlamaForCausalLM: {result}", where=model.name)
    hf.tie_weights()
    return hf.eval()


def work(given: argparse.Namespace) -> dict[str, Any]:
    """Compare one generation's tokens; unless only that was asked, warm up and alternate."""
    import torch

    from harness.model import open_model

    torch.set_num_threads(given.threads)
    model = open_model(given.model)
    generator = torch.Generator().manual_seed(0)

    def prompts() -> Tensor:
        shape = (given.batch, given.prompt)
        return torch.randint(model.config.vocab_size, shape, generator=generator)

    sides = {"ours": ours(model, given), "theirs": theirs(model, given)}
    same = prompts()
    agreed = agreement(sides["ours"](same).tokens, sides["theirs"](same).tokens)
    rounds = []
    for index in range(0 if given.check else given.rounds + 1):
        order = ("ours", "theirs", "theirs", "ours")
        if index % 2:
            order = ("theirs", "ours", "ours", "theirs")
        seen: dict[str, list[Timing]] = {"ours": [], "theirs": []}
        for side in order:
            seen[side].append(sides[side](prompts()))
        rounds.append(
            {
                part: {
                    side: statistics.fmean(getattr(timing, part) for timing in timings)
                    for side, timings in seen.items()
                }
                for part in PARTS
            }
        )
    return {"agreed": agreed, "rounds": rounds[1:]}  # the first round warms up


def agreement(ours: list[list[int]], theirs: list[list[int]]) -> int:
    """Return after how many tokens the first row parts; all of them where none does."""
    return min(
        next((i for i, (a, b) in enumerate(zip(x, y, strict=True)) if a != b), len(x))
        for x, y in zip(ours, theirs, strict=True)
    )


# --- The parent: it starts workers and sleeps ---------------------------------------------------


def start(given: argparse.Namespace, dtype: str, batch: int, *extra: str) -> dict[str, Any]:
    """Run a worker and return what it found."""
    passed = ("model", "prompt", "new", "threads", "rounds")
    options = [f"--{name}={getattr(given, name)}" for name in passed]
    command = [sys.executable, "-m", __spec__.name, "--worker", f"--dtype={dtype}"]
    command += [f"--batch={batch}", *options, *extra]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.returncode)  # its reason stands on stderr already
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def summary(rounds: list[dict[str, dict[str, float]]], part: str) -> dict[str, Any]:
    """Return both sides' median milliseconds and the ratio of times, ours to theirs."""
    ratio: Reading = quantile_interval([r[part]["ours"] / r[part]["theirs"] for r in rounds], 0.5)
    medians = {s: statistics.median(r[part][s] for r in rounds) for s in ("ours", "theirs")}
    return {**{f"{s}_ms": ms for s, ms in medians.items()}, "ratio": ratio.model_dump()}


def show(result: dict[str, Any]) -> None:
    """Print what one precision and batch gave, a line per part, as soon as it is there."""
    for part, words in PARTS.items():
        found = result[part]
        ratio = Reading.model_validate(found["ratio"])
        shown = ratio.reason or f"{ratio.value:.3f}"
        if ratio.low is not None:
            shown += f" [{ratio.low:.3f}, {ratio.high:.3f}]"
        print(
            f"{result['dtype']:9s} batch {result['batch']:2d}  {words:18s} "
            f"ours {found['ours_ms']:8.2f} ms  theirs {found['theirs_ms']:8.2f} ms  "
            f"ratio {shown}  ({result['agreed']} tokens alike)",
            flush=True,
        )


def compare(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Check tokens in float32 at every batch, then measure every precision and batch."""
    for batch in BATCHES:
        agreed = start(given, "float32", batch, "--check")["agreed"]
        if agreed < given.new:
            where = f"batch {batch}: float32 tokens part after {agreed} of {given.new}"
            raise SystemExit(f"{where}; nothing is timed")
    for dtype in DTYPES:
        for batch in BATCHES:
            found = start(given, dtype, batch)
            parts = {part: summary(found["rounds"], part) for part in PARTS}
            yield {"dtype": dtype, "batch": batch, "agreed": found["agreed"], **parts}


def main() -> None:
    """Compare; print lines as they come, or JSON, one object a line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default=".models/SmolLM2-135M-Instruct.gguf")
    parser.add_argument("--prompt", type=int, default=128, help="tokens")
    parser.add_argument("--new", type=int, default=64, help="tokens, the first one included")
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=15, help=f"at least {needed(0.5)}")
    parser.add_argument("--json", action="store_true")
    for name in ("--worker", "--check"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--dtype", help=argparse.SUPPRESS)
    parser.add_argument("--batch", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    try:
        if given.worker:
            print(json.dumps(work(given)))
        else:
            for result in compare(given):
                print(json.dumps(result), flush=True) if given.json else show(result)
    except HarnessError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
