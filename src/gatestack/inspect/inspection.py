"""What an inspection found: tables for every number, and sentences for what they say."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from gatestack.errors import ArgumentError
from gatestack.runtime.durable import storage_error, write_atomically

__all__ = ["TABLES", "Inspection"]

TABLES = {
    "layers": "each recurrent layer: cell, width, inputs, and how exactly its gates were opened",
    "gates": "every gate and state of every unit at every step, on the first sequences",
    "gate_statistics": "mean, range, and shares of closed and open steps of every quantity of every unit",
    "distributions": "how often each quantity of a layer lies in each part of its range",
    "units": "units that are dead, saturated, or have a gate that never opens",
    "time_scales": "how long each unit remembers, by its gate and by how a change fades",
    "initialised_time_scales": "the same with the recurrent layers drawn anew, as before training",
    "gradient_flow": "norm of the gradient of the state over the lag: trained, initialised, plain RNN",
    "layer_worth": "the loss with each layer bypassed, held at its mean, or shuffled",
    "probes": "what a linear model reads of the truth from each layer's last state",
    "attributions": "integrated gradients of every input",
    "completeness": "what the attributions of a sequence add up to, and should",
    "occlusion": "what becomes of the loss when inputs are replaced by their average",
}
"""Name of a table → what it holds."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Inspection:
    """What was found in a network.

    Attributes:
        title: of the model.
        sentences: what was found, in words, the most important first.
        notes: what was not looked at, and why.
        settings: how much was looked at: sequences, steps, thresholds.
        words: what `answer`, `loss` and `step` mean here, with their units.
        tables: name → table, see `TABLES`; one that could not be made is absent, and a note says why.

    Example:
        >>> parts = {"notes": (), "settings": {}, "words": {}, "tables": {}}
        >>> print(Inspection(title="a model", sentences=("Layer 1 is a GRU of 4 units.",), **parts))
        Layer 1 is a GRU of 4 units.
    """

    title: str
    sentences: tuple[str, ...]
    notes: tuple[str, ...]
    settings: Mapping[str, Any]
    words: Mapping[str, str]
    tables: Mapping[str, pl.DataFrame]

    def table(self, name: str) -> pl.DataFrame | None:
        """Give a table by its name; None where it could not be made.

        Raises:
            ArgumentError: there is no table of this name at all.
        """
        if name not in TABLES:
            raise ArgumentError(f"there is no table {name!r}", where="Inspection", expected=", ".join(TABLES))
        return self.tables.get(name)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as JSON values; each table as its columns, a number that is not finite as null."""
        return {
            "title": self.title,
            "sentences": list(self.sentences),
            "notes": list(self.notes),
            "settings": dict(self.settings),
            "words": dict(self.words),
            "tables": {name: _columns(table) for name, table in self.tables.items()},
        }

    def write_parquet(self, folder: str | Path) -> list[Path]:
        """Write each table as a Parquet file of its name.

        Args:
            folder: made where it does not exist.

        Returns:
            The paths.

        Raises:
            StorageError: a file cannot be written.
        """
        target, paths = Path(folder), []
        try:
            target.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(error, target, "write the tables") from error
        for name, table in self.tables.items():
            content = io.BytesIO()
            table.write_parquet(content)
            paths.append(target / f"{name}.parquet")
            write_atomically(paths[-1], content.getvalue())
        return paths

    def __str__(self) -> str:
        """The sentences and the notes."""
        return "\n".join([*self.sentences, *(f"Note: {note}" for note in self.notes)])


def _columns(table: pl.DataFrame) -> dict[str, list[Any]]:
    finite = table.with_columns(
        pl.when(pl.col(name).is_finite()).then(pl.col(name)).otherwise(None).alias(name)
        for name, kind in table.schema.items()
        if kind.is_float()
    )
    return finite.to_dict(as_series=False)
