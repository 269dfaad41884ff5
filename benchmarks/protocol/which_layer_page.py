"""The page of `which_layer.py`, and the picture of the guide."""

from __future__ import annotations

from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np
from kernel_table.statistics import spread
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import stats

from gatestack.reports.svg import ACCENT, INK, MODEL, MUTED, image_of, report_style
from protocol.layer_memory import LAGS, WIDTHS
from protocol.layer_video import VIDEOS
from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["draw_memory", "which_layer_page"]

Fits = list[dict[str, Any]]
Rows = dict[str, str]  # name of a row → its words
CELLS: Rows = {"lstm": "LSTM", "gru": "GRU", "rnn": "RNN"}
WIDE: Rows = {"gru-wide": "GRU, 24 units", "rnn-wide": "RNN, 24 units"}
BARE: Rows = {f"{cell}-bare": f"{word}, no autoregression" for cell, word in CELLS.items()}
BOTH: Rows = {"bilstm": "BiLSTM", "bigru": "BiGRU"}
MEMORY: Rows = {
    "lstm": "LSTM, forget bias 1",
    "lstm, closed": "LSTM, forget bias 0",
    "gru": "GRU",
    "rnn": "RNN, orthogonal start",
    "rnn, torch": "RNN, torch's start",
}
MOVING: Rows = {"convlstm": "ConvLSTM", "patches": "LSTM over patches", "pixels": "LSTM over all pixels"}
FORECASTS: Rows = CELLS | WIDE | BARE
CLASSES: Rows = CELLS | BOTH | WIDE | {"bilstm-wide": "BiLSTM, 24 units a direction"}


def scored(fits: Fits, digits: int, *, percent: bool = False) -> str:
    """Mean and standard deviation over the seeds."""
    scores = [(100 if percent else 1) * fit["score"] for fit in fits]
    around = f" ± {stdev(scores):.{digits}f}" if len(scores) > 1 else ""
    return f"{mean(scores):.{digits}f}{around}"


def mark(fits: Fits, against: Fits, *, higher: bool) -> str:
    """A word where the paired difference of the seeds is further from 0 than its 95 % interval is wide."""
    if fits is against or len(fits) != len(against) or len(fits) < 3:
        return ""
    gains = np.array(
        [(a["score"] - b["score"]) * (1 if higher else -1) for a, b in zip(fits, against, strict=True)]
    )
    half = stats.distributions.t.ppf(0.975, len(gains) - 1) * gains.std(ddof=1) / np.sqrt(len(gains))
    if abs(gains.mean()) <= half:
        return ""
    return " better" if gains.mean() > 0 else " worse"


def score_table(
    cases: dict[str, dict[str, Fits]], rows: Rows, digits: int, *, percent: bool = False, higher: bool = False
) -> str:
    """Rows of layers, then the baselines; a column for each set."""
    lines = []
    for row, words in rows.items():
        reference = f"lstm{'-bare' * row.endswith('bare')}" if "lstm" in rows else next(iter(rows))
        cells = []
        for found in cases.values():
            fits = found.get(row, [])
            other = found.get(reference, [])
            told = scored(fits, digits, percent=percent) + mark(fits, other, higher=higher) if fits else "–"
            cells.append(told)
        if any(cell != "–" for cell in cells):
            lines.append([words, *cells, seeds_of([found.get(row, []) for found in cases.values()])])
    baselines = {name: 0 for found in cases.values() for name in next(iter(found.values()))[0]["baselines"]}
    for name in baselines:
        given = [next(iter(found.values()))[0]["baselines"].get(name) for found in cases.values()]
        factor = 100 if percent else 1
        shown = ["–" if value is None else f"{factor * value:.{digits}f}" for value in given]
        lines.append([f"*{name.replace('_', ' ')}*", *shown, ""])
    return markdown_table(["", *(f"`{case}`" for case in cases), "seeds"], lines)


def seeds_of(fits: list[Fits]) -> str:
    """How many fits stand behind the numbers of a row."""
    counts = sorted({len(found) for found in fits})
    return "–".join(str(count) for count in (counts[0], counts[-1])[: len(counts)])


