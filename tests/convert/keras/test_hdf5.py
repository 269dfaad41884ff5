"""Our reader of HDF5 agrees with h5py, and nothing in a file leads it astray."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatestack.convert.hdf5 import Hdf5Dataset, Hdf5Group, open_hdf5
from gatestack.errors import ModelFileError

Fill = Callable[[h5py.File], None]


def made(fill: Fill, **options: Any) -> bytes:
    """Give the bytes of a file that h5py wrote."""
    stream = io.BytesIO()
    with h5py.File(stream, "w", **options) as file:
        fill(file)
    return stream.getvalue()


def opened(content: bytes, **options: Any) -> Hdf5Group:
    return open_hdf5(io.BytesIO(content), "a.h5", **options)


def walk(group: Hdf5Group, depth: int = 0) -> int:
    """Read everything; give how many arrays there were. A group may hold itself: stop at a depth."""
    count = len(group.attributes)
    if depth > 12:
        return count
    for name in group.names:
        member = group.find(name)
        if isinstance(member, Hdf5Dataset):
            member.read()
            count += 1 + len(member.attributes)
        elif member is not None:
            count += walk(member, depth + 1)
    return count


def same_attributes(ours: dict[str, Any], theirs: h5py.AttributeManager) -> None:
    assert set(ours) == set(theirs)
    for name, value in ours.items():
        other = theirs[name]
        if isinstance(value, np.ndarray):
            assert value.dtype == np.asarray(other).dtype
            np.testing.assert_array_equal(value, other)
        elif isinstance(value, str):
            assert value == (other.decode() if isinstance(other, bytes) else other)
        else:
            assert value == [x.decode() if isinstance(x, bytes) else x for x in other]


def same(ours: Hdf5Group, theirs: h5py.Group) -> int:
    """Compare two groups with all below them; give the number of arrays."""
    assert set(ours.names) == set(theirs)
    same_attributes(ours.attributes, theirs.attrs)
    count = 0
    for name in ours.names:
        member, other = ours.find(name), theirs[name]
        if isinstance(member, Hdf5Dataset):
            array = member.read()
            assert member.shape == other.shape == array.shape
            assert array.dtype == other.dtype
            np.testing.assert_array_equal(array, other[()])
            same_attributes(member.attributes, other.attrs)
            count += 1
        else:
            assert isinstance(member, Hdf5Group)
            count += same(member, other)
    return count


DTYPES = ["<f2", "<f4", "<f8", ">f4", "|i1", "<i2", "<i4", "<i8", "|u1", "<u2", ">u4", "<u8"]
NAMES = st.text("abcxyz_0é", min_size=1, max_size=12)
STORED: list[dict[str, Any]] = [
    {},
    {"chunks": True},
    {"chunks": True, "compression": "gzip"},
    {"chunks": True, "compression": "gzip", "shuffle": True},
]


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a file as Keras might write one, and some that it does not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    paths = draw(st.lists(st.lists(NAMES, min_size=1, max_size=4), max_size=12))
    texts = draw(st.lists(st.text("añ b/:", max_size=30), max_size=5))

    def attributes(owner: Any) -> None:
        owner.attrs["text"] = "".join(texts)
        owner.attrs["texts"] = texts or ["x"]
        owner.attrs["fixed"] = np.array([text.encode() + b"." for text in texts or ["x"]])
        owner.attrs["number"] = rng.normal()
        owner.attrs["numbers"] = rng.integers(0, 9, draw(st.integers(0, 5)))

    def fill(file: h5py.File) -> None:
        attributes(file)
        for path in paths:
            at = "/".join(path)
            above = ["/".join(path[:count]) for count in range(1, len(path))]
            if at in file or any(isinstance(file.get(name), h5py.Dataset) for name in above):
                continue
            shape = tuple(draw(st.lists(st.integers(0, 5), max_size=4)))
            options = dict(draw(st.sampled_from(STORED)))
            if 0 in shape or not shape:
                options = {}
            data = np.asarray(rng.normal(size=shape) * 50).astype(draw(st.sampled_from(DTYPES)))
            if options and draw(st.booleans()):
                options["chunks"] = tuple(max(1, size - 1) for size in shape)
            attributes(file.create_dataset(at, data=data, **options))

    return made(fill, libver=draw(st.sampled_from(["earliest", "v108"])))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # a number too large for float16 is drawn as well
@given(files())
def test_agrees_with_h5py(content: bytes) -> None:
    try:
        with h5py.File(io.BytesIO(content)) as theirs:
            same(opened(content), theirs)
    except ModelFileError as error:
        # What newer versions of the format write where there are many attributes or chunks.
        if "fractal heap" not in str(error) and "newer way" not in str(error):
            raise


def test_reads_bfloat16_as_h5py_stores_it() -> None:
    values = np.array([1.5, -2.0, 3.140625], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2")

    def fill(file: h5py.File) -> None:
        file.create_dataset("w", data=upper.view("V2"))
        file.create_dataset("other", data=upper.view("V6"))

    root = opened(made(fill))
    np.testing.assert_array_equal(root.dataset("w").read(), values)
    with pytest.raises(ModelFileError, match="other: its datatype is of class 5 and 6 bytes"):
        root.dataset("other").read()


def test_names_of_a_large_group_are_all_found() -> None:
    names = [f"layer_{number}" for number in range(700)]

    def fill(file: h5py.File) -> None:
        for name in names:
            file[f"{name}/vars/0"] = np.arange(2)

    root = opened(made(fill))
    assert sorted(root.names) == sorted(names)
    assert root.dataset("layer_699/vars/0").shape == (2,)
    assert root.find("layer_700") is None
    with pytest.raises(ModelFileError, match=r"a.h5, the root group: it has no group 'layer_700'"):
        root.group("layer_700")
    with pytest.raises(ModelFileError, match="layer_0/vars/0: a dataset where a group"):
        root.find("layer_0/vars/0/1")


def external(file: h5py.File) -> None:
    file["outside"] = h5py.ExternalLink("other.h5", "/w")


def soft(file: h5py.File) -> None:
    file["w"] = 1.0
    file["inside"] = h5py.SoftLink("/w")


def stored_outside(file: h5py.File) -> None:
    file.create_dataset("w", (4,), "f4", external=[("/etc/passwd", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "w", shape=(4,))
    file.create_virtual_dataset("w", layout)


def committed(file: h5py.File) -> None:
    file["z"] = np.dtype("f4")
    file.create_dataset("w", data=np.zeros(2), dtype=file["z"])


def never_written(file: h5py.File) -> None:
    file.create_dataset("w", (2**20, 2**12), "f4")


def chunks_never_written(file: h5py.File) -> None:
    file.create_dataset("w", (2**20, 2**12), "f4", chunks=(2**10, 2**10), compression="gzip")


def packed_zeros(file: h5py.File) -> None:
    file.create_dataset("w", data=np.zeros(2**22, "f4"), chunks=(2**20,), compression="gzip")


def records(file: h5py.File) -> None:
    file.create_dataset("w", data=np.zeros(2, [("a", "f4"), ("b", "i4")]))


def texts(file: h5py.File) -> None:
    file.create_dataset("w", data=["a", "b"])


def many_axes(file: h5py.File) -> None:
    file.create_dataset("w", data=np.zeros((1,) * 8), chunks=(1,) * 8, fletcher32=True)


@pytest.mark.parametrize(
    ("fill", "reason"),
    [
        (external, "'outside' is an external link"),
        (soft, "'inside' is a soft link"),
        (stored_outside, "data in another file"),
        (virtual, "virtual dataset"),
        (committed, "kept elsewhere"),
        (never_written, r"w: its shape \(1048576, 4096\) needs 17179869184 bytes"),
        (chunks_never_written, r"w: its shape \(1048576, 4096\) needs 17179869184 bytes"),
        (packed_zeros, "is taken for an attack"),
        (records, "datatype is of class 6"),
        (texts, "no numbers"),
        (many_axes, "filter 3"),
    ],
)
def test_what_is_not_plain_is_refused_with_its_place(fill: Fill, reason: str) -> None:
    content = made(fill, libver="v108" if fill is external else "earliest")
    tracemalloc.start()
    with pytest.raises(ModelFileError, match=f"(?s)^a.h5, .*{reason}"):
        walk(opened(content, max_bytes=2**40))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * 2**20


def test_all_arrays_together_stay_below_the_limit() -> None:
    def fill(file: h5py.File) -> None:
        file["a"], file["b"] = np.zeros(100), np.zeros(100)

    root = opened(made(fill), max_bytes=1500)
    root.dataset("a").read()
    with pytest.raises(ModelFileError, match="b: it would take 800 bytes, 700 are left of the limit"):
        root.dataset("b").read()


def test_a_group_that_holds_itself_ends() -> None:
    def fill(file: h5py.File) -> None:
        file.create_group("a")["b"] = file["/"]
        file["a/c"] = file["/a"]

    with pytest.raises(ModelFileError, match="again and again"):
        walk(opened(made(fill)))


def sound_files() -> list[bytes]:
    """Give files that look like those of Keras, old, new and packed."""
    rng = np.random.default_rng(3)

    def legacy(file: h5py.File) -> None:
        file.attrs["model_config"] = '{"class_name": "Sequential"}' * 20
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([b"lstm", b"dense"])
        for name in ("lstm", "dense"):
            group.create_group(name).attrs["weight_names"] = [f"{name}/kernel:0", f"{name}/bias:0"]
            file[f"model_weights/{name}/{name}/kernel:0"] = rng.normal(size=(3, 8)).astype("f4")
            file[f"model_weights/{name}/{name}/bias:0"] = rng.normal(size=8)

    def packed(file: h5py.File) -> None:
        file.create_dataset(
            "a/w", data=rng.normal(size=(9, 7)), chunks=(4, 3), compression="gzip", shuffle=True
        )
        file["a/w"].attrs["dtype"] = "float64"
        file.create_dataset("a/b", data=np.arange(30), chunks=(7,))
        file["half"] = np.float16(2)

    return [made(legacy), made(packed), made(legacy, libver="v108"), made(packed, libver="v108")]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", range(4))
def test_no_damage_raises_anything_else(number: int) -> None:
    """Flip and cut bytes anywhere: the reader reads on or refuses, in little time and memory."""
    sound = sound_files()[number]
    assert walk(opened(sound)) >= 4
    rng = np.random.default_rng(number)
    structure = np.array([place for place in range(len(sound)) if sound[place] or place % 16 == 0])
    refused = []
    tracemalloc.start()
    for _ in range(300):
        content = bytearray(sound)
        for place in rng.choice(structure, rng.integers(1, 6)):
            content[place] = rng.choice(
                [0, 1, 0x7F, 0xFF, rng.integers(256), content[place] ^ 1 << rng.integers(8)]
            )
        if rng.random() < 0.2:
            del content[rng.integers(len(content)) :]
        try:
            walk(opened(bytes(content)))
        except ModelFileError as error:
            refused.append(str(error))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(refused) > 50
    assert all(text.startswith("a.h5") for text in refused)
    assert peak < 20 * 2**20


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "a.h5: not an HDF5 file, it begins with nothing"),
        (b"PK\3\4....", "a.h5: not an HDF5 file, it begins with 50 4b 03 04"),
        (b"\x89HDF\r\n\x1a\n", "not an HDF5 file"),
        (b"\x89HDF\r\n\x1a\n\x00", "the superblock: it needs 2 bytes at byte 13"),
        (b"\x89HDF\r\n\x1a\n\x09" + bytes(60), "the superblock: its version is 9"),
    ],
)
def test_what_is_no_hdf5_file_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ModelFileError, match=reason):
        opened(content)
