"""`gatestack predict`: what a saved model says, as a table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatestack.cli.console import Talk, write_bytes
from gatestack.cli.forecast_options import Paths
from gatestack.cli.models import load_estimator, refuse_foreign
from gatestack.cli.options import AsJson, ModelFolderPath, Overwrite, Quiet, is_plain_file, refuse_existing
from gatestack.cli.series_files import Wide, read_series
from gatestack.errors import ArgumentError, nearest_name

if TYPE_CHECKING:
    import polars as pl

__all__ = ["predict"]

_ENDINGS = (".csv", ".parquet")


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
        if out.suffix.lower() not in _ENDINGS:
            raise ArgumentError(
                f"the ending is {out.suffix!r}",
                where=str(out),
                expected=" or ".join(_ENDINGS),
                hint=nearest_name(out.suffix, _ENDINGS),
            )
        refuse_existing(out, overwrite, replaceable=is_plain_file)

    estimator = load_estimator(model, "predict")
    options = {} if future is None else {"future": future}
    given = options | ({"wide": True} if wide else {}) | ({} if paths is None else {"paths": paths})
    refuse_foreign(estimator, given, kind="forecaster")
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
        from gatestack.cli.storage import write_output

        content = io.BytesIO()
        if out.suffix.lower() == ".csv":
            predicted.write_csv(content)
        else:
            predicted.write_parquet(content)
        write_output(out, content.getvalue())
        Talk(quiet).say(f"wrote {out}: {predicted.height} rows")
