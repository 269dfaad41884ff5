"""All figures of a report, drawn and captioned; and the one picture that stands alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import polars as pl
from matplotlib.figure import Figure

from gatestack.reports.forecast import figures
from gatestack.reports.forecast.material import Material
from gatestack.reports.learning_curve import draw_learning_curve, learning_caption
from gatestack.reports.svg import INK, MUTED, Picture, image_of, inline_svg, new_axes, plain, report_style
from gatestack.tasks.forecast import Forecaster, ForecastEvaluation
from gatestack.tasks.forecast.plot import draw_bands

__all__ = ["draw_backtest_picture", "draw_forecasts", "draw_pictures"]

_ORIGINS = 6


def draw_backtest_picture(
    evaluation: ForecastEvaluation, *, kind: Literal["svg", "png"], target: str = "y", forecasts: int = 6
) -> bytes:
    """Draw the last forecasts of a backtest, end to end, with their bands and what came true.

    Args:
        evaluation: of at least one origin; its first series is drawn.
        kind: `"svg"` or `"png"`.
        target: name of what is forecast.
        forecasts: how many, 1 or more.

    Returns:
        The file.

    Example:
        >>> import polars as pl
        >>> from gatestack import Forecaster
        >>> frame = pl.DataFrame({"ds": range(60), "y": [float(step % 5) for step in range(60)]})
        >>> evaluation = Forecaster(horizon=2, hidden_size=4, max_steps=5).backtest(frame)
        >>> draw_backtest_picture(evaluation, kind="png")[1:4]
        b'PNG'
    """
    with report_style():
        return image_of(_draw_end_to_end(evaluation, target, forecasts), kind)


def _draw_end_to_end(evaluation: ForecastEvaluation, target: str, forecasts: int) -> Figure:
    rows = evaluation.forecasts
    rows = rows.filter(pl.col("unique_id") == rows["unique_id"][0])
    parts: list[pl.DataFrame] = []
    for part in reversed(rows.partition_by("cutoff", maintain_order=True)):
        if len(parts) < forecasts and (not parts or part["ds"][-1] <= parts[-1]["cutoff"][0]):
            parts.append(part)
    known = rows.unique("ds", maintain_order=True).sort("ds").filter(pl.col("ds") >= parts[-1]["cutoff"][0])
    figure, (axis,) = new_axes(width=8.6, height=3.6)
    for part in parts:
        draw_bands(axis, part, "ds")
        axis.axvline(
            part["cutoff"].to_numpy()[0], color=MUTED, linewidth=0.6, linestyle=":", label="forecast made"
        )
    axis.plot(
        known["ds"].to_numpy(),
        known["y"].to_numpy(),
        color=INK,
        linewidth=1.3,
        marker=".",
        markersize=4,
        label="came true",
    )
    # Each forecast brings the same names again.
    handles, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, handles, strict=True))
    axis.legend(once.values(), once.keys(), loc="lower left", ncols=6, bbox_to_anchor=(0, 1.0))
    axis.set_ylabel(plain(target))
    return figure


def draw_pictures(model: Forecaster, material: Material) -> dict[str, Picture]:
    """Draw data, learning curve and, where there are scores, error by step, skill and coverage."""
    evaluation, record = material.evaluation, model.fitted_.record
    caption = _data_caption(material, calibrated=model.intervals != "model")
    drawn: dict[str, tuple[Figure, str]] = {"data": (figures.draw_data(material), caption)}
    if record.history:
        drawn["learning"] = (
            draw_learning_curve(record, "scaled quantile loss"),
            learning_caption(record),
        )
    if evaluation is not None:
        drawn["steps"] = (
            figures.draw_error_by_step(evaluation),
            "Mean absolute error at each step ahead, in the unit of the target. Lower is better.",
        )
        drawn["skill"] = (
            figures.draw_skill(evaluation),
            "How much lower the scaled error is than each baseline's, with its 95 % interval from the block "
            "bootstrap. An interval that holds 0 leaves it open which is better.",
        )
        drawn["copying"] = (
            figures.draw_copying(evaluation),
            "What the first step of the forecast adds to the last value (across), against what then happened "
            "(up); each dot is an origin, in units of what its series moves. A copy of the last value is a "
            "column at 0, a forecast that comes true lies on the line.",
        )
        if evaluation.intervals.height:
            drawn["coverage"] = (
                figures.draw_coverage(evaluation),
                "How often the truth lay inside each interval, and how often it should have (bar). Left of "
                "the bar the intervals are too narrow.",
            )
    return {
        name: Picture(inline_svg(figure, name=name, label=caption), caption)
        for name, (figure, caption) in drawn.items()
    }


def _data_caption(material: Material, *, calibrated: bool) -> str:
    shown = min(len(material.keys), 4)
    which = f"{shown} of {len(material.keys):,} series, chosen evenly. " if len(material.keys) > 1 else ""
    test = "; what was forecast and scored (test)" if material.evaluation is not None else ""
    told = "when to stop and how wide intervals must be" if calibrated else "when to stop"
    return f"{which}What training saw (white); what told it {told} (validation){test}."


def draw_forecasts(material: Material) -> Sequence[Picture]:
    """Draw forecasts from several origins, with what came true."""
    evaluation = material.evaluation
    if evaluation is None:
        return []
    best = min(evaluation.skill, key=lambda name: evaluation.skill[name].value, default=None)
    pictures = []
    for number, part in enumerate(material.origins(_ORIGINS)):
        history = figures.forecast_history(material, part)
        figure = figures.draw_forecast(part, history, best=best, target=material.table.columns.target)
        where = f"{part['unique_id'][0]}, " if len(material.keys) > 1 else ""
        caption = f"{where}forecast made after {part['cutoff'][0]}."
        pictures.append(Picture(inline_svg(figure, name=f"forecast{number}", label=caption), caption))
    return pictures
