"""Broken copies of the reference, for the options of the cells; what a change is says broken_cells.py."""

from __future__ import annotations

from .broken_cells import FORWARD, BrokenCell, Changes, wrong_cell, wrong_gradient

NORMED = ("lstm-norm", "gru-after-norm", "rnn-tanh-norm")
ZONED = ("lstm-zoneout", "lstm-expected", "gru-after-expected")


def _wrong_results(name: str, file: str, variants: tuple[str, ...], *changes: tuple[str, str]) -> BrokenCell:
    """Another cell than the one asked for, broken in the forward pass alone."""
    return BrokenCell(name, file, changes, variants, caught_by=FORWARD)


_ONE_GATE: Changes = (
    ("normal, scale = normalise(product)", "normal, scale = normalise(product.reshape(-1, 3))"),
    (
        "    return gain * normal + bias, (v,",
        "    normal = normal.reshape(v.shape[0], -1)\n    return gain * normal + bias, (v,",
    ),
    (
        "normalise_backward(normal, scale, d_a * gain)",
        "normalise_backward(normal.reshape(-1, 3), scale, (d_a * gain).reshape(-1, 3)).reshape(d_a.shape)",
    ),
)

LAYER_NORM = (
    wrong_cell(
        "layer norm without its gain",
        "affine",
        NORMED,
        ("return gain * normal + bias", "return normal + bias"),
        ("(d_a * normal).sum(axis=0)", "np.zeros_like(gain)"),
        ("from gatestack.reference.cell", "import numpy as np\nfrom gatestack.reference.cell"),
        ("normalise_backward(normal, scale, d_a * gain)", "normalise_backward(normal, scale, d_a)"),
    ),
    wrong_cell("layer norm over one gate at a time", "affine", ("lstm-norm", "gru-after-norm"), *_ONE_GATE),
    wrong_cell(
        "layer norm with the unbiased variance",
        "layer_norm",
        NORMED,
        (
            "np.sqrt((deviation**2).mean(axis=1, keepdims=True)",
            "np.sqrt((deviation**2).sum(axis=1, keepdims=True) / (a.shape[1] - 1)",
        ),
        (
            "along = (d_normal * normal).mean(axis=1, keepdims=True)",
            "along = (d_normal * normal).sum(axis=1, keepdims=True) / (normal.shape[1] - 1)",
        ),
    ),
    wrong_cell("layer norm with another epsilon", "layer_norm", NORMED, ("EPSILON = 1e-5", "EPSILON = 1e-6")),
    wrong_cell(
        "layer norm that does not take off the mean",
        "layer_norm",
        NORMED,
        ("deviation = a - a.mean(axis=1, keepdims=True)", "deviation = a"),
        ("scale * (d_normal - mean - normal", "scale * (d_normal - normal"),
    ),
    wrong_cell(
        "LSTM without the layer norm of c",
        "lstm",
        ("lstm-norm",),
        ("normal, scale = normalise(c_new)", "normal, scale = c_new, 1.0"),
        ("normalise_backward(normal, scale, d_s * self.gain_c)", "d_s * self.gain_c"),
    ),
    wrong_cell(
        "LSTM without the bias of the layer norm of c",
        "lstm",
        ("lstm-norm",),
        ("np.tanh(normal * self.gain_c + self.bias_c)", "np.tanh(normal * self.gain_c)"),
        ('"bias_c"] = d_s.sum(axis=0)', '"bias_c"] = np.zeros_like(self.bias_c)'),
    ),
    _wrong_results(
        "LSTM that carries the normalised c",
        "lstm",
        ("lstm-norm",),
        ("return (h_new, c_new)", "return (h_new, from_c[0])"),
    ),
    wrong_gradient(
        "layer norm without the gradient through the mean",
        "layer_norm",
        NORMED,
        ("d_normal - mean -", "d_normal -"),
    ),
    wrong_gradient(
        "layer norm without the gradient through the variance",
        "layer_norm",
        NORMED,
        (" - normal * along", ""),
    ),
    wrong_gradient(
        "layer norm without the gradient of its gains",
        "affine",
        NORMED,
        ("(d_a * normal).sum(axis=0)", "0.0 * normal.sum(axis=0)"),
    ),
    wrong_gradient(
        "layer norm whose gradient forgets the gain", "affine", NORMED, ("scale, d_a * gain)", "scale, d_a)")
    ),
    wrong_gradient(
        "LSTM without the gradient of gain_c",
        "lstm",
        ("lstm-norm", "lstm-all"),
        ("(d_s * normal).sum(axis=0)", "0.0 * normal.sum(axis=0)"),
    ),
    wrong_gradient(
        "LSTM whose gradient passes by the layer norm of c",
        "lstm",
        ("lstm-norm",),
        ("normalise_backward(normal, scale, d_s * self.gain_c)", "d_s * self.gain_c"),
    ),
)

