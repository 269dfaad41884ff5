"""Faults planted in the C++ of the kernels: what stands there, and what stands there instead.

Each is a mistake that a person could make and a compiler would take. A change whose text no file holds any
more is an error: whoever changes the line moves the fault along with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Mutant:
    """One planted fault."""

    name: str
    text: str
    replacement: str

    def plant(self, folder: Path) -> None:
        """Change the one place in the sources that holds the text."""
        places = [
            (file, source)
            for file in sorted(folder.glob("*.h"))
            if self.text in (source := file.read_text(encoding="utf-8"))
        ]
        count = sum(source.count(self.text) for _, source in places)
        if count != 1:
            raise LookupError(f"{self.name}: native/ holds {count} times {self.text!r}; adapt the fault")
        file, source = places[0]
        file.write_text(source.replace(self.text, self.replacement), encoding="utf-8")


MUTANTS = (
    Mutant(
        "the product leaves out the last of many terms",
        "for (int64_t k = 0; k < k_count; ++k) {\n    Vector<T> panel[NV];",
        "for (int64_t k = 0; k < k_count - (k_count > 60); ++k) {\n    Vector<T> panel[NV];",
    ),
    Mutant(
        "the peephole of o sees the old cell state",
        "fma<T>(lanes.load(p + 2 * H + u), c, lanes.load(o_row + u))",
        "fma<T>(lanes.load(p + 2 * H + u), before, lanes.load(o_row + u))",
    ),
    Mutant(
        "no gradient of c through the peephole of o",
        "if (p) d_c = fma<T>(d_o, lanes.load(p + 2 * H + u), d_c);",
        "",
    ),
    Mutant(
        "y is made from c after its zoneout",
        "lanes.store(new_cell + u, c);",
        "lanes.store(new_cell + u, carried);",
    ),
    Mutant(
        "zoneout's gradient does not reach the old cell state",
        "d_before = (one - w) * d_carried;",
        "d_before = (one - one) * d_carried;",
    ),
    Mutant(
        "the gradient of i forgets the mask of the candidate",
        "d_c * candidate * i * (one - i)",
        "d_c * g * i * (one - i)",
    ),
    Mutant(
        "the gradient of a GRU's U_n h + b is not gated",
        "lanes.store(d_row + 3 * H + u, d_n * r);",
        "lanes.store(d_row + 3 * H + u, d_n);",
    ),
    Mutant(
        "a GRU hands all of dy on to the state before",
        "lanes.store(d_before + u, z * dy);",
        "lanes.store(d_before + u, dy);",
    ),
    Mutant(
        "the gradient through r h takes the place of that through the gates",
        "lanes.store(d_dropped + u, fma<T>(d, r, lanes.load(d_dropped + u)));",
        "lanes.store(d_dropped + u, d * r);",
    ),
    Mutant(
        "layer norm without the gradient through the mean",
        "(lanes.load(dn + u) - mean - n * slope)",
        "(lanes.load(dn + u) - n * slope)",
    ),
    Mutant(
        "the variance forgets what is beyond the last whole vector",
        "(sum_of_lanes<T>(squares) + rest)",
        "sum_of_lanes<T>(squares)",
    ),
    Mutant(
        "both directions draw the same masks",
        "16u * static_cast<uint64_t>(direction)",
        "0u * static_cast<uint64_t>(direction)",
    ),
    Mutant(
        "dropout of the input is the same at each step",
        "layer.input_dropout_per_step ? step : 0",
        "0 * step",
    ),
    Mutant(
        "the expected zoneout is the share that is kept back",
        "T(1.0 - layer.layer->zoneout_hidden)",
        "T(layer.layer->zoneout_hidden)",
    ),
    Mutant(
        "b_hn of a GRU outside the reset gate",
        "to.bias[candidate ? row + H : column] += b_h[row]",
        "to.bias[candidate ? column : column] += b_h[row]",
    ),
    Mutant(
        "the initial cell state is ignored",
        "given.c0 ? static_cast<const T *>(given.c0) + at * layer.H : zeros_",
        "zeros_",
    ),
    Mutant(
        "no zeros where a step is not real",
        "if (last && plan_.call->y) fill_row(plan_.y_row(n, t) + d * layer.P, T(0), layer.P);",
        "",
    ),
    Mutant(
        "the reverse half adds the residual of the forward one",
        "add_row(y, plan_.raw_input(l, n, t, task.raw, below) + d * P, P);",
        "add_row(y, plan_.raw_input(l, n, t, task.raw, below), P);",
    ),
    Mutant(
        "hidden dropout keeps the h of the beginning",
        "if (state.dropped) multiply_row(state.dropped + r * P, h, state.hidden_mask + r * P, P);",
        "",
    ),
    Mutant(
        "the gradient of the final cell state is ignored",
        "given.grad_cn ? static_cast<const T *>(given.grad_cn) + at * layer.H : zeros_",
        "zeros_",
    ),
    Mutant(
        "the gradient of weight_hh does not see the initial state",
        "return h0 ? h0 + (d * plan_.batch.N + n) * layer.P : zeros_;",
        "return zeros_;",
    ),
    Mutant(
        "the gradients of weights are those of the last chunk of steps",
        "chunk.first && first == 0 ? zeros_ : nullptr",
        "first == 0 ? zeros_ : nullptr",
    ),
    Mutant(
        "no gradient through the residual connection",
        "if (dy) add_row(dx, dy, layer.I);",
        "",
    ),
    Mutant(
        "the gradient of b_hn is that of b_in",
        "side.biases[apart && row >= 2 * H ? row + H : column]",
        "side.biases[apart && row >= 2 * H ? column : column]",
    ),
    Mutant(
        "the first row of the batch gives no gradient to the peepholes",
        "for (int64_t n = 0; n < plan_.batch.N; ++n) add_row(sum, row_gradient",
        "for (int64_t n = 1; n < plan_.batch.N; ++n) add_row(sum, row_gradient",
    ),
    Mutant(
        "a row's share of a batch depends on the other rows' lengths",
        "while (rows > 0 && batch.length(groups_.row(batch, group, rows - 1)) <= p) --rows;",
        "while (rows > 1 && batch.length(groups_.row(batch, group, rows - 1)) < p) --rows;",
    ),
    Mutant(
        "tanh is 1 from 4 on",
        "static constexpr float saturated = 10.0f;",
        "static constexpr float saturated = 4.0f;",
    ),
    # These show in the bits alone, or with NaN.
    Mutant(
        "a row that is left over adds up in another way",
        "sum[m][v] = fma<T>(factor, panel[v], sum[m][v]);",
        "sum[m][v] = MR == 1 ? sum[m][v] + T(0.5) * factor * panel[v] + T(0.5) * factor * panel[v]\n"
        "                            : fma<T>(factor, panel[v], sum[m][v]);",
    ),
    Mutant(
        "tanh takes NaN for a large number", "return x > high ? high : x; }", "return x < high ? x : high; }"
    ),
    Mutant(
        "a convolutional LSTM takes the gates of the first position for all",
        "move(b.gates + p * 4 * F + gate * F, gate * b.elements() + p * b.columns);",
        "move(b.gates + gate * F, gate * b.elements() + p * b.columns);",
    ),
    Mutant(
        "positions after the last whole block are left out",
        "along((positions + length - 1) / length)",
        "along(positions < length ? 1 : positions / length)",
    ),
    Mutant(
        "channels after the last whole block are left out",
        "across((F + width - 1) / width)",
        "across(F / width)",
    ),
    Mutant(
        "a block of many channels begins at the first",
        "b.channel = number % across * width;",
        "b.channel = 0;",
    ),
    Mutant(
        "the map of a gate begins where the map of i does",
        "static_cast<T *>(map) + (gate * positions + b.position) * F + b.channel",
        "static_cast<T *>(map) + b.position * F + b.channel",
    ),
    Mutant(
        "the recurrent convolution is left out where gates are kept",
        "if (call.sums_hidden) {",
        "if (call.sums_hidden && !call.gates) {",
    ),
    Mutant(
        "the gradient through the next step is left out",
        "if (call.grad_h) add_row",
        "if (call.grad_h && !call.grad_y) add_row",
    ),
    Mutant(
        "the gradient of a convolutional LSTM's peepholes is that of the last image",
        "take_map(b, call.grad_peephole, d_map);",
        "fill_row(d_map, T(0), 3 * n);",
    ),
    Mutant(
        "the cell state before is not the one that was given",
        "if (call.c != call.c_before) copy_row(c, static_cast<const T *>(call.c_before) + b.cells, n);",
        "",
    ),
)
