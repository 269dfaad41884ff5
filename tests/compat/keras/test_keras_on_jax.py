"""The layers of `gatestack.compat.keras` compute what Keras computes on its JAX backend.

Keras runs in an environment of its own under `.peers/`, made on first use with the versions pinned in
`benchmarks/protocol/environments.py`; there is no Gatestack and no torch in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_cases import Case, build, draw, draw_convolutional, run_on_torch

from gatestack.compat import keras as ours

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from protocol.environments import peer_python  # noqa: E402 (scripts, found beside their command)

# Of results of size 1, and of gradients relative to the largest; Keras multiplies float64 in float32.
TOLERANCE = 4e-5


@pytest.fixture(scope="module")
def jax_python() -> Path:
    try:
        return peer_python("keras", ROOT / ".peers")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the environment of keras could not be made: {error}")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("drawn", "first", "count"),
    [*((draw, first, 50) for first in range(1000, 1200, 50)), (draw_convolutional, 1000, 30)],
)
def test_results_and_gradients_are_those_of_keras_on_jax(
    drawn: Callable[..., Case], first: int, count: int, jax_python: Path, tmp_path: Path
) -> None:
    worker, path = Path(__file__).with_name("keras_jax_worker.py"), tmp_path / "found.npz"
    command = [str(jax_python), str(worker), drawn.__name__, str(first), str(first + count), str(path)]
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(path) as expected:
        for seed in range(first, first + count):
            case = drawn(seed, everywhere=True)
            found = run_on_torch(build(ours, case), case)
            names = [name for name in expected.files if name.startswith(f"{seed} ")]
            assert names, case
            for name in names:
                theirs, mine = expected[name], found[name.partition(" ")[2]]
                scale = max(1.0, float(np.abs(theirs).max()))
                np.testing.assert_allclose(
                    mine / scale, theirs / scale, rtol=0, atol=TOLERANCE, err_msg=f"{name} of {case}"
                )
