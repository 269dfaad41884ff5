"""Weights in files: what is read, and how damaged, foreign and hostile files are refused."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from gatestack.convert import read_model
from gatestack.convert.torch import read_torch_weights
from gatestack.convert.torch.weights import read_state_dict
from gatestack.errors import ArgumentError, ModelFileError


class Tagger(nn.Module):
    def __init__(self, hidden: int = 4) -> None:
        super().__init__()
        self.words = nn.Embedding(9, 3)
        self.lstm = nn.LSTM(3, hidden, bidirectional=True)
        self.out = nn.Linear(2 * hidden, 2)


def saved(path: Path, module: nn.Module) -> Path:
    """Write the weights of a module, by the ending of the path."""
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in module.state_dict().items()}, path)
    else:
        torch.save(module.state_dict(), path)
    return path


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.safetensors"])
def test_weights_are_read_into_a_module(tmp_path: Path, name: str) -> None:
    first, second = Tagger(), Tagger()
    assert read_torch_weights(saved(tmp_path / name, first), second) is second
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize(
    "module",
    [
        nn.LSTM(3, 4, batch_first=True),
        nn.LSTM(3, 4, num_layers=3, bidirectional=True, batch_first=True),
        nn.LSTM(3, 4, bias=False, batch_first=True).double(),
        nn.GRU(1, 1, num_layers=2, batch_first=True),
        nn.GRU(3, 5, bidirectional=True, bias=False, batch_first=True),
        nn.LSTM(3, 4, num_layers=2, proj_size=2, bidirectional=True, batch_first=True),
    ],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")
def test_one_recurrent_module_needs_no_architecture(tmp_path: Path, name: str, module: nn.RNNBase) -> None:
    network = read_model(saved(tmp_path / name, module))
    x = torch.randn(3, 7, module.input_size, dtype=module.weight_hh_l0.dtype)
    expected, states = module(x)
    found = network(x)
    for a, b in zip(found, [expected, *(states if isinstance(states, tuple) else [states])], strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)


def test_a_prefix_and_a_checkpoint_around_it_are_fine(tmp_path: Path) -> None:
    lstm = nn.LSTM(3, 4)
    state = {f"encoder.lstm.{name}": tensor for name, tensor in lstm.state_dict().items()}
    optimiser = torch.optim.Adam(lstm.parameters())
    torch.save({"epoch": 3, "state_dict": state, "optimizer": optimiser.state_dict()}, tmp_path / "w.pt")
    assert len(read_model(tmp_path / "w.pt").outputs) == 3


@pytest.mark.parametrize(
    ("module", "parts"),
    [
        (Tagger(), ["'words.weight'", "how", "from_torch(read_torch_weights(path, module))"]),
        (nn.RNN(3, 4), ["plain RNN", "tanh or relu", "nonlinearity="]),
        (nn.Linear(4, 4), ["the weights of one nn.LSTM or nn.GRU"]),
        (nn.ModuleDict({"a": nn.LSTM(3, 4), "b": nn.LSTM(4, 4)}), ["how 'b' and the others are connected"]),
    ],
)
def test_weights_without_architecture_say_what_to_do(
    tmp_path: Path, module: nn.Module, parts: list[str]
) -> None:
    with pytest.raises(ModelFileError) as refused:
        read_model(saved(tmp_path / "w.pt", module))
    for part in [str(tmp_path / "w.pt"), *parts]:
        assert part in str(refused.value)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda state: state.pop("lstm.weight_hh_l0"), ["'lstm.weight_hh_l0' of Tagger is missing"]),
        (lambda state: state.update(more=torch.zeros(1)), ["Tagger has no weight 'more'"]),
        (
            lambda state: state.update({"lstm.weight_ih_l0": torch.zeros(20, 3)}),
            ["has shape (20, 3)", "(gates · hidden, input) = (16, 3)"],
        ),
        (
            lambda state: state.update({"out.weight": torch.zeros(2, 9)}),
            ["has shape (2, 9)", "(out_features, in_features) = (2, 8)"],
        ),
        (
            lambda state: state.update({"words.weight": torch.zeros(8, 3)}),
            ["(num_embeddings, embedding_dim) = (9, 3)"],
        ),
        (
            lambda state: state.update({"out.bias": torch.zeros(2, dtype=torch.int64)}),
            ["torch.int64", "float32"],
        ),
    ],
)
def test_weights_that_do_not_fit_name_expected_and_received(
    tmp_path: Path, change: Any, parts: list[str]
) -> None:
    state, module = Tagger().state_dict(), Tagger()
    before = [parameter.clone() for parameter in module.parameters()]
    change(state)
    torch.save(dict(state), tmp_path / "w.pt")
    with pytest.raises(ModelFileError) as refused:
        read_torch_weights(tmp_path / "w.pt", module)
    for part in [str(tmp_path / "w.pt"), *parts]:
        assert part in str(refused.value)
    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


class Gadget:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def refused(path: Path, *parts: str) -> None:
    with pytest.raises(ModelFileError) as found:
        read_state_dict(path)
    for part in (str(path), *parts):
        assert part in str(found.value)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2), "x": Gadget(tmp_path / "ran")}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "mkdir", "runs code", "torch.save(module.state_dict()")
    assert not (tmp_path / "ran").exists()


def test_modules_scripts_programs_and_old_files_are_refused_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save(nn.LSTM(3, 4), path)
    refused(path, "torch.nn.modules.rnn.LSTM", "a whole module")
    torch.save(nn.LSTM(3, 4).state_dict(), path, _use_new_zipfile_serialization=False)
    refused(path, "before 1.6")
    path.write_bytes(pickle.dumps({"a": 1}))
    refused(path, "a bare pickle")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
        archive.writestr("model/code/__torch__.py", b"")
    refused(path, "TorchScript archive, which is code")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/archive_format", b"pt2")
        archive.writestr("model/models/model.json", b"{}")
    refused(path, "a program of torch.export", "ONNX")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", b"")
        archive.writestr("model/../../evil", b"")
    refused(path, "'../../evil'")


def test_foreign_and_renamed_files_are_refused(tmp_path: Path) -> None:
    tensors = saved(tmp_path / "a.safetensors", Tagger()).rename(tmp_path / "a.pt")
    refused(tensors, "not a file that torch.save wrote")
    archive = saved(tmp_path / "b.pt", Tagger()).rename(tmp_path / "b.safetensors")
    refused(archive, "the header claims")
    (tmp_path / "c.pt").write_bytes(b"")
    refused(tmp_path / "c.pt")
    refused(tmp_path / "none.pt", "there is no such file")
    (tmp_path / "d.pt").mkdir()
    refused(tmp_path / "d.pt", "not a regular file")
    with pytest.raises(ArgumentError, match=r"'\.bin'.*\.safetensors or \.pt or \.pth"):
        read_state_dict(tmp_path / "e.bin")
    with pytest.raises(ModelFileError, match="expected at most 10 bytes"):
        read_state_dict(saved(tmp_path / "f.pt", Tagger()), max_bytes=10)
    for held in (torch.zeros(3), [1, 2], {"a": 1}, {"a": torch.zeros(2).to_sparse()}):
        torch.save(held, tmp_path / "g.pt")
        refused(tmp_path / "g.pt")


def rewritten(path: Path, change: Any, method: int = zipfile.ZIP_STORED) -> Path:
    """Change the members of an archive: name to content, in place."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_tensor_that_claims_more_than_the_file_has_is_refused(tmp_path: Path) -> None:
    wide = torch.zeros(1).expand(2**20, 2**20)  # 4 TiB out of four bytes
    torch.save({"weight_ih_l0": wide, "weight_hh_l0": wide}, tmp_path / "w.pt")
    refused(tmp_path / "w.pt", "'weight_ih_l0'", "at most the 4")

    def enlarge(members: dict[str, bytes]) -> None:
        for name, content in members.items():
            if name.endswith("data.pkl"):
                assert b"M\x10\x27" in content  # 10000, the numbers of the storage and of the tensor
                members[name] = content.replace(b"M\x10\x27", b"J" + struct.pack("<i", 2**31 - 1))

    torch.save({"weight": torch.zeros(10_000)}, tmp_path / "v.pt")
    refused(rewritten(tmp_path / "v.pt", enlarge))


