"""One virtual environment per peer, made on first use under `.peers/` (never committed)."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

__all__ = ["PEER_REQUIREMENTS", "TORCH", "peer_python"]

TORCH = "torch==2.13.0"
"""The torch of every peer and of Gatestack: one build, so that none is slower for its arithmetic."""

PEER_REQUIREMENTS = {
    "neuralforecast": [TORCH, "neuralforecast==3.3.0"],
    "darts": [TORCH, "darts[torch]==0.48.1"],
    "flair": [TORCH, "flair==0.15.1"],
    "keras": ["keras==3.15.1", "tensorflow-cpu==2.21.0", "jax==0.10.2"],
    "onnx": ["onnx==1.23.2", "onnxruntime==1.31.1", "openvino==2026.4.1"],
}


def peer_python(peer: str, folder: Path) -> Path:
    """The interpreter that runs `peer`: this one for Gatestack and torch, else that of its own environment.

    The environment is made when it is not there. Where a peer wants torch it is installed first and then
    held fast by a constraint, so that a peer's loose requirement cannot replace a CPU build by one with
    gigabytes of CUDA libraries.
    """
    if peer in ("gatestack", "torch"):
        return Path(sys.executable)
    home = folder / peer
    python = home / "bin" / "python"
    done = home / "requirements.txt"
    requirements = PEER_REQUIREMENTS[peer]
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making the environment of {peer} in {home} (minutes, once)", file=sys.stderr)
    venv.create(home, with_pip=True)
    constraint = home / "constraint.txt"
    constraint.write_text(TORCH + "\n", encoding="utf-8")
    install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(constraint)]
    if TORCH in requirements:
        subprocess.run([*install, TORCH], check=True)
    subprocess.run([*install, *requirements], check=True)
    done.write_text(wanted, encoding="utf-8")
    return python
