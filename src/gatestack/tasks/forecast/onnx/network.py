"""The network inside an ONNX graph: the formulas of `network.py` and `head.py`, at each series' last step.

Letters: N series, T steps, W window, F steps ahead, C input features, H hidden.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from gatestack.convert.onnx.modules import emit_module
from gatestack.convert.onnx.terms import Term, concat, constant, stack, where
from gatestack.tasks.forecast.embeddings import CategoryEmbeddings
from gatestack.tasks.forecast.network import ForecastNetwork
from gatestack.tasks.forecast.onnx.distributions import GraphStart, graph_distribution
from gatestack.tasks.forecast.onnx.history import History

__all__ = ["said_ahead", "stack_inputs", "standard_static"]


def standard_static(network: ForecastNetwork, static: Term) -> Term:
    """Bring numbers of static columns (N, columns) to mean 0 and deviation 1, and embed categories."""
    standard = (static - network.static_mean.numpy()) / network.static_scale.numpy()
    return embedded(network.static, standard, axis=1)


def embedded(embeddings: CategoryEmbeddings, columns: Term, axis: int) -> Term:
    """Embed columns, codes and numbers, that lie along an axis, the last; see `CategoryEmbeddings`."""
    if not any(embeddings.categories):
        return columns
    parts = []
    for place, count in enumerate(embeddings.categories):
        if count:
            table = constant(columns, embeddings.table(place).detach().numpy())
            parts.append(table.pick(0, columns.pick(axis, place).to("int64")))
        else:
            parts.append(columns.cut(axis, place, place + 1))
    return concat(axis, *parts)


def stack_inputs(
    network: ForecastNetwork, history: History, covariates: Term | None, static: Term | None
) -> Term:
    """Give what the stack reads at the steps of a call; see `ForecastNetwork.inputs`.

    Args:
        network: the network.
        history: the steps.
        covariates: float32 (N, T, past and future columns and calendar features), NaN where missing, or None.
        static: float32 (N, columns), standardised, or None.

    Returns:
        float32 (N, T, C).
    """
    window = network.shape.window
    value, before = history.known.cut(1, window), history.known.cut(1, window - 1, -1)
    moments = history.moments.cut(1, 1)
    level, scale, long_level, long_scale = (moments.pick(2, place) for place in range(4))
    parts = [stack((value - level) / scale, (value - before) / scale, (value - long_level) / long_scale)]
    flags = [history.observed.to("float32").axes(2)]
    if covariates is not None:
        seen = covariates.observed()
        mean, spread = network.covariate_mean.numpy(), network.covariate_scale.numpy()
        standard = where(seen, (covariates - mean) / spread, np.float32(0))
        past = network.shape.past
        if past:
            parts.append(embedded(network.past, standard.cut(2, 0, past), axis=2))
        if network.shape.known:
            parts.append(embedded(network.known, standard.cut(2, past), axis=2))
        flags.append(seen.to("float32"))
    if static is not None:
        parts.append(static.axes(1).shared(concat(0, value.size(0), value.size(1), static.size(1))))
    if network.shape.flags:
        parts += flags
    return concat(2, *parts)


def said_ahead(
    network: ForecastNetwork,
    values: Term,
    moments: Term,
    hidden: Term,
    ahead: Term | None,
    static: Term | None,
) -> Term:
    """Forecast from one step of each series; see `ForecastHead.forward`.

    Args:
        network: the network.
        values: float32 (N, W), the last values, newest last.
        moments: float32 (N, 4), at the last step.
        hidden: float32 (N, reach + 1, H), the outputs of the stack up to the last step.
        ahead: float32 (N, F, future columns and calendar features), or None.
        static: float32 (N, columns), standardised, or None.

    Returns:
        Parameters of the distribution, float32 (N, F, parameters), in the user's unit.
    """
    head = network.head
    level, scale = moments.cut(1, 0, 1), moments.cut(1, 1, 2)
    newest_first = np.arange(head.window)[::-1]
    lags = (values.pick(1, newest_first) - level) / scale  # (N, W)
    usual = (moments.cut(1, 2, 3) - level) / scale  # (N, 1)
    base = concat(1, lags, usual) @ head.lag_weight.numpy() + head.lag_bias.numpy()  # (N, F)
    same = np.zeros(head.horizon, dtype=np.int64)
    seen = [lags.pick(1, same), usual.pick(1, same), base]
    z = _dense(head.from_state, hidden.pick(1, head.reach)).axes(1) + _array(head.step_embedding)
    for project, season in zip(head.from_phase, head.seasons, strict=True):
        shift = head.get_buffer(f"shift_{season}").numpy()
        z = z + _dense(project, hidden.pick(1, head.reach - shift))
        season_before = np.where(shift + season < head.window, shift + season, shift)
        seen += [lags.pick(1, shift), lags.pick(1, season_before)]
    z = z + _dense(head.from_values, stack(*seen))
    if head.from_known is not None and ahead is not None:
        mean, spread = (
            part[network.shape.past :].numpy() for part in (network.covariate_mean, network.covariate_scale)
        )
        z = z + _dense(head.from_known, embedded(network.known, (ahead - mean) / spread, axis=2))
    if head.from_static is not None and static is not None:
        z = z + _dense(head.from_static, static).axes(1)
    raw = _dense(head.to_quantiles, _dense(nn.GELU(), z))
    start = GraphStart(base, head.spread.numpy(), level, scale)
    return graph_distribution(network.distribution).parameters(raw, start)


def _dense(module: nn.Module, x: Term) -> Term:
    return Term(x.graph, emit_module(module, x.graph, x.name), "float32")


def _array(parameter: torch.Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return parameter.detach().numpy()
