"""What all tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import hypothesis
import pytest

# Figures are drawn to files, never to a screen; set before anything imports matplotlib.
os.environ["MPLBACKEND"] = "Agg"

# The networks of the tests are so small that a second thread brings nothing; on a busy machine, threads that
# wait for each other take ten times as long. Set before anything imports torch; commands that tests start
# inherit it.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Of Keras' backends the one that gatestack.compat.keras runs on; set before anything imports keras.
os.environ.setdefault("KERAS_BACKEND", "torch")

# A shell starts what it puts into the background with SIGINT ignored, and Python then leaves it ignored; the
# tests of Ctrl-C need what a terminal gives.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run, and no limit on the time of one: a busy machine is no fault of the code.
hypothesis.settings.register_profile("gatestack", deadline=None, derandomize=True)
hypothesis.settings.load_profile("gatestack")

_SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets; tests that need it are skipped where it is absent."""
    if not _SHARED_DATA.is_dir():
        pytest.skip("the shared data sets are not on this machine (looked for ../shared/data)")
    return _SHARED_DATA
