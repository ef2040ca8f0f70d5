"""Python, packages, torch's build and the settings that reach us through environment variables.

Variables come by allow-list only, so that no secret can enter a record; torch is not imported: what
it was built with stands in a file of its own.
"""

import platform
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

from harness.environment.facts import AbsentError, Reader

__all__ = ["PYTHON", "TORCH", "packages", "settings", "thread_settings"]

_THREADS = ("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "BLIS_", "GOTO_", "VECLIB_", "NUMEXPR_")
_PREFIXES = (
    "TORCH_", "PYTORCH_", "TORCHINDUCTOR_", "TORCHDYNAMO_", "ATEN_", "TRITON_", "CUDA_", "CUBLAS_",
    "CUDNN_", "NCCL_", "DNNL_", "ONEDNN_", "MALLOC_",
)  # fmt: skip
_NAMES = {
    "LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES", "PYTHONHASHSEED", "PYTHONMALLOC",
    "PYTHONOPTIMIZE", "PYTHONDEVMODE", "PYTHONSAFEPATH", "PYTHONPATH", "LRU_CACHE_CAPACITY",
    "THP_MEM_ALLOC_ENABLE", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES",
    "TOKENIZERS_PARALLELISM", "CC", "CXX", "LANG", "LC_ALL",
}  # fmt: skip
# An allowed prefix does not make a secret harmless (TORCH_API_TOKEN).
_SECRET = re.compile(
    r"TOKEN|KEY|SECRET|PASS|PWD|CREDENTIAL|AUTH|COOKIE|PRIVATE|CERT|SIGNATURE", re.IGNORECASE
)
_CREDENTIALS_IN_URL = re.compile(r"://[^/\s]*@|[?&][^=\s]+=")


def settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that can change speed and hold no secret, apart from thread settings."""
    return _allowed(environ, lambda name: name in _NAMES or name.startswith(_PREFIXES))


def thread_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that say how many threads compute and where they run."""
    return _allowed(environ, lambda name: name.startswith(_THREADS))


def _allowed(environ: Mapping[str, str], wanted: Callable[[str], bool]) -> dict[str, str]:
    return {
        name: "withheld: holds an address with credentials"
        if _CREDENTIALS_IN_URL.search(value)
        else value
        for name, value in sorted(environ.items())
        if wanted(name) and not _SECRET.search(name)
    }


def packages() -> dict[str, str]:
    """Return name to version of every installed distribution, the first on the path winning."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = _name_and_version(distribution)
        if name:
            found.setdefault(name, version)
    return dict(sorted(found.items()))


def _name_and_version(distribution: metadata.Distribution) -> tuple[str, str]:
    # The folder's name says both; reading 100 METADATA files would cost ten times as long.
    folder = getattr(distribution, "_path", None)
    match = re.fullmatch(r"(.+?)-([^-]+)\.dist-info", folder.name) if folder is not None else None
    if match:
        name, version = match[1], match[2]
    else:
        name = str(distribution.metadata["Name"] or "")
        version = str(distribution.metadata["Version"] or "unknown")
    return re.sub(r"[-_.]+", "-", name).lower(), version


PYTHON: dict[str, Reader] = {
    "version": lambda _root: platform.python_version(),
    "implementation": lambda _root: platform.python_implementation(),
    "compiler": lambda _root: platform.python_compiler(),
}


def _torch(name: str, otherwise: str) -> Reader:
    """Return a reader of one row of `torch/version.py`, which the wheel's build has written."""

    def read(_root: Path) -> str:
        try:
            place = metadata.distribution("torch").locate_file("torch/version.py")
        except metadata.PackageNotFoundError:
            raise AbsentError("torch is not installed") from None
        found = re.search(
            rf"^{name}\s*(?::[^=]+)?=\s*'([^']*)'", Path(str(place)).read_text(), re.MULTILINE
        )
        if not found:
            raise AbsentError(otherwise)
        return found[1]

    return read


TORCH: dict[str, Reader] = {
    "version": _torch("__version__", "torch/version.py has no version"),
    "revision": _torch("git_version", "torch/version.py has no revision"),
    "cuda": _torch("cuda", "built without CUDA"),
    "hip": _torch("hip", "built without ROCm"),
}