def size_table(cases: dict[str, dict[str, Fits]], rows: Rows) -> str:
    """Width, parameters of the recurrent layers and of the whole network."""
    lines = []
    for row, words in rows.items():
        cells = []
        for found in cases.values():
            fits = found.get(row, [])
            told = [f"{fit['width']}: {fit['of_layers']:,} / {fit['parameters']:,}" for fit in fits[:1]]
            cells.append(told[0] if told else "–")
        lines.append([words, *cells])
    return markdown_table(["width: layers / network", *(f"`{case}`" for case in cases)], lines)


def training_table(cases: dict[str, dict[str, Fits]]) -> str:
    """Errors of frames on what the training drew from, beside the last frame there."""
    lines = []
    for row, words in MOVING.items():
        own = ([fit["in_training"]["own"] for fit in found.get(row, [])] for found in cases.values())
        lines.append([words, *(f"{mean(errors):.2f}" if errors else "–" for errors in own)])
    still = (found["convlstm"][0]["in_training"]["last frame"] for found in cases.values())
    lines.append(["*last frame*", *(f"{value:.2f}" for value in still)])
    return markdown_table(["", *(f"`{case}`" for case in cases)], lines)


def memory_table(cases: dict[str, dict[str, Fits]]) -> str:
    """Share of symbols named rightly, and the share of the gradient that arrives before training."""
    lines = []
    for row, words in MEMORY.items():
        fits = [cases[str(lag)][row] for lag in LAGS]
        lines.append([words, *(scored(found, 0, percent=True) for found in fits), seeds_of(fits)])
    naive = [cases[str(lag)]["lstm"][0]["baselines"]["most frequent symbol"] for lag in LAGS]
    lines.append(["*most frequent symbol*", *(f"{100 * value:.0f}" for value in naive), ""])
    for row, words in MEMORY.items():
        found = [[fit["gradient_before"] for fit in cases[str(lag)][row]] for lag in LAGS]
        lines.append([f"{words}: gradient", *(power(float(np.median(values))) for values in found), ""])
    return markdown_table(["", *(f"{lag} steps" for lag in LAGS), "seeds"], lines)


def power(value: float) -> str:
    """A share in few letters."""
    return f"{value:.2g}" if value > 0.001 else "below 1e-12" if value < 1e-12 else f"{value:.0e}"


def cost_table(costs: dict[str, Any]) -> str:
    """Ratios within a round, each with its quartiles."""
    lines = []
    for kind, words in (("train", "update"), ("stream", "step of a stream"), ("video", "update, frames")):
        times = costs["times"][kind]
        reference = next(iter(times))
        for name, own in times.items():
            ratios = spread([a / b for a, b in zip(own, times[reference], strict=True)])
            middle = spread(own).middle
            shown = f"{1e3 * middle:.2f} µs" if kind == "stream" else f"{middle:.2f} ms"
            ratio = f"{ratios.middle:.2f} [{ratios.low:.2f}–{ratios.high:.2f}]"
            lines.append([words, name, f"{costs['parameters'][name]:,}", shown, ratio])
    return markdown_table(
        ["call", "layers", "parameters", "processor time", "over the first of its kind"], lines
    )


