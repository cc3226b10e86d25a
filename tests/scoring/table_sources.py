"""What the tests of tables as sources share: reading one in chunks of any size, from anywhere."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from networks import Maker

from fastlstm import LSTM, Embedding
from fastlstm.scoring.bad_rows import find_bad_rows
from fastlstm.scoring.outputs import Wanted, compute
from fastlstm.scoring.sources.layout import Layout
from fastlstm.scoring.sources.open import open_source

WANTED = Wanted(False, False, False)


def make_model(inputs: int = 1, units: int = 3) -> LSTM:
    make = Maker(inputs, "float32")
    return LSTM([make.layer(inputs, units)], make.dense(units, 2))


def make_embedding_model(ids: int = 7) -> LSTM:
    make = Maker(ids, "float32")
    return LSTM([Embedding(make.random(ids, 2)), make.layer(2, 3)], make.dense(3, 2))


def ragged(rng: np.random.Generator, rows: int, inputs: int, longest: int = 9) -> list[np.ndarray]:
    """Sequences of 0 ... `longest` steps."""
    lengths = rng.integers(0, longest + 1, rows)
    return [rng.normal(size=(n, inputs)).astype(np.float32) for n in lengths]


class Read:
    """All chunks of a source from a position on: scores, bad rows, kept columns, positions."""

    def __init__(
        self, source: Any, model: LSTM, n_bytes: int = 2**20, position: Any = None, **layout: Any
    ) -> None:
        self.reader = open_source(str(source), Layout(**layout), model)
        scores, self.bad, self.kept = [np.zeros((0, model.output_size), model.dtype)], {}, []
        self.positions, self.counts, self.too_short = [], [], []
        first = too_short = 0
        for chunk in self.reader.chunks(n_bytes, position):
            bad = find_bad_rows(model, chunk, None)
            values, _ = compute(model, chunk, WANTED, 1)
            values["score"][list(bad)] = np.nan
            scores.append(values["score"])
            self.bad.update({first + row: reason for row, reason in bad.items()})
            first += chunk.count
            assert len(scores[-1]) == chunk.count
            if chunk.kept is not None:
                assert chunk.kept.num_rows == chunk.count
                assert chunk.kept.schema == self.reader.kept
                self.kept += chunk.kept.to_pylist()
            self.positions.append(json.loads(json.dumps(chunk.after)))
            self.counts.append(first)
            too_short += chunk.too_short
            self.too_short.append(too_short)
        self.short = too_short
        if self.reader.too_short is not None:
            assert position is not None or self.short == self.reader.too_short
        self.scores = np.concatenate(scores)
        self.reader.close()


def check_everywhere(
    source: Any, model: LSTM, sizes: tuple[int, ...] = (30, 1000), **layout: Any
) -> Read:
    """Read a source whole, in chunks of several sizes, and from some positions of each.

    All must be the same bits; what was read whole is returned.
    """
    whole = Read(source, model, **layout)
    if whole.reader.count is not None:
        assert whole.reader.count == len(whole.scores)
    for size in sizes:
        parts = Read(source, model, size, **layout)
        _same(parts, whole, 0, 0)
        places = list(zip(parts.positions, parts.counts, parts.too_short, strict=True))
        for k, (position, done, short) in enumerate(places[:: 1 + len(places) // 5]):
            again = sizes[k % len(sizes)]
            _same(Read(source, model, again, position, **layout), whole, done, short)
    return whole


def _same(part: Read, whole: Read, done: int, short: int) -> None:
    assert part.short == whole.short - short
    expected = whole.scores[done:]
    assert part.scores.shape == expected.shape
    np.testing.assert_array_equal(part.scores.view(np.uint32), expected.view(np.uint32))
    assert part.kept == whole.kept[done:]
    assert part.bad == {row - done: why for row, why in whole.bad.items() if row >= done}