def test_archives_that_unpack_to_more_than_they_are_are_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(10**6)}, tmp_path / "w.pt")
    packed = rewritten(tmp_path / "w.pt", dict, zipfile.ZIP_DEFLATED)
    assert packed.stat().st_size < 20_000
    refused(packed, "it is packed")
    torch.save({"weight": torch.zeros(4)}, tmp_path / "v.pt")
    large = rewritten(
        tmp_path / "v.pt",
        lambda members: members.update({next(iter(members)): b"." * (5 * 2**20)}),
    )
    refused(large, "a pickle of 5242880 bytes")
    with zipfile.ZipFile(tmp_path / "u.pt", "w") as archive:
        for number in range(20_001):
            archive.writestr(f"a/data/{number}", b"")
    refused(tmp_path / "u.pt", "its directory has")


def test_members_that_share_their_bytes_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(64), "b": torch.zeros(64)}, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    entries = [place for place in range(len(content)) if content[place : place + 4] == b"PK\1\2"]
    places = {
        bytes(content[e + 46 : e + 46 + int.from_bytes(content[e + 28 : e + 30], "little")]): e
        for e in entries
    }
    first = next(e for name, e in places.items() if name.endswith(b"data/0"))
    second = next(e for name, e in places.items() if name.endswith(b"data/1"))
    content[second + 42 : second + 46] = content[first + 42 : first + 46]
    (tmp_path / "w.pt").write_bytes(content)
    refused(tmp_path / "w.pt", "it overlaps another member")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
