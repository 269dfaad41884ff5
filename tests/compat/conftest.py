"""What the tests of torch's modules share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch

from gatestack.compat import module_call


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def kernel_calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each call that reached the kernels leaves its spec here."""
    calls: list[object] = []

    def counted(spec: object, *arguments: object, **named: object) -> object:
        calls.append(spec)
        return plain(spec, *arguments, **named)

    plain: Callable[..., object] = module_call.run_stack
    monkeypatch.setattr(module_call, "run_stack", counted)
    return calls
