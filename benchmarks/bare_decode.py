"""The decode loop with no harness around it: what `benchmarks.observer` compares a run with.

Decodes until it is asked to end (SIGTERM), then prints for each token when it came and what it
took, in nanoseconds. Run: python bare_decode.py MODEL DTYPE THREADS PROMPT NEW
"""

import json
import signal
import sys
import time

import torch

from harness.model import open_model
from harness.model.decoder import Decoder, State, prefill, step

name, dtype, threads, prompt, new = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:6])
torch.set_num_threads(threads)
model, precision, cpu = open_model(name), getattr(torch, dtype), torch.device("cpu")
asked_to_end: list[int] = []
signal.signal(signal.SIGTERM, lambda *_: asked_to_end.append(1))
came, took = [], []
with torch.inference_mode():
    decoder = Decoder.from_model(model, precision, cpu, layout="packed")
    state = State.allocate(model.config, 1, prompt + new, precision, cpu)
    ids = torch.randint(300, model.config.vocab_size, (1, prompt))
    print("loaded", flush=True)
    while not asked_to_end:
        state.reset()
        prefill(decoder, state, ids, torch.tensor([prompt]))
        state.tokens.tolist()
        last = time.monotonic_ns()
        for _ in range(new - 1):
            state.span += 1
            step(decoder, state)
            state.tokens.tolist()
            now = time.monotonic_ns()
            came.append(now)
            took.append(now - last)
            last = now
print(json.dumps([came, took]))
