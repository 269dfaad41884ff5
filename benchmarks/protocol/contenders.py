"""Who is compared, and the settings of each peer that were tried on the validation split.

Peers run, for every problem, at the setting with the lowest error on the validation split (seed 0), which
lies wholly before the test part. Gatestack runs at one setting for all problems, its defaults.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from protocol.jobs import Contender

__all__ = ["GATESTACK", "KINDS", "NHITS", "SCALINGS", "candidate", "chosen_peers"]

GATESTACK = Contender("Gatestack Forecaster", "gatestack", "LSTM")

NHITS = "NeuralForecast NHITS"

# The first entry of each list is what the library's documentation shows.
SCALINGS: dict[str, list[dict[str, Any]]] = {
    "NeuralForecast LSTM": [{"scaler_type": "robust"}, {"scaler_type": "standard"}],
    NHITS: [{"scaler_type": "identity"}, {"scaler_type": "standard"}],
    "Darts BlockRNN LSTM": [{}, {"use_reversible_instance_norm": True}],
}

_PEERS = {
    "NeuralForecast LSTM": ("neuralforecast", "LSTM"),
    NHITS: ("neuralforecast", "NHITS"),
    "Darts BlockRNN LSTM": ("darts", "LSTM"),
}

KINDS = {
    GATESTACK.label: "recurrent",
    "NeuralForecast LSTM": "recurrent",
    NHITS: "network",
    "Darts BlockRNN LSTM": "recurrent",
}


def candidate(label: str, options: dict[str, Any]) -> Contender:
    """The peer called `label` with these options."""
    peer, model = _PEERS[label]
    return Contender(label, peer, model, options)


def chosen_peers(problem: str, choices: Path) -> list[Contender]:
    """The peers with the settings that `choose_peer_settings.py` found for `problem`."""
    table = json.loads(choices.read_text(encoding="utf-8"))["chosen"]
    return [candidate(label, table[problem][label]) for label in _PEERS]
