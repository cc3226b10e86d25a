"""CSV files as sources: the cells of a row are a sequence, or a row is a step."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_bits
from table_sources import Read, check_everywhere, make_embedding_model, make_model

import fastlstm
from fastlstm.scoring.sources.tables import csv, sorting


@pytest.fixture(autouse=True)
def quick_parsing(monkeypatch):
    """Without pyarrow's cure of a leak in Python 3.10, which looks at all objects every time."""
    name = "pyarrow.lib._break_traceback_cycle_from_frame"
    monkeypatch.setattr(name, lambda frame: None, raising=False)


@pytest.fixture(autouse=True)
def sorted_in_memory(monkeypatch):
    """DuckDB takes long for small chunks, and has tests of its own."""
    monkeypatch.setattr(sorting, "IN_MEMORY", 2**30)


@pytest.fixture
def small_blocks(monkeypatch):
    """Parse some lines at a time."""
    monkeypatch.setattr(csv, "LEAST_BYTES", 250)


def write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz"])
@pytest.mark.parametrize("inputs", [1, 2])
def test_the_cells_of_a_row_are_a_sequence(tmp_path, name, inputs):
    x = np.random.default_rng(3).normal(size=(40, 6))
    frame = pd.DataFrame(x)
    frame.insert(2, "who", [f"w,{n}" for n in range(40)])  # in quotes, and among the steps
    frame.insert(0, "count", range(40))
    path = tmp_path / name
    frame.to_csv(path, index=False)
    model = make_model(inputs)
    read = check_everywhere(path, model, id="who", keep=("count",))
    assert_same_bits(read.scores, model.predict(x.reshape(40, -1, inputs)))
    assert read.kept == [{"who": f"w,{n}", "count": n} for n in range(40)]
    assert read.reader.steps == 6 // inputs
    summary = fastlstm.score(model, path, tmp_path / "y.npy", id="who", keep=["count"])
    assert summary.sequences == 40
    assert_same_bits(np.load(tmp_path / "y.npy"), read.scores)


@pytest.mark.usefixtures("small_blocks")
def test_empty_cells_at_the_end_shorten_a_sequence(tmp_path):
    path = write(tmp_path / "x.csv", "a,b,c\n1,2,3\n4,5,\n6,,\n,,\n7,,8\n")
    model = make_model()
    read = check_everywhere(path, model)
    assert read.bad == {4: "null"}
    expected = [np.array(s, float) for s in ([1, 2, 3], [4, 5], [6], [])]
    assert_same_bits(read.scores[:4], model.predict(expected))


