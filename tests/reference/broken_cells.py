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
        for name in ("real_steps", "layer_norm", "affine", "layer_masks", "lstm", "gru", "rnn", "layer"):
            original = import_module(f"gatestack.reference.{name}")
            assert original.__file__ is not None
            source = Path(original.__file__).read_text(encoding="utf-8")
            if name == self.file:
                source = self._broken(source)
            modules[name] = copy = ModuleType(original.__name__)
            exec(compile(source, original.__file__, "exec"), copy.__dict__)
        # What a file takes from another file of the package, its copy takes from the copy of that file.
        for name, module in modules.items():
            for taken in [key for key in vars(module) if not key.startswith("_")]:
                home = str(getattr(vars(module)[taken], "__module__", "")).removeprefix(
                    "gatestack.reference."
                )
                if home in modules and home != name:
                    setattr(module, taken, vars(modules[home])[taken])
        return SimpleNamespace(
            LSTMCell=modules["lstm"].LSTMCell,
            GRUCell=modules["gru"].GRUCell,
            RNNCell=modules["rnn"].RNNCell,
            LayerMasks=modules["layer_masks"].LayerMasks,
            layer_forward=modules["layer"].layer_forward,
            layer_backward=modules["layer"].layer_backward,
        )

    def _broken(self, source: str) -> str:
        for text, replacement in self.changes:
            if text not in source:
                raise LookupError(f"{self.name}: {self.file}.py no longer holds {text!r}; adapt the change")
            source = source.replace(text, replacement)
        return source


def wrong_cell(name: str, file: str, variants: tuple[str, ...], *changes: tuple[str, str]) -> BrokenCell:
    """Another cell than the one asked for, with its own right gradients."""
    blind = ("finite_differences", "batch_is_loop", "single_steps", "reversed_twice", "empty_rows")
    return BrokenCell(name, file, changes, variants, caught_by=FORWARD, missed_by=blind)


def wrong_gradient(name: str, file: str, variants: tuple[str, ...], *changes: tuple[str, str]) -> BrokenCell:
    """The right results with a wrong gradient."""
    return BrokenCell(name, file, changes, variants, caught_by=GRADIENTS, missed_by=FORWARD)


