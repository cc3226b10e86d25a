"""HDF5 read by hand: what h5py reads, and no more than a file is worth."""

import io
import struct
import time
import tracemalloc

import numpy as np
import pytest

from fastlstm import ModelFormatError, UnsupportedModelError
from fastlstm.formats.budget import budgeted, current
from fastlstm.formats.keras.files import open_h5
from fastlstm.formats.keras.hdf5 import root_of

h5py = pytest.importorskip("h5py")

RNG = np.random.default_rng(5)
ARRAYS = {
    "f2": RNG.normal(size=(3, 4)).astype("f2"),
    "f4": RNG.normal(size=(31, 40)).astype("f4"),
    "f8": RNG.normal(size=(5, 2, 7)),
    "big": RNG.normal(size=6).astype(">f4"),
    "i1": RNG.integers(-9, 9, size=8).astype("i1"),
    "u4": RNG.integers(9, size=8).astype("u4"),
    "scalar": np.float32(0.5),
    "none": np.zeros((0, 3)),
}
VERSIONS = ["earliest", "v108", "v110", "latest"]


def file_of(fill, libver="earliest"):
    content = io.BytesIO()
    bounds = (libver, "latest" if libver in ("earliest", "latest") else libver)
    with h5py.File(content, "w", libver=bounds) as file:
        fill(file)
    return content.getvalue()


def texts_of(value):
    return [k.decode() if isinstance(k, bytes) else k for k in np.ravel(np.asarray(value, object))]


def compare(node, group):
    """Everything in a file against h5py; the number of arrays."""
    assert node.texts == {name: texts_of(value) for name, value in group.attrs.items()}
    assert node.members.keys() == group.keys()
    found = 0
    for name, item in group.items():
        if isinstance(item, h5py.Group):
            found += compare(node.group(name), item)
        else:
            array = node.array_at(name).array(name)
            assert array.shape == item.shape
            assert array.dtype == item.dtype.newbyteorder("=")
            np.testing.assert_array_equal(array, item[()])
            found += 1
    return found


def model(file, layers=3, attributes=2):
    for k in range(layers):
        group = file.create_group(f"layers/layer_{k}/vars")
        for name, array in ARRAYS.items() if k < 3 else ():
            group[name] = array
    for k in range(attributes):
        file.attrs[f"text{k}"] = "x" * k
        file["layers"].attrs[f"names{k}"] = [b"a", b"bcd"][: k % 3]
        file["layers"].attrs[f"variable{k}"] = ["é", "", "b" * 700]


@pytest.mark.parametrize("libver", VERSIONS)
@pytest.mark.parametrize(("layers", "attributes"), [(3, 2), (60, 30)])
def test_what_h5py_writes(libver, layers, attributes):
    """Few members lie in a header, more are in a heap and a tree."""
    content = file_of(lambda file: model(file, layers, attributes), libver)
    with h5py.File(io.BytesIO(content)) as file:
        assert compare(root_of(io.BytesIO(content)), file) == 3 * len(ARRAYS)


@pytest.mark.parametrize("libver", ["earliest", "v108"])
def test_trees_of_several_levels(libver):
    def fill(file):
        for k in range(1500):
            file.create_group(f"group_{k:05}" + "x" * (k % 50))

    content = file_of(fill, libver)
    with h5py.File(io.BytesIO(content)) as file:
        assert root_of(io.BytesIO(content)).members.keys() == file.keys()


@pytest.mark.parametrize("libver", ["earliest", "v108"])
@pytest.mark.parametrize(
    "options",
    [
        {"chunks": True},
        {"chunks": (7, 11)},
        {"chunks": (7, 11), "compression": "gzip"},
        {"chunks": (31, 40), "compression": 9, "shuffle": True},
        {"chunks": (2, 3), "shuffle": True, "maxshape": (None, 50)},
    ],
)
def test_arrays_in_pieces(libver, options):
    content = file_of(lambda f: f.create_dataset("a", data=ARRAYS["f4"], **options), libver)
    array = root_of(io.BytesIO(content)).array_at("a").array("a")
    np.testing.assert_array_equal(array, ARRAYS["f4"])


