"""`python -m bench networks`: two directions, peepholes, projections, embeddings, activations.

Each kind of network beside the other engines that compute it, and beside a plain network: what it
costs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.harness import figures, rounds
from bench.harness.engines import entrants
from bench.harness.goals import Goal, at_most
from bench.harness.own import OWN, PLAIN
from bench.harness.report import (
    cell,
    every_engine,
    fastest_in_bold,
    gains,
    losses,
    measured_on,
    of_each_dtype,
    times_best,
)
from bench.harness.run import Run, add_common_options
from bench.harness.stored import Result, Row
from bench.harness.tables import number, sizes, span, table
from bench.harness.workload import Workload
from fastlstm import LSTM, Bidirectional, Embedding, Layer
from tests.shapes import make_input, make_model

ENGINES = (OWN, PLAIN, *entrants("networks"))

Array = npt.NDArray[Any]

VOCABULARY = 20_000
SHORTER = 4  # hidden units for each number that a projection gives


class Kind(NamedTuple):
    """A kind of network, the sizes of its workload, and the plain network to hold it against."""

    sizes: tuple[int, int, int, int, int]  # N, T, I, H, layers
    what: str
    beside: str  # what the plain network is
    make: Callable[[Workload], LSTM]
    plain: Callable[[Workload], LSTM]
    most: float | None = None  # times as long as the plain network that it may take ...
    by_work: bool = False  # ... for as many operations of matrix products


@dataclass(frozen=True)
class NetworkWorkload(Workload):
    """A workload whose network is of the kind of its name."""

    most_checked: ClassVar[int] = 128  # the reference keeps every value of every step of these

    @classmethod
    def named(cls, name: str, dtype: str) -> NetworkWorkload:
        return cls(name, *KINDS[name].sizes, dtype)

    def model(self) -> LSTM:
        return KINDS[self.name].make(self)

    def plain(self) -> LSTM:
        """The network that it is held against."""
        return KINDS[self.name].plain(self)

    def inputs(self) -> Array:
        """Random input ``(N, T, I)``, or ids ``(N, T)`` where the network looks them up."""
        if self.name == "embedding":
            rng = np.random.Generator(np.random.PCG64([self.N, self.T]))
            return rng.integers(0, VOCABULARY, (self.N, self.T))
        return super().inputs()

    def plain_inputs(self, x: Array) -> Array:
        """The input of the plain network: the same, or the vectors of its ids."""
        first = self.model().layers[0]
        return first.weight[x] if isinstance(first, Embedding) else x

    @property
    def weights(self) -> int:
        return count_weights(self.model())

    @property
    def plain_flops(self) -> int:
        """Operations of the plain network's matrix products."""
        return self.steps * 2 * count_weights(self.plain())


def count_weights(model: LSTM) -> int:
    """The weights of all matrix products, including those with an id's vector."""
    cells = [cell for layer in model.recurrent for cell in layer.cells]
    arrays = [a for cell in cells for a in (cell.w_ih, cell.w_hh, cell.w_hr) if a is not None]
    return sum(array.size for array in arrays)


def layer(work: Workload, inputs: int | None = None, seed: int = 0) -> Layer:
    """One plain layer with random weights."""
    made = make_model(inputs or work.I, (work.H,), dtype=work.dtype, seed=seed).layers[0]
    assert isinstance(made, Layer)
    return made


def one_direction(work: Workload, every: bool = False) -> LSTM:
    return LSTM(make_model(work.I, (work.H,) * work.layers, dtype=work.dtype).layers, None, every)


def every_step(work: Workload) -> LSTM:
    return one_direction(work, every=True)


def bidirectional(work: Workload, every: bool = False) -> LSTM:
    layers = []
    for k in range(work.layers):
        inputs = 2 * work.H if k else work.I
        backward = replace(layer(work, inputs, 2 * k + 1), direction="reverse")
        layers.append(Bidirectional(layer(work, inputs, 2 * k), backward))
    return LSTM(layers, None, every)


def both_every_step(work: Workload) -> LSTM:
    return bidirectional(work, every=True)


def peepholes(work: Workload) -> LSTM:
    weights = make_input(1, 3, work.H, work.dtype)[0] / 2
    return LSTM([replace(layer(work), peepholes=weights)])


