"""How many threads torch, and with it the kernels, compute on in a block."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["threads_of_torch"]


@contextmanager
def threads_of_torch(threads: int | None) -> Iterator[int]:
    """Let torch, and with it the kernels, use so many threads in a block.

    A network of a few dozen units gains nothing from a second thread on an idle machine; on a busy one the
    threads wait for each other, and a fit can take ten times as long.

    Args:
        threads: 1 or more; None leaves them as they are.

    Example:
        >>> with threads_of_torch(1) as threads:
        ...     threads, torch.get_num_threads()
        (1, 1)
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield threads or before
    finally:
        torch.set_num_threads(before)