HEAD = "id,a,b\n"
GOOD = "".join(f"{n},{n}.5,{n}\n" for n in range(30))
BROKEN = {
    "31,abc,1": "unparsable",
    "31,1,2,3": "unparsable",
    "31,1": "unparsable",
    "31,1,1_000": "unparsable",
    "31,1,NA": "unparsable",
    "31,nan,1": "NaN or infinity",
    "31,1,-inf": "NaN or infinity",
    "31,,1": "null",
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("line", list(BROKEN))
@pytest.mark.parametrize("at", [0, 17, 30])
def test_a_row_that_is_broken(tmp_path, line, at):
    lines = GOOD.splitlines()
    lines.insert(at, line)
    path = write(tmp_path / "x.csv", HEAD + "\n".join(lines) + "\n")
    model = make_model()
    read = check_everywhere(path, model, (1, 300), id="id")
    assert read.bad == {at: BROKEN[line]}
    n = np.arange(30)
    expected = model.predict(np.stack([n + 0.5, n], axis=1))
    assert_same_bits(np.delete(read.scores, at, axis=0), expected)
    windows = check_everywhere(path, model, (300,), id="id", window=2)
    assert windows.bad == read.bad


def test_on_bad_row_counts_them(tmp_path):
    path = write(tmp_path / "x.csv", HEAD + "1,x,2\n" + GOOD + "1,2\n\n2,inf,1\n")
    model, y = make_model(), tmp_path / "y.npy"
    with pytest.raises(ValueError, match=r"sequence 0 \(id 1\) is bad: unparsable"):
        fastlstm.score(model, path, y, id="id")
    summary = fastlstm.score(model, path, y, id="id", on_bad_row="skip", restart=True)
    assert summary.bad_rows["reasons"] == {"unparsable": 2, "NaN or infinity": 1}
    assert summary.bad_rows["first"] == [0, 31, 32]
    assert (summary.sequences, summary.written) == (33, 30)


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n+3, 4 \n5e0,6.",
        "a,b\r\n1,2\r\n3,4\r\n5,6\r\n",
        "a,b\r1,2\r3,4\r5,6\r",
        'a,"b"\r"1",2\r3,4\r5,6',
        "a,b\n1,2\r3,4\r\n5,6\n",
        "\ufeffa,b\n1,2\n\n3,4\n5,6\n",
        'a,"b"\n1,"2"\n"3",4\n5,6\n',
        '"a\nof ""two"" lines",b\n1,2\n3,4\n5,6\n',
    ],
)
def test_ways_to_write_the_same(tmp_path, text):
    path = write(tmp_path / "x.csv", text)
    model = make_model()
    read = check_everywhere(path, model)
    assert_same_bits(read.scores, model.predict(np.array([[1.0, 2], [3, 4], [5, 6]])))
    assert not read.bad


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_breaks_in_quotes_end_no_row(tmp_path, end):
    text = f"who,a{end}"
    text += "".join(f'"line{end}{n}, ""and"" more{end}",{n}{end}' for n in range(30))
    model = make_model()
    read = check_everywhere(write(tmp_path / "x.csv", text), model, id="who")
    assert_same_bits(read.scores, model.predict(np.arange(30.0)[:, np.newaxis]))
    assert read.kept == [{"who": f'line{end}{n}, "and" more{end}'} for n in range(30)]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", ["", "the end"])
def test_ends_of_lines(tmp_path, end, last):
    """Wherever a block ends: between CR and LF, too."""
    rows = [f"{n},{'1' * (n % 7 + 1)}" for n in range(200)]
    text = end.join(["id,a", *rows]) + (end if last else "")
    model = make_model()
    path = write(tmp_path / "x.csv", text)
    read = check_everywhere(path, model, (1, 500), id="id")
    assert len({part for _, part, *_ in Read(path, model, 1, id="id").positions}) > 4
    assert len(read.scores) == 200
    assert read.kept == [{"id": n} for n in range(200)]
    expected = [[float("1" * (n % 7 + 1))] for n in range(200)]
    assert_same_bits(read.scores, model.predict(np.array(expected)))


def test_an_index_of_pandas_is_no_step(tmp_path):
    path = tmp_path / "x.csv"
    pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}).to_csv(path)
    with pytest.raises(
        ValueError, match=r"column '' looks like the index of a pandas data frame.*index=False"
    ):
        Read(path, make_model())
    pd.read_csv(path).to_csv(path, index=False)
    with pytest.raises(ValueError, match="column 'Unnamed: 0' looks like the index"):
        Read(path, make_model())
    named = path.read_text().replace("Unnamed: 0", "row")
    read = Read(write(path, named), make_model(), id="row")  # as the message says
    assert_same_bits(read.scores, make_model().predict(np.array([[1.0, 3], [2, 4]])))


def test_numbers_that_become_floats_later(tmp_path):
    """What the first lines hold decides nothing about the steps."""
    text = "a,b\n" + "1,2\n" * 300_000 + "1.5,2\n"
    read = Read(write(tmp_path / "x.csv", text), make_model())
    assert not read.bad
    assert_same_bits(read.scores[-1:], make_model().predict(np.array([[1.5, 2]])))


def test_an_id_that_is_of_another_type_later(tmp_path):
    text = "id,a\n" + "1,2\n" * 300_000 + "A17,2\n"
    read = Read(write(tmp_path / "x.csv", text), make_model(), 2**20, id="id")
    assert read.bad == {300_000: "unparsable"}
    assert read.kept[-1] == {"id": None}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("how", ["sorted", "unsorted", "scattered"])
