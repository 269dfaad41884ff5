"""`gatestack bench`: what recurrent layers cost on this machine, beside torch's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from gatestack.cli.console import Talk, print_json
from gatestack.cli.options import AsJson, Quiet

if TYPE_CHECKING:
    from gatestack.cli.bench_cases import Measured

__all__ = ["bench"]


def bench(
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Threads of both.  [default: torch's own, see OMP_NUM_THREADS]",
            rich_help_panel="Measurement",
        ),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(metavar="S", min=0.0, help="Seconds per case.", rich_help_panel="Measurement"),
    ] = 1.0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Time recurrent layers on this machine, beside torch's own layers with the same weights.

    \b
      gatestack bench

    Training is forward and backward, without loss and optimiser. The answers of both are compared with
    float64 first; then they are timed in turn. Shapes are (batch, steps, features, hidden, layers); a
    time is the median of a call with its quartiles; "times" above 1 means that Gatestack is faster;
    "of peak" is the share of the multiply-adds that the processor can do, matrix products alone counted.
    Wants a quiet machine. The table with other libraries is benchmarks/kernels.py.
    """
    from importlib.metadata import version

    from gatestack.cli.bench_cases import CASES, measure
    from gatestack.kernels import library
    from gatestack.training.threads import threads_of_torch

    talk = Talk(quiet or as_json)
    kernels = library.find()
    found = []
    with threads_of_torch(threads) as used:
        for case in CASES:
            talk.say(f"{case.name} {case.shape} …")
            found.append(measure(case, seconds))
    about = {
        "instruction_set": kernels and kernels.isa,
        "threads": used,
        "versions": {name: version(name) for name in ("gatestack", "torch")},
    }
    if as_json:
        print_json(about | {"cases": [_as_data(measured) for measured in found]})
        return
    computes = f"compiled kernels, {kernels.isa}" if kernels else "torch's operators (see `gatestack doctor`)"
    typer.echo(f"{computes}; {used} thread{'s' * (used > 1)}; float32; milliseconds per call\n")
    for line in _lines(found):
        typer.echo(line.rstrip())


def _lines(found: list[Measured]) -> list[str]:
    rows = [("", "", "gatestack", "torch", "times", "GFLOP/s", "of peak")]
    for measured in found:
        share = "–" if measured.peak_gflops is None else f"{measured.gflops / measured.peak_gflops:.0%}"
        rows.append(
            (
                measured.case.name,
                str(measured.case.shape),
                _spread(measured.gatestack_s, 1e3),
                _spread(measured.torch_s, 1e3),
                _spread(measured.times, 1.0),
                f"{measured.gflops:.3g}",
                share,
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            text.ljust(width) if column < 2 else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]


def _spread(quartiles: tuple[float, float, float], scale: float) -> str:
    # Three digits, and never a power of ten.
    numbers = (scale * value for value in quartiles)
    low, middle, high = (f"{value:.0f}" if value >= 100 else f"{value:.3g}" for value in numbers)
    return f"{middle} [{low}–{high}]"


def _as_data(measured: Measured) -> dict[str, Any]:
    return {
        "case": measured.case.name,
        "shape": measured.case.shape,
        "gatestack_s": measured.gatestack_s,
        "torch_s": measured.torch_s,
        "times": measured.times,
        "gflops": measured.gflops,
        "peak_gflops": measured.peak_gflops,
        "error": measured.error,
    }