PROJECTION = (
    wrong_cell(
        "LSTM that projects with the columns in reverse",
        "lstm",
        ("lstm-projection",),
        ("y @ self.weight_hr.T", "y @ self.weight_hr[:, ::-1].T"),
        ("d_h_new @ self.weight_hr", "d_h_new @ self.weight_hr[:, ::-1]"),
        ("d_h_new.T @ (o * tanh_c)", "(d_h_new.T @ (o * tanh_c))[:, ::-1]"),
    ),
    wrong_cell(
        "LSTM that projects before the tanh of c",
        "lstm",
        ("lstm-projection",),
        ("y = o * tanh_c", "y = o * (tanh_c if self.weight_hr is None else c_new)"),
        ("d_h_new.T @ (o * tanh_c)", "d_h_new.T @ (o * c_new)"),
        ("d_o = d_y * tanh_c", "d_o = d_y * c_new"),
        ("d_s = d_y * o * (1.0 - tanh_c**2)", "d_s = d_y * o"),
    ),
    wrong_gradient(
        "LSTM without the gradient of weight_hr",
        "lstm",
        ("lstm-projection", "lstm-all"),
        ("d_h_new.T @ (o * tanh_c)", "0.0 * self.weight_hr"),
    ),
    wrong_gradient(
        "LSTM whose gradient of weight_hr takes i for o",
        "lstm",
        ("lstm-projection",),
        ("d_h_new.T @ (o * tanh_c)", "d_h_new.T @ (i * tanh_c)"),
    ),
)

_BY_STEP = ("single_steps", "reversed_twice")

DROPOUT = (
    *(
        wrong_cell(
            f"{name} without its hidden dropout",
            file,
            variants,
            ("dropout.hidden * h", "1.0 * h"),
            ("dropout.hidden * d_seen", "1.0 * d_seen"),
        )
        for name, file, variants in (
            ("LSTM", "lstm", ("lstm-dropout", "lstm-all")),
            ("GRU", "gru", ("gru-after-all", "gru-before-all")),
            ("RNN", "rnn", ("rnn-tanh-all",)),
        )
    ),
    *(
        wrong_gradient(
            f"{name} whose gradient forgets the hidden dropout",
            file,
            variants,
            ("dropout.hidden * d_seen", "1.0 * d_seen"),
        )
        for name, file, variants in (
            ("LSTM", "lstm", ("lstm-dropout", "lstm-all")),
            ("GRU", "gru", ("gru-after-all", "gru-before-all")),
            ("RNN", "rnn", ("rnn-tanh-all",)),
        )
    ),
    wrong_cell(
        "GRU whose hidden dropout reaches z * h",
        "gru",
        ("gru-after-all", "gru-before-all"),
        ("+ z * h\n", "+ z * seen\n"),
        ("d_z = d_h_new * (h -", "d_z = d_h_new * (seen -"),
        ("d_h_new * z + dropout.hidden * d_seen", "dropout.hidden * (d_h_new * z + d_seen)"),
    ),
    wrong_cell(
        "GRU, reset before, whose candidate sees h without its dropout",
        "gru",
        ("gru-before-all",),
        ("(r * seen) @ W_hn.T", "(r * h) @ W_hn.T"),
        ("s = r * seen", "s = r * h"),
        ("d_r = d_s * seen", "d_r = d_s * h"),
        ("            d_seen = d_seen + d_s * r\n", ""),
        (
            "        d_h = d_h_new * z +",
            "        d_h = d_h_new * z + (0.0 if self.reset == 'after' else d_s * r) +",
        ),
    ),
    _wrong_results(
        "LSTM whose hidden dropout reaches c",
        "lstm",
        ("lstm-dropout",),
        ("c_new = f * c + i", "c_new = f * (dropout.hidden * c) + i"),
    ),
    wrong_cell(
        "LSTM without its candidate dropout",
        "lstm",
        ("lstm-dropout", "lstm-all"),
        ("(dropout.candidate * g)", "g"),
        ("d_g = d_c_new * i * dropout.candidate", "d_g = d_c_new * i"),
    ),
    _wrong_results(
        "LSTM whose candidate dropout reaches f * c",
        "lstm",
        ("lstm-dropout",),
        ("f * c + i * (dropout.candidate * g)", "dropout.candidate * (f * c + i * g)"),
    ),
    _wrong_results(
        "GRU whose candidate dropout reaches z * h",
        "gru",
        ("gru-after-all", "gru-before-all"),
        (
            "h_new = (1.0 - z) * (dropout.candidate * n) + z * h",
            "h_new = dropout.candidate * ((1.0 - z) * n + z * h)",
        ),
    ),
    wrong_gradient(
        "LSTM whose gradient of g forgets the candidate dropout",
        "lstm",
        ("lstm-dropout",),
        ("d_g = d_c_new * i * dropout.candidate", "d_g = d_c_new * i"),
    ),
    wrong_gradient(
        "LSTM whose gradient of i forgets the candidate dropout",
        "lstm",
        ("lstm-dropout",),
        ("d_i = d_c_new * (dropout.candidate * g)", "d_i = d_c_new * g"),
    ),
    wrong_gradient(
        "GRU whose gradient of n forgets the candidate dropout",
        "gru",
        ("gru-after-all", "gru-before-all"),
        ("(1.0 - z) * dropout.candidate\n", "(1.0 - z)\n"),
    ),
    wrong_gradient(
        "GRU whose gradient of z forgets the candidate dropout",
        "gru",
        ("gru-after-all",),
        ("(h - dropout.candidate * n)", "(h - n)"),
    ),
    BrokenCell(
        "candidate dropout of the first step at every step",
        "layer_masks",
        (("candidate=_at(self.candidate, t)", "candidate=_at(self.candidate, 0)"),),
        ("lstm-dropout", "gru-after-all"),
        caught_by=(*FORWARD, *_BY_STEP),
        missed_by=("finite_differences", "batch_is_loop"),
    ),
)

