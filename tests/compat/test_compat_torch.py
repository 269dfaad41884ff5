"""`gatestack.compat.torch` has torch's modules: other code behind them, and nothing else."""

from __future__ import annotations

import copy
import inspect
import io
import pickle
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from kernel_use import ON_KERNELS, needs_kernels
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence
from torch_cases import Case, draw, flat

from gatestack.compat import specs
from gatestack.compat import torch as ours
from gatestack.kernels import use_backend

# Of outputs of size 1 and gradients relative to the largest; sums of some hundred terms, in another order.
TOLERANCE = {torch.float32: 2e-5, torch.float64: 4e-12}

KINDS = ("LSTM", "GRU", "RNN")


def twin(plain: nn.RNNBase) -> nn.RNNBase:
    """Make our module with the arguments and the weights of one of torch."""
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    arguments = {name: getattr(plain, name) for name in names}
    fast = getattr(ours, type(plain).__name__)(**arguments, dtype=plain.weight_ih_l0.dtype)
    fast.load_state_dict(plain.state_dict())
    return fast


@pytest.mark.parametrize("first", range(0, 240, 24))
@pytest.mark.parametrize("mode", ["train", "eval", "no_grad"])
def test_outputs_and_gradients_are_those_of_torch(first: int, mode: str, kernel_calls: list[object]) -> None:
    for seed in range(first, first + 24):
        case = draw(seed)
        plain, fast = (getattr(module, case.kind)(**case.arguments) for module in (nn, ours))
        fast.load_state_dict(plain.state_dict())
        for one in (plain, fast):
            one.train(mode == "train")
        with torch.set_grad_enabled(mode != "no_grad"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            expected, found = plain(case.given, case.hx), fast(case.given, case.hx)
        assert type(found) is type(expected), case
        assert type(found[0]) is type(expected[0]), case
        assert type(found[1]) is type(expected[1]), case
        if isinstance(case.given, PackedSequence):
            for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
                theirs, mine = getattr(expected[0], name), getattr(found[0], name)
                assert mine is theirs is None or torch.equal(mine, theirs), case
        for mine, theirs in zip(flat(found), flat(expected), strict=True):
            assert mine.dtype == theirs.dtype, case
            torch.testing.assert_close(mine, theirs, rtol=0, atol=TOLERANCE[mine.dtype], msg=said(case))
        if mode == "no_grad":
            continue
        weighting = [torch.randn_like(tensor) for tensor in flat(expected)]
        grads = []
        for one, results in ((plain, expected), (fast, found)):
            loss = sum((a * b).sum() for a, b in zip(flat(results), weighting, strict=True))
            grads.append(torch.autograd.grad(loss, [*case.leaves, *one.parameters()], retain_graph=True))
        for theirs, mine in zip(*grads, strict=True):
            scale = float(theirs.abs().max().clamp(min=1))
            torch.testing.assert_close(
                mine / scale, theirs / scale, rtol=0, atol=TOLERANCE[mine.dtype], msg=said(case)
            )
    if ON_KERNELS:
        assert len(kernel_calls) == 24, "a call did not reach the kernels"


def said(case: Case) -> Callable[[str], str]:
    """Put the case, from which it can be replayed, before what differs."""
    return lambda text: f"{case}\n{text}"


@pytest.mark.parametrize("kind", KINDS)
def test_weights_go_both_ways_by_state_dict(kind: str) -> None:
    plain, fast = (
        getattr(nn, kind)(3, 5, 2, bidirectional=True),
        getattr(ours, kind)(3, 5, 2, bidirectional=True),
    )
    x = torch.randn(4, 2, 3)
    assert list(fast.state_dict()) == list(plain.state_dict())
    fast.load_state_dict(plain.state_dict())
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-6)
    other = getattr(ours, kind)(3, 5, 2, bidirectional=True)
    plain.load_state_dict(other.state_dict())
    torch.testing.assert_close(other(x), plain(x), rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_signatures_are_those_of_torch(kind: str) -> None:
    mine, theirs = getattr(ours, kind), getattr(nn, kind)
    assert issubclass(mine, theirs)
    assert inspect.signature(mine) == inspect.signature(theirs)
    assert list(inspect.signature(mine.forward).parameters) == list(
        inspect.signature(theirs.forward).parameters
    )


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_constructions_are_refused_in_the_words_of_torch(kind: str) -> None:
    for arguments, named in (
        ((3, 0), {}),
        ((3, 5, 0), {}),
        ((3, "5"), {}),
        ((3, 5), {"dropout": 2.0}),
        ((3, 5), {"proj_size": 5 if kind == "LSTM" else 2}),
        ((3, 5), {"proj_size": -1}),
        ((3, 5), {"nonlinearity": "sigmoid"}),
        ((3,), {}),
    ):
        expected = raised_by(getattr(nn, kind), *arguments, **named)
        assert expected[0] is not type(None)
        assert raised_by(getattr(ours, kind), *arguments, **named) == expected


@pytest.mark.parametrize("kind", KINDS)
def test_copies_and_pickles_compute_the_same(kind: str) -> None:
    x = torch.randn(4, 2, 3)
    module = getattr(ours, kind)(3, 5, 2)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    for other in (
        copy.deepcopy(module),
        pickle.loads(pickle.dumps(module)),
        torch.load(buffer, weights_only=False),
        copy.deepcopy(module).double().float(),
    ):
        assert type(other) is type(module)
        assert other.weight_ih_l0 is not module.weight_ih_l0
        torch.testing.assert_close(other(x), module(x), rtol=0, atol=0)


def test_a_subclass_keeps_what_it_adds() -> None:
    class Doubled(ours.LSTM):
        def forward(self, *arguments: Any) -> Any:
            output, state = super().forward(*arguments)
            return 2 * output, state

    module, x = Doubled(3, 5), torch.randn(4, 2, 3)
    torch.testing.assert_close(module(x)[0], 2 * ours.LSTM.forward(module, x)[0])


def test_nothing_of_keras_is_loaded() -> None:
    code = "import sys; from gatestack.compat.torch import LSTM; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_training_takes_the_same_course() -> None:
    torch.manual_seed(1)
    x, target = torch.randn(7, 4, 3), torch.randn(7, 4, 5)
    plain = nn.LSTM(3, 5, 2)
    fast = twin(plain)
    for module in (plain, fast):
        optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(20):
            optimiser.zero_grad()
            (module(x)[0] - target).square().mean().backward()
            optimiser.step()
    for mine, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_dropout_between_layers_has_the_rate_and_follows_the_seed(packed: bool) -> None:
    """The lower layer gives ones, the upper adds its inputs up: the output counts what was kept."""
    units, p = 400, 0.3
    module = ours.RNN(1, units, num_layers=2, nonlinearity="relu", bias=False, dropout=p)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.weight_ih_l0.fill_(1.0)
        module.weight_ih_l1[0].fill_(1.0)
    x: Tensor | PackedSequence = torch.ones(6, 5, 1)
    if packed:
        x = pack_padded_sequence(x, torch.tensor([6, 5, 3, 2, 1]))

    def counts() -> Tensor:
        output, _ = module(x)
        return (output.data if packed else output)[..., 0].detach() * (1 - p)

    kept = counts()
    expected, spread = units * (1 - p), (units * p * (1 - p)) ** 0.5
    assert (kept - expected).abs().max() < 5 * spread
    assert len(kept.round().unique()) > 5, "each row and step draws for itself"
    torch.manual_seed(3)
    one, other = counts(), counts()
    torch.manual_seed(3)
    assert torch.equal(counts(), one)
    assert not torch.equal(other, one)
    module.eval()
    torch.testing.assert_close(counts(), torch.full_like(one, units * (1 - p)))
    module.train().dropout = 1.0
    assert not counts().any()


def raised_by(
    call: Callable[..., object], *arguments: object, **named: object
) -> tuple[type[BaseException], str]:
    try:
        call(*arguments, **named)
    except Exception as error:  # noqa: BLE001 (whatever torch raises is to be compared)
        return type(error), str(error)
    return type(None), ""


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_wrong_calls_are_refused_in_the_words_of_torch(kind: type[nn.RNNBase]) -> None:
    plain = kind(3, 5, batch_first=True)
    fast = twin(plain)
    state = torch.zeros(1, 2, 5)
    x = torch.zeros(2, 4, 3)

    def paired(h: Tensor) -> object:
        return (h, h) if kind is nn.LSTM else h

    calls: list[tuple[object, ...]] = [
        (torch.zeros(2, 4, 2),),
        (torch.zeros(2, 0, 3),),
        (torch.zeros(3),),
        (torch.zeros(1, 2, 4, 3),),
        (x.double(),),
        (x.long(),),
        (x, paired(torch.zeros(1, 3, 5))),
        (x, paired(torch.zeros(2, 2, 5))),
        (x, paired(torch.zeros(1, 2, 4))),
        (x, paired(torch.zeros(1, 5))),
        (x[0], paired(state)),
        (x, paired(state.double())),
        ("text",),
        (pack_padded_sequence(x, torch.tensor([4, 2]), batch_first=True), paired(torch.zeros(1, 3, 5))),
    ]
    for call in calls:
        error = raised_by(plain, *call)
        assert error[0] is not type(None)
        assert raised_by(fast, *call) == error


def test_an_empty_batch_is_as_in_torch() -> None:
    plain = nn.GRU(3, 5)
    x = torch.zeros(4, 0, 3)
    torch.testing.assert_close(twin(plain)(x), plain(x))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_what_the_kernels_do_not_take_runs_on_torch(kernel_calls: list[object]) -> None:
    x, plain = torch.randn(4, 2, 3), nn.GRU(3, 5)
    fast = twin(plain)
    with use_backend("torch"):
        assert "backend='torch'" in repr(fast)
        torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=0)
    traced = torch.jit.trace(fast, (x,), check_trace=False)  # the check would call it untraced
    other = torch.randn(4, 2, 3)
    torch.testing.assert_close(traced(other), plain(other), rtol=0, atol=1e-6)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        tangents = [torch.autograd.forward_ad.unpack_dual(m(dual)[0]).tangent for m in (fast, plain)]
        torch.testing.assert_close(*tangents)
    assert fast.half()(x.half())[0].dtype is torch.float16
    assert fast.to("meta")(x.half().to("meta"))[0].device.type == "meta"
    assert not kernel_calls


