"""`accelerate` changes how recurrent modules of torch are computed, and nothing else."""

from __future__ import annotations

import copy
import io
import logging
import pickle

import pytest
import torch
from kernel_use import ON_KERNELS
from torch import nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import remove_parametrizations

import gatestack as gs
from gatestack.errors import ArgumentError


def model_of(*, dropout: float = 0.0) -> nn.ModuleDict:
    shared = nn.GRU(3, 4)
    return nn.ModuleDict(
        {
            "lstm": nn.LSTM(3, 5, num_layers=2, dropout=dropout),
            "here": shared,
            "there": nn.Sequential(shared),
            "rnn": nn.RNN(3, 2),
            "cell": nn.LSTMCell(3, 2),
            "head": nn.Linear(5, 1),
        }
    )


def test_it_is_done_in_place_and_undone_exactly() -> None:
    model = model_of()
    before = {name: (type(module), dict(vars(module))) for name, module in model.named_modules()}
    text, tensors = repr(model), model.state_dict()
    assert gs.accelerate(model) is model
    assert [n for n, m in model.named_modules() if gs.compat.is_accelerated(m)] == ["lstm", "here", "rnn"]
    assert model["here"] is model["there"][0]
    assert isinstance(model["lstm"], nn.LSTM)
    assert repr(model).count("accelerated") == 4
    assert {name: value.data_ptr() for name, value in model.state_dict().items()} == {
        name: value.data_ptr() for name, value in tensors.items()
    }
    classes = [type(module) for module in model.modules()]
    gs.accelerate(model)
    assert [type(module) for module in model.modules()] == classes
    assert gs.decelerate(model) is model
    assert gs.decelerate(model) is model
    after = {name: (type(module), dict(vars(module))) for name, module in model.named_modules()}
    assert repr(model) == text
    assert after.keys() == before.keys()
    for name, (kind, attributes) in before.items():
        assert after[name][0] is kind
        assert after[name][1].keys() == attributes.keys()
        assert all(after[name][1][key] is value for key, value in attributes.items())


def test_the_model_itself_may_be_the_module() -> None:
    module = nn.GRU(3, 4)
    assert gs.compat.is_accelerated(gs.accelerate(module))
    assert type(gs.decelerate(module)) is nn.GRU


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_copies_stay_accelerated_and_apart(kind: type[nn.RNNBase], kernel_calls: list[object]) -> None:
    x = torch.randn(4, 2, 3)
    module = gs.accelerate(kind(3, 5))
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    copies = [
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
        copy.deepcopy(module).double().float(),
    ]
    for other in copies:
        assert type(other) is type(module)
        assert other.weight_ih_l0 is not module.weight_ih_l0
        torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)
        gs.decelerate(other)
        assert gs.compat.is_accelerated(module)
    if ON_KERNELS:
        assert len(kernel_calls) == 8


def test_hooks_and_replaced_weights_are_respected() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 2, 3)
    plain = nn.utils.parametrizations.weight_norm(nn.LSTM(3, 5), "weight_hh_l0")
    fast = nn.LSTM(3, 5)
    fast.load_state_dict(remove_parametrizations(copy.deepcopy(plain), "weight_hh_l0").state_dict())
    gs.accelerate(fast)
    seen: list[int] = []
    handle = fast.register_forward_hook(lambda *call: seen.append(len(call[2])))
    parametrizations.weight_norm(fast, "weight_hh_l0")
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-6)
    assert seen == [2]
    with pytest.raises(ArgumentError, match="remove_parametrizations"):
        gs.decelerate(fast)
    remove_parametrizations(fast, "weight_hh_l0")
    assert gs.compat.is_accelerated(fast)
    handle.remove()
    assert type(gs.decelerate(fast)) is nn.LSTM

    other = {name: torch.randn_like(value) for name, value in fast.named_parameters()}
    expected = torch.func.functional_call(fast, other, (x,))
    torch.testing.assert_close(
        torch.func.functional_call(gs.accelerate(fast), other, (x,)), expected, rtol=0, atol=1e-6
    )


class Doubled(nn.LSTM):
    """Somebody's own module."""

    def forward(self, *arguments: object) -> object:
        output, state = super().forward(*arguments)
        return 2 * output, state


def test_subclasses_are_left_alone_and_named(caplog: pytest.LogCaptureFixture) -> None:
    model = nn.ModuleDict({"own": Doubled(3, 5), "torch": nn.LSTM(3, 5)})
    with caplog.at_level(logging.INFO, logger="gatestack"):
        gs.accelerate(model)
    assert type(model["own"]) is Doubled
    assert "own is left as it is" in caplog.text
    assert "1 recurrent modules of ModuleDict switched" in caplog.text


def test_other_things_than_modules_are_refused() -> None:
    for act in (gs.accelerate, gs.decelerate):
        with pytest.raises(ArgumentError, match=r"expected a torch\.nn\.Module"):
            act("model")