@pytest.mark.parametrize(
    ("libver", "options", "message"),
    [
        ("earliest", {"compression": "lzf"}, "HDF5's filter 32000"),
        ("earliest", {"fletcher32": True}, "HDF5's filter 3"),
        ("latest", {"chunks": True}, r"stored in chunks as HDF5 1\.10"),
        ("earliest", {"scaleoffset": 3}, "HDF5's filter 6"),
    ],
)
def test_what_keras_never_writes(libver, options, message):
    content = file_of(lambda f: f.create_dataset("a", data=ARRAYS["f4"], **options), libver)
    with pytest.raises(UnsupportedModelError, match=message):
        root_of(io.BytesIO(content)).array_at("a").array("a")


def test_files_inside_of_files():
    content = file_of(model, "latest")
    for head in (bytes(512), bytes(1024)):
        with pytest.raises(ModelFormatError, match="is not HDF5"):
            root_of(io.BytesIO(head + content))


def test_an_attribute_of_hundreds_of_kilobytes():
    content = file_of(lambda file: file.attrs.update(config="x" * 400_000))
    assert root_of(io.BytesIO(content)).text("config") == "x" * 400_000
    content = file_of(lambda file: file.attrs.create("config", np.bytes_(b"x" * 400_000)), "latest")
    with pytest.raises(UnsupportedModelError, match="more than 64 KB in a heap"):
        root_of(io.BytesIO(content)).text("config")


# Bombs


def visit(content):
    """Everything in a file: its texts and arrays."""

    def of(node, depth):
        assert isinstance(node.texts, dict)
        for name in node.members:
            inside = node[name]
            if inside.is_group:
                assert depth < 30
                of(inside, depth + 1)
            else:
                inside.array(name)

    with budgeted(len(content)):
        of(root_of(io.BytesIO(content)), 0)


