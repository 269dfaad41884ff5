"""Five thousand series of different lengths in one model: seconds and memory, beside NeuralForecast.

    python benchmarks/many_series.py                        # a few minutes on one core
    python benchmarks/many_series.py --libraries gatestack

Each answer is kept under `runs/benchmarks/many_series`. Writes `results/many_series.md` and `.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from protocol.environments import peer_python
from protocol.machine import describe_machine, machine_words

HERE = Path(__file__).resolve().parent
LIBRARIES = ("gatestack", "neuralforecast")


def measured(library: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one library in a process of its own, or take the answer that was kept."""
    kept = arguments.cache / f"{library}-{arguments.series}-{arguments.updates}.json"
    if not kept.is_file():
        command = [str(peer_python(library, arguments.peers)), str(HERE / "peers" / "many_series_peer.py")]
        done = subprocess.run(
            [*command, library, str(arguments.series), str(arguments.updates)],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text(done.stdout, encoding="utf-8")
    return dict(json.loads(kept.read_text(encoding="utf-8")))


def page(table: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    first = table["rows"][0]
    parts = list(first["processor_seconds"])
    lines = [
        "# Thousands of series in one model",
        "",
        f"{first['series']:,} drawn series of 200 to 1,000 steps, {first['rows']:,} rows in all; an LSTM of "
        f"two layers of 64 units, a window of 96 steps, {first['updates']} updates of 32 examples, 24 steps "
        "ahead of every series. Seconds of one processor, since the machine was busy; memory is what a "
        "process took beyond the table itself. The error, mean absolute error by mean size, only shows that "
        "both worked: so few updates are no comparison.",
        "",
        "| library | " + " | ".join(f"{part}, s" for part in parts) + " | peak memory, MiB | error |",
        "|" + "---|" * (len(parts) + 3),
    ]
    for row in table["rows"]:
        seconds = " | ".join(f"{row['processor_seconds'][part]:.1f}" for part in parts)
        lines.append(f"| {row['library']} | {seconds} | {row['peak_mib']:,.0f} | {row['error']:.3f} |")
    lines += [
        "",
        '"predict" goes on from the end of the fit, "predict from the table" reads the whole table again: '
        "gatestack runs its state over every step of every series there, NeuralForecast reads the last "
        "window. Beside the updates, a fit of gatestack computes a scale at every step, solves the linear "
        "autoregression twice, and runs the state of every series to its end.",
        "",
        f"{machine_words(table['machine'])}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what is asked for and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument("--series", type=int, default=5000)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--cache", type=Path, default=HERE.parent / "runs" / "benchmarks" / "many_series")
    parser.add_argument("--peers", type=Path, default=HERE.parent / ".peers")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    arguments = parser.parse_args()
    rows = [measured(library, arguments) for library in arguments.libraries]
    table = {"machine": describe_machine(), "rows": rows}
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "many_series.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "many_series.md").write_text(page(table), encoding="utf-8")
    print(f"wrote many_series.md and many_series.json in {arguments.out}")


if __name__ == "__main__":
    main()
