"""``fastlstm trace``: tables that read back exactly, drawings, and what is refused."""

from __future__ import annotations

import csv
import io
import re
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pytest
from helpers import assert_same_bits
from model_files import fc, tensors
from networks import Maker
from pyarrow import feather, parquet

import fastlstm
from fastlstm import LSTM, cli
from fastlstm.calls.trace import Trace
from fastlstm.commands.trace.files import write_table

COLUMNS = (
    "forget_gate",
    "input_gate",
    "candidate_cell",
    "cell_state",
    "output_gate",
    "hidden_state",
)
INDEX = ("row", "step", "unit")
LENGTHS = np.array([4, 0, 3, 1, 2, 4])

pytestmark = pytest.mark.usefixtures("few_kernels")


@pytest.fixture(scope="module")
def model() -> LSTM:
    """Two layers, of 5 and 6 units."""
    maker = Maker(3, "float32")
    return LSTM([maker.layer(2, 5), maker.layer(5, 6)], maker.dense(6, 1))


@pytest.fixture
def folder(tmp_path: Path, model: LSTM) -> Path:
    model.save(tmp_path / "model.npz")
    rng = np.random.default_rng(7)
    np.save(tmp_path / "x.npy", rng.normal(size=(6, 4, 2)).astype("float32"))
    np.save(tmp_path / "lengths.npy", LENGTHS)
    np.save(tmp_path / "flat.npy", np.zeros((6, 2)))
    np.save(tmp_path / "number.npy", np.float64(3))
    np.save(tmp_path / "none.npy", np.zeros((0, 4, 2)))
    np.save(tmp_path / "wide.npy", np.zeros((6, 4, 3)))
    np.save(tmp_path / "words.npy", np.full((6, 4, 2), "word"))
    (tmp_path / "text.txt").write_text("1,2\n")
    return tmp_path


def trace(folder: Path, *more: str, source: str = "x.npy", model: str = "model.npz") -> int:
    """Run `fastlstm trace` on files of the folder."""
    named = [str(folder / word) if re.search(r"\.\w+$", word) else word for word in more]
    return cli.main(["trace", str(folder / source), "--model", str(folder / model), *named])


def read_csv(text: str, dtype: str = "float32") -> dict[str, np.ndarray]:
    header, *lines = csv.reader(io.StringIO(text))
    columns = dict(zip(header, zip(*lines, strict=True), strict=True))
    return {
        name: np.array(values, dtype="int64" if name in INDEX else dtype)
        for name, values in columns.items()
    }


