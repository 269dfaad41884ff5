"""Other people's torch models on the compiled kernels.

`accelerate` switches every `torch.nn.LSTM`, `GRU` and `RNN` inside a model over, `decelerate` switches back.

Example:
    >>> import torch
    >>> from gatestack.compat import accelerate, decelerate
    >>> model = torch.nn.Sequential(torch.nn.LSTM(3, 8))
    >>> accelerate(model)
    Sequential(
      (0): LSTM(3, 8, accelerated...)
    )
    >>> decelerate(model)
    Sequential(
      (0): LSTM(3, 8)
    )
"""

from gatestack.compat.acceleration import accelerate, decelerate, is_accelerated

__all__ = ["accelerate", "decelerate", "is_accelerated"]
