"""Peak memory of one fit: `python benchmarks/speed/memory_of_fit.py TABLE`. Prints one JSON object, in bytes.

The peak of the process is read after the imports, after the table is in memory, and after the fit. Must be
started by a small process: Linux counts the parent's peak before `exec` into the child's.
"""

from __future__ import annotations

import json
import resource
import sys

import polars as pl
import torch

import gatestack as gs


def peak() -> int:
    """The most memory this process has had so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Fit once and tell the peaks."""
    torch.set_num_threads(1)
    # A first tiny fit loads what is loaded lazily; its memory is the program's and not the table's.
    model = gs.Forecaster(24, layers=2, hidden_size=64, window=96, max_steps=2, seed=0)
    table = pl.read_parquet(sys.argv[1], n_rows=2000)
    model.fit(table, target="value", time="time", series="series")
    imported = peak()
    table = pl.read_parquet(sys.argv[1])
    size, read = table.estimated_size(), peak()
    model.fit(table, target="value", time="time", series="series")
    print(json.dumps({"table": size, "imported": imported, "read": read, "fitted": peak()}))


if __name__ == "__main__":
    main()
