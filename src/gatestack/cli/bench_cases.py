"""The cases of `gatestack bench`, and how one is measured: answers first, then both in turn."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from gatestack.errors import KernelError
from gatestack.kernels import library
from gatestack.nn import GRU, LSTM, Stack

__all__ = ["CASES", "Case", "Measured", "fma_peak", "measure"]

Quartiles: TypeAlias = tuple[float, float, float]
Call: TypeAlias = Callable[[], tuple[Tensor, ...]]

TOLERANCE = 2e-4
"""Largest error of a float32 answer, relative to the largest number of the array: gradients are sums over up
to 3,200 steps, and a wrong gate is off by about 1."""

BLOCK_S, REST_S, PEAK_S = 0.03, 0.01, 0.02
FEWEST_ROUNDS = 3


@dataclass(frozen=True)
class Case:
    """One line of the table: a stack of layers, and what is asked of it.

    Args:
        name: what is measured, in words.
        cell: "lstm" or "gru".
        shape: N, T, C, H, L.
        train: forward, and the gradients of the input and of all parameters; else forward in inference mode.
        directions: 1 or 2.
        ragged: rows have from T/2 to T steps, 75 % of T on average.
        stepper: a stream through `Stack.stepper`, where there are compiled kernels; T is 1.
    """

    name: str
    cell: Literal["lstm", "gru"]
    shape: tuple[int, int, int, int, int]
    train: bool = True
    directions: Literal[1, 2] = 1
    ragged: bool = False
    stepper: bool = False

    def lengths(self) -> Tensor:
        """The steps of each row, (N,), the same ones every time."""
        batch, steps = self.shape[:2]
        if not self.ragged:
            return torch.full((batch,), steps)
        generator = torch.Generator().manual_seed(0)
        lengths = torch.randint(steps // 2, steps + 1, (batch,), generator=generator)
        lengths[batch // 2] = steps
        return lengths

    def flop(self) -> int:
        """Operations of the matrix products over the real steps."""
        _, _, width, hidden, layers = self.shape
        gates = {"lstm": 4, "gru": 3}[self.cell]
        weights = 0
        for _ in range(layers):
            weights += self.directions * gates * hidden * (width + hidden)
            width = self.directions * hidden
        return 2 * weights * int(self.lengths().sum()) * (3 if self.train else 1)


SMALL, MIDDLE, WIDE = (32, 100, 8, 64, 2), (32, 100, 128, 128, 2), (64, 50, 256, 256, 2)
CASES = (
    *(Case("LSTM, training", "lstm", shape) for shape in (SMALL, MIDDLE, WIDE)),
    *(Case("LSTM, inference", "lstm", shape, train=False) for shape in (SMALL, MIDDLE, WIDE)),
    *(Case("GRU, training", "gru", shape) for shape in (SMALL, MIDDLE)),
    *(Case("ragged LSTM, training", "lstm", shape, ragged=True) for shape in (SMALL, MIDDLE)),
    *(Case("both directions, training", "lstm", shape, directions=2) for shape in (SMALL, MIDDLE)),
    Case("LSTM, one step of a stream", "lstm", (1, 1, 8, 64, 2), train=False, stepper=True),
)


@dataclass(frozen=True)
class Measured:
    """What was measured of a case.

    Attributes:
        gatestack_s, torch_s: quartiles of the seconds of a call.
        times: quartiles of torch's time over ours, round by round; above 1 we are faster.
        gflops: of the products, in our median time.
        peak_gflops: of fused multiply-adds on registers, measured next to it; None without kernels.
        error: the larger of both errors against float64, relative to the largest number of the array.
    """

    case: Case
    gatestack_s: Quartiles
    torch_s: Quartiles
    times: Quartiles
    gflops: float
    peak_gflops: float | None
    error: float


def fma_peak(threads: int) -> float | None:
    """GFLOP/s of float32 multiply-adds on registers on all threads at once; None without compiled kernels."""
    kernels = library.find()
    if kernels is None:
        return None
    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(lambda _: kernels.peak_gflops(seconds=PEAK_S), range(threads)))


def measure(case: Case, seconds: float) -> Measured:
    """Check the answers of both libraries, then time them in turn for about so many seconds.

    Raises:
        KernelError: an answer is wrong.
    """
    ours, theirs, truth = _calls(case)
    error = max(_error(case, name, call, truth) for name, call in (("Gatestack", ours), ("torch", theirs)))
    blocks = [(call, max(1, math.ceil(BLOCK_S / _time(call, 1)))) for call in (ours, theirs)]
    times: list[tuple[float, float]] = []
    end = time.perf_counter() + seconds
    while len(times) < FEWEST_ROUNDS or time.perf_counter() < end:
        # Whoever comes second finds the caches and the clock as the other left them: take turns.
        order = (0, 1) if len(times) % 2 else (1, 0)
        found = {number: _time(*blocks[number]) for number in order}
        times.append((found[0], found[1]))
    own = _quartiles([a for a, _ in times])
    return Measured(
        case,
        own,
        _quartiles([b for _, b in times]),
        _quartiles([b / a for a, b in times]),
        case.flop() / own[1] / 1e9,
        fma_peak(torch.get_num_threads()),
        error,
    )


def _calls(case: Case) -> tuple[Call, Call, tuple[Tensor, ...]]:
    """Our call, torch's, and the answer in float64: the output (N, T, D·H), gradients when training."""
    batch, steps, width, hidden, layers = case.shape
    kind, own = {"lstm": (torch.nn.LSTM, LSTM), "gru": (torch.nn.GRU, GRU)}[case.cell]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        both = case.directions == 2
        plain = kind(width, hidden, layers, batch_first=True, bidirectional=both, dtype=torch.float32)
        x = torch.randn(batch, steps, width)
        grad = torch.randn(batch, steps, case.directions * hidden)
        stack = Stack(*(own(hidden, bidirectional=both, dtype=torch.float32) for _ in range(layers)))
    stack.build(width).load_state_dict(plain.state_dict())
    exact = kind(width, hidden, layers, batch_first=True, bidirectional=both, dtype=torch.float64)
    exact.load_state_dict(plain.state_dict())
    lengths = case.lengths() if case.ragged else None

    def ours(x: Tensor) -> Tensor:
        return stack(x, lengths=lengths)[0]  # type: ignore[no-any-return]

    def theirs(x: Tensor, model: torch.nn.RNNBase = plain) -> Tensor:
        if lengths is None:
            return model(x)[0]  # type: ignore[no-any-return]
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(model(packed)[0], batch_first=True, total_length=steps)[0]

    truth = _as_call(case, lambda x: theirs(x, exact), exact, x.double(), grad.double())()
    own_call, their_call = _as_call(case, ours, stack, x, grad), _as_call(case, theirs, plain, x, grad)
    if case.stepper and library.find() is not None:
        own_call = _stepping(stack, x[:, 0])
    return own_call, their_call, tuple(array.detach() for array in truth)


