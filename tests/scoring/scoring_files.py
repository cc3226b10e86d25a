"""What tests of bulk scoring share: a small model, its sequences, and results read back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet
import zarr
from networks import Maker

from fastlstm import LSTM, Dense, Layer
from fastlstm.scoring import memory
from fastlstm.scoring.chunk import Chunk
from fastlstm.scoring.outputs import GATES

Array = np.ndarray
Rows = list[Array]  # of each sequence the steps that count, or one row of numbers

N, T, INPUTS = 301, 7, 3


def make_model(outputs: int = 2) -> LSTM:
    m = Maker(3, "float32")
    return LSTM([m.both(INPUTS, 4), m.layer(8, 5)], m.dense(5, outputs))


def two_layers(inputs: int = 2, outputs: int = 2) -> LSTM:
    rng = np.random.default_rng(5)

    def draw(*shape: int) -> Array:
        return rng.normal(scale=0.5, size=shape).astype("float32")

    first = Layer(draw(12, inputs), draw(12, 3), draw(12), draw(12))
    second = Layer(draw(16, 3), draw(16, 4), draw(16), draw(16))
    return LSTM([first, second], head=Dense(draw(outputs, 4), draw(outputs)))


MODELS = {inputs: two_layers(inputs) for inputs in (1, 2)}
X = np.random.default_rng(6).normal(size=(403, 9, 2)).astype("float32")


def make_sequences(seed: int = 0) -> tuple[Array, Array]:
    """Padded rows, and their lengths: some are 0, one is T."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(0, T + 1, N)
    lengths[:3] = 0, T, 1
    return rng.normal(size=(N, T, INPUTS)).astype(np.float32), lengths


def windows_of(series: np.ndarray, window: int, stride: int) -> np.ndarray:
    """All windows (N, window, I) of a series (L, I), materialised."""
    every = np.lib.stride_tricks.sliding_window_view(series, window, axis=0)
    return np.ascontiguousarray(every[::stride].swapaxes(1, 2))


def expected(model: LSTM, x: Array, lengths: Array | None, every: bool) -> dict[str, Rows]:
    """All results as the model itself gives them."""
    y = model.predict(x, lengths=lengths, return_sequences=every)
    ends = np.full(len(x), x.shape[1]) if lengths is None else lengths
    rows: dict[str, Rows] = {"score": list(y)}
    if every:
        rows["score"] = [row[:end] for row, end in zip(y, ends, strict=True)]
    _, state = model(x, lengths=lengths)
    for name in ("h", "c"):
        parts = [getattr(layer, name).swapaxes(0, 1).reshape(len(x), -1) for layer in state]
        rows[f"{name}_n"] = list(np.concatenate(parts, axis=1))
    trace = model.trace(x, lengths=lengths)
    for name in GATES:
        rows[name] = [row[:end] for row, end in zip(getattr(trace, name), ends, strict=True)]
    return rows


def read_back(path: Path) -> dict[str, Rows]:
    """The results in a destination of any kind; of NaN rows without steps, no steps."""
    suffix = path.suffix
    if suffix == ".csv":
        return _read_csv(path)
    if suffix in (".npy", ".zarr"):
        if suffix == ".npy":
            arrays = {"score": np.load(path)}
            for other in path.parent.glob(f"{path.stem}.*.npy"):
                arrays[other.name.split(".")[1]] = np.load(other)
        else:
            arrays = {name: array[...] for name, array in zarr.open_group(path, mode="r").arrays()}
        ends = arrays.pop("lengths", None)
        return {
            name: [row[:end] for row, end in zip(array, ends, strict=True)]
            if array.ndim == 3 and ends is not None
            else list(array)
            for name, array in arrays.items()
        }
    reader = pyarrow.parquet if suffix == ".parquet" else pyarrow.feather
    table = reader.read_table(path)
    return {name: _rows(table.schema.field(name).type, table[name]) for name in table.column_names}