@needs_kernels
@pytest.mark.parametrize("lengths", [None, [4, 4], [4, 2], [1, 3]], ids=str)
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_autocast_gives_the_dtypes_of_torch(
    kind: type[nn.RNNBase], lengths: list[int] | None, kernel_calls: list[object]
) -> None:
    x, plain = torch.randn(4, 2, 3), kind(3, 5, 2)
    if lengths:
        x = pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False)
    fast = twin(plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = flat(plain(x))
        found = flat(fast(x))
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.float(), theirs.float(), rtol=0, atol=0.03)
    assert len(kernel_calls) == 1


@needs_kernels
@pytest.mark.filterwarnings("ignore")
def test_it_goes_through_torch_compile_in_one_graph() -> None:
    import torch._dynamo

    # Without it torch leaves its recurrent modules out of every graph, accelerated or not.
    x = torch.randn(4, 2, 3)
    plain = nn.Sequential(nn.LSTM(3, 5, 2, bidirectional=True))
    fast = nn.Sequential(twin(plain[0]))
    expected = plain(x)
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(fast, fullgraph=True, backend="aot_eager")
        found = compiled(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    results = ((found, fast), (expected, plain))
    grads = [torch.autograd.grad(result[0].sum(), list(one.parameters())) for result, one in results]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


def test_output_of_padding_is_as_in_torch() -> None:
    packed = pack_padded_sequence(torch.randn(3, 4, 2), torch.tensor([1, 4, 2]), True, enforce_sorted=False)
    plain = nn.LSTM(2, 3, batch_first=True)
    expected, lengths = pad_packed_sequence(plain(packed)[0], batch_first=True)
    found, same = pad_packed_sequence(twin(plain)(packed)[0], batch_first=True)
    assert torch.equal(same, lengths)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_threads_that_make_specs_at_once_get_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # A list that lets another thread run between the append and the look at the length.
    class Slow(list[Any]):
        def append(self, item: Any) -> None:
            super().append(item)
            time.sleep(0.02)

    made = Slow(specs._SPECS)
    monkeypatch.setattr(specs, "_SPECS", made)
    sizes = [1001, 1002, 1003, 1004]
    try:
        with ThreadPoolExecutor(len(sizes)) as pool:
            numbers = list(pool.map(lambda size: specs._number("lstm", 2, size, 1, 1, 0, 0.0), sizes))
    finally:
        specs._made_once.cache_clear()  # its numbers are places in the list of this test
    assert [made[number].layers[0].hidden_size for number in numbers] == sizes
