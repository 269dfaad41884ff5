"""The figure of a training: its losses over the updates."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gatestack.reports.svg import ACCENT, MODEL, MUTED, new_axes
from gatestack.training import TrainingRecord

__all__ = ["draw_learning_curve", "learning_caption"]


def draw_learning_curve(record: TrainingRecord, loss: str) -> Figure:
    """Draw the losses of training and validation, and mark the step whose weights were kept.

    Args:
        record: of the training.
        loss: name of the loss, with its unit.
    """
    figure, (axis,) = new_axes()
    for field, colour, mark, name in (
        ("train_loss", MUTED, "s", "training"),
        ("validation", MODEL, "o", "validation"),
    ):
        points = [
            (row.step, getattr(row, field)) for row in record.history if getattr(row, field) is not None
        ]
        if points:
            steps, losses = zip(*points, strict=True)
            axis.plot(steps, losses, color=colour, marker=mark, markersize=3.5, linewidth=1.3, label=name)
    axis.axvline(
        record.best_step,
        color=ACCENT,
        linestyle="--",
        linewidth=1.0,
        label=f"kept: step {record.best_step:,}",
    )
    axis.set_xlabel("updates of the weights")
    axis.set_xlim(0, 1.05 * record.steps)
    axis.set_ylabel(loss)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axis.legend()
    return figure


def learning_caption(record: TrainingRecord) -> str:
    """Say what the figure shows, and whether anything was validated."""
    kept = f"the weights of step {record.best_step:,} were kept"
    if record.best_validation is None:
        return f"Loss in training. Nothing was validated: {kept}."
    return f"Loss in training and in validation; {kept}, whose validation loss is the lowest."
