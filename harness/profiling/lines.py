"""Which line of Python called an operator, in which precision, over how many bytes.

A dispatch mode looks up the stack at every operator. That is far too slow to be timed, and is not:
it adds line, precision and bytes to rows that another pass timed.
"""

# ruff: noqa: SLF001  (the stack and an operator's schema have no public name)

from __future__ import annotations

import contextlib
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from harness.profiling.operators import short

if TYPE_CHECKING:
    from harness.profiling.record import Row

__all__ = ["Lines", "users_frame", "with_lines"]

_NOT_USERS = (str(Path(torch.__file__).parent), str(Path(__file__).parent), contextlib.__file__)
"""How the names of files begin that are nobody's code to explain."""
_MATRIX = {"aten::mm": (0, 1), "aten::addmm": (1, 2), "aten::bmm": (0, 1), "aten::linear": (0, 1)}
_MATRIX["mkldnn::_linear_pointwise"] = (0, 1)

Where = tuple[str, str]
"""Operator and function."""


class Lines(TorchDispatchMode):  # type: ignore[no-untyped-call]  # PyTorch's
    """Counts operators by function and line while it is entered."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: dict[Where, Counter[int]] = defaultdict(Counter)
        self.dtypes: dict[Where, set[str]] = defaultdict(set)
        self.bytes: Counter[Where] = Counter()
        self.flops: Counter[Where] = Counter()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run the operator, then note where it came from and what it touched."""
        del types
        result = func(*args, **(kwargs or {}))
        frame = users_frame(sys._getframe(1))
        name = func._schema.name  # `aten::mm`
        function = f"{short(frame.f_code.co_filename)}:{frame.f_code.co_name}" if frame else ""
        where = (name, function)
        if frame is not None:
            self.lines[where][frame.f_lineno] += 1
        tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
        self.dtypes[where] |= {str(t.dtype).removeprefix("torch.") for t in tensors}
        self.bytes[where] += sum(t.numel() * t.element_size() for t in tensors)
        if name in _MATRIX and isinstance(result, Tensor):
            inner = args[_MATRIX[name][0]].shape[-1]
            self.flops[where] += 2 * result.numel() * inner
        return result


def with_lines(
    rows: Iterable[Row], lines: Lines, inner: Callable[[str, str], Iterable[str]], calls: int
) -> list[Row]:
    """Return rows with line, precisions, bytes and FLOPs, per call, where they were seen.

    Args:
        rows: As timed.
        lines: What was seen over `calls` calls.
        inner: The operators that an outermost one called in turn, by operator and function: the
            dispatch mode sees those rather than the outermost.
        calls: How many calls of the phase `lines` saw.
    """
    done = []
    for row in rows:
        names = {row.operator, *inner(row.operator, row.function)}
        seen = [(name, row.function) for name in names if (name, row.function) in lines.lines]
        at: Counter[int] = sum((lines.lines[w] for w in seen), Counter())
        dtypes = sorted(set().union(*(lines.dtypes[w] for w in seen)) - {"int64", "bool"})
        done.append(
            row.model_copy(
                update={
                    "line": at.most_common(1)[0][0] if at else None,
                    "dtypes": ",".join(dtypes),
                    "bytes": sum(lines.bytes[w] for w in seen) / calls if seen else None,
                    "flops": sum(lines.flops[w] for w in seen) / calls if seen else None,
                }
            )
        )
    return done


def users_frame(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that is neither PyTorch's nor a profiler's."""
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_USERS):
        frame = frame.f_back
    return frame
