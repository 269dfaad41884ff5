"""A fit of a long table stays within twice the table and the model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# In a process of its own, after one small fit: imports and allocators cost the same whatever the table.
SCRIPT = """
import numpy as np, polars as pl, torch
from pathlib import Path
from gatestack.tasks.forecast import Forecaster

def megabytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) / 1024

torch.set_num_threads(1)
model = Forecaster(4, hidden_size=4, max_steps=2, window=16, season=None)
random = np.random.default_rng(0)
model.fit(pl.DataFrame({"ds": np.arange(30_000), "y": random.normal(size=30_000)}))
steps, names = 1_200_000, ["y", "a", "b", "c", "d", "e", "f"]
frame = pl.DataFrame({"ds": np.arange(steps)} | {name: random.normal(size=steps) for name in names})
before = megabytes("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
model.fit(frame, past=names[1:])
print((megabytes("VmHWM") - before) / (frame.estimated_size() / 2**20))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="reads the peak from Linux's /proc")
def test_a_fit_takes_no_more_memory_than_the_table_again() -> None:
    found = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert float(found.stdout) < 1.0
