"""What layers and inputs are worth, computed a second time by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from inspected import LENGTHS, C, Reader, close, subject_of

from gatestack.inspect import Outcome, Subject, Truth, inspect_subject
from gatestack.inspect.input_worth import average_input
from gatestack.inspect.path_integral import integrate_gradient
from gatestack.inspect.probes import probe_table
from gatestack.nn import GRU, LSTM, Stack


def row_of(table: object, layer: int, way: str) -> dict:
    return table.filter(layer=layer, way=way).row(0, named=True)


def scored(reader: Reader, subject: Subject, hidden: torch.Tensor) -> torch.Tensor:
    at = subject.lengths - 1
    answer = reader.head(hidden[torch.arange(len(hidden)), at])[:, 0]
    return (answer - torch.from_numpy(subject.truth.values)).square().detach()


@torch.no_grad()
def test_layers_taken_out_of_the_way_by_hand() -> None:
    reader = Reader(LSTM(4), GRU(4), features=C)
    subject = subject_of(reader, lengths=LENGTHS)
    table = inspect_subject(subject).tables["layer_worth"]
    lower, upper = reader.stack.layers
    below, _ = lower(subject.inputs, lengths=subject.lengths)
    above, _ = upper(below, lengths=subject.lengths)
    whole = scored(reader, subject, above)
    close(table["loss"][0], whole.mean())

    bypassed = scored(reader, subject, below)
    found = row_of(table, 2, "bypassed")
    close(found["loss"], bypassed.mean())
    close(found["change"], (bypassed - whole).mean())
    close(found["standard_error"], (bypassed - whole).numpy().std(ddof=1) / np.sqrt(len(whole)))
    assert row_of(table, 1, "bypassed")["loss"] is None, "3 features in and 4 out cannot be passed by"

    real = torch.arange(below.shape[1]) < subject.lengths[:, None]
    held, _ = upper(below[real].mean(dim=0).expand_as(below), lengths=subject.lengths)
    close(row_of(table, 1, "held")["loss"], scored(reader, subject, held).mean())

    losses, drawn = [], torch.Generator().manual_seed(0)
    for _ in range(5):
        shifts = torch.randint(1, len(LENGTHS), (4,), generator=drawn)
        other = torch.zeros_like(below)
        for row, steps in enumerate(LENGTHS):
            for unit, shift in enumerate(shifts.tolist()):
                giver = (row - shift) % len(LENGTHS)
                for t in range(steps):
                    other[row, t, unit] = below[giver, min(t, LENGTHS[giver] - 1), unit]
        losses.append(scored(reader, subject, upper(other, lengths=subject.lengths)[0]))
    close(row_of(table, 1, "shuffled")["loss"], torch.stack(losses).mean())
    # Rows alone moved round below would be rows moved round above: the layers could not be told apart.
    assert row_of(table, 1, "shuffled")["loss"] != pytest.approx(row_of(table, 2, "shuffled")["loss"])


@torch.no_grad()
def test_a_residual_layer_is_bypassed_by_its_connection() -> None:
    reader = Reader(LSTM(3), LSTM(3), features=C, residual=True)
    subject = subject_of(reader)
    table = inspect_subject(subject).tables["layer_worth"]
    below, _ = reader.stack.layers[0](subject.inputs)
    close(row_of(table, 2, "bypassed")["loss"], scored(reader, subject, below).mean())


def test_without_a_truth_there_is_no_worth_of_layers_and_it_is_said() -> None:
    found = inspect_subject(subject_of(Reader(LSTM(3)), truth=False))
    assert found.table("layer_worth") is None
    assert found.table("probes") is None
    assert any("no truth" in note for note in found.notes)
    assert found.tables["occlusion"]["change"].min() >= 0


class Linear(torch.nn.Module):
    """Beside a stack that says nothing, a weighted sum of the inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = Stack(LSTM(2), input_size=C)
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, -2.0, 0.5]]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(1.0, x.shape[1] + 1, dtype=x.dtype)
        return 0 * self.stack(x)[0][:, -1].sum(dim=1) + ((x @ self.weight.T)[..., 0] * steps).sum(dim=1)


