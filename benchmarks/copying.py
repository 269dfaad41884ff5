"""How often simulated forecasts are called the last value in disguise.

    python benchmarks/copying.py

Each case draws series and forecasts of them whose kind is known, and asks `find_copying`. The thresholds of
`gatestack.tasks.forecast.checks.copying` stand on this table. Writes `benchmarks/results/copying.md` and
`.json`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gatestack.tasks.forecast.checks.copying import find_copying

FloatArray = npt.NDArray[np.float64]
Random = np.random.Generator
# What is forecast, (origins, horizon); the truth; the last known value, (origins,).
Case = tuple[FloatArray, FloatArray, FloatArray]

HERE = Path(__file__).resolve().parent
ORIGINS = (60, 250, 750)
HORIZON = 5
BURN = 200


def walk(random: Random, steps: int) -> FloatArray:
    return 100 + np.cumsum(random.normal(size=steps))


def autoregression(random: Random, steps: int, weight: float) -> FloatArray:
    noise = random.normal(size=steps + BURN)
    values = np.zeros(steps + BURN)
    for step in range(1, steps + BURN):
        values[step] = weight * values[step - 1] + noise[step]
    return values[BURN:]


def season(random: Random, steps: int) -> FloatArray:
    return 5 * np.sin(np.arange(steps) * 2 * np.pi / 24) + random.normal(size=steps)


def cut(values: FloatArray, horizon: int) -> tuple[FloatArray, FloatArray]:
    """Give what came true, (origins, horizon), and the last known value, (origins,)."""
    ahead = np.lib.stride_tricks.sliding_window_view(values[BURN + 1 :], horizon)
    return ahead, values[BURN : BURN + len(ahead)]


def copy_of_walk(horizon: int, noise: float) -> Callable[[Random, int], Case]:
    """The last value and noise, which is a share of what the truth moves in a step."""

    def draw(random: Random, origins: int) -> Case:
        truth, last = cut(walk(random, BURN + origins + horizon), horizon)
        return last[:, None] + noise * random.normal(size=truth.shape), truth, last

    return draw


def shrunk_walk(random: Random, origins: int) -> Case:
    """What a network does at levels it has not seen: it stays nearer to those it knows."""
    values = walk(random, BURN + origins + 1)
    truth, last = cut(values, 1)
    level = values[:BURN].mean()
    return level + 0.9 * (last[:, None] - level), truth, last


def smoothed_walk(random: Random, origins: int) -> Case:
    """The mean of the last three values."""
    values = walk(random, BURN + origins + 1)
    truth, last = cut(values, 1)
    mean = (last + values[BURN - 1 :][: len(last)] + values[BURN - 2 :][: len(last)]) / 3
    return mean[:, None], truth, last


def wild_walk(random: Random, origins: int) -> Case:
    """Noise twice as large as the moves: bad, but not a copy."""
    return copy_of_walk(1, 2.0)(random, origins)


def best_of_autoregression(weight: float, horizon: int) -> Callable[[Random, int], Case]:
    def draw(random: Random, origins: int) -> Case:
        values = autoregression(random, BURN + origins + horizon, weight)
        truth, last = cut(values, horizon)
        return last[:, None] * weight ** np.arange(1, horizon + 1), truth, last

    return draw


def seasonal_forecast(horizon: int) -> Callable[[Random, int], Case]:
    def draw(random: Random, origins: int) -> Case:
        values = season(random, BURN + origins + horizon)
        truth, last = cut(values, horizon)
        clean = cut(5 * np.sin(np.arange(len(values)) * 2 * np.pi / 24), horizon)[0]
        return clean + 0.5 * random.normal(size=truth.shape), truth, last

    return draw


def copy_of_season(random: Random, origins: int) -> Case:
    truth, last = cut(season(random, BURN + origins + 1), 1)
    return last[:, None] + 0.2 * random.normal(size=truth.shape), truth, last


def drift(random: Random, origins: int) -> Case:
    """A walk that rises by a third of its noise a step, and a forecast that knows it."""
    values = walk(random, BURN + origins + HORIZON) + np.arange(BURN + origins + HORIZON) / 3
    truth, last = cut(values, HORIZON)
    return last[:, None] + np.arange(1, HORIZON + 1) / 3, truth, last


COPIES: dict[str, Callable[[Random, int], Case]] = {
    "random walk, copy": copy_of_walk(1, 0.0),
    "random walk, copy and noise of 10 %": copy_of_walk(1, 0.1),
    "random walk, copy and noise of 40 %": copy_of_walk(1, 0.4),
    "random walk, copy and noise of 40 %, 5 steps": copy_of_walk(HORIZON, 0.4),
    "random walk, shrunk to the levels of training": shrunk_walk,
    "random walk, mean of the last three": smoothed_walk,
    "season, copy and noise of 20 %": copy_of_season,
}
FORECASTS: dict[str, Callable[[Random, int], Case]] = {
    "random walk, noise of 200 %": wild_walk,
    "drift that is known, 5 steps": drift,
    "AR 0.95, its best forecast": best_of_autoregression(0.95, 1),
    "AR 0.8, its best forecast": best_of_autoregression(0.8, 1),
    "AR 0.8, its best forecast, 5 steps": best_of_autoregression(0.8, HORIZON),
    "AR 0.3, its best forecast": best_of_autoregression(0.3, 1),
    "season, a good forecast": seasonal_forecast(1),
    "season, a good forecast, 5 steps": seasonal_forecast(HORIZON),
}


def flagged(case: Callable[[Random, int], Case], origins: int, draws: int) -> float:
    found = 0
    for seed in range(draws):
        forecast, truth, last = case(np.random.default_rng([seed, origins]), origins)
        rows = np.zeros(len(truth), dtype=np.int64)
        found += bool(find_copying(forecast, truth, last, rows=rows, block=truth.shape[1]).copies)
    return found / draws


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--draws", type=int, default=200)
    options.add_argument("--out", type=Path, default=HERE / "results" / "copying")
    given = options.parse_args()
    shares = {
        name: [flagged(case, origins, given.draws) for origins in ORIGINS]
        for name, case in (COPIES | FORECASTS).items()
    }
    lines = [
        "# Simulated forecasts that are called the last value in disguise",
        "",
        f"Share of {given.draws} draws, by number of origins; `benchmarks/copying.py`. One series; one step "
        "ahead where nothing else is said. The noise of a copy is a share of what the truth moves in a step.",
        "",
        "| | " + " | ".join(f"{count} origins" for count in ORIGINS) + " |",
        "|---" * (1 + len(ORIGINS)) + "|",
    ]
    for title, cases in (("**copies**", COPIES), ("**no copies**", FORECASTS)):
        lines.append(f"| {title} |" + " |" * len(ORIGINS))
        lines += [
            f"| {name} | " + " | ".join(f"{100 * s:.0f} %" for s in shares[name]) + " |" for name in cases
        ]
    given.out.with_suffix(".md").write_text("\n".join(lines) + "\n")
    given.out.with_suffix(".json").write_text(
        json.dumps({"draws": given.draws, "shares": shares}, indent=1) + "\n"
    )
    print("\n".join(lines))


if __name__ == "__main__":
    main()
