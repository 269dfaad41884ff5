"""The code that people write around recurrent modules, each as in a tutorial, and what is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gatestack as gs
from gatestack.convert import Port, export_onnx
from gatestack.convert.torch import from_torch, to_torch
from gatestack.convert.torch.trace import traced
from gatestack.errors import ArgumentError
from gatestack.nn import GRU, Stack


class Base(nn.Module):
    """A tree with one of everything."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True)
        self.gru = nn.GRU(3, 4)
        self.cell = nn.LSTMCell(3, 4)
        self.gru_cell = nn.GRUCell(4, 4)
        self.out = nn.Linear(8, 2)
        self.norm = nn.BatchNorm1d(8)
        self.register_buffer("scale", torch.tensor([2.0, 3.0, 4.0]))
        self.words = nn.Embedding(7, 3)


class ZeroStates(Base):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros(self.lstm.num_layers * 2, x.size(0), self.lstm.hidden_size, device=x.device)
        c = torch.zeros_like(h)
        output, _ = self.lstm(x * self.scale, (h, c))
        return self.out(output[:, -1, :])


class Unpacked(Base):
    def forward(self, x: Tensor) -> Tensor:
        batch, steps, features = x.shape
        output, (h, _) = self.lstm(x.view(batch, steps, features))
        h = h.view(2, 2, batch, 4)
        return torch.cat([h[-1, 0], h[-1, 1]], dim=-1) + output.mean(1)


class OverTheSteps(Base):
    def forward(self, x: Tensor) -> Any:
        h, c = x.new_zeros(x.size(0), 4), x.new_zeros(x.size(0), 4)
        above = torch.zeros(x.size(0), 4)
        for step in range(5):
            h, c = self.cell(x[:, step], (h, c))
            above = self.gru_cell(h, above)
        return above, c


class TimeFirst(Base):
    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        packed = pack_padded_sequence(self.words(x), lengths.cpu(), enforce_sorted=False)
        output, h = self.gru(packed)
        output, lengths = pad_packed_sequence(output)
        return output, h.squeeze(0), lengths


class SortedRows(Base):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        output, _ = nn.utils.rnn.pad_packed_sequence(
            self.lstm(packed)[0], batch_first=True, total_length=x.size(1)
        )
        rows = torch.arange(output.size(0), device=output.device)
        return self.out(output[rows, lengths - 1])


class Masked(Base):
    def forward(self, x: Tensor) -> Tensor:
        real = x != 0
        output, _ = self.lstm(self.words(x))
        scores = output.sum(-1).masked_fill(~real, -1e9)
        weights = functional.softmax(scores, dim=1)
        mean = (output * real.unsqueeze(-1).float()).sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        return torch.bmm(weights.unsqueeze(1), output).squeeze(1) + mean


class Shapes(Base):
    def forward(self, x: Tensor) -> Any:
        output, _ = self.lstm(x)
        output = self.norm(output.transpose(1, 2)).permute(0, 2, 1)
        forward, backward = output.chunk(2, dim=-1)
        both = torch.stack((forward, backward), dim=2).flatten(2)
        flat = both.reshape(x.size(0) * x.size(1), -1)
        again = self.out(flat).view(x.size(0), x.size(1), 2)
        last = both[:, -1:].expand(-1, x.size(1), -1)
        return (
            again,
            (both - last).abs().amax(dim=1),
            torch.flip(both, [1])[:, 0, ..., :2],
            1 - both[..., None, 0],
        )


class Generated(Base):
    """A decoder that reads what it gave."""

    def forward(self, x: Tensor) -> Tensor:
        _, (h, c) = self.lstm(x)
        state = (h[0], c[0])
        given = []
        step = x[:, -1]
        for _ in range(3):
            state = self.cell(step, state)
            step = functional.leaky_relu(state[0][:, :3], 0.2)
            given.append(step)
        return torch.stack(given, 1)


