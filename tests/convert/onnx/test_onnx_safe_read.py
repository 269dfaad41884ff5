"""Damaged and hostile ONNX files are refused with file, node or tensor, and numbers."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from layer_runs import shake

from gatestack import nn
from gatestack.convert.onnx.export import export_onnx
from gatestack.convert.onnx.safe_read import read_checked
from gatestack.convert.onnx.wire import MAX_PARTS, count_parts
from gatestack.errors import ArgumentError, GatestackError, ModelFileError

Model = onnx.ModelProto


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("export") / "lstm.onnx"
    export_onnx(shake(nn.LSTM(5, 3)), path)
    return path.read_bytes()


def changed(content: bytes, change: Callable[[Model], object]) -> bytes:
    model = onnx.load_model_from_string(content)
    change(model)
    return model.SerializeToString()


def tensor(model: Model, name: str) -> onnx.TensorProto:
    return next(one for one in model.graph.initializer if one.name == name)


def node(model: Model, kind: str = "LSTM") -> onnx.NodeProto:
    return next(one for one in model.graph.node if one.op_type == kind)


def attribute(model: Model, name: str) -> onnx.AttributeProto:
    return next(one for one in node(model).attribute if one.name == name)


def read(folder: Path, content: bytes) -> ModelFileError:
    path = folder / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        read_checked(path)
    assert str(caught.value).startswith(str(path))
    return caught.value


def test_a_sound_file_is_read_with_its_shapes(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    checked = read_checked(path)
    assert checked.content == content
    assert checked.shapes["W"] == (1, 20, 3)
    assert checked.shapes["x"] == (None, None, 3)


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (b"", "ir_version 0"),
        (b"not a model at all, only a text", "not an ONNX model"),
        (b"\x80\x02cposix\nsystem\n", "not an ONNX model"),
        (b"PK\x03\x04" + bytes(60), "not an ONNX model"),
        (bytes(1000), "not an ONNX model"),
        (b"\x08\x08", "not an ONNX model"),
        (b"\xff" * 20, "a number that does not end"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, bad: bytes, expected: str) -> None:
    assert expected in str(read(tmp_path, bad))


def test_a_cut_file_is_refused_wherever_it_is_cut(tmp_path: Path, content: bytes) -> None:
    for length in range(1, len(content) - 1, 97):
        read(tmp_path, content[:length])


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            lambda m: tensor(m, "W").dims.__setitem__(2, 2**40),
            r"tensor 'W': 240 bytes — expected 87960930222080",
        ),
        (lambda m: tensor(m, "W").dims.__setitem__(2, -3), r"tensor 'W': dims .*none negative"),
        (lambda m: tensor(m, "W").dims.extend([1] * 40), r"tensor 'W': dims .*at most 32"),
        (
            lambda m: setattr(tensor(m, "R"), "raw_data", tensor(m, "R").raw_data[:-4]),
            r"tensor 'R': 396 bytes — expected 400",
        ),
        (lambda m: tensor(m, "R").float_data.append(1.0), r"tensor 'R': raw_data beside"),
        (lambda m: setattr(tensor(m, "R"), "data_type", 99), r"tensor 'R': data_type 99"),
        (lambda m: tensor(m, "R").segment.SetInParent(), r"a segment"),
        (lambda m: m.graph.initializer.append(tensor(m, "R")), r"tensor 'R': there are two"),
        (lambda m: m.graph.sparse_initializer.add(), "a sparse tensor"),
        (lambda m: m.functions.add(), "1 functions"),
        (lambda m: m.training_info.add(), "1 training graphs"),
        (
            lambda m: setattr(attribute(m, "hidden_size"), "i", 7),
            r"W has shape \(1, 20, 3\) — expected \(1, 28, any\)",
        ),
        (lambda m: setattr(attribute(m, "hidden_size"), "i", 0), "hidden_size 0"),
        (lambda m: setattr(attribute(m, "hidden_size"), "i", -1), "hidden_size -1"),
        (lambda m: setattr(attribute(m, "direction"), "s", b"sideways"), "direction 'sideways'"),
        (lambda m: setattr(attribute(m, "direction"), "s", b"bidirectional"), r"expected \(2, 20, any\)"),
        (lambda m: attribute(m, "activations").strings.__setitem__(1, b"Exec"), "activation 'Exec'"),
        (lambda m: attribute(m, "activations").strings.append(b"Tanh"), "4 activations — expected 3"),
        (lambda m: node(m).input.__setitem__(1, ""), "expected X, W and R"),
    ],
)
def test_what_does_not_agree_is_refused(
    tmp_path: Path, content: bytes, change: Callable[[Model], object], expected: str
) -> None:
    assert re.search(expected, str(read(tmp_path, changed(content, change))))


def test_eighteen_rows_for_a_hidden_size_of_five_are_refused(tmp_path: Path, content: bytes) -> None:
    def cut(model: Model) -> None:
        rows = onnx.numpy_helper.to_array(tensor(model, "W"))[:, :18]
        tensor(model, "W").CopyFrom(onnx.numpy_helper.from_array(np.ascontiguousarray(rows), "W"))

    error = read(tmp_path, changed(content, cut))
    assert "(LSTM)" in str(error)
    assert "W has shape (1, 18, 3) — expected (1, 20, any) for hidden_size 5" in str(error)


def test_a_tensor_inside_a_loop_is_checked(tmp_path: Path) -> None:
    export_onnx(shake(nn.LSTM(5, 3, form=nn.LSTMForm(layer_norm=True))), tmp_path / "a.onnx")

    def lie(model: Model) -> None:
        body = next(one.g for one in node(model, "Scan").attribute if one.name == "body")
        body.initializer.append(onnx.TensorProto(name="inner", data_type=1, dims=[2**50]))

    error = read(tmp_path, changed((tmp_path / "a.onnx").read_bytes(), lie))
    assert "(Scan), tensor 'inner': 0 numbers — expected 1125899906842624" in str(error)


def test_a_shape_that_makes_a_terabyte_is_refused(tmp_path: Path, content: bytes) -> None:
    def bomb(model: Model) -> None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2**20, 2**20]), "huge"))
        model.graph.node.append(onnx.helper.make_node("ConstantOfShape", ["huge"], ["bomb"]))

    assert "value 'bomb': it would have 4398046511104 bytes" in str(read(tmp_path, changed(content, bomb)))


def external(model: Model, location: str, **more: str) -> None:
    one = tensor(model, "W")
    one.ClearField("raw_data")
    one.data_location = 1
    for key, value in {"location": location, **more}.items():
        entry = one.external_data.add()
        entry.key, entry.value = key, value


@pytest.mark.parametrize(
    "location",
    [
        "../secret",
        "a/../../secret",
        "/etc/passwd",
        "C:\\secret",
        "\\\\host\\share",
        "..\\secret",
        "C:secret",
        "",
        ".",
    ],
)
def test_external_data_outside_the_folder_are_refused(tmp_path: Path, content: bytes, location: str) -> None:
    (tmp_path / "secret").write_bytes(bytes(240))
    (tmp_path / "in").mkdir()
    error = read(tmp_path / "in", changed(content, lambda m: external(m, location)))
    assert "tensor 'W'" in str(error)
    assert "external data" in str(error)


@pytest.mark.parametrize(
    "kind", ["symlink", "folder symlink", "hard link", "pipe", "folder", "missing", "file as folder"]
)
def test_external_data_that_are_no_file_of_their_own_are_refused(
    tmp_path: Path, content: bytes, kind: str
) -> None:
    (tmp_path / "secret").write_bytes(bytes(240))
    inside = tmp_path / "in"
    inside.mkdir()
    location = "w.bin"
    if kind == "symlink":
        (inside / "w.bin").symlink_to(tmp_path / "secret")
    elif kind == "folder symlink":
        (inside / "link").symlink_to(tmp_path)
        location = "link/secret"
    elif kind == "hard link":
        os.link(tmp_path / "secret", inside / "w.bin")
    elif kind == "pipe":
        os.mkfifo(inside / "w.bin")
    elif kind == "folder":
        (inside / "w.bin").mkdir()
    elif kind == "file as folder":
        (inside / "w.bin").write_bytes(bytes(240))
        location = "w.bin/x"
    error = read(inside, changed(content, lambda m: external(m, location)))
    assert {"symlink": "symbolic link", "folder symlink": "symbolic link", "hard link": "2 names"}.get(
        kind, "external data"
    ) in str(error)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"offset": "1"}, "external data from 1 to 241 — expected at most 240"),
        ({"length": "100"}, "length 100 — expected 240"),
        ({"offset": "-4"}, "offset '-4'"),
        ({"offset": "9" * 30}, "a whole number"),
        ({"offset": "²"}, "a whole number"),
    ],
)
def test_external_data_of_another_size_are_refused(
    tmp_path: Path, content: bytes, more: dict[str, str], expected: str
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(240))
    assert expected in str(read(tmp_path, changed(content, lambda m: external(m, "w.bin", **more))))


def test_external_data_inside_the_folder_are_read_into_the_model(tmp_path: Path, content: bytes) -> None:
    weights = tensor(onnx.load_model_from_string(content), "W").raw_data
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"before" + weights)
    path = tmp_path / "m.onnx"
    path.write_bytes(changed(content, lambda m: external(m, "sub/w.bin", offset="6", length="240")))
    model = read_checked(path).model
    assert tensor(model, "W").raw_data == weights
    assert not tensor(model, "W").external_data


def test_a_file_above_the_limit_is_not_read(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"{len(content)} bytes — expected at most 1000"):
        read_checked(path, max_bytes=1000)
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="expected at most 1073741824"):
        read_checked(path)


def test_a_bomb_of_empty_nodes_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    # Two bytes each in the file, a hundred in memory.
    nodes = b"\x0a\x00" * (MAX_PARTS + 1)
    length, rest = b"", len(nodes)
    while rest > 127:
        length, rest = length + bytes([rest & 127 | 128]), rest >> 7
    bomb = b"\x08\x08" + b"\x3a" + length + bytes([rest]) + nodes
    (tmp_path / "m.onnx").write_bytes(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert f"more than {MAX_PARTS} parts" in str(read(tmp_path, bomb))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def test_deep_nesting_is_refused() -> None:
    def wrapped(tag: int, inside: bytes) -> bytes:
        return bytes([tag, len(inside) & 127 | 128, len(inside) >> 7]) + inside

    graph = b""
    for _ in range(100):
        graph = wrapped(0x0A, wrapped(0x2A, wrapped(0x32, graph)))  # graph in attribute in node in graph
    with pytest.raises(ModelFileError, match="nested deeper than 64 levels"):
        count_parts(wrapped(0x3A, graph), where="m")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_never_pass_unnoticed_as_another_error(
    tmp_path: Path, content: bytes, data: st.DataObject
) -> None:
    broken = bytearray(content)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "m.onnx").write_bytes(broken)
    try:
        said = f"{tmp_path / 'm.onnx'}{read_checked(tmp_path / 'm.onnx').shapes}"
    except GatestackError as error:
        said = str(error)
    assert said.startswith(str(tmp_path / "m.onnx"))


def test_onnx_is_asked_for_by_name_where_it_is_missing(
    tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ArgumentError, match=r"pip install 'gatestack\[onnx\]'"):
        read_checked(tmp_path / "m.onnx")
