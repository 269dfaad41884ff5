"""Broken copies of the reference: each is its source with one thought wrong, forward and backward alike.

A change is a pair (text, replacement) in one file. Where a mistake would be made in the forward pass, the
backward pass is changed with it, so that the copy is consistent with itself and its gradients are the slopes
of its (wrong) results: only a comparison with somebody else's numbers can see it, and `missed_by` says so.
Where the mistake is in a gradient, the results are right. `caught_by` names checks that see the fault.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

from .adapter import reference_implementation
from .problems import Implementation

Changes = tuple[tuple[str, str], ...]

FORWARD = ("parity_all_real", "parity_lengths", "parity_mask")
GRADIENTS = ("gradient_parity", "finite_differences")
ALL_CELLS = ("lstm", "gru-after", "rnn-tanh")


@dataclass(frozen=True)
class BrokenCell:
    """A mistake: where it is made, in which cells it shows, which checks see it and which cannot."""

    name: str
    file: str
    changes: Changes
    variants: tuple[str, ...]
    caught_by: tuple[str, ...]
    missed_by: tuple[str, ...] = ()

    def implementation(self, variant: str) -> Implementation:
        """The broken copy, ready for the checks."""
        return reference_implementation(variant, self._parts())

    def _parts(self) -> SimpleNamespace:
        modules = {}
        for name in ("real_steps", "lstm", "gru", "rnn", "layer"):
            original = import_module(f"gatestack.reference.{name}")
            assert original.__file__ is not None
            source = Path(original.__file__).read_text(encoding="utf-8")
            if name == self.file:
                source = self._broken(source)
            modules[name] = copy = ModuleType(original.__name__)
            exec(compile(source, original.__file__, "exec"), copy.__dict__)
        modules["layer"].real_steps = modules["real_steps"].real_steps
        return SimpleNamespace(
            LSTMCell=modules["lstm"].LSTMCell,
            GRUCell=modules["gru"].GRUCell,
            RNNCell=modules["rnn"].RNNCell,
            layer_forward=modules["layer"].layer_forward,
            layer_backward=modules["layer"].layer_backward,
        )

    def _broken(self, source: str) -> str:
        for text, replacement in self.changes:
            if text not in source:
                raise LookupError(f"{self.name}: {self.file}.py no longer holds {text!r}; adapt the change")
            source = source.replace(text, replacement)
        return source


def _wrong_cell(name: str, file: str, variants: tuple[str, ...], *changes: tuple[str, str]) -> BrokenCell:
    """Another cell than the one asked for, with its own right gradients."""
    blind = ("finite_differences", "batch_is_loop", "single_steps", "reversed_twice", "empty_rows")
    return BrokenCell(name, file, changes, variants, caught_by=FORWARD, missed_by=blind)


def _wrong_gradient(name: str, file: str, variants: tuple[str, ...], *changes: tuple[str, str]) -> BrokenCell:
    """The right results with a wrong gradient."""
    return BrokenCell(name, file, changes, variants, caught_by=GRADIENTS, missed_by=FORWARD)


LSTM = (
    _wrong_cell(
        "LSTM with gates i and f swapped",
        "lstm",
        ("lstm", "lstm-peephole"),
        ("a_i, a_f, a_g, a_o = np.split", "a_f, a_i, a_g, a_o = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_f, d_a_i, d_a_g, d_a_o]"),
    ),
    _wrong_cell(
        "LSTM with gates f and o swapped",
        "lstm",
        ("lstm",),
        ("a_i, a_f, a_g, a_o = np.split", "a_i, a_o, a_g, a_f = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_i, d_a_o, d_a_g, d_a_f]"),
    ),
    _wrong_cell(
        "LSTM with the gate order i f o g",
        "lstm",
        ("lstm",),
        ("a_i, a_f, a_g, a_o = np.split", "a_i, a_f, a_o, a_g = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_i, d_a_f, d_a_o, d_a_g]"),
    ),
    _wrong_cell(
        "LSTM with tanh for the sigmoid of gate i",
        "lstm",
        ("lstm",),
        ("i = sigmoid(a_i + p_i * c)", "i = np.tanh(a_i + p_i * c)"),
        ("d_a_i = d_i * i * (1.0 - i)", "d_a_i = d_i * (1.0 - i**2)"),
    ),
    _wrong_cell(
        "LSTM with a sigmoid for the tanh of g",
        "lstm",
        ("lstm",),
        ("g = np.tanh(a_g)", "g = sigmoid(a_g)"),
        ("d_a_g = d_g * (1.0 - g**2)", "d_a_g = d_g * g * (1.0 - g)"),
    ),
    _wrong_cell(
        "LSTM with h' = o * c'",
        "lstm",
        ("lstm",),
        ("h_new = o * np.tanh(c_new)", "h_new = o * c_new"),
        ("tanh_c = np.tanh(c_new)", "tanh_c = c_new"),
        ("d_h_new * o * (1.0 - tanh_c**2)", "d_h_new * o"),
    ),
    _wrong_cell(
        "LSTM that forgets bias_hh",
        "lstm",
        ("lstm",),
        ("+ h @ self.weight_hh.T + self.bias_hh", "+ h @ self.weight_hh.T"),
        ('"bias_hh": d_a.sum(axis=0)', '"bias_hh": np.zeros_like(self.bias_hh)'),
    ),
    _wrong_cell(
        "LSTM with the peephole of o on the old c",
        "lstm",
        ("lstm-peephole",),
        ("o = sigmoid(a_o + p_o * c_new)", "o = sigmoid(a_o + p_o * c)"),
        ("(1.0 - tanh_c**2) + d_a_o * p_o", "(1.0 - tanh_c**2)"),
        ("d_a_i * p_i + d_a_f * p_f", "d_a_i * p_i + d_a_f * p_f + d_a_o * p_o"),
        ("(d_a_o * c_new).sum(axis=0)", "(d_a_o * c).sum(axis=0)"),
    ),
    _wrong_cell(
        "LSTM with the peepholes of i and f swapped",
        "lstm",
        ("lstm-peephole",),
        ("p_i, p_f, p_o = self._peepholes()", "p_f, p_i, p_o = self._peepholes()"),
        (
            "[(d_a_i * c).sum(axis=0), (d_a_f * c).sum(axis=0)",
            "[(d_a_f * c).sum(axis=0), (d_a_i * c).sum(axis=0)",
        ),
    ),
    _wrong_gradient(
        "LSTM with a zero gradient of weight_hh",
        "lstm",
        ("lstm",),
        ('"weight_hh": d_a.T @ h', '"weight_hh": np.zeros_like(self.weight_hh)'),
    ),
    _wrong_gradient(
        "LSTM without the gradient of c' through h'",
        "lstm",
        ("lstm",),
        ("d_c_new + d_h_new * o * (1.0 - tanh_c**2) + d_a_o * p_o", "d_c_new + d_a_o * p_o"),
    ),
    _wrong_gradient(
        "LSTM without the derivative of tanh(c')",
        "lstm",
        ("lstm",),
        ("d_h_new * o * (1.0 - tanh_c**2)", "d_h_new * o"),
    ),
    _wrong_gradient(
        "LSTM with the gradient of gate o missing",
        "lstm",
        ("lstm",),
        ("d_o = d_h_new * tanh_c", "d_o = np.zeros_like(o)"),
    ),
    _wrong_gradient(
        "LSTM whose gradient of f looks at the new c",
        "lstm",
        ("lstm",),
        ("d_f = d_c_new * c\n", "d_f = d_c_new * c_new\n"),
    ),
    _wrong_gradient(
        "LSTM whose gradient does not go back through c",
        "lstm",
        ("lstm",),
        ("d_c = d_c_new * f + d_a_i * p_i + d_a_f * p_f", "d_c = np.zeros_like(c)"),
    ),
    _wrong_gradient(
        "LSTM whose gradient does not go back through h",
        "lstm",
        ("lstm",),
        ("state=(d_a @ self.weight_hh, d_c)", "state=(np.zeros_like(h), d_c)"),
    ),
    _wrong_gradient(
        "LSTM without the gradient of c' through the peephole of o",
        "lstm",
        ("lstm-peephole",),
        ("(1.0 - tanh_c**2) + d_a_o * p_o", "(1.0 - tanh_c**2)"),
    ),
    _wrong_gradient(
        "LSTM without the gradient of c through the peephole of f",
        "lstm",
        ("lstm-peephole",),
        ("d_c_new * f + d_a_i * p_i + d_a_f * p_f", "d_c_new * f + d_a_i * p_i"),
    ),
)

GRU = (
    _wrong_cell(
        "GRU with gates r and z swapped",
        "gru",
        ("gru-after", "gru-before"),
        ("W_ir, W_iz, W_in = np.split", "W_iz, W_ir, W_in = np.split"),
        ("W_hr, W_hz, W_hn = np.split", "W_hz, W_hr, W_hn = np.split"),
        ("b_ir, b_iz, b_in = np.split", "b_iz, b_ir, b_in = np.split"),
        ("b_hr, b_hz, b_hn = np.split", "b_hz, b_hr, b_hn = np.split"),
        ("np.concatenate([d_a_r, d_a_z, d_a_n]", "np.concatenate([d_a_z, d_a_r, d_a_n]"),
        ("np.concatenate([d_a_r.T @ h, d_a_z.T @ h,", "np.concatenate([d_a_z.T @ h, d_a_r.T @ h,"),
        ("[d_a_r.sum(axis=0), d_a_z.sum(axis=0),", "[d_a_z.sum(axis=0), d_a_r.sum(axis=0),"),
    ),
    _wrong_cell(
        "GRU with z and 1 - z swapped",
        "gru",
        ("gru-after", "gru-before"),
        ("h_new = (1.0 - z) * n + z * h", "h_new = z * n + (1.0 - z) * h"),
        ("d_n = d_h_new * (1.0 - z)", "d_n = d_h_new * z"),
        ("d_z = d_h_new * (h - n)", "d_z = d_h_new * (n - h)"),
        ("d_h = d_h_new * z + ", "d_h = d_h_new * (1.0 - z) + "),
    ),
    _wrong_cell(
        "GRU with reset before and after confused",
        "gru",
        ("gru-after", "gru-before"),
        ('if self.reset == "after"', 'if self.reset == "before"'),
    ),
    _wrong_cell(
        "GRU with the recurrent bias of n outside the reset",
        "gru",
        ("gru-after",),
        ("r * (h @ W_hn.T + b_hn)", "r * (h @ W_hn.T) + b_hn"),
        ("m = h @ W_hn.T + b_hn\n            d_m", "m = h @ W_hn.T\n            d_m"),
        ("d_b_hn = d_m.sum(axis=0)", "d_b_hn = d_a_n.sum(axis=0)"),
    ),
    _wrong_cell(
        "GRU that forgets bias_hh of the gates",
        "gru",
        ("gru-after",),
        ("h @ W_hr.T + b_hr", "h @ W_hr.T"),
        ("h @ W_hz.T + b_hz", "h @ W_hz.T"),
        ("[d_a_r.sum(axis=0), d_a_z.sum(axis=0), d_b_hn]", "[0.0 * d_b_hn, 0.0 * d_b_hn, d_b_hn]"),
    ),
    _wrong_gradient(
        "GRU without the gradient through r",
        "gru",
        ("gru-after", "gru-before"),
        ("d_a_r = d_r * r * (1.0 - r)", "d_a_r = np.zeros_like(r)"),
    ),
    _wrong_gradient(
        "GRU whose gradient does not go back through n",
        "gru",
        ("gru-after", "gru-before"),
        (" + d_a_z @ W_hz + d_h_through_n", " + d_a_z @ W_hz"),
    ),
    _wrong_gradient(
        "GRU whose gradient does not go back through z * h",
        "gru",
        ("gru-after",),
        ("d_h = d_h_new * z + d_a_r", "d_h = d_a_r"),
    ),
    _wrong_gradient(
        "GRU whose gradient of r forgets the bias of n",
        "gru",
        ("gru-after",),
        ("m = h @ W_hn.T + b_hn\n            d_m", "m = h @ W_hn.T\n            d_m"),
    ),
    _wrong_gradient(
        "GRU whose gradient of W_hn looks at h, not at r * h",
        "gru",
        ("gru-before",),
        ("d_W_hn = d_a_n.T @ s", "d_W_hn = d_a_n.T @ h"),
    ),
)

RNN = (
    _wrong_cell(
        "RNN with relu for tanh and tanh for relu",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ('if self.activation == "tanh" else', 'if self.activation == "relu" else'),
    ),
    _wrong_cell(
        "RNN with weight_hh transposed",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("h @ self.weight_hh.T", "h @ self.weight_hh"),
        ('"weight_hh": d_a.T @ h', '"weight_hh": h.T @ d_a'),
        ("state=(d_a @ self.weight_hh,)", "state=(d_a @ self.weight_hh.T,)"),
    ),
    _wrong_cell(
        "RNN that forgets bias_ih",
        "rnn",
        ("rnn-tanh",),
        ("x @ self.weight_ih.T + self.bias_ih", "x @ self.weight_ih.T"),
        ('"bias_ih": d_a.sum(axis=0)', '"bias_ih": np.zeros_like(self.bias_ih)'),
    ),
    _wrong_gradient(
        "RNN without the derivative of its activation",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("d_a = d_h_new * slope", "d_a = d_h_new"),
    ),
    BrokenCell(
        "RNN with the mean for the sum over the batch",
        "rnn",
        (('"bias_hh": d_a.sum(axis=0)', '"bias_hh": d_a.mean(axis=0)'),),
        ("rnn-tanh",),
        caught_by=(*GRADIENTS, "batch_is_loop"),
        missed_by=FORWARD,
    ),
    _wrong_gradient(
        "RNN whose gradient does not go back through h",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("state=(d_a @ self.weight_hh,)", "state=(np.zeros_like(h),)"),
    ),
)

_KEEP_OLD = "tuple(np.where(m, new, old) for new, old in zip(stepped, state, strict=True))"
_D_NEW = "np.where(m, d_s + d_e[:, t], 0.0)"
_D_STATE = "np.where(m, 0.0, d_s) + d_p"
_INITIAL = "    x = np.where(real[:, :, None], x, 0.0)"
_RAGGED_CHECKS = ("parity_lengths", "parity_mask", "lengths_are_truncation", "empty_rows")

LAYER = (
    BrokenCell(
        "initial state ignored",
        "layer",
        (
            (_INITIAL, "    state = tuple(np.zeros((N, H)) for _ in state)\n" + _INITIAL),
            ("initial=d_state", "initial=tuple(np.zeros((N, H)) for _ in d_state)"),
        ),
        ALL_CELLS,
        caught_by=(*FORWARD, "single_steps", "empty_rows"),
        missed_by=("finite_differences", "batch_is_loop", "reversed_twice"),
    ),
    BrokenCell(
        "initial cell state ignored",
        "layer",
        (
            (_INITIAL, "    state = (state[0], np.zeros((N, H)))\n" + _INITIAL),
            ("initial=d_state", "initial=(d_state[0], np.zeros((N, H)))"),
        ),
        ("lstm",),
        caught_by=(*FORWARD, "single_steps", "empty_rows"),
        missed_by=("finite_differences", "batch_is_loop", "reversed_twice"),
    ),
    BrokenCell(
        "final state taken at T, not at the length",
        "layer",
        (("final=state", "final=tuple(history[:, steps[-1]] for history in every)"),),
        ALL_CELLS,
        caught_by=(*_RAGGED_CHECKS, "finite_differences"),
        missed_by=("parity_all_real",),
    ),
    BrokenCell(
        "final states left in the order of the lengths",
        "layer",
        (("final=state", "final=tuple(part[np.argsort(-real.sum(axis=1))] for part in state)"),),
        ALL_CELLS,
        caught_by=("parity_lengths", "parity_mask", "lengths_are_truncation", "batch_is_loop"),
        missed_by=("parity_all_real",),
    ),
    BrokenCell(
        "a step that is not real updates the state",
        "layer",
        (
            (_KEEP_OLD, "stepped"),
            (_D_NEW, "d_s + np.where(m, d_e[:, t], 0.0)"),
            (_D_STATE, "d_p"),
            ("d_x[:, t] = step.x", "d_x[:, t] = np.where(m, step.x, 0.0)"),
        ),
        ALL_CELLS,
        caught_by=_RAGGED_CHECKS,
        missed_by=("parity_all_real", "finite_differences", "batch_is_loop", "single_steps"),
    ),
    BrokenCell(
        "output not zeroed where a step is not real",
        "layer",
        (
            ("history[:, t] = np.where(m, part, 0.0)", "history[:, t] = part"),
            (f"d_state = tuple({_D_STATE}", f"d_state = tuple({_D_STATE} + np.where(m, 0.0, d_e[:, t])"),
            ("d_s, d_p in zip(d_state, step.state", "d_s, d_e, d_p in zip(d_state, d_every, step.state"),
        ),
        ALL_CELLS,
        caught_by=_RAGGED_CHECKS,
        missed_by=("parity_all_real", "finite_differences", "batch_is_loop"),
    ),
    BrokenCell(
        "reverse direction starts at T, not at the length",
        "layer",
        (
            (_KEEP_OLD, f"stepped if reverse else {_KEEP_OLD}"),
            (
                "        d_new = tuple(",
                "        backwards = tape.steps[0] > tape.steps[-1]\n        d_new = tuple(",
            ),
            (_D_NEW, f"d_s + np.where(m, d_e[:, t], 0.0) if backwards else {_D_NEW}"),
            (_D_STATE, f"d_p if backwards else {_D_STATE}"),
            ("d_x[:, t] = step.x", "d_x[:, t] = np.where(m, step.x, 0.0)"),
        ),
        ALL_CELLS,
        caught_by=(*_RAGGED_CHECKS, "reversed_twice"),
        missed_by=("parity_all_real", "finite_differences"),
    ),
    BrokenCell(
        "reverse ignored",
        "layer",
        (("if reverse else", "if False else"),),
        ALL_CELLS,
        caught_by=(*FORWARD, "reversed_twice"),
        missed_by=("finite_differences", "empty_rows", "batch_is_loop"),
    ),
    BrokenCell(
        "reverse output left in the order of the visits",
        "layer",
        (
            (
                "history[:, t] = np.where(m, part, 0.0)",
                "history[:, t if not reverse else T - 1 - t] = np.where(m, part, 0.0)",
            ),
        ),
        ALL_CELLS,
        caught_by=(*FORWARD, "reversed_twice", "finite_differences", "single_steps"),
        missed_by=("batch_is_loop",),
    ),
    BrokenCell(
        "lengths one too long",
        "real_steps",
        (("np.arange(steps) < counts", "np.arange(steps) <= counts"),),
        ALL_CELLS,
        caught_by=("parity_lengths", "lengths_are_truncation", "empty_rows"),
        missed_by=("parity_all_real", "parity_mask", "finite_differences"),
    ),
    BrokenCell(
        "a mask read as lengths",
        "real_steps",
        (("        return mask\n", "        return np.sort(mask, axis=1)[:, ::-1]\n"),),
        ALL_CELLS,
        caught_by=("parity_mask",),
        missed_by=("parity_all_real", "parity_lengths"),
    ),
    BrokenCell(
        "padding reaches the gradients",
        "layer",
        ((_INITIAL + "  # a NaN", "    # a NaN"),),
        ALL_CELLS,
        caught_by=("padding_is_ignored",),
        missed_by=(*FORWARD, *GRADIENTS),
    ),
    _wrong_gradient(
        "gradient of the initial state missing",
        "layer",
        ALL_CELLS,
        ("initial=d_state", "initial=tuple(np.zeros((N, H)) for _ in d_state)"),
    ),
    _wrong_gradient(
        "gradient truncated after one step",
        "layer",
        ALL_CELLS,
        (_D_STATE, "np.where(m, 0.0, d_s) + 0.0 * d_p"),
    ),
    _wrong_gradient("gradient lost in the padding", "layer", ALL_CELLS, (_D_STATE, "d_p")),
    _wrong_gradient(
        "gradient of the final state ignored",
        "layer",
        ALL_CELLS,
        ("for _ in d_every) if d_final is None else d_final", "for _ in d_every)"),
    ),
    _wrong_gradient(
        "gradient of the cell states ignored",
        "layer",
        ("lstm",),
        ("d_cells = zeros if d_cells is None else d_cells", "d_cells = zeros"),
    ),
    _wrong_gradient(
        "gradient of weights kept from one step alone",
        "layer",
        ALL_CELLS,
        ("d_weights[name] += gradient", "d_weights[name] = gradient"),
    ),
)

BROKEN_CELLS = (*LSTM, *GRU, *RNN, *LAYER)
