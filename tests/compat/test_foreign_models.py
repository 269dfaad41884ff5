"""Models that nobody here wrote train and predict with their recurrent modules accelerated.

Each package runs in an environment of its own under `.peers/`, made on first use with the versions pinned in
`benchmarks/protocol/environments.py`. Gatestack is no part of these environments: PYTHONPATH shows them the
sources, GATESTACK_LIBRARY the compiled kernels of this one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import gatestack
from gatestack.kernels import library

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

from protocol.environments import peer_python  # noqa: E402 (scripts, found beside their command)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("package", ["darts", "neuralforecast", "flair"])
def test_it_trains_and_predicts_unchanged(package: str, tmp_path: Path) -> None:
    kernels = library.find()
    if kernels is None:
        pytest.skip("there are no compiled kernels here")
    try:
        python = peer_python(package, ROOT / ".peers")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"the environment of {package} could not be made: {error}")
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(gatestack.__file__).parents[1]),
        "GATESTACK_LIBRARY": str(kernels.path),
        "GATESTACK_BACKEND": "native",
    }
    script = Path(__file__).with_name("foreign_models.py")
    done = subprocess.run(
        [python, script, package], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 2
    for name, result in found.items():
        in_training, in_prediction, after_decelerate = result["calls"]
        assert result["accelerated"] > 0, name
        assert in_training > 0, name
        assert in_prediction > 0, name
        assert after_decelerate == 0, name
        assert result["moved"] > 1e-3, "training changed nothing"
        assert result["difference"] <= 1e-5 * max(result["scale"], 1), name
