"""`gatestack predict`: what a saved model says, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatestack.cli.console import Talk, write_bytes
from gatestack.cli.forecast_options import Paths
from gatestack.cli.models import FORECASTERS, load_estimator, refuse_foreign
from gatestack.cli.options import AsJson, ModelFolderPath, Overwrite, Quiet
from gatestack.cli.series_files import Wide, read_series
from gatestack.cli.storage import check_table_path, write_table
from gatestack.errors import ArgumentError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["predict"]


def predict(
    model: ModelFolderPath,
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="What to predict from. A forecaster can do without: it goes on from the data of its fit.",
        ),
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Forecasters: table of the future columns for the horizon.  [default: none]",
            rich_help_panel="Data",
        ),
    ] = None,
    wide: Wide = False,
    paths: Paths = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File to write, .csv or .parquet.  [default: CSV to stdout]",
            rich_help_panel="Output",
        ),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Predict with a saved model, as a table: forecasts with their intervals, classes, values or alarms.

    \b
      gatestack predict runs/weather weather.csv --out forecast.csv
    """
    if out is not None:
        if as_json:
            raise ArgumentError("--out and --json exclude each other", expected="one of them")
        check_table_path(out, overwrite)

    estimator = load_estimator(model, "predict")
    options = {} if future is None else {"future": future}
    refuse_foreign(estimator, options | ({"wide": True} if wide else {}), kind=FORECASTERS)
    refuse_foreign(estimator, {} if paths is None else {"paths": paths}, kind="forecaster")
    table = None if data is None else read_series(data, wide=wide)
    predicted: pl.DataFrame
    if paths is None:
        predicted = estimator.predict_frame(table, **options)
    else:
        predicted = estimator.sample(table, paths=paths, **options)
    if as_json:
        write_bytes(predicted.write_json().encode() + b"\n")
    elif out is None:
        write_bytes(predicted.write_csv().encode())
    else:
        write_table(out, predicted)
        Talk(quiet).say(f"wrote {out}: {predicted.height} rows")
