"""What the tables of an inspection say, in sentences a newcomer understands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from gatestack.inspect.gradient_flow import MODELS
from gatestack.inspect.subject import Subject
from gatestack.inspect.time_scales import LayerTrend, layer_trend

__all__ = ["make_sentences"]

_CHANCE = 0.05
_ROUNDING = 1e-9  # of the loss: less is no change


def make_sentences(subject: Subject, tables: Mapping[str, pl.DataFrame]) -> Iterator[str]:
    """Say what was found; each sentence names the numbers that it stands on.

    Args:
        subject: what was inspected.
        tables: by name.
    """
    yield _about_layers(tables["layers"])
    yield _about_units(tables["units"])
    yield _about_time_scales(tables["time_scales"], tables["initialised_time_scales"], subject.steps)
    yield from _about_gradients(tables["gradient_flow"])
    if "layer_worth" in tables:
        yield from _about_worth(tables["layer_worth"], subject.loss)
    if "probes" in tables:
        yield _about_probes(tables["probes"])
    if "occlusion" in tables:
        yield _about_inputs(tables["occlusion"], subject)


def _about_layers(layers: pl.DataFrame) -> str:
    seen = [
        f"layer {number} is {_cell_name(cell)} of {_counted(units, 'channel' if positions > 1 else 'unit')}"
        + (f" with {_functions(squash, gate)}" if _functions(squash, gate) else "")
        + (" in each direction" if count == 2 else "")
        for number, cell, units, positions, squash, gate, count in layers.group_by(
            "layer", maintain_order=True
        )
        .agg(pl.col("cell", "units", "positions", "activation", "gate_activation").first(), pl.len())
        .iter_rows()
    ]
    return f"{_capital(_listed(seen))}."


def _cell_name(cell: str) -> str:
    if cell.startswith("conv"):
        return "a ConvLSTM"
    return {"lstm": "an LSTM", "gru": "a GRU", "gru_reset_before": "a GRU"}.get(cell, "an RNN")


def _functions(squash: str, gate: str | None) -> str:
    """Name functions that are not the usual ones."""
    told = [] if squash == "tanh" else [squash]
    if gate not in (None, "sigmoid"):
        told.append(f"{gate} gates")
    return " and ".join(told)


def _about_units(units: pl.DataFrame) -> str:
    total = units.height
    dead, saturated = int(units["dead"].sum()), int(units["saturated"].fill_null(False).sum())
    closed = int((units["never_opens"] != "").sum())
    if not dead + saturated + closed:
        return f"All {total} units work: none is dead or saturated, and every gate opens at some step."
    return (
        f"Of {total} units {dead} are dead (their state hardly moves), {saturated} are saturated (stuck at "
        f"the end of their range), and {closed} have a gate that never opens."
    )


def _about_time_scales(scales: pl.DataFrame, initialised: pl.DataFrame, step: str) -> str:
    found = []
    for column, name in (("change", "a change of the input"), ("gate_steps", "the gates")):
        trend, before = (_trend(table, column) for table in (scales, initialised))
        if trend is None:
            continue
        if all(median == float("inf") for median in trend.medians.values()):
            found.append(
                f"by {name} it cannot be told: in every layer half of the units outlast what was seen"
            )
            continue
        strong = trend.p < _CHANCE
        verdict = "longer in higher layers" if trend.rho > 0 else "shorter in higher layers"
        text = (
            f"by {name}, {verdict if strong else 'not clearly'}: Spearman's rank correlation of layer and "
            f"time-scale is {trend.rho:.2f} (p {_chance(trend.p)}, {trend.units} units), medians in {step}s "
            f"{_medians(trend)}"
        )
        if before is not None:
            same = strong and before.p < _CHANCE and before.rho * trend.rho > 0
            text += f"; as initialised {_medians(before)}" + (", so that it is so before training" * same)
        found.append(text)
    if found:
        return f"Do higher layers work at longer time-scales? {'. '.join(map(_capital, found))}."
    changes = _with_lasting(scales)["change"].drop_nulls()
    middle = changes.median() if len(changes) else None
    if not isinstance(middle, float) or scales["layer"].n_unique() > 1:
        return "The time-scales of layers cannot be compared: nothing is known, or nothing differs."
    if middle == float("inf"):
        return "There is one layer; in half of its units a change of the input lasts longer than was seen."
    return f"There is one layer; half of its units forget a change of the input within {middle:.3g} {step}s."


def _with_lasting(scales: pl.DataFrame) -> pl.DataFrame:
    """Give the time-scales by a change as one column, infinite where it outlasts what was seen."""
    lasting = pl.when("change_lasts").then(float("inf")).otherwise(pl.col("change_steps"))
    return scales.with_columns(lasting.alias("change"))


def _trend(scales: pl.DataFrame, column: str) -> LayerTrend | None:
    known = _with_lasting(scales).drop_nulls(column)
    return layer_trend(known["layer"].to_list(), known[column].to_list())


def _medians(trend: LayerTrend) -> str:
    return _listed(
        [
            f"{'longer than was seen' if value == float('inf') else f'{value:.3g}'} in layer {layer}"
            for layer, value in trend.medians.items()
        ]
    )


def _about_gradients(flow: pl.DataFrame) -> Iterator[str]:
    lag = _compared_lag(flow)
    if lag is None:
        return
    first = int(flow["layer"].to_numpy().min())
    here = flow.filter((pl.col("layer") == first) & (pl.col("lag") == lag))
    here = here.filter(pl.col("direction") == here["direction"][0])
    shares = [here.filter(pl.col("model") == model)["relative"][0] for model in MODELS]
    if any(share is None for share in shares):
        yield f"No gradient of what is explained reaches layer {first}'s last state."
        return
    models = ("in the model as trained", "as initialised", "in a plain RNN of the same size")
    told = [f"{share:.2g} times that {model}" for share, model in zip(shares, models, strict=True)]
    text = (
        f"Beside the gradient of layer {first}'s last state, that of its state "
        f"{_counted(lag, 'step')} before is {_listed(told)}"
    )
    if max(shares) > 1:
        text += "; above 1 it grows on the way back, or what stands above reads early states too"
    yield f"{text}."


def _compared_lag(flow: pl.DataFrame) -> int | None:
    """Give a lag that at least half of the sequences reach: 20 steps, or the longest there is."""
    reached = flow.filter(pl.col("sequences") >= pl.col("sequences").max() / 2)["lag"]
    longest = int(reached.to_numpy().max()) if len(reached) else 0
    return min(20, longest) if longest else None


def _about_worth(worth: pl.DataFrame, loss: str) -> Iterator[str]:
    whole = float(worth["loss"][0])
    shuffled = worth.filter((pl.col("way") == "shuffled") & pl.col("change").is_not_null())
    told = [
        f"to {value:.4g} with layer {layer} shuffled"
        + (f" (change {change:+.2g} ± {error:.1g})" if abs(change) > _ROUNDING * abs(whole) and error else "")
        for layer, value, change, error in shuffled.select(
            "layer", "loss", "change", "standard_error"
        ).iter_rows()
    ]
    if told:
        yield f"The loss ({loss}) goes from {whole:.4g} {_listed(told)}."


def _about_probes(probes: pl.DataFrame) -> str:
    told = [
        f"{score:.2f} from {'the inputs' if layer is None else f'layer {layer}'} (shuffled {shuffled:.2f})"
        + (", which is nothing" if score <= 0 else "")
        for layer, score, shuffled in probes.select("layer", "score", "shuffled").iter_rows()
    ]
    return f"A linear probe reads the truth with {probes['metric'][0]} {_listed(told)}."


def _about_inputs(occlusion: pl.DataFrame, subject: Subject) -> str:
    alone = occlusion.filter(pl.col("first").is_null() & pl.col("feature").is_not_null())
    of = alone["of"][0]
    best = alone.sort("change", descending=True, nulls_last=True).row(0, named=True)
    if best["change"] <= 2 * (best["standard_error"] or 0.0):
        return f"Without any one of the inputs the {of} changes by no more than its uncertainty."
    change = f"{best['change']:+.3g}" if of == "loss" else f"{best['change']:.3g}"
    text = f"Of the inputs, {best['feature']} is worth most: without it the {of} changes by {change}"
    if alone.height == 1:
        text = f"Without {best['feature']}, the only input, the {of} changes by {change}"
    stretches = occlusion.filter(pl.col("first").is_not_null() & pl.col("feature").is_null())
    if stretches.height:
        most = stretches.sort("change", descending=True).row(0, named=True)
        first, last = most["first"], most["last"]
        where = f"those {first} to {last}" if last > first else f"the one {first}"
        text += f"; of the {subject.steps}s, {where} before the end"
    return text + "."


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _chance(p: float) -> str:
    return "below 0.001" if p < 0.001 else f"= {p:.2g}"
