"""What a model folder holds comes back; what is not a whole model folder is refused with a reason."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from gatestack.errors import ArgumentError, ModelFileError, StorageError
from gatestack.runtime import read_model_folder, write_model_folder

MODEL = {"kind": "forecaster", "layers": [64, 64], "scale": 0.1, "name": "Zürich ✓", "nothing": None}
WEIGHTS = {"stack.weight_ih_l0": np.arange(12, dtype=np.float32).reshape(4, 3), "scalar": np.array(3.5)}
PROOF = {"x": np.ones((2, 3, 1), np.float32), "mask": np.array([True, False])}


def save(path: Path, **changes: Any) -> None:
    write_model_folder(path, **{"model": MODEL, "weights": WEIGHTS, "proof": PROOF, **changes})


def listing(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save(tmp_path / "m", texts={"report.html": "<p>é</p>"})
    return tmp_path / "m"


def test_what_was_written_comes_back(folder: Path) -> None:
    found = read_model_folder(folder)
    assert found.model == MODEL
    assert found.path == folder
    for given_arrays, arrays in ((WEIGHTS, found.weights), (PROOF, found.proof)):
        assert sorted(arrays) == sorted(given_arrays)
        for name, array in given_arrays.items():
            assert arrays[name].dtype == array.dtype
            assert arrays[name].shape == array.shape
            np.testing.assert_array_equal(arrays[name], array)
    assert found.weights["stack.weight_ih_l0"].flags.writeable
    assert (folder / "report.html").read_text(encoding="utf-8") == "<p>é</p>"


def test_the_tensor_files_are_what_safetensors_reads(folder: Path) -> None:
    np.testing.assert_array_equal(load_file(folder / "weights.safetensors")["scalar"], 3.5)


def test_only_the_model_is_left_in_the_folder_above(folder: Path) -> None:
    assert [entry.name for entry in folder.parent.iterdir()] == ["m"]
    assert sorted(listing(folder)) == [
        "model.json",
        "proof.safetensors",
        "report.html",
        "weights.safetensors",
    ]


def test_equal_arguments_give_equal_bytes(tmp_path: Path) -> None:
    save(tmp_path / "a")
    save(tmp_path / "b")
    assert listing(tmp_path / "a") == listing(tmp_path / "b")


def test_arrays_that_are_strided_big_endian_or_empty_come_back(tmp_path: Path) -> None:
    awkward = {
        "strided": np.arange(20.0)[::3],
        "transposed": np.arange(6).reshape(2, 3).T,
        "big_endian": np.arange(3, dtype=">i4"),
        "empty": np.zeros((0, 7), np.float16),
    }
    save(tmp_path / "m", weights=awkward)
    found = read_model_folder(tmp_path / "m").weights
    for name, array in awkward.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=40, deadline=None)
@given(extra=JSON)
def test_any_json_value_comes_back(tmp_path_factory: pytest.TempPathFactory, extra: Any) -> None:
    path = tmp_path_factory.mktemp("any") / "m"
    write_model_folder(path, model={"kind": "k", "extra": extra}, weights={}, proof={})
    assert read_model_folder(path).model == {"kind": "k", "extra": extra}


# --- arguments that cannot be stored ---


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model": {"layers": 2}}, "kind"),
        ({"model": {"kind": ""}}, "kind"),
        ({"model": {"kind": "k", "format": "mine"}}, "'format'"),
        ({"model": {"kind": "k", "x": float("nan")}}, "JSON"),
        ({"model": {"kind": "k", "x": object()}}, "JSON"),
        ({"model": {"kind": "k", "x": np.int64(3)}}, "int64"),
        ({"weights": {"w": np.array([object()])}}, "weights['w']"),
        ({"weights": {"w": np.array(["text"])}}, "weights['w']"),
        ({"weights": {"w": [1.0, 2.0]}}, "a list"),
        ({"proof": {"__metadata__": np.zeros(1)}}, "__metadata__"),
        ({"texts": {"model.json": "{}"}}, "model.json"),
        ({"texts": {"../up.html": ""}}, "texts"),
        ({"texts": {"sub/page.html": ""}}, "texts"),
    ],
)
def test_what_cannot_be_stored_is_refused_before_anything_is_written(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(ArgumentError) as caught:
        save(tmp_path / "m", **changes)
    assert told in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_json_nested_too_deep_is_refused_when_written(tmp_path: Path) -> None:
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    with pytest.raises(ArgumentError, match="64 levels"):
        save(tmp_path / "m", model={"kind": "k", "deep": deep})
    assert list(tmp_path.iterdir()) == []


# --- never overwriting unasked ---


def test_an_existing_folder_is_never_overwritten_unasked(folder: Path) -> None:
    before = listing(folder)
    with pytest.raises(ArgumentError, match="exists already") as caught:
        save(folder, model={"kind": "other"})
    assert "overwrite=True" in str(caught.value)
    assert listing(folder) == before


def test_overwrite_replaces_a_model(folder: Path) -> None:
    save(folder, model={"kind": "other"}, overwrite=True)
    assert read_model_folder(folder).model == {"kind": "other"}
    assert "report.html" not in listing(folder)
    assert [entry.name for entry in folder.parent.iterdir()] == ["m"]


def test_overwrite_spares_what_is_not_a_model(tmp_path: Path) -> None:
    precious = tmp_path / "thesis"
    precious.mkdir()
    (precious / "chapter1.txt").write_text("years of work")
    with pytest.raises(ArgumentError, match="not a Gatestack model folder"):
        save(precious, overwrite=True)
    assert listing(precious) == {"chapter1.txt": b"years of work"}


def test_overwrite_spares_a_model_folder_with_the_users_own_files(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(ArgumentError, match=r"notes\.txt"):
        save(folder, overwrite=True)
    assert (folder / "notes.txt").read_text() == "mine"


def test_overwrite_spares_a_link_to_a_model(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ArgumentError, match="not overwritten"):
        save(tmp_path / "link", overwrite=True)
    assert read_model_folder(tmp_path / "link").model == MODEL


def test_a_report_made_later_does_not_hinder_reading_or_overwriting(folder: Path) -> None:
    (folder / "report.html").write_text("a newer report")
    assert read_model_folder(folder).model == MODEL
    save(folder, overwrite=True)


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="a file is in the way"):
        save(tmp_path / "file" / "m")


# --- folders that are not whole ---


def edit(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    model = json.loads((folder / "model.json").read_text())
    change(model)
    (folder / "model.json").write_text(json.dumps(model))


def list_again(folder: Path, name: str) -> None:
    """Give a forged file the hash and size that model.json lists, as an attacker would."""
    content = (folder / name).read_bytes()
    edit(
        folder,
        lambda model: model["files"].update(
            {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}
        ),
    )


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "proof.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelFileError, match="missing") as caught:
        read_model_folder(folder)
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["weights.safetensors", "proof.safetensors"])
def test_every_cut_and_every_flipped_bit_of_a_tensor_file_is_found(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    rng = np.random.default_rng(0)
    forged = [whole[:cut] for cut in (0, 7, 8, len(whole) // 2, len(whole) - 1)] + [whole + b"\0"]
    for position in rng.integers(0, len(whole), 30):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(rng.integers(8))
        forged.append(bytes(damaged))
    for content in forged:
        (folder / name).write_bytes(content)
        with pytest.raises(ModelFileError) as caught:
            read_model_folder(folder)
        assert name in str(caught.value)
        assert "hint:" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b"[]", "format"),
        (b'{"format": "gatestack-model", "format": "gatestack-model"}', "twice"),
        (b'{"format": "gatestack-model", "format_version": NaN}', "NaN"),
        (b'{"format": "gatestack-model", "format_version": 2}', "upgrade"),
        (b'{"format": "gatestack-model", "format_version": true}', "format_version"),
        (b'{"format": "gatestack-model", "format_version": 1}', "kind"),
        (b"[" * 200_000 + b"]" * 200_000, "64 levels"),
        (b'{"a": ' * 200_000, "64 levels"),
        (b'{"a": ' + b"9" * 6000 + b"}", "digits"),
        (b'"' + b"\\" * 100_001, "not JSON"),
    ],
)
def test_a_bad_model_json_is_named(folder: Path, text: bytes, told: str) -> None:
    (folder / "model.json").write_bytes(text)
    with pytest.raises(ModelFileError) as caught:
        read_model_folder(folder)
    assert "model.json" in str(caught.value)
    assert told in str(caught.value)


def test_a_huge_model_json_is_refused_by_its_size(folder: Path) -> None:
    with (folder / "model.json").open("ab") as stream:
        stream.truncate(2**40)  # a sparse file: a terabyte that takes no room
    with pytest.raises(ModelFileError, match="at most"):
        read_model_folder(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.pop("files"),
        lambda model: model["files"].pop("proof.safetensors"),
        lambda model: model["files"].update({"../../etc/passwd": {"sha256": "0" * 64, "bytes": 1}}),
        lambda model: model["files"]["weights.safetensors"].update(bytes=-1),
        lambda model: model["files"]["weights.safetensors"].update(bytes="1"),
        lambda model: model["files"]["weights.safetensors"].update(sha256="0"),
        lambda model: model.pop("texts"),
        lambda model: model.update(texts=["../up.html"]),
        lambda model: model.update(kind=3),
    ],
)
def test_an_envelope_that_differs_from_the_page_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    edit(folder, change)
    with pytest.raises(ModelFileError, match=r"model\.json"):
        read_model_folder(folder)


def test_the_size_is_checked_before_a_tensor_file_is_read(folder: Path) -> None:
    with (folder / "weights.safetensors").open("ab") as stream:
        stream.truncate(2**40)
    with pytest.raises(ModelFileError, match="at most"):
        read_model_folder(folder)
    edit(folder, lambda model: model["files"]["weights.safetensors"].update(bytes=2**40))
    with pytest.raises(ModelFileError, match="at most"):
        read_model_folder(folder)


def test_the_limit_of_the_tensor_files_can_be_lowered(folder: Path) -> None:
    with pytest.raises(ModelFileError, match="at most 10 bytes"):
        read_model_folder(folder, max_tensor_file_bytes=10)


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors", "report.html"])
def test_a_symbolic_link_is_refused(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).rename(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    with pytest.raises(ModelFileError, match="symbolic link") as caught:
        read_model_folder(folder)
    assert name in str(caught.value)


def test_a_pipe_does_not_hang_the_reader(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    os.mkfifo(folder / "weights.safetensors")
    with pytest.raises(ModelFileError, match="not a regular file"):
        read_model_folder(folder)


def forge(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, shape: list[int], dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not even"),
        (struct.pack("<Q", 2**63), "claims"),
        (struct.pack("<Q", 100) + b"{}", "claims"),
        (forge(b"{"), "not JSON"),
        (forge(b"[]"), "not an object"),
        (forge(b'{"w": ' * 1000), "64 levels"),
        (forge(b'{"w": {}, "w": {}}'), "twice"),
        (forge({"w": 3}), "'w'"),
        (forge({"w": {"dtype": "F32", "shape": [1]}}), "lacks"),
        (forge({"w": entry(0, 4, [1], "OBJECT")}, bytes(4)), "dtype"),
        (forge({"w": {**entry(0, 4, [1]), "dtype": ["F32"]}}, bytes(4)), "dtype"),
        (forge({"w": entry(0, 4, [-1])}, bytes(4)), "counts"),
        (forge({"w": entry(0, 4, [True])}, bytes(4)), "counts"),
        (forge({"w": entry(0, 4, [1] * 33)}, bytes(4)), "counts"),
        (forge({"w": entry(0, 4, [2**40, 2**40])}, bytes(4)), "needs"),
        (forge({"w": entry(0, 4, [2**62, 2**62, 2**62])}, bytes(4)), "needs"),
        (forge({"w": entry(4, 0, [1])}, bytes(4)), "needs"),
        (forge({"w": entry(0, 8, [2])}, bytes(4)), "end at byte 8"),
        (forge({"w": entry(0, 4, [1])}, bytes(5)), "end at byte 4"),
        (forge({"w": entry(4, 8, [1])}, bytes(8)), "starts at byte 4"),
        (forge({"v": entry(0, 4, [1]), "w": entry(0, 4, [1])}, bytes(4)), "starts at byte 0"),
        (forge({"v": entry(0, 4, [1]), "w": entry(8, 12, [1])}, bytes(12)), "starts at byte 8"),
    ],
)
def test_a_header_that_lies_is_refused_even_with_the_right_hash(
    folder: Path, content: bytes, told: str
) -> None:
    (folder / "weights.safetensors").write_bytes(content)
    list_again(folder, "weights.safetensors")
    with pytest.raises(ModelFileError) as caught:
        read_model_folder(folder)
    assert told in str(caught.value)
    assert "weights.safetensors" in str(caught.value)


def test_a_path_that_is_no_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="no such folder"):
        read_model_folder(tmp_path / "absent")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelFileError, match="a file, not a folder"):
        read_model_folder(tmp_path / "file")


def test_reading_needs_no_torch(folder: Path) -> None:
    script = f"""
import sys
from gatestack.runtime import read_model_folder
read_model_folder({str(folder)!r})
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
