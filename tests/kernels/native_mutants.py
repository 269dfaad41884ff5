"""Faults planted in the C++ of the kernels: in which file, what stands there, what stands there instead.

Each is a mistake that a person could make and a compiler would take. A change whose text is no longer in its
file is an error: whoever changes the line moves the fault along with it.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One planted fault."""

    name: str
    file: str
    text: str
    replacement: str

    def planted(self, source: str) -> str:
        """The source with the fault in it, in one place."""
        if source.count(self.text) != 1:
            found = source.count(self.text)
            raise LookupError(f"{self.name}: {self.file} holds {found} times {self.text!r}; adapt the fault")
        return source.replace(self.text, self.replacement)


MUTANTS = (
    Mutant(
        "the product leaves out the last of many terms",
        "product.h",
        "for (int64_t k = 0; k < k_count; ++k) {\n    Vector<T> panel[NV];",
        "for (int64_t k = 0; k < k_count - (k_count > 60); ++k) {\n    Vector<T> panel[NV];",
    ),
    Mutant(
        "the peephole of o sees the old cell state",
        "lstm_pointwise.h",
        "fma<T>(lanes.load(p + 2 * H + u), c, lanes.load(o_row + u))",
        "fma<T>(lanes.load(p + 2 * H + u), before, lanes.load(o_row + u))",
    ),
    Mutant(
        "no gradient of c through the peephole of o",
        "lstm_pointwise.h",
        "if (p) d_c = fma<T>(d_o, lanes.load(p + 2 * H + u), d_c);",
        "",
    ),
    Mutant(
        "y is made from c after its zoneout",
        "lstm_pointwise.h",
        "lanes.store(new_cell + u, c);",
        "lanes.store(new_cell + u, carried);",
    ),
    Mutant(
        "zoneout's gradient does not reach the old cell state",
        "lstm_pointwise.h",
        "d_before = (one - w) * d_carried;",
        "d_before = (one - one) * d_carried;",
    ),
    Mutant(
        "the gradient of i forgets the mask of the candidate",
        "lstm_pointwise.h",
        "d_c * candidate * i * (one - i)",
        "d_c * g * i * (one - i)",
    ),
    Mutant(
        "the gradient of a GRU's U_n h + b is not gated",
        "gru_pointwise.h",
        "lanes.store(d_row + 3 * H + u, d_n * r);",
        "lanes.store(d_row + 3 * H + u, d_n);",
    ),
    Mutant(
        "a GRU hands all of dy on to the state before",
        "gru_pointwise.h",
        "lanes.store(d_before + u, z * dy);",
        "lanes.store(d_before + u, dy);",
    ),
    Mutant(
        "the gradient through r h takes the place of that through the gates",
        "gru_pointwise.h",
        "lanes.store(d_dropped + u, fma<T>(d, r, lanes.load(d_dropped + u)));",
        "lanes.store(d_dropped + u, d * r);",
    ),
    Mutant(
        "layer norm without the gradient through the mean",
        "layer_norm.h",
        "(lanes.load(dn + u) - mean - n * slope)",
        "(lanes.load(dn + u) - n * slope)",
    ),
    Mutant(
        "the variance forgets what is beyond the last whole vector",
        "layer_norm.h",
        "(sum_of_lanes<T>(squares) + rest)",
        "sum_of_lanes<T>(squares)",
    ),
    Mutant(
        "both directions draw the same masks",
        "dropout.h",
        "16u * static_cast<uint64_t>(direction)",
        "0u * static_cast<uint64_t>(direction)",
    ),
    Mutant(
        "dropout of the input is the same at each step",
        "rows.h",
        "layer.input_dropout_per_step ? step : 0",
        "0 * step",
    ),
    Mutant(
        "the expected zoneout is the share that is kept back",
        "rows.h",
        "T(1.0 - layer.layer->zoneout_hidden)",
        "T(layer.layer->zoneout_hidden)",
    ),
    Mutant(
        "b_hn of a GRU outside the reset gate",
        "plan.h",
        "to.bias[candidate ? row + H : column] += b_h[row]",
        "to.bias[candidate ? column : column] += b_h[row]",
    ),
    Mutant(
        "the initial cell state is ignored",
        "forward.h",
        "given.c0 ? static_cast<const T *>(given.c0) + at * layer.H : zeros_",
        "zeros_",
    ),
    Mutant(
        "no zeros where a step is not real",
        "forward.h",
        "if (last && plan_.call->y) fill_row(plan_.y_row(n, t) + d * layer.P, T(0), layer.P);",
        "",
    ),
    Mutant(
        "the reverse half adds the residual of the forward one",
        "forward.h",
        "add_row(y, plan_.raw_input(l, n, t, task.raw, below) + d * P, P);",
        "add_row(y, plan_.raw_input(l, n, t, task.raw, below), P);",
    ),
    Mutant(
        "hidden dropout keeps the h of the beginning",
        "forward.h",
        "if (state.dropped) multiply_row(state.dropped + r * P, h, state.hidden_mask + r * P, P);",
        "",
    ),
    Mutant(
        "the gradient of the final cell state is ignored",
        "backward.h",
        "given.grad_cn ? static_cast<const T *>(given.grad_cn) + at * layer.H : zeros_",
        "zeros_",
    ),
    Mutant(
        "the gradient of weight_hh does not see the initial state",
        "backward.h",
        "return h0 ? h0 + (d * plan_.batch.N + n) * layer.P : zeros_;",
        "return zeros_;",
    ),
    Mutant(
        "the gradients of weights are those of the last chunk of steps",
        "backward.h",
        "chunk.first && first == 0 ? zeros_ : nullptr",
        "first == 0 ? zeros_ : nullptr",
    ),
    Mutant(
        "no gradient through the residual connection",
        "backward.h",
        "if (dy) add_row(dx, dy, layer.I);",
        "",
    ),
    Mutant(
        "the gradient of b_hn is that of b_in",
        "backward.h",
        "side.biases[apart && row >= 2 * H ? row + H : column]",
        "side.biases[apart && row >= 2 * H ? column : column]",
    ),
    Mutant(
        "the first row of the batch gives no gradient to the peepholes",
        "backward.h",
        "for (int64_t n = 0; n < plan_.batch.N; ++n) add_row(sum, row_gradient",
        "for (int64_t n = 1; n < plan_.batch.N; ++n) add_row(sum, row_gradient",
    ),
    Mutant(
        "a row's share of a batch depends on the other rows' lengths",
        "forward.h",
        "while (rows > 0 && batch.length(groups_.row(batch, group, rows - 1)) <= p) --rows;",
        "while (rows > 1 && batch.length(groups_.row(batch, group, rows - 1)) < p) --rows;",
    ),
    Mutant(
        "tanh is 1 from 4 on",
        "vector_math.h",
        "static constexpr float saturated = 10.0f;",
        "static constexpr float saturated = 4.0f;",
    ),
)