def refused(content, message):
    """Within a second and, while memory is counted, which is slow, within little of it."""
    start = time.process_time()
    with pytest.raises(ModelFormatError, match=message):
        visit(content)
    assert time.process_time() - start < 1
    tracemalloc.start()
    with pytest.raises(ModelFormatError, match=message):
        visit(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 27


def superblock(root, size):
    return struct.pack("<8s4B4QI", b"\x89HDF\r\n\x1a\n", 2, 8, 8, 0, 0, 1 << 64 - 1, size, root, 0)


def old_header(*kinds_and_messages):
    content = b"".join(struct.pack("<HHI", k, len(m), 0) + m for k, m in kinds_and_messages)
    return struct.pack("<BxHIII", 1, len(kinds_and_messages), 1, len(content), 0) + content


def test_a_header_that_goes_on_in_itself():
    body = old_header((0x10, struct.pack("<QQ", 64, 24)))  # at 48; its message is at 64
    refused(superblock(48, 200) + body + bytes(200), "continues in itself")
    # or in ever other places that overlap
    steps = b"".join(
        struct.pack("<HHIQQ", 0x10, 16, 0, 64 + 24 * (k % 2000), 30_000) for k in range(1, 2001)
    )
    body = struct.pack("<BxHIII", 1, 2000, 1, len(steps), 0) + steps
    refused(superblock(48, 1 << 17) + body + bytes(1 << 16), "continues in itself|more steps than")


@pytest.mark.parametrize("members", [0, 2048])
def test_a_tree_whose_branches_meet(members):
    """Twelve nodes, each a thousand times the child of the one above: 10^36 leaves."""
    size = 24 + 1000 * 16 + 8
    nodes = b""
    for level in range(12):
        below = 4096 + (level - 1) * size if level else members
        entries = struct.pack("<QQ", 0, below) * 1000 + bytes(8)
        nodes += struct.pack("<4sBBHQQ", b"TREE", 0, level, 1000, 0, 0) + entries
    heap = struct.pack("<4s4xQQQ", b"HEAP", 8, 0, 48)
    empty = struct.pack("<4sBxH", b"SNOD", 1, 0)
    root = old_header((0x11, struct.pack("<QQ", 4096 + 11 * size, 1024)))
    content = (superblock(48, 0) + root).ljust(1024, b"\0") + heap
    content = content.ljust(2048, b"\0") + empty
    message = "more steps than any model" if members else "no list of members"
    refused(content.ljust(4096, b"\0") + nodes, message)


def test_arrays_that_are_one(tmp_path):
    """A thousand names for two megabytes, as links of one file may be."""

    def fill(file):
        array = file.create_dataset("a", data=np.zeros((1 << 12, 1 << 6)))
        for k in range(1000):
            file[f"b{k}"] = array

    refused(file_of(fill), "more memory than any model")


def test_changed_bytes():
    """Of the files' structure, where it is not empty."""
    contents = [file_of(lambda f: model(f, 6, 12), libver) for libver in ("earliest", "v108")]
    rng = np.random.default_rng(1)
    outcomes = set()
    for k in range(150):
        content = bytearray(contents[k % 2])
        used = np.flatnonzero(np.frombuffer(contents[k % 2], "u1"))
        for at in rng.choice(used, rng.integers(1, 5)):
            content[at] = rng.integers(256)
        if rng.random() < 0.5:
            at, value = rng.integers(len(content) - 8), int(rng.integers(len(content)))
            content[at : at + 8] = value.to_bytes(8, "little")
        start = time.process_time()
        try:
            visit(content)
        except (ModelFormatError, UnsupportedModelError) as error:
            outcomes.add(type(error))
        except (ValueError, LookupError, struct.error, TypeError) as error:  # `distrusted` wraps it
            outcomes.add(type(error))
        assert time.process_time() - start < 1
    assert ModelFormatError in outcomes


def read(content):
    with budgeted(len(content)):
        return open_h5(io.BytesIO(content))


def test_groups_that_several_links_lead_to():
    """Each level twice the names of the one above: of 18 levels they take 2 GB."""

    def fill(file):
        group = file.create_group("layers")
        for _ in range(8):
            inner = group.create_group("a" * 1000)
            group["b"] = inner
            group = inner
        group["v"] = np.zeros(1)

    with pytest.raises(ModelFormatError, match="several links lead to the group 'layers/a"):
        read(file_of(fill))


def test_names_that_are_longer_than_the_file():
    """Each of 300 arrays has a path of 200,000 letters."""

    def fill(file):
        group = file.create_group("layers")
        for _ in range(10):
            group = group.create_group("a" * 20_000)
        array = group.create_dataset("v", data=np.zeros(1))
        for k in range(300):
            group[f"v{k}"] = array

    with pytest.raises(ModelFormatError, match="more memory than any model"):
        read(file_of(fill))


def test_texts_are_charged():
    """Headers may share what they go on with: the same texts again and again."""
    content = file_of(lambda file: file.attrs.create("a", np.full(60_000, b"x")))
    with budgeted(0):
        before = current().memory
        assert len(root_of(io.BytesIO(content)).names("a")) == 60_000
        assert before - current().memory > 60_000 * 100


@pytest.mark.parametrize("order", ["LE", "BE"])
def test_bfloat16_in_either_order(order):
    kind = getattr(h5py.h5t, f"IEEE_F16{order}").copy()
    kind.set_fields(15, 7, 8, 0, 7)
    kind.set_ebias(127)

    def fill(file):
        data = h5py.h5d.create(file.id, b"a", kind, h5py.h5s.create_simple((2,)))
        data.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([1.5, -2], "f4"))

    array = root_of(io.BytesIO(file_of(fill))).array_at("a")
    if order == "LE":
        np.testing.assert_array_equal(array.array("a"), np.array([1.5, -2], "f4"))
    else:
        with pytest.raises(UnsupportedModelError, match="a: big-endian bfloat16"):
            array.array("a")
