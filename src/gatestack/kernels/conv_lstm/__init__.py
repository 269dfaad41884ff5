"""The convolutional LSTM: one layer over a batch of image sequences; `run.py` is the seam.

- `run.py`: the call, and which backend takes it.
- `fused.py`, `fused_backward.py`, `job.py`, `step.py`: torch's convolutions with the compiled kernels between
  them, forward and backward; how a call is cut up; the kernels' call.
- `loop.py`: torch's operators alone.
- `spec.py`: geometry, weights, convolutions.
- `rows.py`: the real steps of a padded batch.
"""

from gatestack.kernels.conv_lstm.run import lacking, run_conv_lstm
from gatestack.kernels.conv_lstm.spec import ConvSpec, ConvWeights

__all__ = ["ConvSpec", "ConvWeights", "lacking", "run_conv_lstm"]
