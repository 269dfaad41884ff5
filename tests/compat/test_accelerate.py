"""`accelerate` changes how recurrent modules of torch are computed, and nothing else."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import random
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.nn.utils.parametrize import remove_parametrizations
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import gatestack as gs
from gatestack.compat import module_call, specs
from gatestack.errors import ArgumentError
from gatestack.kernels import use_backend
from gatestack.kernels.backend import choose_backend

# Of outputs of size 1 and gradients relative to the largest; sums of some hundred terms, in another order.
TOLERANCE = {torch.float32: 5e-6, torch.float64: 1e-12}

ON_KERNELS = choose_backend(torch.zeros(1)) == "native"
needs_kernels = pytest.mark.skipif(not ON_KERNELS, reason="the compiled kernels are not used here")


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


def flat(results: object) -> list[Tensor]:
    """Give the tensors of what a module returned."""
    if isinstance(results, Tensor):
        return [results]
    if isinstance(results, PackedSequence):
        return [results.data]
    return [tensor for part in results for tensor in flat(part)]


def random_case(seed: int) -> tuple[nn.RNNBase, object, object, list[Tensor]]:
    """Draw a module, an input, a state, and the leaves whose gradients are to agree."""
    draw = random.Random(seed)
    torch.manual_seed(seed)
    kind = draw.choice([nn.LSTM, nn.GRU, nn.RNN])
    dtype = draw.choice([torch.float32, torch.float64])
    inputs, hidden, layers = draw.choice([1, 3, 8]), draw.choice([2, 7, 16]), draw.choice([1, 1, 2, 3])
    options: dict[str, object] = {}
    if kind is nn.RNN:
        options["nonlinearity"] = draw.choice(["tanh", "relu"])
    if kind is nn.LSTM and draw.random() < 0.4:
        options["proj_size"] = draw.randint(1, hidden - 1)
    module = kind(
        inputs,
        hidden,
        layers,
        bias=draw.random() < 0.8,
        batch_first=draw.random() < 0.5,
        bidirectional=draw.random() < 0.5,
        dtype=dtype,
        **options,
    )
    form = draw.choice(["batch", "alone", "packed", "packed unsorted", "packed whole"])
    rows, steps = draw.choice([1, 2, 5]), draw.choice([1, 2, 9])
    shape = (rows, steps) if module.batch_first else (steps, rows)
    x = torch.randn(*(shape if form != "alone" else (steps,)), inputs, dtype=dtype, requires_grad=True)
    given: object = x
    if form.startswith("packed"):
        lengths = [steps if form == "packed whole" else draw.randint(1, steps) for _ in range(rows)]
        unsorted = form == "packed unsorted"
        lengths = lengths if unsorted else sorted(lengths, reverse=True)
        given = pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=module.batch_first, enforce_sorted=not unsorted
        )
    leaves, hx = [x], None
    if draw.random() < 0.6:
        count = layers * (2 if module.bidirectional else 1)
        widths = [module.proj_size or hidden, hidden] if kind is nn.LSTM else [hidden]
        batch = () if form == "alone" else (rows,)
        states = [torch.randn(count, *batch, width, dtype=dtype, requires_grad=True) for width in widths]
        hx = tuple(states) if kind is nn.LSTM else states[0]
        leaves += states
    return module, given, hx, leaves


@pytest.mark.parametrize("first", range(0, 200, 20))
@pytest.mark.parametrize("mode", ["train", "eval", "no_grad"])
def test_outputs_and_gradients_are_those_of_torch(first: int, mode: str, kernel_calls: list[object]) -> None:
    for seed in range(first, first + 20):
        module, given, hx, leaves = random_case(seed)
        module.train(mode == "train")
        fast = gs.accelerate(copy.deepcopy(module))
        with torch.set_grad_enabled(mode != "no_grad"), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LSTM with projections is not supported with oneDNN")
            expected, found = module(given, hx), fast(given, hx)
        assert type(found) is type(expected)
        assert type(found[0]) is type(expected[0])
        assert type(found[1]) is type(expected[1])
        if isinstance(given, PackedSequence):
            for name in ("batch_sizes", "sorted_indices", "unsorted_indices"):
                theirs, ours = getattr(expected[0], name), getattr(found[0], name)
                assert ours is theirs is None or torch.equal(ours, theirs)
        for ours, theirs in zip(flat(found), flat(expected), strict=True):
            assert ours.dtype == theirs.dtype
            torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE[ours.dtype] * 4, msg=str(seed))
        if mode == "no_grad":
            continue
        weighting = [torch.randn_like(tensor) for tensor in flat(expected)]
        grads = []
        for one, results in ((module, expected), (fast, found)):
            loss = sum((a * b).sum() for a, b in zip(flat(results), weighting, strict=True))
            grads.append(torch.autograd.grad(loss, [*leaves, *one.parameters()], retain_graph=True))
        for theirs, ours in zip(*grads, strict=True):
            scale = float(theirs.abs().max().clamp(min=1))
            torch.testing.assert_close(
                ours / scale, theirs / scale, rtol=0, atol=4 * TOLERANCE[ours.dtype], msg=str(seed)
            )
    if ON_KERNELS:
        assert len(kernel_calls) == 20, "a call did not reach the kernels"


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


def test_weights_go_both_ways_by_state_dict() -> None:
    plain, fast, x = nn.LSTM(3, 5, 2), gs.accelerate(nn.LSTM(3, 5, 2)), torch.randn(4, 2, 3)
    fast.load_state_dict(plain.state_dict())
    torch.testing.assert_close(fast(x), plain(x), rtol=0, atol=1e-6)
    plain.load_state_dict(gs.accelerate(nn.LSTM(3, 5, 2)).state_dict())


def test_training_takes_the_same_course() -> None:
    torch.manual_seed(1)
    x, target = torch.randn(7, 4, 3), torch.randn(7, 4, 5)
    plain = nn.LSTM(3, 5, 2)
    fast = gs.accelerate(copy.deepcopy(plain))
    for module in (plain, fast):
        optimiser = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(20):
            optimiser.zero_grad()
            (module(x)[0] - target).square().mean().backward()
            optimiser.step()
    for ours, theirs in zip(fast.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-4)


@pytest.mark.parametrize("packed", [False, True])
def test_dropout_between_layers_has_the_rate_and_follows_the_seed(packed: bool) -> None:
    """The lower layer gives ones, the upper adds its inputs up: the output counts what was kept."""
    units, p = 400, 0.3
    module = nn.RNN(1, units, num_layers=2, nonlinearity="relu", bias=False, dropout=p)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        module.weight_ih_l0.fill_(1.0)
        module.weight_ih_l1[0].fill_(1.0)
    gs.accelerate(module)
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


def raised_by(module: nn.Module, *arguments: object) -> tuple[type[BaseException], str]:
    try:
        module(*arguments)
    except Exception as error:  # noqa: BLE001 (whatever torch raises is to be compared)
        return type(error), str(error)
    return type(None), ""


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_wrong_calls_are_refused_in_the_words_of_torch(kind: type[nn.RNNBase]) -> None:
    plain = kind(3, 5, batch_first=True)
    fast = gs.accelerate(copy.deepcopy(plain))
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
    torch.testing.assert_close(gs.accelerate(copy.deepcopy(plain))(x), plain(x))


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


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_what_the_kernels_do_not_take_runs_on_torch(kernel_calls: list[object]) -> None:
    x, plain = torch.randn(4, 2, 3), nn.GRU(3, 5)
    fast = gs.accelerate(copy.deepcopy(plain))
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
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_autocast_gives_the_dtypes_of_torch(kind: type[nn.RNNBase], kernel_calls: list[object]) -> None:
    x, plain = torch.randn(4, 2, 3), kind(3, 5, 2)
    fast = gs.accelerate(copy.deepcopy(plain))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = flat(plain(x))
        found = flat(fast(x))
    assert [tensor.dtype for tensor in found] == [tensor.dtype for tensor in expected]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.float(), theirs.float(), rtol=0, atol=0.03)
    assert len(kernel_calls) == 1


@needs_kernels
@pytest.mark.filterwarnings("ignore")
def test_it_goes_through_torch_compile_in_one_graph() -> None:
    import torch._dynamo

    # Without it torch leaves its recurrent modules out of every graph, accelerated or not.
    x = torch.randn(4, 2, 3)
    plain = nn.Sequential(nn.LSTM(3, 5, 2, bidirectional=True))
    expected = plain(x)
    with torch._dynamo.config.patch(allow_rnn=True):
        compiled = torch.compile(gs.accelerate(plain), fullgraph=True, backend="aot_eager")
        found = compiled(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    grads = [torch.autograd.grad(r[0].sum(), list(plain.parameters())) for r in (found, expected)]
    torch.testing.assert_close(*grads, rtol=1e-5, atol=1e-5)


def test_output_of_padding_is_as_in_torch() -> None:
    packed = pack_padded_sequence(torch.randn(3, 4, 2), torch.tensor([1, 4, 2]), True, enforce_sorted=False)
    plain = nn.LSTM(2, 3, batch_first=True)
    expected, lengths = pad_packed_sequence(plain(packed)[0], batch_first=True)
    found, same = pad_packed_sequence(gs.accelerate(plain)(packed)[0], batch_first=True)
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
