"""Keras' files, in and out. Reading needs neither Keras nor an HDF5 library; writing needs h5py."""

from __future__ import annotations

from gatestack.convert.keras.reader import read_keras
from gatestack.convert.keras.weights_reader import read_keras_weights
from gatestack.convert.keras.writer import write_keras

__all__ = ["read_keras", "read_keras_weights", "write_keras"]