LSTM = (
    wrong_cell(
        "LSTM with gates i and f swapped",
        "lstm",
        ("lstm", "lstm-peephole"),
        ("a_i, a_f, a_g, a_o = np.split", "a_f, a_i, a_g, a_o = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_f, d_a_i, d_a_g, d_a_o]"),
    ),
    wrong_cell(
        "LSTM with gates f and o swapped",
        "lstm",
        ("lstm",),
        ("a_i, a_f, a_g, a_o = np.split", "a_i, a_o, a_g, a_f = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_i, d_a_o, d_a_g, d_a_f]"),
    ),
    wrong_cell(
        "LSTM with the gate order i f o g",
        "lstm",
        ("lstm",),
        ("a_i, a_f, a_g, a_o = np.split", "a_i, a_f, a_o, a_g = np.split"),
        ("np.concatenate([d_a_i, d_a_f, d_a_g, d_a_o]", "np.concatenate([d_a_i, d_a_f, d_a_o, d_a_g]"),
    ),
    wrong_cell(
        "LSTM with tanh for the sigmoid of gate i",
        "lstm",
        ("lstm",),
        ("i = sigmoid(a_i + p_i * c)", "i = np.tanh(a_i + p_i * c)"),
        ("d_a_i = d_i * i * (1.0 - i)", "d_a_i = d_i * (1.0 - i**2)"),
    ),
    wrong_cell(
        "LSTM with a sigmoid for the tanh of g",
        "lstm",
        ("lstm",),
        ("g = np.tanh(a_g)", "g = sigmoid(a_g)"),
        ("d_a_g = d_g * (1.0 - g**2)", "d_a_g = d_g * g * (1.0 - g)"),
    ),
    wrong_cell(
        "LSTM with h' = o * c'",
        "lstm",
        ("lstm",),
        ("return np.tanh(c_new), ()", "return c_new, ()"),
        ("d_s = d_y * o * (1.0 - tanh_c**2)", "d_s = d_y * o"),
    ),
    wrong_cell(
        "LSTM that forgets bias_hh",
        "lstm",
        ("lstm",),
        ("affine(self.weight_hh, self.bias_hh,", "affine(self.weight_hh, np.zeros_like(self.bias_hh),"),
        ("d_input | d_hidden", 'd_input | d_hidden | {"bias_hh": np.zeros_like(self.bias_hh)}'),
    ),
    wrong_cell(
        "LSTM with the peephole of o on the old c",
        "lstm",
        ("lstm-peephole",),
        ("o = sigmoid(a_o + p_o * c_new)", "o = sigmoid(a_o + p_o * c)"),
        ("d_c_new + d_s + d_a_o * p_o", "d_c_new + d_s"),
        ("d_a_i * p_i + d_a_f * p_f", "d_a_i * p_i + d_a_f * p_f + d_a_o * p_o"),
        ("(d_a_o * c_new).sum(axis=0)", "(d_a_o * c).sum(axis=0)"),
    ),
    wrong_cell(
        "LSTM with the peepholes of i and f swapped",
        "lstm",
        ("lstm-peephole",),
        ("p_i, p_f, p_o = self._peepholes()", "p_f, p_i, p_o = self._peepholes()"),
        (
            "[(d_a_i * c).sum(axis=0), (d_a_f * c).sum(axis=0)",
            "[(d_a_f * c).sum(axis=0), (d_a_i * c).sum(axis=0)",
        ),
    ),
    wrong_gradient(
        "LSTM with a zero gradient of weight_hh",
        "lstm",
        ("lstm",),
        ("d_input | d_hidden", 'd_input | d_hidden | {"weight_hh": np.zeros_like(self.weight_hh)}'),
    ),
    wrong_gradient(
        "LSTM without the gradient of c' through h'",
        "lstm",
        ("lstm",),
        ("d_c_new + d_s + d_a_o * p_o", "d_c_new + d_a_o * p_o"),
    ),
    wrong_gradient(
        "LSTM without the derivative of tanh(c')",
        "lstm",
        ("lstm",),
        ("d_s = d_y * o * (1.0 - tanh_c**2)", "d_s = d_y * o"),
    ),
    wrong_gradient(
        "LSTM with the gradient of gate o missing",
        "lstm",
        ("lstm",),
        ("d_o = d_y * tanh_c", "d_o = np.zeros_like(o)"),
    ),
    wrong_gradient(
        "LSTM whose gradient of f looks at the new c",
        "lstm",
        ("lstm",),
        ("d_f = d_c_new * c\n", "d_f = d_c_new * c_new\n"),
    ),
    wrong_gradient(
        "LSTM whose gradient does not go back through c",
        "lstm",
        ("lstm",),
        ("d_c = d_c_new * f + d_a_i * p_i + d_a_f * p_f", "d_c = np.zeros_like(c)"),
    ),
    wrong_gradient(
        "LSTM whose gradient does not go back through h",
        "lstm",
        ("lstm",),
        ("state=(dropout.hidden * d_seen, d_c)", "state=(np.zeros_like(d_seen), d_c)"),
    ),
    wrong_gradient(
        "LSTM without the gradient of c' through the peephole of o",
        "lstm",
        ("lstm-peephole",),
        ("d_c_new + d_s + d_a_o * p_o", "d_c_new + d_s"),
    ),
    wrong_gradient(
        "LSTM without the gradient of c through the peephole of f",
        "lstm",
        ("lstm-peephole",),
        ("d_c_new * f + d_a_i * p_i + d_a_f * p_f", "d_c_new * f + d_a_i * p_i"),
    ),
)

_B_HN = "self.bias_hh[2 * self.hidden_size :]"
_N_ALONE = "np.repeat([0.0, 0.0, 1.0], self.hidden_size)"

