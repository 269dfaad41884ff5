"""Networks that the tests of this folder share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from gatestack.convert import Network, Node, Port
from gatestack.convert.layers import (
    BidirectionalLayer,
    BidirectionalOptions,
    Dense,
    DenseOptions,
    Embedding,
    EmbeddingOptions,
    RecurrentLayer,
    RecurrentOptions,
)

STATES = {"lstm": 2, "gru": 1, "rnn": 1}


def recurrent(
    cell: str = "lstm", input_size: int = 3, hidden_size: int = 4, **options: Any
) -> RecurrentLayer:
    """Make a recurrent layer whose weights, biases included, are all different and not small."""
    layer = RecurrentLayer(
        RecurrentOptions(cell=cell, input_size=input_size, hidden_size=hidden_size, **options)
    )
    return randomised(layer)


def bidirectional(cell: str = "lstm", merge: str = "concat", **options: Any) -> BidirectionalLayer:
    """Make a bidirectional layer over 3 features."""
    forward = RecurrentOptions(**{"cell": cell, "input_size": 3, "hidden_size": 4, **options})
    backward = forward.model_copy(update={"reversed": True})
    return randomised(
        BidirectionalLayer(BidirectionalOptions(forward=forward, backward=backward, merge=merge))
    )


def randomised(module: Any, seed: int = 0) -> Any:
    """Draw every parameter that trains, from −0.7 to 0.7."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.uniform_(-0.7, 0.7, generator=generator)
    return module


def tagger(**options: Any) -> Network:
    """Make a network of every kind of trouble: whole numbers, masks, two directions, states, two outputs."""
    torch.manual_seed(0)
    one = RecurrentOptions(cell="lstm", input_size=4, hidden_size=5, return_state=True)
    both = BidirectionalOptions(forward=one, backward=one.model_copy(update={"reversed": True}))
    last = RecurrentOptions(
        cell="gru", input_size=10, hidden_size=6, return_sequences=False, masked_output="hold", **options
    )
    embedding = Embedding(EmbeddingOptions(vocabulary_size=9, size=4, mask_zero=True))
    return Network(
        [Port("words", (None,), "int64")],
        [
            Node("embedding", embedding, ("words",)),
            Node("both", randomised(BidirectionalLayer(both)), ("embedding",)),
            Node("last", randomised(RecurrentLayer(last)), ("both",)),
            Node("out", Dense(DenseOptions(units=2, input_size=6)), ("last",)),
        ],
        ["out", "both:2"],
        name="tagger",
    )


WORDS = np.array([[1, 2, 3, 4, 0], [5, 6, 0, 0, 0], [7, 8, 1, 2, 3], [0, 0, 0, 0, 0]])
