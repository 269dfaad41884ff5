"""Data on its way to a model: sequences, tables, calendars.

Public names are imported when first used.

Example:
    >>> import numpy as np
    >>> from gatestack.data import Sequences
    >>> Sequences.from_arrays([np.zeros((3, 2)), np.ones((5, 2))])
    Sequences(2 sequences, 8 steps, 2 features, float64)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gatestack.data.calendar_encoding import CALENDAR_NAMES, calendar_features
    from gatestack.data.collections import LabelColumns, LabelledSequences, read_labelled
    from gatestack.data.frames import as_polars, like_input
    from gatestack.data.frequency import Frequency
    from gatestack.data.frequency_inference import infer_frequency
    from gatestack.data.read import MISSING_TOKENS, read_table
    from gatestack.data.sequences import Sequences
    from gatestack.data.series_future import future_values, split_horizon
    from gatestack.data.series_table import SeriesTable
    from gatestack.data.table_columns import Columns
    from gatestack.data.time_column import TimeKind
    from gatestack.data.wide_series import continue_series, read_wide

__all__ = [
    "CALENDAR_NAMES",
    "MISSING_TOKENS",
    "Columns",
    "Frequency",
    "LabelColumns",
    "LabelledSequences",
    "Sequences",
    "SeriesTable",
    "TimeKind",
    "as_polars",
    "calendar_features",
    "continue_series",
    "future_values",
    "infer_frequency",
    "like_input",
    "read_labelled",
    "read_table",
    "read_wide",
    "split_horizon",
]

# Where each public name lives.
_HOMES = {
    "CALENDAR_NAMES": "gatestack.data.calendar_encoding",
    "MISSING_TOKENS": "gatestack.data.read",
    "Columns": "gatestack.data.table_columns",
    "Frequency": "gatestack.data.frequency",
    "LabelColumns": "gatestack.data.collections",
    "LabelledSequences": "gatestack.data.collections",
    "Sequences": "gatestack.data.sequences",
    "SeriesTable": "gatestack.data.series_table",
    "TimeKind": "gatestack.data.time_column",
    "as_polars": "gatestack.data.frames",
    "calendar_features": "gatestack.data.calendar_encoding",
    "continue_series": "gatestack.data.wide_series",
    "future_values": "gatestack.data.series_future",
    "infer_frequency": "gatestack.data.frequency_inference",
    "like_input": "gatestack.data.frames",
    "read_labelled": "gatestack.data.collections",
    "read_table": "gatestack.data.read",
    "read_wide": "gatestack.data.wide_series",
    "split_horizon": "gatestack.data.series_future",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'gatestack.data' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
