"""The entry point of the command line. Heavy packages are imported by the command that needs them."""

from __future__ import annotations

import signal
import sys
import warnings
from typing import Annotated

import typer

from gatestack.cli.bench import bench
from gatestack.cli.command import Command, Group
from gatestack.cli.demo import demo
from gatestack.cli.depth import depth_classify, depth_detect, depth_forecast, depth_regress
from gatestack.cli.doctor import doctor
from gatestack.cli.evaluate import evaluate
from gatestack.cli.export import export
from gatestack.cli.fit_classify import fit_classify
from gatestack.cli.fit_detect import fit_detect
from gatestack.cli.fit_forecast import fit_forecast
from gatestack.cli.fit_regress import fit_regress
from gatestack.cli.import_model import import_model
from gatestack.cli.inspect import inspect
from gatestack.cli.predict import predict
from gatestack.cli.report import report
from gatestack.cli.tune import tune_classify, tune_detect, tune_forecast, tune_regress
from gatestack.cli.update import update
from gatestack.cli.verify import verify

__all__ = ["app", "run"]

_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

app = typer.Typer(
    name="gatestack",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_CONTEXT,
)
fit = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Fit a model on a file and save it.

      gatestack fit forecast weather.csv --target temp_max --horizon 7 --out runs/weather
    """,
)

depth = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Find out how many layers the data supports, beside baselines and a model without recurrence.

      gatestack depth forecast weather.csv --target temp_max --horizon 7 --layers 0-4
    """,
)

tune = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="""Search for better settings with a budget, and check the winner where the search did not look.

      gatestack tune forecast weather.csv --target temp_max --horizon 7 --trials 30
    """,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("gatestack"))
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Forecast, classify and watch series with stacks of recurrent layers, beside the naive answers.

    gatestack demo

    Data goes to stdout, talk to stderr. Exit codes: 0 done, 1 failed, 2 the command line or the data
    must change, 130 interrupted. Every command answers --help.
    """


def _add(group: typer.Typer, name: str, function: object, summary: str) -> None:
    group.command(name, cls=Command, short_help=summary, context_settings=_CONTEXT)(function)  # type: ignore[type-var]


_add(app, "demo", demo, "A real weather series: fit, backtest, report, in two minutes.")
app.add_typer(fit, name="fit", short_help="Fit a model on a file and save it.")
_add(fit, "forecast", fit_forecast, "Forecast the next steps of one or many series.")
_add(fit, "classify", fit_classify, "Name the class of a series.")
_add(fit, "regress", fit_regress, "Predict a number for a series.")
_add(fit, "detect", fit_detect, "Raise alarms where a series is not as usual.")
app.add_typer(depth, name="depth", short_help="Find out how many layers the data supports.")
_add(depth, "forecast", depth_forecast, "For forecasts of the next steps.")
_add(depth, "classify", depth_classify, "For classes of series.")
_add(depth, "regress", depth_regress, "For numbers of series.")
_add(depth, "detect", depth_detect, "For what is usual in a series.")
app.add_typer(tune, name="tune", short_help="Search for better settings with a budget.")
_add(tune, "forecast", tune_forecast, "For forecasts of the next steps.")
_add(tune, "classify", tune_classify, "For classes of series.")
_add(tune, "regress", tune_regress, "For numbers of series.")
_add(tune, "detect", tune_detect, "For what is usual in a series.")
_add(app, "predict", predict, "Predict with a saved model, as a table.")
_add(app, "evaluate", evaluate, "Score a saved model on data its fit did not see.")
_add(app, "update", update, "Go on with new observations, without training.")
_add(app, "inspect", inspect, "Look into a saved model: gates, memory, the worth of layers.")
_add(app, "report", report, "Make the report page of a saved model.")
_add(app, "import", import_model, "Read a model of Keras, ONNX or torch and save it as ours.")
_add(app, "export", export, "Write a model as ONNX, Keras or torch, with its proof.")
_add(app, "verify", verify, "Replay the proof of an exported file or a model.")
_add(app, "doctor", doctor, "What computes on this machine, and what to do about it.")
_add(app, "bench", bench, "What recurrent layers cost on this machine, beside torch.")


def run() -> None:
    """Run the command line of this process, and exit."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    for stream in (sys.stdout, sys.stderr):
        # A name that the terminal's encoding lacks shows as "?", and nothing fails.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        # `kill`, or the end of a machine, leaves as tidily as Ctrl-C.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    app()
