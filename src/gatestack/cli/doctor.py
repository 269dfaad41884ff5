"""`gatestack doctor`: what computes on this machine, and what to do where it could be faster."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import typer

from gatestack.cli.command import FAILED
from gatestack.cli.console import print_json
from gatestack.cli.options import AsJson

if TYPE_CHECKING:
    from gatestack.kernels.diagnosis import Kernels, Machine, Torch

__all__ = ["doctor"]


def doctor(as_json: AsJson = False) -> None:
    """Say what computes recurrent layers on this machine, and what to do where it could be faster.

    \b
      gatestack doctor

    Shows versions, the processor, the compiled kernels with the instruction set in use and the peak
    of one thread (measured, 0.2 s), the backend, threads, and GPUs. Exits with 1 when kernels or a
    backend are asked for, or there, and cannot be used.
    """
    from gatestack.kernels.diagnosis import diagnose_kernels, diagnose_machine, diagnose_torch

    machine, kernels, torch = diagnose_machine(), diagnose_kernels(), diagnose_torch()
    if as_json:
        asdict = dataclasses.asdict
        print_json({"machine": asdict(machine), "kernels": asdict(kernels), "torch": asdict(torch)})
    else:
        for title, text in [*_machine_lines(machine), *_kernels_lines(kernels), *_torch_lines(torch)]:
            typer.echo(f"{title:<16}{text}".rstrip())
        advice = kernels.advice or torch.refusal
        for text in filter(None, (kernels.log, advice and f"what to do: {advice}")):
            typer.echo(f"\n{text}")
    if kernels.state == "unusable" or torch.backend is None:
        raise typer.Exit(FAILED)


def _machine_lines(machine: Machine) -> list[tuple[str, str]]:
    return [
        ("versions", ", ".join(f"{name} {number}" for name, number in machine.versions.items())),
        ("platform", machine.platform),
        ("processor", f"{machine.processor}, {_count(machine.cores, 'core')}"),
    ]


def _kernels_lines(kernels: Kernels) -> list[tuple[str, str]]:
    if kernels.state == "unusable":
        return [("kernels", "there or asked for, and they cannot be used")]
    if kernels.state == "absent":
        reason = kernels.build or "this installation was not built"
        return [("kernels", f"not there ({reason}); torch's operators compute")]
    others = [isa for isa in kernels.isas if isa != kernels.isa]
    peak = kernels.peak_gflops or {}
    return [
        ("kernels", f"{kernels.build or 'there'}, {kernels.library}"),
        ("instruction set", f"{kernels.isa}" + (f" (also here: {', '.join(others)})" if others else "")),
        ("bfloat16", "has instructions of its own" if kernels.bfloat16 else "computed in float32"),
        ("peak", ", ".join(f"{dtype} {rate:g} GFLOP/s" for dtype, rate in peak.items()) + " per thread"),
    ]


def _torch_lines(torch: Torch) -> list[tuple[str, str]]:
    if torch.devices:
        gpu = f"{', '.join(torch.devices)} (CUDA {torch.cuda}, cuDNN {torch.cudnn or 'none'})"
    else:
        gpu = f"none (torch is built for CUDA {torch.cuda})" if torch.cuda else "none (torch has no CUDA)"
    return [
        ("backend", f"{torch.backend or 'refused'} (on the CPU; GATESTACK_BACKEND)"),
        ("threads", f"{torch.threads} (torch.set_num_threads, OMP_NUM_THREADS)"),
        ("oneDNN", "there" if torch.onednn else "not there"),
        ("GPU", gpu),
    ]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