def _rows(kind: Any, column: Any) -> Rows:
    rows = []
    for value in column:
        if pa.types.is_list(kind):
            inner = kind.value_type
            width = inner.list_size if pa.types.is_fixed_size_list(inner) else 1
            values = [] if value.as_py() is None else value.as_py()
            rows.append(np.array(values, np.float32).reshape(len(values), width))
        elif pa.types.is_floating(kind) or pa.types.is_fixed_size_list(kind):
            rows.append(np.array(value.as_py(), np.float32).reshape(-1))
        else:
            rows.append(value.as_py())
    return rows


def _read_csv(path: Path) -> dict[str, Rows]:
    table = pyarrow.csv.read_csv(path)
    columns = {name: table[name] for name in table.column_names}
    steps = columns.pop("step", None)
    first = np.ones(len(table), bool)
    if steps is not None:
        first = np.array([step in (None, 0) for step in steps.to_pylist()])
    begins = np.flatnonzero(first)
    results: dict[str, list[Any]] = {}
    for name, column in columns.items():
        stem, _, number = name.rpartition("_")
        results.setdefault(stem if number.isdigit() else name, []).append(column)
    read: dict[str, Rows] = {}
    for name, parts in results.items():
        if not pa.types.is_floating(parts[0].type):
            read[name] = [parts[0][int(i)].as_py() for i in begins]
            continue
        numbers = np.stack([p.to_numpy() for p in parts], axis=1).astype(np.float32)
        if steps is not None and (name in GATES or name == "score"):
            empty = np.array([step is None for step in steps.to_pylist()])
            pieces = np.split(numbers, begins[1:])
            blank = np.split(empty, begins[1:])
            read[name] = [p[~b] for p, b in zip(pieces, blank, strict=True)]
        else:
            read[name] = list(numbers[begins])
    return read


def contents(path: Path) -> dict[str, bytes]:
    """All bytes of a result: of a file and those beside it, or of a folder."""
    if path.is_dir():
        return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    found = [path, *path.parent.glob(f"{path.stem}.*{path.suffix}")]
    return {p.name: p.read_bytes() for p in found}


def small_chunks(monkeypatch: Any, n_bytes: int) -> None:
    """Have chunks of so many bytes from now on."""
    monkeypatch.setattr(memory, "LEAST_CHUNK", 1)
    monkeypatch.setattr(memory, "MOST_CHUNK", n_bytes)


def carried_along() -> pa.RecordBatch:
    """Columns of all kinds for `N` sequences, with nulls, quotes and categories."""
    texts = [f'a "{i}", b\n' if i % 3 else f"{i}é" for i in range(N)]
    return pa.RecordBatch.from_pydict(
        {
            "id": pa.array(np.arange(N) * 7),
            "text": pa.array(texts),
            "some": pa.array([None if i % 5 == 0 else i / 3 for i in range(N)]),
            "kind": pa.array([f"k{i % 4}" for i in range(N)]).dictionary_encode(),
        }
    )


class Keeping:
    """A reader of one array that also carries columns along."""

    def __init__(self, reader: Any, batch: pa.RecordBatch) -> None:
        self.reader, self.batch, self.kept = reader, batch, batch.schema

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reader, name)

    def chunks(self, n_bytes: int, position: Any) -> Iterator[Chunk]:
        for chunk in self.reader.chunks(n_bytes, position):
            first = chunk.after[0] - chunk.count
            yield replace(chunk, kept=self.batch.slice(first, chunk.count))


def keep_columns(monkeypatch: Any, batch: pa.RecordBatch) -> None:
    """Have every source carry columns along from now on."""
    from fastlstm.scoring import run

    whole = run.open_source
    monkeypatch.setattr(run, "open_source", lambda *args: Keeping(whole(*args), batch))


def assert_rows(actual: Rows, wanted: Rows, what: str) -> None:
    """Fail unless all rows are the same bits."""
    assert len(actual) == len(wanted), what
    for i, (a, b) in enumerate(zip(actual, wanted, strict=True)):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape), (what, i)
        same = a.view(np.uint32) == b.view(np.uint32)
        assert (same | (np.isnan(a) & np.isnan(b))).all(), (what, i, a, b)