def projection(work: Workload) -> LSTM:
    outputs = max(1, work.H // SHORTER)
    whole = layer(work)
    w_hr = make_input(1, outputs, work.H, work.dtype)[0] / np.sqrt(work.H).astype(work.dtype)
    return LSTM([replace(whole, w_hh=whole.w_hh[:, :outputs], w_hr=w_hr)])


def embedding(work: Workload) -> LSTM:
    return LSTM([Embedding(make_input(1, VOCABULARY, work.I, work.dtype)[0]), layer(work)])


def hard_sigmoid(work: Workload) -> LSTM:
    return LSTM([replace(layer(work), activations=("hard_sigmoid", "tanh", "tanh"))])


def relu(work: Workload) -> LSTM:
    """Rectified candidates and outputs; weights small enough for states that stay finite."""
    whole = layer(work)
    less = {name: getattr(whole, name) / 4 for name in ("w_ih", "w_hh")}
    return LSTM([replace(whole, **less, activations=("sigmoid", "relu", "relu"))])


def coupled(work: Workload) -> LSTM:
    return LSTM([replace(layer(work), coupled=True)])


ONE_LAYER = "one direction"

KINDS = {
    "bidir_tag": Kind(
        (4_096, 64, 32, 64, 1),
        "two directions, every step",
        ONE_LAYER,
        both_every_step,
        every_step,
        2.1,
    ),
    "bidir_last": Kind(
        (8_192, 50, 16, 32, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "bidir_two": Kind(
        (2_048, 60, 16, 64, 2),
        "two such layers, last states",
        "two layers of one direction, by work",
        bidirectional,
        one_direction,
        1.05,
        by_work=True,
    ),
    "bidir_tiny": Kind(
        (40_000, 50, 1, 8, 1),
        "two directions, last states",
        ONE_LAYER,
        bidirectional,
        one_direction,
        2.1,
    ),
    "peephole": Kind((4_096, 100, 8, 32, 1), "peepholes", "none", peepholes, one_direction, 1.1),
    "projection": Kind(
        (2_048, 60, 32, 256, 1),
        "a projection to 64",
        "none, by work",
        projection,
        one_direction,
        1.0,
        by_work=True,
    ),
    "embedding": Kind(
        (8_192, 64, 64, 64, 1),
        f"ids of {VOCABULARY:,} vectors",
        "the vectors as input",
        embedding,
        one_direction,
        1.0,
    ),
    "hard_sigmoid": Kind(
        (4_096, 100, 8, 32, 1), "hard_sigmoid gates", "sigmoid", hard_sigmoid, one_direction
    ),
    "relu": Kind((4_096, 100, 8, 32, 1), "relu for tanh", "tanh", relu, one_direction),
    "coupled": Kind((4_096, 100, 8, 32, 1), "forget gate 1 - i", "its own", coupled, one_direction),
}


# --- measuring ---------------------------------------------------------------------------------


def add_options(parser: argparse.ArgumentParser) -> None:
    sections, dtypes = ("networks",), ("float32",)
    add_common_options(parser, list(KINDS), ENGINES, sections, rounds=5, dtypes=dtypes)


def measure(run: Run) -> None:
    rows = run.result["networks"] = []
    for dtype in run.options.dtypes:
        for name in run.options.rows:
            workload = NetworkWorkload.named(name, dtype)
            row = run.time(workload, run.options.engines)
            rows.append(row | {"plain_flops": workload.with_sequences(row["N"]).plain_flops})


# --- what the results say ----------------------------------------------------------------------


def report(result: Result) -> list[str]:
    rows = result["networks"]
    tables = [every_engine(dtype, some) for dtype, some in of_each_dtype(rows).items()]
    return [f"## Kinds of network: millions of time steps a second\n\n{overview(rows)}", *tables]


def goals(result: Result) -> Iterator[Goal]:
    for row in result.get("networks", []):
        kind, cost = KINDS[row["name"]], costs(row)
        what = f"{row['name']}: against {kind.beside}"
        yield from at_most(what, kind.most, cost and cost[1])


def costs(row: Row) -> tuple[float, float, float] | None:
    """Times as long as the plain network: quartile, median, quartile of the ratios within rounds.

    For as many operations of matrix products, where the kind is held against that.
    """
    engines = figures.measured(row)
    if OWN not in engines or PLAIN not in engines:
        return None
    by = row["plain_flops"] / row["flops"] if KINDS[row["name"]].by_work else 1.0
    ratios = rounds.ratios(engines[OWN]["seconds"], engines[PLAIN]["seconds"])
    return rounds.quartiles([None if r is None else by * r for r in ratios])


def overview(rows: Sequence[Row]) -> str:
    """Rates of all engines, what each kind costs, and where fastlstm is not the fastest."""
    labels = [k for k in dict.fromkeys(k for row in rows for k in row["engines"]) if k != PLAIN]
    header = ["row", "what", "N", "T", "I", "H", *labels, "x best other", "beside", "takes x"]
    header += ["quartiles"]
    lines = []
    for row in rows:
        kind, cost = KINDS[row["name"]], costs(row)
        line = [row["name"], kind.what, *sizes(row), *fastest_in_bold(row, labels)]
        line += [number(times_best(row)), kind.beside]
        line += ["", ""] if cost is None else [number(cost[1]), span((cost[0], cost[2]))]
        lines.append(line)
    return "\n\n".join([table(header, lines, 2), notes(rows), losses(rows)])


def notes(rows: Sequence[Row]) -> str:
    """Why some cells hold no rate."""
    lines = ["`-`: the engine's LSTM does not have it; `fails`: it refuses the model.", ""]
    for row in rows:
        for label, engine in row["engines"].items():
            if cell(row, label) == "wrong":
                apart = f"{engine['max_error']:.1g}"
                lines.append(f"- `{row['name']}`: {label} is wrong, by up to {apart}.")
    return "\n".join(lines)


def readme(result: Result) -> str:
    """The section of the README."""
    rows = result["networks"]
    return "\n\n".join(
        [
            f"{measured_on(result)}. Millions of time steps a second, float32; *takes x*: times "
            "as long as the network beside it.",
            overview(rows),
            gains(rows),
        ]
    )
