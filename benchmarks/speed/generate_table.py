"""Write a Parquet table of many hourly series that takes a given number of bytes in memory.

    python benchmarks/speed/generate_table.py PATH [--gigabytes 1] [--series 1000]

Three columns of 8 bytes: the number of the series, the time, and a value with a daily wave and noise. Written
series by series, so that this process stays small. Prints the size in memory.
"""

from __future__ import annotations

import argparse
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

BYTES_PER_ROW = 24
SCHEMA = pa.schema([("series", pa.int64()), ("time", pa.timestamp("us")), ("value", pa.float64())])


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--series", type=int, default=1000)
    arguments = parser.parse_args()
    rows = int(arguments.gigabytes * 1e9 / BYTES_PER_ROW / arguments.series)
    start = np.datetime64(datetime(2000, 1, 1), "us")
    times = pa.array(start + np.arange(rows) * np.timedelta64(timedelta(hours=1)))
    daily = np.sin(np.arange(rows) * (2 * np.pi / 24))
    generator = np.random.default_rng(0)
    with pq.ParquetWriter(arguments.path, SCHEMA) as writer:
        for number in range(arguments.series):
            values = generator.normal(100, 10) + 10 * daily + generator.normal(0, 3, rows)
            columns = [pa.array(np.full(rows, number)), times, pa.array(values)]
            writer.write_table(pa.table(columns, schema=SCHEMA))
    print(rows * arguments.series * BYTES_PER_ROW)


if __name__ == "__main__":
    main()