class Steps(Base):
    def __init__(self) -> None:
        super().__init__()
        self.stack = gs.nn.Stack(gs.nn.LSTM(4, bidirectional=True), gs.nn.GRU(8), input_size=3, residual=True)
        self.last = gs.nn.LSTM(5, 8, return_sequences=False)

    def forward(self, x: Tensor, lengths: Tensor) -> Any:
        y, (first, second) = self.stack(x, lengths=lengths)
        return self.last(y)[0], second, first[0]


class MadeOfNumbers(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x * torch.tensor([1.0, 0.5, 2.0]))[0] + torch.tensor(3)


class Defaults(Base):
    def forward(self, x: Tensor, state: Any = None, scale: float = 2.0) -> Any:
        if state is None:
            output, state = self.lstm(x)
        else:
            output, state = self.lstm(x, state)
        return output * scale, *state


WRITTEN: list[tuple[type[Base], list[Port] | None]] = [
    (ZeroStates, None),
    (Unpacked, [Port("x", (None, 3))]),
    (OverTheSteps, [Port("x", (5, 3))]),
    (TimeFirst, None),
    (SortedRows, None),
    (Masked, None),
    (Shapes, None),
    (Generated, None),
    (Steps, None),
    (MadeOfNumbers, None),
    (Defaults, None),
    (
        Defaults,
        [Port("x", (None, 3)), Port("state.0", (4, 4), batch_axis=1), Port("state.1", (4, 4), batch_axis=1)],
    ),
]


@pytest.mark.parametrize(("kind", "ports"), WRITTEN)
def test_code_as_it_is_written_goes_both_ways(kind: type[Base], ports: list[Port] | None) -> None:
    tree = kind()
    network = from_torch(tree, ports)  # it compares the two itself
    plain = to_torch(network)  # and so does this
    renamed = [Port(p.name.replace(".", "_"), p.shape, p.dtype, p.batch_axis) for p in network.inputs]
    assert len(from_torch(plain, renamed).outputs) == len(network.outputs)
    assert tree.training, "the module is left in its mode"
    assert set(vars(tree)) == set(vars(kind())), "and without anything new"


@pytest.mark.parametrize(
    ("kind", "ports"),
    [
        pytest.param(kind, ports, marks=[] if kind in (Masked, SortedRows) else pytest.mark.slow)
        for kind, ports in WRITTEN
    ],
)
def test_code_as_it_is_written_goes_on_to_onnx(
    kind: type[Base], ports: list[Port] | None, tmp_path: Path
) -> None:
    export_onnx(from_torch(kind(), ports), tmp_path / "m.onnx")  # it replays the file itself


def test_a_tutorial_state_of_zeros_is_no_input() -> None:
    network = from_torch(ZeroStates())
    assert [port.name for port in network.inputs] == ["x"]
    assert not any(
        node.layer.options.forward.takes_state for node in network.nodes if node.layer.kind == "bidirectional"
    )