def test_attributions_of_a_linear_answer_are_its_terms() -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 5, C, dtype=torch.float64)
    network = Linear().double()
    subject = Subject(
        title="linear",
        network=network,
        inputs=x,
        run=lambda network, x: Outcome(network(x)),
        features=("a", "b", "b"),
        sequences=tuple("abcd"),
    )
    table = inspect_subject(subject).tables["attributions"]
    terms = (x - x.flatten(0, 1).mean(dim=0)) * torch.tensor([1.0, -2.0, 0.5]) * torch.arange(1.0, 6)[:, None]
    close(table.filter(feature="a")["attribution"], terms[..., 0].reshape(-1))
    close(table.filter(feature="b")["attribution"], terms[..., 1:].sum(dim=2).reshape(-1))
    close(table.filter(feature="b")["input"], x[..., 1:].sum(dim=2).reshape(-1))


def test_attributions_are_complete_and_those_of_a_fine_sum_of_differences() -> None:
    reader = Reader(LSTM(4), GRU(3))
    subject = subject_of(reader, rows=3, steps=5, lengths=(5, 3, 4))
    found = inspect_subject(subject).tables
    largest = found["completeness"]["change"].abs().max()
    assert found["completeness"]["error"].max() <= 1e-3 * largest
    baseline = average_input(subject, subject.inputs)
    values, change = integrate_gradient(
        lambda x: subject.run(reader, x).answer, subject.inputs, baseline, share=1e-7, calls=2000
    )
    close(change, found["completeness"]["change"])
    close(values.sum(dim=(1, 2)), change, 1e-6)
    told = found["attributions"].filter(sequence="row 1")["attribution"].to_numpy().reshape(3, 3)
    assert np.abs(told - values[1, :3].numpy()).max() <= 1e-3 * largest
    away = subject.inputs - baseline
    points, small = 400, 1e-5
    with torch.no_grad():
        for row, step, feature in ((0, 4, 0), (1, 2, 1), (2, 0, 2)):
            total = 0.0
            for place in (np.arange(points) + 0.5) / points:
                point = baseline + place * away
                change = torch.zeros_like(point)
                change[row, step, feature] = small
                high = subject.run(reader, point + change).answer[row]
                low = subject.run(reader, point - change).answer[row]
                total += float(high - low) / (2 * small) / points
            assert float(values[row, step, feature]) == pytest.approx(
                total * float(away[row, step, feature]), rel=1e-4, abs=1e-8
            )


@torch.no_grad()
def test_occlusion_by_hand() -> None:
    reader = Reader(LSTM(4))
    subject = subject_of(reader, lengths=LENGTHS)
    table = inspect_subject(subject).tables["occlusion"]
    whole = subject.run(reader, subject.inputs).loss
    real = torch.arange(9) < subject.lengths[:, None]
    covered = subject.inputs.clone()
    covered[..., 1] = torch.where(real, covered[..., 1][real].mean(), covered[..., 1])
    wanted = (subject.run(reader, covered).loss - whole).mean()
    close(table.filter((table["feature"] == "b") & table["first"].is_null())["change"][0], wanted)
    newest = subject.inputs.clone()
    mean = newest[..., 0][real].mean()
    for row, steps in enumerate(LENGTHS):
        newest[row, steps - 1, 0] = mean
    wanted = (subject.run(reader, newest).loss - whole).mean()
    last = table.filter(feature="a", first=0, last=0)
    close(last["change"][0], wanted)


