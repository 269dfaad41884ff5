"""What composes with a recurrent layer: the form of an LSTM, and what regularises any layer."""

from __future__ import annotations

from dataclasses import dataclass, fields

from gatestack.errors import ArgumentError, check_share, check_whole

__all__ = ["LSTMForm", "Regularisation"]


class _Shown:
    """A dataclass whose `repr` has what is not the default."""

    def __repr__(self) -> str:
        shown = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)  # type: ignore[arg-type]
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@dataclass(frozen=True, repr=False)
class LSTMForm(_Shown):
    r"""What an `LSTM` has beyond the plain cell.

    With peepholes, the gates see the cell state; p_i, p_f, p_o are vectors:

        i = σ(… + p_i ⊙ c_{t−1}),   f = σ(… + p_f ⊙ c_{t−1}),   o = σ(… + p_o ⊙ c_t)

    With a projection, h is narrower than c:

        h = W_hr (o ⊙ tanh(c))

    With layer normalisation, LN(a) = (a − mean a) / √(var a + 10⁻⁵) over all gates together, gain γ:

        gates = γ_ih ⊙ LN(W_ih x) + b_ih + γ_hh ⊙ LN(W_hh h) + b_hh
        h = o ⊙ tanh(γ_c ⊙ LN(c) + b_c)

    and c itself is carried on as it is.

    Args:
        peepholes: add them. Default False.
        projection_size: P, the width of h; None for H, without projection.
        layer_norm: normalise. Default False.

    Raises:
        ArgumentError: a projection_size that is not a whole number of 1 or more.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> output, (h, c) = LSTM(8, form=LSTMForm(projection_size=3))(torch.zeros(2, 5, 4))
        >>> output.shape, h.shape, c.shape
        (torch.Size([2, 5, 3]), torch.Size([1, 2, 3]), torch.Size([1, 2, 8]))

    Source:
        Gers, Schraudolph & Schmidhuber 2002, "Learning Precise Timing with LSTM Recurrent Networks"
        (peepholes); Sak, Senior & Beaufays 2014, "Long Short-Term Memory Recurrent Neural Network
        Architectures for Large Scale Acoustic Modeling", Eq. 7 to 15 (projection); Ba, Kiros & Hinton 2016,
        "Layer Normalization", Eq. 20 to 22 of the supplement.
    """

    peepholes: bool = False
    projection_size: int | None = None
    layer_norm: bool = False

    def __post_init__(self) -> None:
        if self.projection_size is not None:
            check_whole("projection_size", self.projection_size, owner="LSTMForm")


@dataclass(frozen=True, repr=False)
class Regularisation(_Shown):
    r"""What hinders a recurrent layer in training, so that it fits less noise.

    With m a mask whose elements are 0 with probability p, else 1/(1 − p), and k one of 0 and 1, 0 with
    probability p:

        W_hh (m ⊙ h_{t−1})                          recurrent_dropout: one m for all steps of a row
        c = f ⊙ c + i ⊙ (m ⊙ g)                     candidate_dropout of an LSTM: a new m at each step
        h = (1 − z) ⊙ (m ⊙ n) + z ⊙ h               candidate_dropout of a GRU
        h_t = k ⊙ h̃_t + (1 − k) ⊙ h_{t−1}           zoneout_hidden: h̃ is what the cell gives; new at each
        step c_t = k ⊙ c̃_t + (1 − k) ⊙ c_{t−1}           zoneout_cell of an LSTM; h̃ is computed from c̃ (m
        ⊙ W_hh) h                                weight_drop: one m for the whole batch

    In eval mode there is no dropout, and zoneout takes (1 − p) for k.

    Args:
        recurrent_dropout: p, from 0 up to but not including 1; as all of these. Default 0.
        candidate_dropout: for LSTM and GRU.
        zoneout_hidden: for every cell.
        zoneout_cell: for the LSTM.
        weight_drop: for every cell.

    Raises:
        ArgumentError: a probability outside its range; at the making of a layer, one that its cell cannot
            have.

    Note:
        A sequence fed in chunks gets new masks with each chunk.

    Example:
        >>> import torch
        >>> from gatestack.nn import LSTM
        >>> layer = LSTM(4, 2, regularisation=Regularisation(recurrent_dropout=0.25, zoneout_cell=0.1))
        >>> x = torch.ones(1, 6, 2)
        >>> _ = torch.manual_seed(0)
        >>> bool((layer(x)[0] == layer(x)[0]).all()), bool((layer.eval()(x)[0] == layer(x)[0]).all())
        (False, True)

    Source:
        Gal & Ghahramani 2016, "A Theoretically Grounded Application of Dropout in Recurrent Neural Networks";
        Semeniuta, Severyn & Barth 2016, "Recurrent Dropout without Memory Loss"; Krueger et al. 2017,
        "Zoneout"; Merity, Keskar & Socher 2018, "Regularizing and Optimizing LSTM Language Models"
        (weight-drop).
    """

    recurrent_dropout: float = 0.0
    candidate_dropout: float = 0.0
    zoneout_hidden: float = 0.0
    zoneout_cell: float = 0.0
    weight_drop: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            check_share(field.name, getattr(self, field.name), owner="Regularisation")

    def refuse(self, names: tuple[str, ...], owner: str) -> None:
        """Refuse what a cell cannot have.

        Raises:
            ArgumentError: one of these probabilities is not 0.

        Example:
            >>> Regularisation(zoneout_hidden=0.1).refuse(("zoneout_cell",), "GRU")
        """
        for name in names:
            if getattr(self, name):
                raise ArgumentError(
                    f"regularisation has {name}={getattr(self, name)!r}",
                    where=owner,
                    expected=f"0: {owner} has no {'cell state' if name == 'zoneout_cell' else 'candidate'}",
                )