GRU = (
    wrong_cell(
        "GRU with gates r and z swapped",
        "gru",
        ("gru-after", "gru-before"),
        ("x_r, x_z, x_n = np.split", "x_z, x_r, x_n = np.split"),
        ("h_r, h_z, m = np.split", "h_z, h_r, m = np.split"),
        ("h_r, h_z = np.split", "h_z, h_r = np.split"),
        ("np.concatenate([d_a_r, d_a_z,", "np.concatenate([d_a_z, d_a_r,"),
        ("np.concatenate([d_a_r, d_a_z]", "np.concatenate([d_a_z, d_a_r]"),
    ),
    wrong_cell(
        "GRU with z and 1 - z swapped",
        "gru",
        ("gru-after", "gru-before"),
        ("(1.0 - z) * (dropout.candidate * n) + z * h", "z * (dropout.candidate * n) + (1.0 - z) * h"),
        ("d_n = d_h_new * (1.0 - z)", "d_n = d_h_new * z"),
        ("d_z = d_h_new * (h - dropout.candidate * n)", "d_z = d_h_new * (dropout.candidate * n - h)"),
        ("d_h = d_h_new * z + ", "d_h = d_h_new * (1.0 - z) + "),
    ),
    wrong_cell(
        "GRU with reset before and after confused",
        "gru",
        ("gru-after", "gru-before"),
        ('if self.reset == "after"', 'if self.reset == "before"'),
    ),
    wrong_cell(
        "GRU with the recurrent bias of n outside the reset",
        "gru",
        ("gru-after",),
        (
            "            n = np.tanh(x_n + r * m)",
            f"            m = m - {_B_HN}\n            n = np.tanh(x_n + r * m + {_B_HN})",
        ),
        (
            "from_h, d_a_h)\n        else",
            "from_h, d_a_h)\n"
            "            d_hidden['bias_hh'] = np.concatenate([d_a_r, d_a_z, d_a_n], axis=1).sum(axis=0)\n"
            "        else",
        ),
    ),
    wrong_cell(
        "GRU that forgets bias_hh of the gates",
        "gru",
        ("gru-after",),
        ("affine(self.weight_hh, self.bias_hh,", f"affine(self.weight_hh, {_N_ALONE} * self.bias_hh,"),
        ("d_input | d_hidden", f'd_input | d_hidden | {{"bias_hh": {_N_ALONE} * d_hidden["bias_hh"]}}'),
    ),
    wrong_gradient(
        "GRU without the gradient through r",
        "gru",
        ("gru-after", "gru-before"),
        ("d_a_r = d_r * r * (1.0 - r)", "d_a_r = np.zeros_like(r)"),
    ),
    wrong_gradient(
        "GRU whose gradient does not go back through n",
        "gru",
        ("gru-after", "gru-before"),
        ("d_a_r, d_a_z, d_m]", "d_a_r, d_a_z, 0.0 * d_m]"),
        ("d_seen = d_seen + d_s * r", "d_seen = d_seen + 0.0 * d_s"),
    ),
    wrong_gradient(
        "GRU whose gradient does not go back through z * h",
        "gru",
        ("gru-after",),
        ("d_h = d_h_new * z + ", "d_h = "),
    ),
    wrong_gradient(
        "GRU whose gradient of r forgets the bias of n",
        "gru",
        ("gru-after",),
        ("d_r = d_a_n * m", f"d_r = d_a_n * (m - {_B_HN})"),
    ),
    wrong_gradient(
        "GRU whose gradient of W_hn looks at h, not at r * h",
        "gru",
        ("gru-before",),
        ("d_a_n.T @ s]", "d_a_n.T @ h]"),
    ),
)

RNN = (
    wrong_cell(
        "RNN with relu for tanh and tanh for relu",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ('if self.activation == "tanh" else', 'if self.activation == "relu" else'),
    ),
    wrong_cell(
        "RNN with weight_hh transposed",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("affine(self.weight_hh,", "affine(self.weight_hh.T,"),
        ('affine_backward("hh", self.weight_hh,', 'affine_backward("hh", self.weight_hh.T,'),
        ("d_input | d_hidden", 'd_input | d_hidden | {"weight_hh": d_hidden["weight_hh"].T}'),
    ),
    wrong_cell(
        "RNN that forgets bias_ih",
        "rnn",
        ("rnn-tanh",),
        ("affine(self.weight_ih, self.bias_ih,", "affine(self.weight_ih, np.zeros_like(self.bias_ih),"),
        ("d_input | d_hidden", 'd_input | d_hidden | {"bias_ih": np.zeros_like(self.bias_ih)}'),
    ),
    wrong_gradient(
        "RNN without the derivative of its activation",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("d_a = d_h_new * slope", "d_a = d_h_new"),
    ),
    BrokenCell(
        "RNN with the mean for the sum over the batch",
        "rnn",
        (("d_input | d_hidden", 'd_input | d_hidden | {"bias_hh": d_a.mean(axis=0)}'),),
        ("rnn-tanh",),
        caught_by=(*GRADIENTS, "batch_is_loop"),
        missed_by=FORWARD,
    ),
    wrong_gradient(
        "RNN whose gradient does not go back through h",
        "rnn",
        ("rnn-tanh", "rnn-relu"),
        ("state=(dropout.hidden * d_seen,)", "state=(np.zeros_like(d_seen),)"),
    ),
)

