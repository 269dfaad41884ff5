"""Training: one short loop over Lightning Fabric that can be stopped and resumed at any step."""

from __future__ import annotations

from gatestack.training.checkpoint import CheckpointWarning
from gatestack.training.loop import train
from gatestack.training.options import Training
from gatestack.training.record import HistoryRow, TrainingRecord
from gatestack.training.run_folder import RunFolder

__all__ = ["CheckpointWarning", "HistoryRow", "RunFolder", "Training", "TrainingRecord", "train"]
