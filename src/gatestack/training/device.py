"""Where training runs: one device, through Lightning Fabric, with settings of torch that stay inside."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from gatestack.errors import ArgumentError
from gatestack.training.options import Training

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["flushed_denormals", "make_fabric", "own_random_numbers"]


def make_fabric(options: Training) -> Fabric:
    """Return Fabric on the device and at the precision that were asked for.

    Raises:
        ArgumentError: this machine or this torch does not have the device.

    Example:
        >>> make_fabric(Training(device="cpu")).device
        device(type='cpu')
    """
    # Two seconds that a program which only loads a model should not wait for.
    from lightning_fabric import Fabric

    kind, _, number = options.device.partition(":")
    counts = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind in counts and counts[kind] <= int(number or 0):
        raise ArgumentError(
            f"device is '{options.device}'",
            where="Training",
            expected=f"a device of this machine, which has {counts[kind]} of the kind {kind}",
            hint="use device='auto', or install a torch that supports the device",
        )
    return Fabric(accelerator=kind, devices=[int(number)] if number else 1, precision=options.precision)


@contextlib.contextmanager
def own_random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random numbers for the block, and put them back as they were.

    Args:
        seed: 0 or more.
        device: its generator is seeded along with that of the CPU.

    Example:
        >>> before = torch.get_rng_state()
        >>> with own_random_numbers(7, torch.device("cpu")):
        ...     _ = torch.rand(3)
        >>> torch.equal(before, torch.get_rng_state())
        True
    """
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # torch.manual_seed would also seed all other GPUs, which nobody puts back
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextlib.contextmanager
def flushed_denormals() -> Iterator[None]:
    """Let the CPU take denormal numbers (below 1.2e-38 in float32) for 0, and put the setting back.

    The gradients of long sequences hold many of them, and a CPU computes with them ten times slower. The
    setting belongs to a thread; a worker thread of torch keeps the one of the thread that first needed it.
    A CPU without such a setting computes on as it did.

    Example:
        >>> before = torch.ones(1) * 1e-40
        >>> with flushed_denormals():
        ...     inside = torch.ones(1) * 1e-40
        >>> torch.equal(before, torch.ones(1) * 1e-40)
        True
    """
    before = _flushes_denormals()
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _flushes_denormals() -> bool:
    # torch can set this, but not tell it
    return not (torch.tensor([1e-30], dtype=torch.float32) * 1e-10).item()
