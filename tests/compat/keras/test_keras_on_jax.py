"""The layers of `gatestack.compat.keras` compute what Keras computes on its JAX backend.

Keras runs in an environment of its own under `.peers/`, made on first use with the versions pinned in
`benchmarks/protocol/environments.py`; there is no Gatestack and no torch in it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from keras_cases import Case, build, draw, draw_convolutional, features_of, run_on_torch

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


CHUNKS = [*((draw, first, 50) for first in range(1000, 1200, 50)), (draw_convolutional, 1000, 30)]
# At least so many of the cases have what is named; recurrent_dropout in training is drawn by each backend.
LEAST = {
    "LSTM": 50, "GRU": 50, "SimpleRNN": 50, "ConvLSTM2D": 30, "masked": 60, "bidirectional": 50,
    "return_sequences": 100, "return_state": 80, "initial_state": 50, "stateful": 40, "go_backwards": 40,
    "zero_output_for_mask": 50, "recurrent_dropout in inference": 20, "reset_after=True": 25,
    "reset_after=False": 15,
}  # fmt: skip


def test_every_option_is_among_the_drawn_cases() -> None:
    drawn = [chunk[0](seed, everywhere=True) for chunk in CHUNKS for seed in range(chunk[1], sum(chunk[1:]))]
    found = Counter(feature for case in drawn for feature in features_of(case))
    assert len(drawn) == 230
    few = {name: found[name] for name, least in LEAST.items() if found[name] < least}
    assert not few


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("drawn", "first", "count"), CHUNKS)
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