_KEEP_OLD = "np.where(m, k * new + (1.0 - k) * old, old)"
_D_NEW = "np.where(m, d_s + d_e[:, t], 0.0)"
_D_STATE = "np.where(m, (1.0 - k) * d, d_s) + d_p"
_INITIAL = "    x = np.where(real[:, :, None], x, 0.0)"
_RAGGED_CHECKS = ("parity_lengths", "parity_mask", "lengths_are_truncation", "empty_rows")

LAYER = (
    BrokenCell(
        "initial state ignored",
        "layer",
        (
            (_INITIAL, "    state = tuple(np.zeros_like(part) for part in state)\n" + _INITIAL),
            ("initial=d_state", "initial=tuple(np.zeros_like(part) for part in d_state)"),
        ),
        ALL_CELLS,
        caught_by=(*FORWARD, "single_steps", "empty_rows"),
        missed_by=("finite_differences", "batch_is_loop", "reversed_twice"),
    ),
    BrokenCell(
        "initial cell state ignored",
        "layer",
        (
            (_INITIAL, "    state = (state[0], np.zeros_like(state[1]))\n" + _INITIAL),
            ("initial=d_state", "initial=(d_state[0], np.zeros_like(d_state[1]))"),
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
            (_KEEP_OLD, "new"),
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
            (_D_STATE, f"{_D_STATE} + np.where(m, 0.0, d_e[:, t])"),
            (
                "k, d, d_s, d_p in zip(shares, d_t, d_state,",
                "k, d, d_s, d_e, d_p in zip(shares, d_t, d_state, d_every,",
            ),
        ),
        ALL_CELLS,
        caught_by=_RAGGED_CHECKS,
        missed_by=("parity_all_real", "finite_differences", "batch_is_loop"),
    ),
    BrokenCell(
        "reverse direction starts at T, not at the length",
        "layer",
        (
            (_KEEP_OLD, f"new if reverse else {_KEEP_OLD}"),
            (
                "        d_t = tuple(",
                "        backwards = tape.steps[0] > tape.steps[-1]\n        d_t = tuple(",
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
    wrong_gradient(
        "gradient of the initial state missing",
        "layer",
        ALL_CELLS,
        ("initial=d_state", "initial=tuple(np.zeros_like(part) for part in d_state)"),
    ),
    wrong_gradient(
        "gradient truncated after one step",
        "layer",
        ALL_CELLS,
        (_D_STATE, "np.where(m, (1.0 - k) * d, d_s) + 0.0 * d_p"),
    ),
    wrong_gradient("gradient lost in the padding", "layer", ALL_CELLS, (_D_STATE, "d_p")),
    wrong_gradient(
        "gradient of the final state ignored",
        "layer",
        ALL_CELLS,
        ("for size in sizes) if d_final is None else d_final", "for size in sizes)"),
    ),
    wrong_gradient(
        "gradient of the cell states ignored",
        "layer",
        ("lstm",),
        ("(d_output, d_cells), sizes", "(d_output, None), sizes"),
    ),
    wrong_gradient(
        "gradient of weights kept from one step alone",
        "layer",
        ALL_CELLS,
        ("d_weights[name] += gradient", "d_weights[name] = gradient"),
    ),
)

BROKEN_CELLS = (*LSTM, *GRU, *RNN, *LAYER)
