"""The classic first models: one LSTM layer, the same with every step, stacks of two and four layers.

    python examples/tutorial_stacks.py

The data is a batch of one sample with 3 steps of 1 feature: (samples, steps, features) = (1, 3, 1).
The guide docs/guides/first-stack.md goes through the same models step by step.
"""

from __future__ import annotations

import torch

from gatestack.errors import ArgumentError
from gatestack.nn import LSTM, Stack

torch.manual_seed(0)
samples = torch.tensor([0.1, 0.2, 0.3]).reshape(1, 3, 1)


def show(what: str, model: LSTM | Stack) -> None:
    """Run a model on the samples and print the shapes."""
    output, _ = model(samples)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    print(f"{what}: {tuple(samples.shape)} -> {tuple(output.shape)}, {parameters:,} parameters")


# One layer that keeps only its last output: one vector of 50 numbers for each sample.
show("one layer, last output", LSTM(50, return_sequences=False))

# The same layer with its output at each of the 3 steps.
show("one layer, every step", LSTM(50))

# A layer on top reads a sequence: (samples, steps, features). So the layer below must give every step;
# only the last layer may give its last output alone.
show("stack of two", Stack(LSTM(50), LSTM(50, return_sequences=False)))
show("stack of four", Stack(LSTM(50), LSTM(50), LSTM(50), LSTM(50, return_sequences=False)))

# A lower layer that keeps only its last output gives (samples, features): no steps are left to run over.
try:
    Stack(LSTM(50, return_sequences=False), LSTM(50))
except ArgumentError as problem:
    print(f"\n{problem}")