def test_a_damaged_file_is_read_or_refused_and_nothing_else(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path / name, nn.LSTM(3, 4, num_layers=2))
    whole = path.read_bytes()
    shapes = {key: tensor.shape for key, tensor in read_state_dict(path).items()}
    rng = random.Random(0)
    kept, named = 0, set()
    for number in range(400):
        broken = bytearray(whole)
        if number % 2:
            del broken[rng.randrange(len(whole)) :]
        else:
            for _ in range(rng.choice([1, 1, 3])):
                broken[rng.randrange(len(whole))] ^= 1 << rng.randrange(8)
        path.write_bytes(broken)
        try:
            found = read_state_dict(path)
        except ModelFileError as error:
            named.add(str(path) in str(error))
        else:
            kept += 1
            assert sum(tensor.numel() for tensor in found.values()) <= len(whole)
            assert number % 2 == 0, "a cut file is never whole"
    assert kept < 390, "hardly anything was damaged"
    assert named == {True}
    path.write_bytes(whole)
    assert {key: tensor.shape for key, tensor in read_state_dict(path).items()} == shapes


def test_lying_headers_of_safetensors_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", nn.GRU(3, 4))
    whole = path.read_bytes()
    for before, after in ((b"[12,3]", b"[99,3]"), (b"[12,3]", b"[-1,3]"), (b'"F32"', b'"F99"')):
        assert before in whole
        path.write_bytes(whole.replace(before, after, 1))
        refused(path, "tensor ")
    path.write_bytes(np.uint64(2**62).tobytes() + whole[8:])
    refused(path, "the header claims")


def test_a_torch_with_known_holes_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "w.pt", nn.GRU(3, 4))
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    refused(path, "torch 2.9.1+cpu has known holes", "2.10", ".safetensors")
    assert read_state_dict(saved(tmp_path / "w.safetensors", nn.GRU(3, 4)))


def test_reading_takes_the_file_and_no_more(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, stream)
    (tmp_path / "w.pt").write_bytes(stream.getvalue() + b"more")
    refused(tmp_path / "w.pt", "something follows it")
