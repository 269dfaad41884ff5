"""The benchmark's modules are scripts and no package: they are found beside their command."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
for folder in (BENCHMARKS, BENCHMARKS / "peers", BENCHMARKS / "kernel_peers"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
