"""The faces for aeon: its own checks, run where aeon has an environment of its own."""

from __future__ import annotations

import importlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from gatestack.errors import ArgumentError
from gatestack.tasks.labelled import aeon_tags

PYTHON = Path(__file__).resolve().parents[3] / ".peers" / "aeon" / "bin" / "python"
# aeon and what it was compiled with come first, torch and Gatestack from here.
SCRIPT = """
import json, sys
sys.path += json.loads(sys.argv[1])
import numpy as np
import torch
torch.set_num_threads(1)
from aeon.testing.estimator_checking import check_estimator
from gatestack.tasks.classify import Classifier
from gatestack.tasks.classify.aeon_face import AeonClassifier
from gatestack.tasks.regress.aeon_face import AeonRegressor
found = {
    face.__name__: {name: str(result) for name, result in check_estimator(face).items()}
    for face in (AeonClassifier, AeonRegressor)
}
waves = np.sin(np.arange(30) * np.linspace(0.2, 2, 24)[:, None])
names = np.arange(24) // 12
model = Classifier(layers=1, hidden_size=4, max_steps=5).fit(waves, names)
found["minirocket"] = model.evaluate(waves + 0.01, names, minirocket=True).scores.to_dicts()[-1]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_aeons_checks_pass_and_its_minirocket_runs() -> None:
    if not PYTHON.exists():
        pytest.skip("there is no environment with aeon (.peers/aeon)")
    here = [str(Path(torch.__file__).parents[1]), str(Path(aeon_tags.__file__).parents[3])]
    command = [PYTHON, "-c", SCRIPT, json.dumps(here)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for name in ("AeonClassifier", "AeonRegressor"):
        # No check is expected to fail.
        assert len(found[name]) > 20
        assert set(found[name].values()) == {"PASSED"}
    assert found["minirocket"]["model"] == "minirocket"
    assert found["minirocket"]["accuracy"] > 0.9


SKTIME = Path(__file__).resolve().parents[3] / ".peers" / "sktime" / "bin" / "python"
WITH_SKTIME = """
import json, sys
sys.path += json.loads(sys.argv[1])
import numpy as np
import torch
torch.set_num_threads(1)
from gatestack.data.sequences import Sequences
from gatestack.tasks.labelled.baselines import baseline_answers
from gatestack.tasks.labelled.minirocket import _transform
waves = np.sin(np.arange(30) * np.linspace(0.2, 2, 24)[:, None])[..., None] * np.ones(2)
known, asked = Sequences.from_padded(waves), Sequences.from_padded(waves + 0.01)
names, numbers = np.arange(24) // 12, np.linspace(0.2, 2, 24)
classes = baseline_answers(known, names, asked, classes=2, minirocket=True)["minirocket"]
values = baseline_answers(known, numbers, asked, classes=None, minirocket=True)["minirocket"]
print(json.dumps({
    "home": type(_transform()).__module__.split(".")[0],
    "right": float((classes.argmax(axis=1) == names).mean()),
    "error": float(np.abs(values - numbers).mean()),
}))
"""


@pytest.mark.slow
def test_minirocket_of_sktime_names_classes_and_predicts_numbers() -> None:
    if not SKTIME.exists():
        pytest.skip("there is no environment with sktime (.peers/sktime)")
    here = [str(Path(torch.__file__).parents[1]), str(Path(aeon_tags.__file__).parents[3])]
    command = [SKTIME, "-c", WITH_SKTIME, json.dumps(here)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["home"] == "sktime"
    assert found["right"] > 0.9
    assert found["error"] < 0.2  # the mean is 0.45 off


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("gatestack.tasks.classify.aeon_face", "AeonClassifier"),
        ("gatestack.tasks.regress.aeon_face", "AeonRegressor"),
    ],
)
def test_without_aeon_the_face_says_how_to_get_it(
    module: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    face = importlib.import_module(module)

    def absent(_: str) -> Any:
        raise ModuleNotFoundError

    monkeypatch.setattr(aeon_tags.importlib, "import_module", absent)
    with pytest.raises(ArgumentError, match="pip install aeon"):
        getattr(face, name)
    with pytest.raises(AttributeError, match="no attribute 'Other'"):
        _ = face.Other
