"""Other tools' result files as runs, and runs as their files.

    read_files(paths)    pytest-benchmark, asv or hyperfine JSON, one file per process, as one run
    to_pytest_benchmark  a run as pytest-benchmark's JSON
    to_tensorboard       a run as TensorBoard's event files

What a file does not hold is absent in the run; nothing is guessed.
"""

from harness.bridges.files import FORMATS, read_files
from harness.bridges.pytest_benchmark import to_pytest_benchmark
from harness.bridges.tensorboard import to_tensorboard

__all__ = ["FORMATS", "read_files", "to_pytest_benchmark", "to_tensorboard"]
