"""The decode loop with no harness around it: what `benchmarks.observer` compares a run with.

Prints the median milliseconds per token over the requests. Run: python bare_decode.py MODEL DTYPE
THREADS PROMPT NEW REQUESTS
"""

import statistics
import sys
import time

import torch

from harness.model import open_model
from harness.model.decoder import Decoder, State, prefill, step

name, dtype, threads, prompt, new, requests = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:7])
torch.set_num_threads(threads)
model = open_model(name)
with torch.inference_mode():
    decoder = Decoder.from_model(model, getattr(torch, dtype), torch.device("cpu"), layout="packed")
    state = State.allocate(
        model.config, 1, prompt + new, getattr(torch, dtype), torch.device("cpu")
    )
    per_token_ms = []
    for seed in range(requests):
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(300, model.config.vocab_size, (1, prompt), generator=generator)
        state.reset()
        prefill(decoder, state, ids, torch.tensor([prompt]))
        state.tokens.tolist()
        start = time.monotonic_ns()
        for _ in range(new - 1):
            state.span += 1
            step(decoder, state)
            state.tokens.tolist()
        per_token_ms.append((time.monotonic_ns() - start) / 1e6 / (new - 1))
print(statistics.median(per_token_ms[2:]))
