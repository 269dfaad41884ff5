"""`gatestack demo`: a real series from data to report, in two minutes, without a network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gatestack.cli.console import Talk, print_evaluation, print_json, print_written
from gatestack.cli.options import AsJson, Overwrite, Quiet, refuse_existing

if TYPE_CHECKING:
    from gatestack.tasks.forecast import Forecaster, ForecastEvaluation

__all__ = ["demo"]


def demo(
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder to write.", rich_help_panel="Output")
    ] = Path("gatestack-demo"),
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit a stacked LSTM on four years of real weather, and backtest it on the last of them.

    \b
      gatestack demo

    The daily maximum temperature of Seattle, seven days ahead. Prints the scores beside the naive
    answers, and writes the data, the model, the report, and a picture of a forecast.
    """
    refuse_existing(out, overwrite, replaceable=_is_demo)
    talk = Talk(quiet or as_json)
    talk.say("the daily weather of Seattle, 2012 to 2015; 2015 is held out")

    from gatestack.cli.demo_settings import COLUMNS, ORIGINS, demo_forecaster, read_weather
    from gatestack.training import RunFolder
    from gatestack.training.threads import threads_of_torch

    frame = read_weather()
    model = demo_forecaster()
    run = RunFolder(progress=talk.progress)
    talk.say(f"fitting on 2012 to 2014, then {model.horizon} days ahead from origins in 2015 …")
    with threads_of_torch(1):
        evaluation = model.backtest(frame, **COLUMNS, origins=ORIGINS, run=run)
        talk.say("fitting on all four years …")
        model.fit(frame, **COLUMNS, run=run)
    if model.fitted_.record.stopped_by == "interrupt":
        raise KeyboardInterrupt
    _write(out, model, evaluation, overwrite=overwrite)
    if as_json:
        print_json({"folder": str(out), "report": str(out / "report.html"), "backtest": evaluation.to_dict()})
        return
    print_written(
        out,
        {
            "weather.csv": "the data",
            "model/": "the model: gatestack predict " + str(out / "model"),
            "forecast.svg": "a forecast of the last weeks, with what came true",
            "forecast.png": "the same",
            "report.html": "the report",
        },
    )
    title = f"Backtest over 2015, {evaluation.origins} origins, {model.horizon} days ahead"
    print_evaluation(evaluation, f"\n{title}")
    typer.echo(f"\nThe report: {out / 'report.html'}")


def _is_demo(path: Path) -> bool:
    return (path / "weather.csv").is_file() and (path / "model").is_dir()


def _write(out: Path, model: Forecaster, evaluation: ForecastEvaluation, *, overwrite: bool) -> None:
    from gatestack.cli.demo_settings import read_weather
    from gatestack.cli.storage import write_output
    from gatestack.reports import render_report
    from gatestack.reports.forecast import draw_backtest_picture

    weather = out / "weather.csv"
    write_output(weather, read_weather().write_csv().encode())
    page = render_report(model, evaluation=evaluation, data=weather)
    for kind in ("svg", "png"):
        write_output(
            out / f"forecast.{kind}",
            draw_backtest_picture(evaluation, kind=kind, target="maximum of the day, °C"),
        )
    model.save(out / "model", overwrite=overwrite, report=page)
    write_output(out / "report.html", page.encode())
