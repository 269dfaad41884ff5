"""Pictures of the stock benchmark, for the guide."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from matplotlib.figure import Figure

from gatestack.reports.svg import ACCENT, INK, MODEL, MUTED, image_of, new_axes, report_style

__all__ = ["draw_pictures"]

FloatArray = npt.NDArray[np.float64]

_ZOOM = 45
_EVERY = 5  # trading days between the points of a curve over years


def draw_pictures(
    folder: Path,
    prices: pl.DataFrame,
    returns: pl.DataFrame,
    growth: dict[str, list[FloatArray]],
    days: pl.Series,
) -> None:
    """Write the pictures of the guide.

    Args:
        folder: to write into.
        prices: `ds`, `y`, `last`, `forecast` of one stock.
        returns: `y`, `gatestack` of all stocks.
        growth: of one unit of money, name → a curve per seed, (days,).
        days: of the curves.
    """
    with report_style():
        figures = {
            "stocks-prices": _draw_prices(prices),
            "stocks-returns": _draw_returns(returns),
            "stocks-walk-forward": _draw_growth(growth, days),
        }
        for name, figure in figures.items():
            (folder / f"{name}.svg").write_bytes(image_of(figure, "svg"))


def _draw_prices(frame: pl.DataFrame) -> Figure:
    figure, axes = new_axes(rows=2, width=8.6, height=6.0)
    for axis, part, marks in ((axes[0], frame, ""), (axes[1], frame.tail(_ZOOM), ".")):
        days = part["ds"].to_numpy()
        axis.plot(days, part["y"].to_numpy(), color=INK, linewidth=1.2, marker=marks, label="price")
        axis.plot(days, part["forecast"].to_numpy(), color=MODEL, linewidth=1.4, marker=marks, label="LSTM")
    days, last = (frame.tail(_ZOOM)[name].to_numpy() for name in ("ds", "last"))
    axes[1].plot(days, last, color=ACCENT, linestyle="--", linewidth=1.2, label="last value")
    axes[0].set_title("All days that were forecast", loc="left", fontsize=9)
    axes[1].set_title(f"The last {_ZOOM} of them", loc="left", fontsize=9)
    for axis in axes:
        axis.set_ylabel("adjusted price")
        axis.legend(loc="upper left", ncols=3)
    return figure


def _draw_returns(frame: pl.DataFrame) -> Figure:
    figure, (axis,) = new_axes(width=5.4, height=4.2)
    forecast, truth = frame["gatestack"].to_numpy(), frame["y"].to_numpy()
    axis.plot(forecast, truth, ".", color=MODEL, markersize=2, alpha=0.5, rasterized=True)
    axis.axline((0, 0), slope=1, color=INK, linewidth=1.0, linestyle="--", label="a forecast that comes true")
    reach = float(np.abs(truth).max())
    axis.set_xlim(-reach, reach)
    axis.set_ylim(-reach, reach)
    axis.set_xlabel("forecast return, %")
    axis.set_ylabel("return, %")
    axis.legend(loc="upper left")
    return figure


def _draw_growth(growth: dict[str, list[FloatArray]], days: pl.Series) -> Figure:
    figure, (axis,) = new_axes(width=8.6, height=3.8)
    styles = {
        "buy and hold": (INK, "-"),
        "LSTM, no costs": (MUTED, (0, (4, 2))),
        "LSTM, 10 bp": (MODEL, "-"),
        "naive: zero return, cash": (ACCENT, (0, (1, 1.5))),
    }
    at = days.gather_every(_EVERY).to_numpy()
    for name, (colour, dashes) in styles.items():
        curves = np.array(growth[name])[:, ::_EVERY]
        axis.plot(at, np.median(curves, axis=0), color=colour, linestyle=dashes, label=name)
        if len(curves) > 1:
            axis.fill_between(
                at, curves.min(axis=0), curves.max(axis=0), color=colour, alpha=0.15, linewidth=0
            )
    axis.set_yscale("log", base=2)
    axis.set_ylabel("growth of 1")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.legend(loc="upper left")
    return figure