def _stepping(stack: Stack, x: Tensor) -> Call:
    """Step streams, from zero states on: it is the first answer that can be compared."""
    stepper, array = stack.stepper(len(x)), x.numpy()

    def step() -> tuple[Tensor, ...]:
        return (torch.from_numpy(stepper.step(array))[:, None],)

    return step


def _as_call(
    case: Case, forward: Callable[[Tensor], Tensor], model: torch.nn.Module, x: Tensor, grad: Tensor
) -> Call:
    if not case.train:
        model.eval()

        def infer() -> tuple[Tensor, ...]:
            with torch.inference_mode():
                return (forward(x),)

        return infer

    x = x.clone().requires_grad_(True)
    wanted = [x, *model.parameters()]

    def train() -> tuple[Tensor, ...]:
        y = forward(x)
        return (y, *torch.autograd.grad(y, wanted, grad))

    return train


def _error(case: Case, name: str, call: Call, truth: tuple[Tensor, ...]) -> float:
    # A stack has the parameters of its layers one after the other, as torch has them: the order is the same.
    answers = [answer.detach().double() for answer in call()]
    errors = [(a - t).abs().max() / t.abs().max() for a, t in zip(answers, truth, strict=True)]
    error = float(torch.stack(errors).max())
    if not error <= TOLERANCE:  # NaN is no small error
        raise KernelError(
            f"the answer is off by {error:.1e} of its largest number",
            where=f"{name}, {case.name}, {case.shape}",
            expected=f"at most {TOLERANCE:g}",
            hint="please report it with the output of `gatestack doctor`; GATESTACK_BACKEND=torch goes round",
        )
    return error


def _time(call: Call, calls: int) -> float:
    """Seconds per call, after one that warms the caches the other has used."""
    time.sleep(REST_S)  # until the other's threads have stopped waiting for work
    collecting = gc.isenabled()
    gc.disable()
    call()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    taken = (time.perf_counter() - start) / calls
    if collecting:
        gc.enable()
    return taken


def _quartiles(values: list[float]) -> Quartiles:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