ZONEOUT = (
    wrong_cell(
        "zoneout with kept and given up swapped",
        "layer_masks",
        ZONED,
        (
            "return _at(self.zoneout_hidden, t), _at(self.zoneout_cell, t)",
            "return 1.0 - _at(self.zoneout_hidden, t), 1.0 - _at(self.zoneout_cell, t)",
        ),
    ),
    wrong_cell(
        "zoneout with the masks of h and c swapped",
        "layer_masks",
        ("lstm-zoneout",),
        (
            "return _at(self.zoneout_hidden, t), _at(self.zoneout_cell, t)",
            "return _at(self.zoneout_cell, t), _at(self.zoneout_hidden, t)",
        ),
    ),
    BrokenCell(
        "zoneout of the first step at every step",
        "layer_masks",
        (
            (
                "_at(self.zoneout_hidden, t), _at(self.zoneout_cell, t)",
                "_at(self.zoneout_hidden, 0), _at(self.zoneout_cell, 0)",
            ),
        ),
        ("lstm-zoneout", "gru-before-all"),
        caught_by=(*FORWARD, *_BY_STEP),
        missed_by=("finite_differences", "batch_is_loop"),
    ),
    wrong_cell(
        "zoneout of h left out",
        "layer_masks",
        ("lstm-zoneout", "lstm-expected", "gru-after-expected", "rnn-tanh-all"),
        ("return _at(self.zoneout_hidden, t),", "return 1.0,"),
    ),
    wrong_cell(
        "zoneout of c left out",
        "layer_masks",
        ("lstm-zoneout", "lstm-expected"),
        (", _at(self.zoneout_cell, t)", ", 1.0"),
    ),
    _wrong_results(
        "h made from c after its zoneout",
        "layer",
        ("lstm-zoneout", "lstm-expected"),
        (
            "        state = tuple(\n",
            "        k = masks.shares(t)[1]\n"
            "        stepped = (record[8] * np.tanh(k * stepped[1] + (1.0 - k) * state[1]), stepped[1])\n"
            "        state = tuple(\n",
        ),
    ),
    _wrong_results(
        "output without zoneout",
        "layer",
        ("lstm-zoneout", "gru-after-expected"),
        ("part in zip(every, state,", "part in zip(every, stepped,"),
    ),
    wrong_gradient(
        "zoneout whose gradient forgets the old state",
        "layer",
        ZONED,
        ("np.where(m, (1.0 - k) * d, d_s)", "np.where(m, 0.0, d_s)"),
    ),
    wrong_gradient(
        "zoneout whose gradient goes to the new state in full",
        "layer",
        ZONED,
        ("tuple(k * d for k, d in", "tuple(d for k, d in"),
    ),
)

BROKEN_OPTIONS = (*LAYER_NORM, *PROJECTION, *DROPOUT, *ZONEOUT)