def which_layer_page(page: dict[str, Any]) -> str:
    """The results as a page."""
    found, versions = page["found"], page["versions"]
    told = ", ".join(f"{name} {version}" for name, version in versions.items())
    videos = "; ".join(f"`{name}`: {video.words}" for name, video in VIDEOS.items())
    costs = cost_table(page["costs"]) if page["costs"] else "Not measured."
    widths = ", ".join(f"{WIDTHS[row]} units ({words})" for row, words in CELLS.items())
    of_frames = next(iter(found["video"].values()))
    sizes = ", ".join(f"{words} {of_frames[row][0]['parameters']:,}" for row, words in MOVING.items())
    return f"""# Which layer

Written by `benchmarks/which_layer.py`. {page["updates"]} updates everywhere. ± is the standard deviation over
the seeds, whose number each row says: what was not fitted is missing, none was left out. *Italic* rows are
baselines on the same test part; they have no seed. "better" and "worse" stand where the difference to the
LSTM with the same seeds (of the same kind; on frames: to the ConvLSTM) is beyond a 95 % interval of its mean,
with three seeds or more. That says that the seeds agree, not that another data set would; of some dozens of
comparisons about one in twenty gets a word by chance.

{machine_words(page["machine"])}; {told}; one thread, on a machine that was busy with other work.

## Forecasts: MASE, lower is better

Two layers in `Forecaster`, 16 examples an update, all else at its default. The layers have equal parameters
where nothing else is said; "no autoregression" leaves out the linear part that a forecaster starts from.
`seattle_weather`: highest temperature, 7 days ahead; `ETTh1`: oil temperature, 24 hours ahead, eight months
to train.

{score_table(found["forecast"], FORECASTS, 3)}

{size_table(found["forecast"], FORECASTS)}

## Classes: accuracy in per cent, higher is better

Two layers in `Classifier`, recipe "plain", 16 cases an update, all else at its default (mean, maximum and
attention over all steps go to the head). Equal parameters where nothing else is said.

{score_table(found["classify"], CLASSES, 1, percent=True, higher=True)}

{size_table(found["classify"], CLASSES)}

## Memory: per cent of symbols named rightly

One of four symbols in the first step, then so many steps of noise, then the question which it was. One layer,
{widths}, 32 sequences an update, new ones each time,
learning rate 0.005. The lower rows: how much of the gradient at the last input arrives at the first one
before training, the median over sequences and seeds.

{memory_table(found["memory"])}

## Frames: mean squared error × 1000, lower is better

32 × 32 pixels; {videos}. All models add what they say to the
last frame, and start by saying nothing. 8 sequences an update, learning rate 0.005. Scored from the sixth
frame on, over all pixels (outside the radars' range there is no rain). Digits of other images than in
training, radar of another day, 8 km a pixel.

{score_table(found["video"], MOVING, 2)}

On the day, or the images, of the training itself, sequences it may have seen:

{training_table(found["video"])}

Parameters: {sizes}.

## Cost

Processor time of one thread, each of 15 rounds calls all of a kind in turn; the ratio is the median of those
within a round, with its quartiles. Update: forward, backward and AdamW, 16 sequences of 96 steps and 4
features, two layers; frames: 8 sequences of 10 frames of 32 × 32.

{costs}
"""


def draw_memory(file: Path, page: dict[str, Any]) -> None:
    """What is remembered, and what of the gradient arrives, over the number of steps."""
    cases = page["found"]["memory"]
    looks = {
        "lstm": (MODEL, "-", "o"),
        "lstm, closed": (MODEL, "--", "^"),
        "gru": (ACCENT, "-", "s"),
        "rnn": (INK, "-", "D"),
        "rnn, torch": (INK, ":", "v"),
    }
    with report_style():
        figure = Figure(figsize=(8.6, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        for row, (colour, line, marker) in looks.items():
            fits = [cases[str(lag)][row] for lag in LAGS]
            look = {"color": colour, "linestyle": line, "marker": marker, "markersize": 4, "linewidth": 1.3}
            scores = np.array([[100 * fit["score"] for fit in found] for found in fits])
            _band(left, scores, look, MEMORY[row])
            kept = np.array([np.median([fit["gradient_before"] for fit in found]) for found in fits])
            right.plot(LAGS, np.maximum(kept, 1e-12), **look)
        left.axhline(25, color=MUTED, linewidth=1, linestyle=(0, (1, 3)))
        left.set_ylabel("named rightly, %")
        right.set_ylabel("gradient that arrives")
        right.set_yscale("log")
        right.set_yticks([1, 1e-3, 1e-6, 1e-9, 1e-12], ["1", "10⁻³", "10⁻⁶", "10⁻⁹", "10⁻¹² or less"])
        for axis in (left, right):
            axis.set_xscale("log")
            axis.set_xticks(LAGS, [str(lag) for lag in LAGS])
            axis.minorticks_off()
            axis.set_xlabel("steps between symbol and question")
        left.set_title("After training", loc="left", fontsize=9)
        right.set_title("Before training", loc="left", fontsize=9)
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
        file.write_bytes(image_of(figure, "svg"))


def _band(axis: Axes, scores: np.ndarray, look: dict[str, Any], label: str) -> None:
    """The median of the seeds, and all of them."""
    axis.plot(LAGS, np.median(scores, axis=1), label=label, **look)
    for column in scores.T:
        axis.plot(
            LAGS, column, color=look["color"], marker=look["marker"], markersize=2, linewidth=0, alpha=0.5
        )