@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_last_step_is_all_that_is_kept_where_it_may(bidirectional: bool) -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=bidirectional)
            self.out = nn.Linear(8 if bidirectional else 4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.lstm(x)[0][:, -1])

    kinds = [node.layer.kind for node in from_torch(Classifier()).nodes]
    # From the end, the last step of the sequence is the first that is read.
    expected = ["bidirectional", "bidirectional", "take"] if bidirectional else ["recurrent", "recurrent"]
    assert kinds == [*expected, "dense"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, where torch.compile is imported
def test_wrappers_are_looked_into() -> None:
    tree = ZeroStates()
    assert from_torch(nn.DataParallel(tree)).name == "ZeroStates"
    assert from_torch(torch.compile(tree)).name == "ZeroStates"


def test_a_shared_module_becomes_one_layer() -> None:
    network = from_torch(Generated())
    cells = [
        node.layer
        for node in network.nodes
        if node.name.startswith("cell") and node.layer.kind == "recurrent"
    ]
    assert len(cells) == 3
    assert len(set(map(id, cells))) == 1


def test_frozen_weights_stay_frozen() -> None:
    tree = ZeroStates()
    tree.out.weight.requires_grad_(False)
    network = from_torch(tree)
    assert not network.node("out").layer.linear.weight.requires_grad
    assert not to_torch(network).out.weight.requires_grad


def test_the_module_is_not_changed() -> None:
    tree = Shapes()
    tree.norm.eval()
    before = {name: tensor.clone() for name, tensor in tree.state_dict().items()}
    from_torch(tree)
    assert all(torch.equal(before[name], tensor) for name, tensor in tree.state_dict().items())
    assert tree.training
    assert not tree.norm.training


def test_equal_layers_become_one_module_and_one_becomes_its_layers() -> None:
    stack = gs.nn.Stack(*[gs.nn.GRU(4, bidirectional=True) for _ in range(3)], input_size=2, dropout=0.2)
    plain = to_torch(stack)
    assert repr(plain) == "GRU(2, 4, num_layers=3, batch_first=True, dropout=0.2, bidirectional=True)"
    other = gs.nn.Stack(
        *[gs.nn.GRU(4, bidirectional=True) for _ in range(3)], input_size=2, dropout=0.2
    ).eval()
    other.load_state_dict(plain.state_dict())
    x = torch.randn(3, 6, 2)
    torch.testing.assert_close(other(x)[0], plain(x)[0])
    torch.testing.assert_close(torch.cat(other(x)[1]), plain(x)[1])
    assert [node.layer.kind for node in from_torch(plain).nodes].count("bidirectional") == 3


class Decides(Base):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return self.gru(x)[0]
        return x


class Loops(Base):
    def forward(self, x: Tensor) -> Any:
        return [self.cell(x[:, step]) for step in range(x.size(1))]


class Iterates(Base):
    def forward(self, x: Tensor) -> Any:
        return [one for one in self.gru(x)[0]]  # noqa: C416


class Assigns(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(x)[0]
        y[0] = 0
        return y


class Unknown(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.rfft(self.gru(x)[0]).abs()


class UnknownMethod(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0].erfinv()


class Draws(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0] + torch.rand(4)


class AlwaysDrops(Base):
    def forward(self, x: Tensor) -> Tensor:
        return functional.dropout(self.gru(x)[0], 0.5)


class Squeezes(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[1].squeeze()


class Detaches(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x)[0].detach()


class Numpy(Base):
    def forward(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.gru(x)[0].numpy())


class Untold(Base):
    def forward(self, x: Tensor) -> Tensor:
        return self.gru(x.transpose(0, 1))[0]


class Convolves(Base):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.gru(x)[0].permute(1, 2, 0))


class InPlace(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(x)[0]
        y.add_(1)
        return y


class Keeps(Base):
    def forward(self, x: Tensor) -> Tensor:
        output, self.hidden = self.gru(x)
        return output


class BakedSize(Base):
    def forward(self, x: Tensor) -> Tensor:
        y = self.gru(x)[0]
        return y / float(len(self._modules)) + torch.ones(2)[:1] if isinstance(y, Tensor) else y


@pytest.mark.parametrize(
    ("kind", "parts"),
    [
        (
            Decides,
            ["Decides, test_torch_code.py, line", "a decision that depends on a tensor", "if x.sum() > 0"],
        ),
        (Loops, ["Loops, test_torch_code.py, line", "range(x.size(1))"]),
        (Iterates, ["Iterates, test_torch_code.py", "a loop over a tensor"]),
        (Assigns, ["Assigns, test_torch_code.py", "item assignment", "y[0] = 0"]),
        (Unknown, ["Unknown, fft_rfft (test_torch_code.py, line", "'fft_rfft'"]),
        (UnknownMethod, ["the method 'erfinv'"]),
        (Draws, ["differs by", "a number drawn in forward"]),
        (AlwaysDrops, ["dropout is on in eval mode too"]),
        (Squeezes, ["squeeze() without an axis"]),
        (Detaches, ["detach() stops gradients"]),
        (Numpy, ["Numpy", "test_torch_code.py, line"]),
        (Untold, ["the input 'x' is read by transpose", "inputs=[Port("]),
        (Convolves, ["module 'conv' (test_torch_code.py", "what Conv1d does"]),
        (InPlace, ["InPlace"]),
        (Keeps, ["forward sets self.hidden", "give the state to forward"]),
        (BakedSize, ["differs by"]),
    ],
)
def test_what_a_network_cannot_say_is_refused_with_line_and_reason(
    kind: type[Base], parts: list[str]
) -> None:
    with pytest.raises(ArgumentError) as refused:
        from_torch(kind())
    for part in parts:
        assert part in str(refused.value)


def test_a_refused_module_is_as_it_was() -> None:
    tree = Keeps()
    with pytest.raises(ArgumentError):
        from_torch(tree)
    assert not hasattr(tree, "hidden")
    assert tree.training


class Meets(nn.Module):
    """Says when its forward runs, and goes on when another says that it is time, or does not."""

    def __init__(self, says: threading.Event, waits_for: threading.Event, seconds: float) -> None:
        super().__init__()
        self.says, self.waits_for, self.seconds = says, waits_for, seconds

    def forward(self, x: Tensor) -> Tensor:
        self.says.set()
        self.waits_for.wait(self.seconds)
        return x


def test_two_threads_leave_torch_as_it_was() -> None:
    began, overtaken, over = threading.Event(), threading.Event(), threading.Event()
    before = torch.zeros
    second = threading.Thread(target=traced, args=(Meets(overtaken, over, 20.0), ["x"]))

    class First(Meets):
        def forward(self, x: Tensor) -> Tensor:
            second.start()
            return super().forward(x)

    traced(First(began, overtaken, 0.3), ["x"])
    over.set()
    second.join()
    assert overtaken.is_set()
    assert torch.zeros is before


def test_hooks_mixed_dtypes_and_wrong_inputs_are_refused() -> None:
    hooked = ZeroStates()
    hooked.out.register_forward_hook(lambda *given: given[-1] + 1)
    with pytest.raises(ArgumentError, match=r"module 'out'.*hooks"):
        from_torch(hooked)
    stack = Stack(GRU(4, input_size=3), GRU(4, input_size=4))
    stack.layers[1].register_forward_hook(lambda *given: given[-1])
    with pytest.raises(ArgumentError, match="GRU has hooks"):
        from_torch(stack)
    mixed = ZeroStates()
    mixed.out.double()
    with pytest.raises(ArgumentError, match=r"torch\.float32, torch\.float64"):
        from_torch(mixed)
    with pytest.raises(ArgumentError, match=r"no parameter 'y'.*\n\nhint: .*x"):
        from_torch(ZeroStates(), [Port("y", (None, 3))])
    with pytest.raises(ArgumentError, match="'lengths' of forward has no input"):
        from_torch(SortedRows(), [Port("x", (None, 3))])
    with pytest.raises(ArgumentError, match="it fails on drawn inputs of 2 rows"):
        from_torch(ZeroStates(), [Port("x", (None, 4))])
    with pytest.raises(ArgumentError, match="of type int"):
        from_torch(3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("layer", "what"),
    [
        (gs.nn.LSTM(4, 3, form=gs.nn.LSTMForm(peepholes=True)), "peepholes"),
        (gs.nn.LSTM(4, 3, form=gs.nn.LSTMForm(layer_norm=True)), "layer_norm"),
        (gs.nn.GRU(4, 3, reset="before"), "resets before"),
        (gs.nn.GRU(4, 3, initial_state="trained"), "a trained initial state"),
        (gs.nn.GRU(4, 3, regularisation=gs.nn.Regularisation(zoneout_hidden=0.1)), "zoneout_hidden"),
        (gs.nn.GRU(4, 3, regularisation=gs.nn.Regularisation(recurrent_dropout=0.1)), "dropout of inputs"),
        (gs.nn.GRU(4), "without input_size"),
        (gs.nn.ConvLSTM2D(4, 3, 1), "of type ConvLSTM2D"),
        (nn.GRU(3, 4), "of type GRU"),
    ],
)
def test_what_plain_torch_cannot_compute_is_refused_by_name(layer: Any, what: str) -> None:
    with pytest.raises(ArgumentError, match=what):
        to_torch(layer)