def test_long_format(tmp_path, how):
    rng = np.random.default_rng(4)
    x = rng.normal(size=(6, 5, 2))
    frame = pd.DataFrame(x.reshape(-1, 2), columns=["u", "v"])
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.tile(np.arange(5), 6), "h")
    frame["who"] = np.repeat([f"w{n}" for n in range(6)], 5)
    rows = np.arange(30)
    if how == "unsorted":
        rows = np.concatenate([5 * n + rng.permutation(5) for n in range(6)])
    elif how == "scattered":
        rows = rng.permutation(30)
    path = tmp_path / "x.csv"
    frame.iloc[rows].to_csv(path, index=False)
    model = make_model(2)
    layout = {"id": "who", "time": "when"}
    read = check_everywhere(path, model, **layout)
    order = list(dict.fromkeys(rows // 5))
    assert_same_bits(read.scores, model.predict(x[order]))
    windows = check_everywhere(path, model, window=3, features=("u", "v"), **layout)
    expected = np.array([x[n, k : k + 3] for n in order for k in range(3)])
    assert_same_bits(windows.scores, model.predict(expected))


@pytest.mark.usefixtures("small_blocks")
def test_a_step_that_is_broken_in_long_format(tmp_path):
    lines = [f"{n // 4},{n % 4},{n}.5" for n in range(24)]
    lines[9] = "2,1,abc"
    model = make_model()
    path = write(tmp_path / "x.csv", "who,when,x\n" + "\n".join(lines))
    read = check_everywhere(path, model, id="who", time="when")
    assert read.bad == {2: "unparsable"}
    lines[9] = "2,1"
    path = write(tmp_path / "x.csv", "who,when,x\n" + "\n".join(lines))
    with pytest.raises(
        ValueError,
        match=r"got null in row 9 of the lines from byte 11 \(unparsable\)",
    ):
        Read(path, model, id="who", time="when")


def test_ids_for_an_embedding(tmp_path):
    model, x = make_embedding_model(), np.random.default_rng(5).integers(0, 7, (9, 4))
    path = tmp_path / "x.csv"
    pd.DataFrame(x).to_csv(path, index=False)
    assert_same_bits(check_everywhere(path, model).scores, model.predict(x))
    write(path, "a,b\n1,2\n3,1.5\n2,1\n")
    assert Read(path, model).bad == {1: "unparsable"}


WRONG = [
    ("", {}, "expected a table, got an empty file"),
    ("\n1,2\n", {}, "a first line that names the columns"),
    ("0.5,0.25\n1,2\n", {}, "got the numbers 0.5, 0.25 ...: put a header above them"),
    (
        "a,b,c\n1,x,3\n",
        {},
        r"expected 1 column of numbers for each step.*got text in b.*time or features",
    ),
    ("a,b,c\n1,2,3\n", {"id": "i"}, "no column 'i'"),
    ("a,b,a\n1,2,3\n", {}, "several columns 'a'"),
    ("a;b\n1;2\n", {}, r"got text in a;b"),
    ("a,b\n1,2\n", {"column": "a"}, "column does not apply to a CSV file"),
]


@pytest.mark.parametrize(("text", "layout", "error"), WRONG)
def test_what_is_no_table_of_sequences(tmp_path, text, layout, error):
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(ValueError, match=error):
        Read(path, make_model(), **layout)


def test_columns_that_make_no_whole_steps(tmp_path):
    with pytest.raises(ValueError, match=r"2 columns of numbers for each step.* got 3 columns"):
        Read(write(tmp_path / "x.csv", "a,b,c\n1,2,3\n"), make_model(2))


def test_a_header_alone(tmp_path):
    read = Read(write(tmp_path / "x.csv", "a,b\n"), make_model())
    assert len(read.scores) == 0


@pytest.mark.parametrize("data", [b"a,b\n1,\xff\xfe\n", b"\xff\xfea,b\n1,2\n"])
def test_text_that_is_not_utf8(tmp_path, data):
    path = tmp_path / "x.csv"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"x\.csv"):
        Read(path, make_model())


def test_a_damaged_archive(tmp_path):
    path = write(tmp_path / "x.csv.gz", HEAD + GOOD * 100)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(OSError, match=r"x\.csv\.gz"):
        Read(path, make_model(), id="id")
    path.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(OSError, match=r"x\.csv\.gz"):
        Read(path, make_model())