def read_table(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".csv":
        return read_csv(path.read_bytes().decode("ascii"))
    if path.suffix == ".npz":
        with np.load(path) as archive:
            return dict(archive)
    from pyarrow import parquet

    table = parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def assert_is(table: dict[str, np.ndarray], traced: Trace, rows, units, lengths=None) -> None:
    """The table is this trace of all rows, at the chosen rows and units, in this order."""
    T = traced.cell_state.shape[1]
    steps = {row: T if lengths is None else int(lengths[row]) for row in rows}
    index = [(n, t, u) for n in rows for t in range(steps[n]) for u in units]
    assert tuple(table) == (*INDEX, *COLUMNS)
    n, t, u = np.array(index).T
    for name, expected in zip(INDEX, (n, t + 1, u), strict=True):
        np.testing.assert_array_equal(table[name], expected)
    for name in COLUMNS:
        assert_same_bits(table[name], getattr(traced, name)[n, t, u], name)


# --- tables -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".npz", ".parquet"])
def test_a_table_holds_the_trace(folder, model, capsys, suffix):
    path = folder / f"gates{suffix}"
    path.write_bytes(b"old")
    assert trace(folder, "--rows", "4", "0-2", "1", "--unit", "5", "0", "-o", path.name) == 0
    assert capsys.readouterr() == ("", "")
    assert_is(read_table(path), model.trace(np.load(folder / "x.npy")), [4, 0, 1, 2], [5, 0])
    assert not list(folder.glob(".*"))


def test_all_units_of_the_first_row_on_stdout(folder, model, capsys):
    traced = model.trace(np.load(folder / "x.npy"))
    for more in ((), ("-o", "-")):
        assert trace(folder, *more) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        assert_is(read_csv(printed.out), traced, [0], range(6))


def test_only_real_steps_are_written(folder, model, capsys):
    x = np.load(folder / "x.npy")
    assert trace(folder, "--lengths", "lengths.npy", "--rows", "0-4") == 0
    table = read_csv(capsys.readouterr().out)
    assert_is(table, model.trace(x, LENGTHS), range(5), range(6), LENGTHS)


def test_a_row_of_no_steps_is_a_table_of_no_lines(folder, capsys):
    assert trace(folder, "--lengths", "lengths.npy", "--rows", "1") == 0
    assert capsys.readouterr().out == ",".join((*INDEX, *COLUMNS)) + "\n"


def test_a_lower_layer(folder, model, capsys):
    traced = model.trace(np.load(folder / "x.npy"), layer=0)
    for layer in ("0", "-2"):
        assert trace(folder, "--layer", layer) == 0
        assert_is(read_csv(capsys.readouterr().out), traced, [0], range(5))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers_read_back_exactly(capsys, dtype):
    traced = Trace(*np.random.default_rng(9).normal(size=(6, 1, 5, 3)).astype(dtype))
    write_table(Path("-"), [0], [traced], range(3))
    assert_is(read_csv(capsys.readouterr().out, dtype), traced, [0], range(3))


def test_numbers_that_are_none(folder, capsys):
    """NaN and infinity, and steps that are nearly zero, have their names in a .csv too."""
    x = np.load(folder / "x.npy")
    x[0, 1], x[1, 2] = np.nan, 1e38
    np.save(folder / "odd.npy", x)
    assert trace(folder, "--rows", "0", "1", source="odd.npy") == 0
    table = read_csv(capsys.readouterr().out)
    assert np.isnan(table["hidden_state"]).any()
    assert np.isfinite(table["hidden_state"][table["row"] == 1]).all()
    traced = fastlstm.load(folder / "model.npz").trace(x[:2])
    np.testing.assert_array_equal(table["cell_state"], traced.cell_state.reshape(-1))


@pytest.mark.full
def test_one_input_and_a_projection(folder, capsys):
    """Hidden states of a projection mix all units: they have no place in the lines of units."""
    maker = Maker(6, "float32")
    model = LSTM([maker.layer(1, 5, 3)])
    model.save(folder / "projected.npz")
    x = np.random.default_rng(8).normal(size=(5, 7))
    np.save(folder / "series.npy", x)
    assert trace(folder, "--rows", "3", source="series.npy", model="projected.npz") == 0
    printed = capsys.readouterr()
    table = read_csv(printed.out)
    assert tuple(table) == (*INDEX, *COLUMNS[:-1])
    assert "projection" in printed.err
    traced = model.trace(x)
    for name in COLUMNS[:-1]:
        assert_same_bits(table[name], getattr(traced, name)[3].reshape(-1), name)


def test_only_the_chosen_rows_are_read(folder, model, capsys):
    """The file is larger than memory: a terabyte, nearly all of it a hole."""
    path, shape = folder / "huge.npy", (1 << 35, 4, 2)
    x = np.load(folder / "x.npy")
    with open(path, "wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        file.write(x[0].tobytes())
        try:
            file.truncate(start + 4 * shape[0] * shape[1] * shape[2])
        except OSError:
            pytest.skip("this file system has no files of that size")
    assert trace(folder, "--rows", "0", str(shape[0] - 1), source="huge.npy") == 0
    expected = model.trace(np.stack([x[0], np.zeros_like(x[0])]))
    table = read_csv(capsys.readouterr().out)
    np.testing.assert_array_equal(table["hidden_state"], expected.hidden_state.reshape(-1))
    assert set(table["row"]) == {0, shape[0] - 1}


# --- drawings -----------------------------------------------------------------------------------


def test_a_drawing(folder, monkeypatch):
    """Without pyplot, which is global state: a module that stands as None cannot be imported."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    assert trace(folder, "--rows", "0-1", "--unit", "0", "2", "-o", "gates.svg") == 0
    assert (folder / "gates.svg").read_bytes().startswith(b"<?xml")
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_suffix_says_what_kind_of_drawing(folder, monkeypatch, suffix):
    from matplotlib import figure

    kinds = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda *_, format: kinds.append(format))
    assert trace(folder, "-o", f"gates.{suffix}") == 0
    assert kinds == [suffix]


def test_a_panel_for_each_row_and_unit(folder, model, monkeypatch):
    from matplotlib import figure

    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    options = ("--rows", "5", "2", "--lengths", "lengths.npy", "--unit", "1", "4")
    assert trace(folder, *options, "-o", "gates.png") == 0
    (one,) = drawn
    traced = model.trace(np.load(folder / "x.npy"), LENGTHS)
    panels = [(row, unit) for row in (5, 2) for unit in (1, 4)]
    assert [ax.get_title() for ax in one.axes] == [f"row {n}, unit {u}" for n, u in panels]
    assert not any(ax.get_legend() for ax in one.axes)
    for ax, (n, u) in zip(one.axes, panels, strict=True):
        for line, values in zip(ax.lines, traced.values.values(), strict=True):
            assert line.get_xdata().tolist() == list(range(1, LENGTHS[n] + 1))
            np.testing.assert_array_equal(line.get_ydata(), values[n, : LENGTHS[n], u])
    (legend,) = one.legends
    assert [text.get_text() for text in legend.get_texts()] == list(traced.values)


def test_a_drawing_is_of_one_row_and_unit_unless_told_otherwise(folder, monkeypatch):
    from matplotlib import figure

    drawn = []
    monkeypatch.setattr(figure.Figure, "savefig", lambda self, *_, **__: drawn.append(self))
    assert trace(folder, "-o", "gates.svg") == 0
    assert [ax.get_title() for ax in drawn[0].axes] == ["row 0, unit 0"]


# --- sources ------------------------------------------------------------------------------------


@pytest.fixture
def sources(folder: Path) -> Path:
    """The same six sequences in files of many kinds, those of unequal length with real steps."""
    x = np.load(folder / "x.npy")
    real = [row[:n] for row, n in zip(x, LENGTHS, strict=True)]
    np.savez(folder / "padded.npz", x=x, lengths=LENGTHS)
    np.savez_compressed(folder / "packed.npz", x=np.asfortranarray(x))
    offsets = np.concatenate([[0], np.cumsum(LENGTHS)])
    np.savez(folder / "ragged.npz", values=np.concatenate(real), offsets=offsets)
    with h5py.File(folder / "x.h5", "w") as file:
        file["inside/x"] = x
    (folder / "two").mkdir()
    np.save(folder / "two" / "a.npy", x[:4])
    np.save(folder / "two" / "b.npy", x[4:])
    kind = pa.list_(pa.list_(pa.float32()))
    lists = [None if n == 4 else list(map(list, row)) for n, row in enumerate(real)]
    parquet.write_table(pa.table({"x": pa.array(lists, kind)}), folder / "lists.parquet")
    steps = [(f"u{n}", t, *x[n, t]) for n in range(6) for t in range(4)]
    names = ["user", "at", "a", "b"]
    long = pa.table(dict(zip(names, zip(*steps, strict=True), strict=True)))
    feather.write_feather(long, folder / "long.feather")
    lines = [",".join(map(str, [n, *row.reshape(-1)])) for n, row in enumerate(x)]
    (folder / "cells.csv").write_text("\n".join(["name,a,b,c,d,e,f,g,h", *lines]) + "\n")
    return folder


SOURCES = {
    "one sequence": ("x1.npy", [], [0], None),
    "padded": ("padded.npz", [], [5, 0, 2, 1], LENGTHS),
    "compressed": ("packed.npz", [], [5, 0, 2], None),
    "ragged": ("ragged.npz", [], [5, 0, 2, 1], LENGTHS),
    "hdf5": ("x.h5", [], [3, 1], None),
    "a folder": ("two", [], [5, 1, 4], None),
    "lists": ("lists.parquet", [], [5, 0, 3], LENGTHS),
    "one row a step": ("long.feather", ["--id", "user", "--time", "at"], [5, 0, 3], None),
    "cells": ("cells.csv", ["--keep", "name"], [4, 0], None),
}


@pytest.mark.parametrize(("source", "more", "rows", "lengths"), SOURCES.values(), ids=SOURCES)
def test_a_source_of_any_kind(sources, model, capsys, source, more, rows, lengths):
    x = np.load(sources / "x.npy")
    np.save(sources / "x1.npy", x[0])
    chosen = ["--rows", *map(str, rows)]
    assert trace(sources, *more, *chosen, source=source) == 0, capsys.readouterr().err
    table = read_csv(capsys.readouterr().out)
    assert_is(table, model.trace(x, lengths), rows, range(6), lengths)


@pytest.mark.parametrize("source", ["x.npy", "lists.parquet", "two"])
def test_windows(sources, model, capsys, source):
    """Of sequences of 4 steps the windows 0, 1, 2 of 2 steps each; a table has fewer of them."""
    x = np.load(sources / "x.npy")
    assert trace(sources, "--window", "2", "--rows", "2", "1", source=source) == 0
    table = read_csv(capsys.readouterr().out)
    windows = np.stack([x[0, k : k + 2] for k in range(3)])
    assert_is(table, model.trace(windows), [2, 1], range(6))


@pytest.mark.parametrize("source", ["ids.npz", "ids.parquet"])
def test_ids_of_unequal_length(folder, monkeypatch, source):
    """They come to the model as integers, the real steps of the chosen row alone."""
    maker = Maker(5, "float32")
    LSTM([maker.embedding(9, 4), maker.layer(4, 3)]).save(folder / "embedding.npz")
    ids = [np.array([3, 8, 0]), np.array([7, 1])]
    np.savez(folder / "ids.npz", values=np.concatenate(ids), offsets=[0, 3, 5])
    parquet.write_table(pa.table({"ids": list(map(list, ids))}), folder / "ids.parquet")
    given = []

    def traced(self, x, **options):
        given.append(np.asarray(x))
        return Trace(*np.zeros((6, *x.shape[:2], 3)))

    monkeypatch.setattr(LSTM, "trace", traced)
    assert trace(folder, "--rows", "1", source=source, model="embedding.npz") == 0
    assert given[-1].tolist() in ([[7, 1]], [[[7], [1]]])
    assert given[-1].dtype.kind == "i"


def test_only_what_is_needed_is_read(sources, model, capsys, monkeypatch):
    """Of an array the chosen rows, of another source chunks up to the last chosen row."""
    from fastlstm.commands.trace import rows
    from fastlstm.scoring.sources.arrays.npy import NpyFile

    monkeypatch.setattr(rows, "CHUNK", 1)
    read = []
    original = NpyFile.read

    def counted(self, rows, steps):
        read.append(rows)
        return original(self, rows, steps)

    monkeypatch.setattr(NpyFile, "read", counted)
    assert trace(sources, "--rows", "4", "2") == 0
    assert read == [slice(2, 3), slice(4, 5)]
    read.clear()
    assert trace(sources, "--rows", "1", source="two") == 0
    assert read == [slice(0, 1), slice(1, 2)]
    capsys.readouterr()


# --- errors -------------------------------------------------------------------------------------

ERRORS = {
    "no such row": ({}, ["--rows", "1", "4-9"], r"there is no row 9: .*x\.npy has rows 0 \.\.\. 5"),
    "far too many rows": ({}, ["--rows", "0-999999999999999"], "there is no row 999999999999999"),
    "no rows at all": ({"source": "none.npy"}, [], r"no row 0: .*none\.npy has no rows"),
    "no such unit": (
        {},
        ["--unit", "0-6"],
        r"there is no unit 6: layer -1 of the model has units 0 \.\.\. 5",
    ),
    "no such layer": ({}, ["--layer", "2"], r"expected --layer within -2 \.\.\. 1, got 2"),
    "no such file": ({"source": "nowhere.npy"}, [], "there is no file"),
    "no such model": ({"model": "nowhere.npz"}, [], r"nowhere\.npz"),
    "no such lengths": ({}, ["--lengths", "nowhere.npy"], "there is no file"),
    "too few lengths": ({}, ["--lengths", "none.npy"], r"expected lengths of shape \(6,\)"),
    "lengths too large": (
        {"source": "x.npy"},
        ["--lengths", "large.npy", "--rows", "2"],
        r"expected lengths within 0 \.\.\. 4",
    ),
    "one sequence": ({"source": "flat.npy"}, ["--rows", "1"], r"flat\.npy has rows 0 \.\.\. 0"),
    "a single number": ({"source": "number.npy"}, [], r"expected x of shape .*, got \(\)"),
    "other inputs": ({"source": "wide.npy"}, [], r"expected x of shape \(N, T, 2\)"),
    "words": ({"source": "words.npy"}, [], "real numbers"),
    "another kind of source": ({"source": "text.txt"}, [], "expected a source ending in"),
    "a row that cannot be read": (
        {"source": "lists.parquet"},
        ["--rows", "4"],
        "row 4 cannot be read: null",
    ),
    "no such row of a table": (
        {"source": "lists.parquet"},
        ["--rows", "6"],
        r"no row 6: .*lists\.parquet has rows 0 \.\.\. 5",
    ),
    "no such row of cells": (
        {"source": "cells.csv"},
        ["--rows", "2", "0-999999999999", "--keep", "name"],
        r"no row 999999999999: .*cells\.csv has rows 0 \.\.\. 5",
    ),
    "another suffix": ({}, ["-o", "gates.txt"], r"expected a suffix of \.csv, \.npz, \.parquet"),
    "output over the input": ({}, ["-o", "model.npz"], "also an input"),
    "output in no folder": ({}, ["-o", "no/such.csv"], "there is no folder"),
}


@pytest.mark.parametrize(("files", "more", "message"), ERRORS.values(), ids=ERRORS)
def test_errors(sources, capsys, files, more, message):
    folder = sources
    np.save(folder / "large.npy", LENGTHS + 5)
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert trace(folder, *more, **files) == 1
    printed = capsys.readouterr()
    (line,) = printed.err.splitlines()
    assert re.search(message, line)
    assert printed.out == ""
    now = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert now == before


@pytest.mark.parametrize(
    ("source", "output", "message"),
    [
        ("data/*.npz", "data/a.npz", "is also an input"),
        ("data", "data/a.npz", "is also an input"),
        ("data/*.npz", "data/new.npz", "would itself be one of the files of"),
        ("data", "data/new.csv", "would itself be one of the files of"),
    ],
)
def test_a_table_does_not_become_a_source(folder, capsys, monkeypatch, source, output, message):
    monkeypatch.chdir(folder)
    (folder / "data").mkdir()
    for name in ("a", "b"):
        np.savez(folder / "data" / f"{name}.npz", x=np.load("x.npy"))
    before = (folder / "data" / "a.npz").read_bytes()
    assert cli.main(["trace", source, "--model", "model.npz", "-o", output]) == 1
    assert message in capsys.readouterr().err
    assert (folder / "data" / "a.npz").read_bytes() == before
    assert len([*(folder / "data").iterdir()]) == 2


def test_too_many_panels(folder, capsys, monkeypatch):
    from fastlstm.commands.trace import files

    monkeypatch.setattr(files, "MOST_PANELS", 3)
    assert trace(folder, "--rows", "0-1", "--unit", "0-1", "-o", "gates.png") == 1
    assert "at most 3 panels in a drawing, got 4, 2 rows by 2 units" in capsys.readouterr().err
    assert not (folder / "gates.png").exists()


@pytest.mark.parametrize("rows", ["-1", "1-", "3-1", "a", "1.5", "0-1-2", "\u0663", ""])
def test_what_is_no_row(folder, capsys, rows):
    with pytest.raises(SystemExit) as stop:
        trace(folder, "--rows", rows)
    assert stop.value.code == 2
    assert "expected a number of 0 or more, or a range such as 7-9" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "module", "extra"),
    [("gates.png", "matplotlib.figure", "plot"), ("gates.parquet", "pyarrow", "arrow")],
)
def test_a_missing_package_is_named(folder, capsys, monkeypatch, output, module, extra):
    monkeypatch.setitem(sys.modules, module, None)
    assert trace(folder, "-o", output) == 1
    assert f'pip install "fastlstm[{extra}]"' in capsys.readouterr().err
    assert not (folder / output).exists()
    assert not list(folder.glob(".*"))


def test_an_interrupted_trace_leaves_the_old_file(folder, monkeypatch, capsys):
    def interrupted(self, x, *more, **options):
        if len(x):
            raise KeyboardInterrupt
        return traced(self, x, *more, **options)

    traced = LSTM.trace
    (folder / "gates.csv").write_bytes(b"old")
    monkeypatch.setattr(LSTM, "trace", interrupted)
    assert trace(folder, "-o", "gates.csv") == 130
    assert capsys.readouterr().err == "fastlstm: interrupted\n"
    assert (folder / "gates.csv").read_bytes() == b"old"
    assert not list(folder.glob(".*"))


def test_hints(folder, capsys):
    np.savez(folder / "torch.npz", **tensors((3, 4), "a."), **fc(hidden=4))
    np.save(folder / "three.npy", np.zeros((1, 2, 3), "f4"))
    assert trace(folder, source="three.npy", model="torch.npz") == 1
    assert re.search(
        r"the head: fastlstm trace .*three.npy .* --head fc\. ", capsys.readouterr().err
    )
    assert trace(folder, "--head", "fc", source="three.npy", model="torch.npz") == 0
    assert trace(folder, "--prefix", "a", source="three.npy", model="torch.npz") == 0
    assert capsys.readouterr().err == (
        "fastlstm: weights in the file that the model does not use: fc\n"
    )
