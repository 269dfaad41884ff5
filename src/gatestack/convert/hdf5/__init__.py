"""A small reader of HDF5 files: the structures that Keras writes, in plain Python, no HDF5 library."""

from __future__ import annotations

from gatestack.convert.hdf5.reader import Hdf5Dataset, Hdf5Group, open_hdf5

__all__ = ["Hdf5Dataset", "Hdf5Group", "open_hdf5"]
