"""Which GPUs a CUDA process would use, by UUID: what CUDA_VISIBLE_DEVICES says, resolved.

NVML shows every GPU and numbers them in its own way, so an index is never carried from one to the
other. Rules: CUDA C++ Programming Guide, "CUDA Environment Variables"; MIG User Guide, "Device
Enumeration".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Gpu", "Slice", "Visible", "nvml_uuid", "visible"]


@dataclass(frozen=True)
class Slice:
    """A MIG device."""

    uuid: str
    gpu_instance: int
    compute_instance: int


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML shows it."""

    uuid: str
    name: str
    bus: str
    """PCI domain:bus:device.function; its order is CUDA's under CUDA_DEVICE_ORDER=PCI_BUS_ID."""
    slices: tuple[Slice, ...] = ()
    """Its MIG devices; empty where MIG is off."""


@dataclass(frozen=True)
class Visible:
    """UUIDs of GPUs and MIG devices in CUDA's order, and what is doubtful about them."""

    uuids: tuple[str, ...]
    doubt: str | None = None


def nvml_uuid(uuid: object, gpus: Sequence[Gpu]) -> str | None:
    """Return the UUID with the prefix that NVML gives it; None where no GPU here has it.

    `uuid` may be torch's (`torch.cuda.get_device_properties(0).uuid`), which has no prefix.
    """
    bare = str(uuid)
    known = [g.uuid for g in gpus] + [s.uuid for g in gpus for s in g.slices]
    for candidate in (bare, f"GPU-{bare}", f"MIG-{bare}"):
        if candidate in known:
            return candidate
    return None


def visible(environment: Mapping[str, str], gpus: Sequence[Gpu]) -> Visible:
    """Return what a CUDA process with this environment would see."""
    value = environment.get("CUDA_VISIBLE_DEVICES")
    if value is None:
        return Visible(tuple(gpu.uuid for gpu in gpus))
    found: list[str] = []
    for word in (part.strip() for part in value.split(",")):
        uuid, doubt = _one(word, environment, gpus)
        if uuid is None:
            # As documented: only what stands before the first invalid entry is visible.
            return Visible(tuple(found), doubt if word else None)
        if uuid in found:
            return Visible(tuple(found), f'CUDA_VISIBLE_DEVICES names "{word}" twice')
        found.append(uuid)
    return Visible(tuple(found))


def _one(
    word: str, environment: Mapping[str, str], gpus: Sequence[Gpu]
) -> tuple[str | None, str | None]:
    """Return the UUID an entry means, or why it means none."""
    if word.removeprefix("-").isdigit():
        return _index(int(word), environment, gpus)
    if word.startswith("MIG-"):
        return _slice(word, gpus)
    matches = [gpu.uuid for gpu in gpus if word.startswith("GPU-") and gpu.uuid.startswith(word)]
    if len(matches) == 1:
        return matches[0], None
    what = "more than one GPU" if matches else "no GPU here"
    return None, f'CUDA_VISIBLE_DEVICES: "{word}" means {what}'


def _index(
    index: int, environment: Mapping[str, str], gpus: Sequence[Gpu]
) -> tuple[str | None, str | None]:
    if not 0 <= index < len(gpus):
        return None, f"CUDA_VISIBLE_DEVICES: {index} is past the {len(gpus)} GPUs here"
    by_bus = sorted(gpus, key=lambda gpu: gpu.bus)
    if environment.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID" or len({g.name for g in gpus}) == 1:
        return by_bus[index].uuid, None
    # CUDA's own order is "fastest first" by a rule that is not published.
    return None, (
        f"CUDA_VISIBLE_DEVICES: which GPU {index} is can't be told, the models differ; "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID, or give UUIDs"
    )


def _slice(word: str, gpus: Sequence[Gpu]) -> tuple[str | None, str | None]:
    """Resolve `MIG-<uuid>`, or the older `MIG-GPU-<uuid>/<gpu instance>/<compute instance>`."""
    for gpu in gpus:
        for part in gpu.slices:
            older = f"MIG-{gpu.uuid}/{part.gpu_instance}/{part.compute_instance}"
            if word in (part.uuid, older):
                return part.uuid, None
    return None, f'CUDA_VISIBLE_DEVICES: "{word}" is no MIG device here'
