"""What differs between two fingerprints, and which of it can change speed.

It must not know how a fingerprint is read; it compares recorded ones, of any age.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from harness.environment.facts import absent, is_absent

__all__ = ["MATTERS", "Difference", "differences"]

# Key pattern -> why it can change speed; the first match counts, "" means that it does not.
MATTERS: dict[str, str] = {
    "cpu.affinity": "the cores that may be used",
    "cpu.*": "the processor",
    "memory.available": "",
    "memory.total": "the memory and how it is populated",
    "memory.transparent_hugepages*": "page size: address translation of weights",
    "memory.swap": "",
    "limits.container": "",
    "limits.cgroup_version": "",
    "limits.*": "what the control group allows",
    "os.distribution": "",
    "os.*": "kernel, libc or machine",
    "python.compiler": "",
    "python.*": "the interpreter: overhead per operation",
    "torch.*": "kernels and dispatch",
    "gpus*": "the GPU or its driver",
    "packages.torch*": "kernels and dispatch",
    "packages.numpy": "numeric kernels",
    "packages.mkl*": "numeric kernels",
    "packages.intel-openmp": "threading",
    "packages.onnx*": "the runtime",
    "packages.triton*": "generated kernels",
    "packages.nvidia-*": "CUDA libraries",
    "packages.transformers": "the model's code",
    "packages.inference-harness": "the harness itself",
    "packages.*": "",
    "threads.*": "how many threads compute and where",
    "environment.LANG": "",
    "environment.LC_ALL": "",
    "environment.*": "a setting of the libraries",
    "git.*": "",
}


@dataclass(frozen=True)
class Difference:
    """One fact that is not the same in two runs."""

    key: str
    """Dotted, e.g. `cpu.governor`."""
    a: Any
    """In the first; `{"absent": reason}` where it was not known."""
    b: Any
    """In the second."""
    matters: bool
    """Whether it can change speed."""
    why: str = ""
    """What it can change."""


def differences(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Difference]:
    """Return what differs between two fingerprints, what matters first, then by key."""
    flat_a, flat_b = dict(_flat(a)), dict(_flat(b))
    missing = absent("not recorded")
    found = []
    for key in flat_a.keys() | flat_b.keys():
        one, other = flat_a.get(key, missing), flat_b.get(key, missing)
        if one == other or (is_absent(one) and is_absent(other)):
            continue  # two reasons for not knowing are no difference of the machines
        why = next((why for pattern, why in MATTERS.items() if fnmatchcase(key, pattern)), "")
        found.append(Difference(key, one, other, bool(why), why))
    return sorted(found, key=lambda difference: (not difference.matters, difference.key))


def _flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and not is_absent(value):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for number, item in enumerate(value):
            yield from _flat(item, f"{key}.{number}")
    else:
        yield key, value
