"""`gatestack.reference`, true or broken, as an implementation that the checks can take."""

from __future__ import annotations

from types import SimpleNamespace

from gatestack import reference

from .problems import VARIANTS, Implementation, Outcome, Problem


def reference_implementation(variant: str, parts: SimpleNamespace | None = None) -> Implementation:
    """The reference for one variant; `parts` may replace its cells, layer_forward and layer_backward."""
    parts = parts or SimpleNamespace(
        LSTMCell=reference.LSTMCell,
        GRUCell=reference.GRUCell,
        RNNCell=reference.RNNCell,
        LayerMasks=reference.LayerMasks,
        layer_forward=reference.layer_forward,
        layer_backward=reference.layer_backward,
    )

    def run(problem: Problem) -> Outcome:
        cell, form = problem.variant.cell, problem.variant.form
        if cell == "lstm":
            made = parts.LSTMCell(**problem.weights)
        elif cell == "gru":
            made = parts.GRUCell(**problem.weights, reset=form)
        else:
            made = parts.RNNCell(**problem.weights, activation=form)
        result = parts.layer_forward(
            made,
            problem.x,
            problem.initial,
            lengths=problem.lengths,
            mask=problem.mask,
            reverse=problem.reverse,
            masks=parts.LayerMasks(**problem.masks),
        )
        if problem.results_only:
            return Outcome(output=result.output, final=result.final, cells=result.cells)
        gradients = parts.layer_backward(result.tape, problem.d_output, problem.d_final, problem.d_cells)
        return Outcome(
            output=result.output,
            final=result.final,
            cells=result.cells,
            d_x=gradients.x,
            d_initial=gradients.initial,
            d_weights=gradients.weights,
        )

    return Implementation(run, VARIANTS[variant])
