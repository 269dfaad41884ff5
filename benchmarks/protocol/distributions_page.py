"""The page of `distributions.py`."""

from __future__ import annotations

from statistics import mean, stdev
from typing import Any

from protocol.machine import machine_words
from protocol.tables import markdown_table

__all__ = ["distributions_page"]

SETS = {
    "seattle_weather": "`seattle_weather`, highest temperature, 7 days ahead",
    "vic_electricity": "`vic_electricity`, hourly demand of one year, 24 hours ahead",
    "m4_hourly": "`m4_hourly`, every twentieth series, 48 hours ahead",
    "elb_requests": "`nab` `elb_request_count`, counts in five minutes, 12 steps ahead",
    "beijing_rain_hours": "`beijing_pm25`, hours with rain in a day (counts, mostly 0), 7 days ahead",
}


def distributions_page(page: dict[str, Any]) -> str:
    """The tables, set by set, with what they measure said first."""
    versions = page["versions"]
    parts = [
        "# Distributions of a forecast\n\n"
        "Written by `benchmarks/distributions.py`. sCRPS is the score of the whole distribution (lower is "
        "better), ± the standard deviation over the seeds; inside 80 % and 90 % say how often the truth lay "
        "in these intervals; MASE is that of the median. The naive row is the last value, or that of the "
        "last season, with the quantiles of its errors in the training part; it has no seed.\n\n"
        "Two layers of 24 units, 200 updates of 16 examples, all else at its default; one thread on a "
        "machine that was busy with other work, so that seconds are not reported: "
        f"{machine_words(page['machine'])}, gatestack {versions['gatestack']}, torch {versions['torch']}. "
        "The loss of `normal` was bounded beyond ten deviations after a first run of these fits, because a "
        "handful of origins decided its training on the rain hours; that moved its sCRPS on `m4_hourly` from "
        "0.0672 to 0.0660 and elsewhere by less than 0.0001."
    ]
    for name, words in SETS.items():
        heads = page["answers"][name]
        if not any(heads.values()):
            continue
        heads = {head: answers for head, answers in heads.items() if answers}
        rows = [_row(head, answers) for head, answers in heads.items()]
        naive = next(iter(heads.values()))[0]["naive"]
        rows.append(
            [
                "naive with quantiles",
                f"{naive['scaled_crps']:.4f}",
                *_shares(naive),
                f"{naive['mase']:.3f}",
                "–",
            ]
        )
        origins = next(iter(heads.values()))[0]["origins"]
        head = ["distribution", "sCRPS", "inside 80 %", "inside 90 %", "MASE", "seeds"]
        parts.append(f"## {words}\n\n{origins} origins.\n\n{markdown_table(head, rows)}")
    parts.append(
        "## Sums over the horizon\n\n"
        "Fitted in the mode `recursive`; 200 paths from each origin, summed over the horizon. Together: the "
        "share of origins whose sum lay inside the interval of the paths' sums. Apart: the same draws with "
        "the steps shuffled between the paths, as if each step were drawn for itself."
    )
    for name, heads in page["sums"].items():
        rows = [_sums_row(head, answers) for head, answers in heads.items() if answers]
        if rows:
            head = ["distribution", "together, 80 %", "90 %", "apart, 80 %", "90 %", "seeds"]
            parts.append(f"{SETS[name]}:\n\n{markdown_table(head, rows)}")
    return "\n\n".join(parts) + "\n"


def _sums_row(head: str, answers: list[dict[str, Any]]) -> list[str]:
    kinds = [f"{kind}-{percent}" for kind in ("together", "apart") for percent in (80, 90)]
    shares = [f"{100 * mean(answer[kind] for answer in answers):.0f} %" for kind in kinds]
    return [f"`{head}`", *shares, str(len(answers))]


def _row(head: str, answers: list[dict[str, Any]]) -> list[str]:
    scores = [answer["scaled_crps"] for answer in answers]
    spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
    over = {name: mean(answer[name] for answer in answers) for name in ("coverage-80", "coverage-90", "mase")}
    return [
        f"`{head}`",
        f"{mean(scores):.4f}{spread}",
        *_shares(over),
        f"{over['mase']:.3f}",
        str(len(scores)),
    ]


def _shares(scores: dict[str, float]) -> list[str]:
    return [f"{100 * scores[name]:.0f} %" for name in ("coverage-80", "coverage-90")]