def test_whole_numbers_are_not_changed_a_little() -> None:
    class Words(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = torch.nn.Embedding(9, 3)
            self.stack = Stack(LSTM(3), input_size=3)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.stack(self.table(words))[0][:, -1].sum(dim=1)

    torch.manual_seed(0)
    subject = Subject(
        title="words",
        network=Words(),
        inputs=torch.randint(0, 9, (4, 6)),
        run=lambda network, x: Outcome(network(x)),
        features=(),
        sequences=tuple("abcd"),
    )
    found = inspect_subject(subject)
    assert found.table("attributions") is None
    assert found.tables["time_scales"]["change_steps"].null_count() == 3
    assert found.tables["gates"].height == 3 * 6 * 3


def test_probes_find_what_is_there_and_nothing_in_noise() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(size=80)
    told = np.column_stack([truth + 0.1 * random.normal(size=80), random.normal(size=80)])
    noise = random.normal(size=(80, 6))
    table = probe_table([(None, told), (1, noise)], Truth(truth, "numbers"))
    assert table["score"][0] > 0.95
    assert table["p"][0] == 1 / 20
    assert table["score"][1] < 0.2
    assert abs(table["shuffled"][0]) < 0.2
    classes = (truth > 0).astype(int)
    table = probe_table([(None, told), (1, noise)], Truth(classes, "classes"))
    assert table["score"][0] > 0.9
    assert 0.3 < table["shuffled"][0] < 0.7
    assert table["p"][1] > 0.05


def test_folds_of_overlapping_windows_are_blocks() -> None:
    """Copies of neighbours give the truth away to folds drawn at random, and not to blocks."""
    random = np.random.default_rng(0)
    truth = np.repeat(random.normal(size=10), 10)
    place = np.repeat(np.eye(10), 10, axis=0)
    drawn = probe_table([(1, place)], Truth(truth, "numbers"))
    blocks = probe_table([(1, place)], Truth(truth, "numbers", ordered=True))
    assert drawn["score"][0] > 0.9
    assert blocks["score"][0] < 0.1


def test_probes_need_sequences_and_classes() -> None:
    assert probe_table([(1, np.zeros((9, 2)))], Truth(np.arange(9.0), "numbers")) is None
    assert probe_table([(1, np.zeros((30, 2)))], Truth(np.array([0] * 28 + [1] * 2), "classes")) is None
    assert probe_table([(1, np.zeros((30, 2)))], Truth(np.zeros(30), "numbers")) is None


class Jump(Linear):
    """Jumps by 5 where the first feature of the last step passes 0.3, within `width` of it."""

    def __init__(self, width: float) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        past = x[:, -1, 0] - 0.3
        jump = torch.sigmoid(past / self.width) if self.width else (past > 0).to(x)
        return super().forward(x) + 5 * jump


def jumping(width: float) -> Subject:
    torch.manual_seed(0)
    return Subject(
        title="a jump",
        network=Jump(width).double(),
        inputs=torch.randn(6, 4, C, dtype=torch.float64),
        run=lambda network, x: Outcome(network(x)),
        features=("a", "b", "c"),
        sequences=tuple("abcdef"),
    )


def test_a_jump_on_the_way_is_found_and_given_to_what_jumps() -> None:
    subject = jumping(1e-6)
    found = inspect_subject(subject)
    assert not any("add up" in note for note in found.notes)
    assert (
        found.tables["completeness"]["error"].max()
        <= 1e-3 * found.tables["completeness"]["change"].abs().max()
    )
    mean = subject.inputs.flatten(0, 1).mean(dim=0)
    assert mean[0] < 0.3
    last = found.tables["attributions"].filter(step=3, feature="a")["attribution"]
    for row, x in enumerate(subject.inputs[:, -1, 0]):
        wanted = 4 * float(x - mean[0]) + 5 * float(x > 0.3)
        assert last[row] == pytest.approx(wanted, abs=0.05)


def test_attributions_that_do_not_add_up_are_said_to() -> None:
    """A step has no gradient anywhere, so that no number of points helps."""
    subject = jumping(0.0)
    found = inspect_subject(subject)
    above = int((subject.inputs[:, -1, 0] > 0.3).sum())
    (note,) = [note for note in found.notes if "add up" in note]
    assert note.startswith(f"the integrated gradients of {above} of 6 sequences")


def test_an_answer_that_does_not_read_its_inputs_owes_them_nothing() -> None:
    x = torch.ones(2, 3, 1, dtype=torch.float64)
    for answer in (lambda x: torch.zeros(len(x)), lambda x: torch.zeros(len(x), requires_grad=True) * 1):
        found, change = integrate_gradient(answer, x, 0 * x, share=1e-3, calls=20)
        assert not found.any()
        assert not change.any()


def test_the_calls_of_the_network_are_bounded() -> None:
    calls = []

    def answer(x: torch.Tensor) -> torch.Tensor:
        calls.append(len(x))
        return (x[:, -1, 0] > 0.3).to(x) + 0 * x.sum(dim=(1, 2))

    x = torch.ones(2, 3, 1, dtype=torch.float64)
    integrate_gradient(answer, x, 0 * x, share=1e-3, calls=60)
    assert len(calls) <= 60
