"""The model folder: what a fitted model is on disk. Needs NumPy, not torch."""

from __future__ import annotations

from gatestack.runtime.model_folder import (
    FORMAT_VERSION,
    MAX_MODEL_JSON_BYTES,
    MAX_TENSOR_FILE_BYTES,
    ModelFolder,
    read_model_folder,
    write_model_folder,
)

__all__ = [
    "FORMAT_VERSION",
    "MAX_MODEL_JSON_BYTES",
    "MAX_TENSOR_FILE_BYTES",
    "ModelFolder",
    "read_model_folder",
    "write_model_folder",
]
