"""A layer with a network on each of its outputs."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from gatestack.errors import ArgumentError, check_whole
from gatestack.nn.activations import ACTIVATIONS, check_activation
from gatestack.nn.layer import LayerState, SequenceLayer, check_layer
from gatestack.nn.parameters import like_of
from gatestack.nn.steps import Lengths, Mask, Steps

__all__ = ["DeepOutput"]


class DeepOutput(SequenceLayer):
    r"""Put a network of several layers between the state of a layer and what it gives.

    With h_t the output of the layer, L sizes, φ the activation:

        z_1 = V_1 h_t + b_1
        z_k = V_k φ(z_{k−1}) + b_k           for k = 2 … L
        y_t = z_L

    The last one has no activation, because what follows has: a loss, or a layer above.

    Args:
        layer: any layer that gives vectors.
        sizes: the widths of z_1 … z_L; one at least.
        activation: φ, the name of a function in `gatestack.nn.activations.ACTIVATIONS`. Default "relu".

    Attributes:
        layer: what was given.
        network: the linear layers V_1 … V_L, of the dtype of the layer. The first one above a layer whose
            width is not known yet is made with the first call or by `load_state_dict`.

    Raises:
        ArgumentError: something else than a layer, no sizes, an unknown activation; at a call, what the layer
            refuses.

    Example:
        >>> import torch
        >>> from gatestack.nn import GRU
        >>> output, h = DeepOutput(GRU(8), 16, 4)(torch.zeros(2, 5, 3), lengths=[5, 2])
        >>> output.shape, h.shape
        (torch.Size([2, 5, 4]), torch.Size([1, 2, 8]))

    Source:
        Pascanu et al. 2013, "How to Construct Deep Recurrent Neural Networks", Section 3.3.2: DO-RNN, and
        with a `DeepTransitionCell` in a `Loop` DOT-RNN (Figure 2c).
    """

    def __init__(self, layer: SequenceLayer, *sizes: int, activation: str = "relu") -> None:
        super().__init__()
        check_layer(layer, "layer", "DeepOutput")
        if not sizes:
            raise ArgumentError("no sizes", where="DeepOutput", expected="one or more")
        if layer.gives_pair:
            raise ArgumentError("the layer has merge=None", where="DeepOutput", expected="one output")
        self.sizes = tuple([check_whole("sizes", size, owner="DeepOutput") for size in sizes])
        self.activation = check_activation("activation", activation, owner="DeepOutput")
        self.layer = layer
        like, below = like_of(layer), layer.output_size
        dtype, device = (None, None) if like is None else (like.dtype, like.device)
        linear = partial(nn.Linear, dtype=dtype, device=device)
        first = self.sizes[0]
        lowest = linear(below, first) if below else nn.LazyLinear(first, dtype=dtype, device=device)
        self.network = nn.ModuleList([lowest, *(linear(*sizes) for sizes in pairwise(self.sizes))])

    @property
    def return_sequences(self) -> bool:  # type: ignore[override] # the layer's, not to be set here
        """Whether the output has every step."""
        return self.layer.return_sequences

    @property
    def input_size(self) -> int | None:
        """C, features of the input; None until the layer is built."""
        return self.layer.input_size

    @property
    def output_size(self) -> int:
        """Features of the output, the last of the sizes."""
        return self.sizes[-1]

    @property
    def looks_ahead(self) -> bool:
        """Whether an output depends on later steps, as the layer's does."""
        return self.layer.looks_ahead

    def build(self, input_size: int) -> DeepOutput:
        """Make the parameters of the layer for inputs of `input_size` features.

        Returns:
            The layer itself.

        Raises:
            ArgumentError: the layer was built for another input size.
        """
        self.layer.build(input_size)
        return self

    def check_input(self, x: object, owner: str) -> Tensor:
        """Refuse an x that the layer cannot read.

        Returns:
            x.
        """
        return self.layer.check_input(x, owner)

    def start(self, x: Tensor) -> LayerState:
        """Give the state that a call without a state starts from: the layer's."""
        return self.layer.start(x)

    def forward(
        self,
        x: Tensor,
        state: LayerState = None,
        *,
        lengths: Lengths | None = None,
        mask: Mask | None = None,
    ) -> tuple[Tensor, Any]:
        """Run the layer and the network over a batch.

        Args:
            x: (N, T, …), as the layer reads it.
            state: in the form the layer takes; None starts from its initial state.
            lengths: (N,) whole numbers from 0 to T, the real steps of each row; None means all.
            mask: (N, T) bool, True where a step is real; instead of lengths.

        Returns:
            output (N, T, output_size), zero at steps that are not real, or (N, output_size) of the layer's
            final output; and the layer's state.

        Raises:
            ArgumentError: a shape, dtype or device that does not fit, a length outside 0 to T.
        """
        self.check_input(x, "DeepOutput")
        steps = Steps.read(x, lengths, mask, "DeepOutput")
        y, final = self.layer(x, state, lengths=steps.lengths, mask=steps.mask)
        squash = ACTIVATIONS[self.activation]
        for number, linear in enumerate(self.network):
            y = linear(y if number == 0 else squash(y))
        return steps.cleared(y) if self.return_sequences else y, final

    def extra_repr(self) -> str:
        """The activation."""
        return f"activation={self.activation!r}"
