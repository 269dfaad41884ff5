"""Whether the compiled kernels compute in this run."""

from __future__ import annotations

import pytest
import torch

from gatestack.kernels.backend import choose_backend

ON_KERNELS = choose_backend(torch.zeros(1)) == "native"
needs_kernels = pytest.mark.skipif(not ON_KERNELS, reason="the compiled kernels are not used here")
