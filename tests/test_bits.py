"""One result, whatever the way: each row of the tables below must give the same bits.

A row's numbers are the contract's sums in the contract's order. Nothing else may show: not the
rows beside it, not the tile, the thread, the form of the input, or the CPU.
"""

from __future__ import annotations

import dataclasses
import itertools
import operator
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pytest
from helpers import AVX2_CPU, assert_same_bits, start_child, wait_for
from shapes import CASES, make_input, make_model

from fastlstm import LSTM, Ragged
from fastlstm.engine import cpu
from fastlstm.engine.kernel.forms import Form, Kind, possible_kinds
from fastlstm.engine.plan import cost
from fastlstm.engine.plan.chain import make_chain
from fastlstm.engine.run import engine as run
from fastlstm.engine.run import job, packed

DTYPES = ["float32", "float64"]
SMALL = {name: case for name, case in CASES.items() if name not in ("wide", "wide_input")}


def everything(model: LSTM, x: Any, lengths: Any = None, state: Any = None, **kwargs: Any) -> dict:
    """All that the public calls return, by name, sequences along the first axis."""
    kwargs |= {"lengths": lengths, "state": state}
    output, end = model(x, **kwargs)
    result = {"output": output}
    for i, (h, c) in enumerate(end):
        result |= {f"h of layer {i}": h[0], f"c of layer {i}": c[0]}
    result["last"] = model.predict(x, **kwargs)
    result["sequence"] = model.predict(x, return_sequences=True, **kwargs)
    trace = model.trace(x, **kwargs)
    for field in dataclasses.fields(trace):
        if field.name != "lengths":
            result[field.name] = getattr(trace, field.name)
    return result


def assert_same(actual: dict, expected: dict, rows: Any = slice(None), what: str = "") -> None:
    assert actual.keys() == expected.keys()
    for name, value in actual.items():
        assert_same_bits(value, expected[name][rows], f"{what} {name}")


def to_state(result: dict) -> list:
    """The state at the end of `everything`, to be handed to the next piece."""
    layers = sum(name.startswith("h of layer") for name in result)
    return [
        (result[f"h of layer {i}"][np.newaxis], result[f"c of layer {i}"][np.newaxis])
        for i in range(layers)
    ]


def join_steps(pieces: list[dict]) -> dict:
    """Put the results of pieces together along the steps; last values are the last piece's."""
    return {
        name: np.concatenate([piece[name] for piece in pieces], axis=1)
        if value.ndim == 3
        else value
        for name, value in pieces[-1].items()
    }


class Work(NamedTuple):
    """A network, its input, and what it gives row by row."""

    model: LSTM
    x: np.ndarray  # (N, T, I)
    lengths: np.ndarray  # (N,) some 0, some T
    whole: dict
    ragged: dict  # with `lengths`


@cache
def work(name: str, dtype: str) -> Work:
    case = CASES[name]
    model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
    x = make_input(case.N, case.T, case.I, dtype)
    lengths = np.random.Generator(np.random.PCG64(1)).integers(0, case.T + 1, case.N)
    lengths[[0, 5, -1]] = case.T, 0, 1
    return Work(model, x, lengths, everything(model, x), everything(model, x, lengths))


# --- ways to score the same rows --------------------------------------------------------------
# Each is a function of the work that checks itself against work.whole or work.ragged.


def alone(w: Work) -> None:
    for n in range(len(w.x)):
        assert_same(everything(w.model, w.x[n : n + 1]), w.whole, slice(n, n + 1))


def alone_as_one_sequence(w: Work) -> None:
    n = len(w.x) - 1
    one = w.x[n, :, 0] if w.model.input_size == 1 else w.x[n]
    assert_same(everything(w.model, one), w.whole, slice(n, n + 1))


def permuted(w: Work) -> None:
    order = np.random.Generator(np.random.PCG64(2)).permutation(len(w.x))
    assert_same(everything(w.model, w.x[order]), w.whole, order)
    assert_same(everything(w.model, w.x[order], w.lengths[order]), w.ragged, order)


def beside_others(w: Work) -> None:
    """Among rows of very different size, at other places of their tiles."""
    others = 1e3 * make_input(7, *w.x.shape[1:], w.x.dtype, seed=3)
    mixed = np.concatenate([others, w.x, others, w.x])
    rows = np.arange(len(w.x))
    result = everything(w.model, mixed)
    for first in (7, 14 + len(w.x)):
        part = {name: value[first + rows] for name, value in result.items()}
        assert_same(part, w.whole)


def padded_alone(w: Work) -> None:
    """Every row at its own length, without padding."""
    for n, length in enumerate(w.lengths):
        result = everything(w.model, w.x[n : n + 1, :length])
        for name, value in result.items():
            expected = w.ragged[name][n : n + 1]
            if value.ndim == 3:
                assert not expected[:, length:].any(), name  # zeros past the length
                expected = expected[:, :length]
            assert_same_bits(value, expected, name)


def ragged_of(w: Work) -> Ragged:
    return Ragged.from_list([row[:length] for row, length in zip(w.x, w.lengths, strict=True)])


def as_ragged(w: Work) -> None:
    assert_same(everything(w.model, ragged_of(w)), w.ragged)


def as_part_of_a_ragged(w: Work) -> None:
    """Offsets that start late and end early; values converted on the way."""
    inner = ragged_of(w)
    noise = np.full((3, *inner.values.shape[1:]), np.nan)
    values = np.concatenate([noise, inner.values, noise])
    assert_same(everything(w.model, Ragged(values, inner.offsets + 3)), w.ragged)


def as_list(w: Work) -> None:
    pieces = [row[:length] for row, length in zip(w.x, w.lengths, strict=True)]
    assert_same(everything(w.model, pieces), w.ragged)
    pieces = [piece.astype(">f8", order="F") for piece in pieces]
    assert_same(everything(w.model, tuple(pieces)), w.ragged)


def full_lengths(w: Work) -> None:
    assert_same(everything(w.model, w.x, np.full(len(w.x), w.x.shape[1])), w.whole)


def garbage_in_the_padding(w: Work) -> None:
    x = w.x.copy()
    past = np.arange(x.shape[1]) >= w.lengths[:, np.newaxis]
    for garbage in (np.nan, np.inf, np.finfo(x.dtype).max):
        x[past] = garbage
        assert_same(everything(w.model, x, w.lengths), w.ragged, what=str(garbage))


def in_pieces(w: Work) -> None:
    steps = w.x.shape[1]
    for cuts in ([0, 1, steps], [0, steps // 2, steps], [0, 0, steps, steps], range(steps + 1)):
        state, pieces = None, []
        for a, b in pairwise(cuts):
            pieces.append(everything(w.model, w.x[:, a:b], state=state))
            state = to_state(pieces[-1])
        assert_same(join_steps(pieces), w.whole, what=f"cut at {list(cuts)}")


def in_pieces_of_unequal_length(w: Work) -> None:
    steps = w.x.shape[1]
    middle = steps // 2
    head, tail = np.minimum(w.lengths, middle), np.maximum(w.lengths - middle, 0)
    first = everything(w.model, w.x[:, :middle], head)
    second = everything(w.model, w.x[:, middle:], tail, to_state(first))
    assert_same(join_steps([first, second]), w.ragged)


def state_of_torch(w: Work) -> None:
    """The pair (h_n, c_n), in another dtype and order of memory."""
    if len({layer.hidden_size for layer in w.model.layers}) > 1:
        return
    middle = w.x.shape[1] // 2
    _, state = w.model(w.x[:, :middle])
    pair = tuple(np.asfortranarray(part, dtype=">f8") for part in (state.h_n, state.c_n))
    output, end = w.model(w.x[:, middle:], state=pair)
    assert_same_bits(output, w.whole["output"][:, middle:])
    layers = range(len(w.model.layers))
    assert_same_bits(end.h_n, [w.whole[f"h of layer {i}"] for i in layers])
    assert_same_bits(end.c_n, [w.whole[f"c of layer {i}"] for i in layers])


def traced_or_not(w: Work) -> None:
    steps = w.x.shape[1]
    for lengths, expected in ((None, w.whole), (w.lengths, w.ragged)):
        for i in range(len(w.model.layers)):
            trace = w.model.trace(w.x, lengths, layer=i)
            ends = np.full(len(w.x), steps) if lengths is None else lengths
            for n, end in enumerate(ends):
                if end:
                    h, c = trace.hidden_state[n, end - 1], trace.cell_state[n, end - 1]
                    assert_same_bits(h, expected[f"h of layer {i}"][n])
                    assert_same_bits(c, expected[f"c of layer {i}"][n])
        assert_same_bits(trace.hidden_state, expected["output"])
        assert_same_bits(w.model.trace(w.x, lengths, layer=-1).hidden_state, expected["output"])


def last_or_every_step(w: Work) -> None:
    assert_same_bits(w.whole["last"], w.whole["sequence"][:, -1])
    if not w.model.head:
        assert_same_bits(w.whole["sequence"], w.whole["output"])


def on_threads(w: Work) -> None:
    for threads in (1, 2, 3, 8):
        what = f"{threads} threads"
        assert_same(everything(w.model, w.x, threads=threads), w.whole, what=what)
        assert_same(everything(w.model, ragged_of(w), threads=threads), w.ragged, what=what)
        assert_same(everything(w.model, w.x[::-1], threads=threads), w.whole, np.s_[::-1], what)


def into_out(w: Work) -> None:
    """Arrays of the caller's, whole or parts of larger ones, full of garbage before."""
    for every, name in ((False, "last"), (True, "sequence")):
        for lengths, expected in ((None, w.whole[name]), (w.lengths, w.ragged[name])):
            shape, dtype = expected.shape, expected.dtype
            larger = np.full([2 * k + 1 for k in shape], np.nan, dtype)
            unaligned = np.zeros(expected.nbytes + 1, np.uint8)[1:].view(dtype).reshape(shape)
            outs = {
                "plain": np.full(shape, np.nan, dtype),
                "fortran": np.full(shape, np.nan, dtype, order="F"),
                "strided": larger[tuple(slice(1, None, 2) for _ in shape)],
                "reversed": np.full(shape, np.nan, dtype)[::-1],
                "unaligned": unaligned,
            }
            for kind, out in outs.items():
                result = w.model.predict(w.x, lengths, return_sequences=every, out=out)
                assert result is out, kind
                assert_same_bits(out, expected, f"{kind} out, {name}")
            assert np.isnan(larger[tuple(slice(0, None, 2) for _ in shape)]).all()


WAYS = [
    alone,
    alone_as_one_sequence,
    permuted,
    beside_others,
    padded_alone,
    as_ragged,
    as_part_of_a_ragged,
    as_list,
    full_lengths,
    garbage_in_the_padding,
    in_pieces,
    in_pieces_of_unequal_length,
    state_of_torch,
    traced_or_not,
    last_or_every_step,
    on_threads,
    into_out,
]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["scalar", "tapered"])
@pytest.mark.parametrize("way", WAYS, ids=operator.attrgetter("__name__"))
def test_the_way_does_not_show(way, name, dtype, monkeypatch):
    check_way(way, name, dtype, monkeypatch)


@pytest.mark.full
@pytest.mark.usual_tiles
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("way", WAYS, ids=operator.attrgetter("__name__"))
def test_the_way_does_not_show_in_any_tiles(way, name, dtype, monkeypatch):
    check_way(way, name, dtype, monkeypatch)


def check_way(way: Any, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way is on_threads:  # these calls are too small for threads to be worth their while
        monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    way(work(name, dtype))


# --- the edges of tiles -----------------------------------------------------------------------


def edges(kind: Kind) -> list[int]:
    """Numbers of rows at and beside every multiple of what a tile can have, and beyond."""
    least = kind.least_sequences
    beside = {k * least + d for k in (1, 2, 3) for d in (-1, 0, 1)} - {0}
    return sorted(beside | {1, 2, 12 * least, 12 * least + 1})


# Of these kinds the usual run looks at the edges: each group of sums, the most vectors, and units.
USUAL = {
    ("scalar", "float32"): (3,),
    ("tapered", "float32"): (2, -2),
}


def kinds_of_tile() -> list[Any]:
    found = []
    for dtype, name in itertools.product(DTYPES, ("scalar", "odd", "tapered")):
        possible = possible_kinds(dtype, Form(scalar=name == "scalar"), traced=False)
        usual = {possible[i] for i in USUAL.get((name, dtype), ())}
        for kind in possible:
            test_id = f"{name}-{dtype}-{kind.lanes_hold}-{kind.vectors}x{kind.group}"
            marks = [] if kind in usual else [pytest.mark.full]
            found.append(pytest.param(name, dtype, kind, id=test_id, marks=marks))
    return found


@pytest.mark.parametrize(("name", "dtype", "kind"), kinds_of_tile())
def test_tiles_do_not_show(name, dtype, kind, monkeypatch):
    """Every kind of tile, full and not: rows of small batches against those of a large one."""
    case = CASES[name]
    model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
    sizes = edges(kind)
    x = make_input(sizes[-1], case.T, case.I, dtype)
    lengths = np.arange(sizes[-1]) * 7 % (case.T + 1)
    whole, ragged = everything(model, x, threads=1), everything(model, x, lengths, threads=1)

    used = set()

    def choose_tile(stack, n_rows, n_threads, traced):
        tile = cost.make_tile(kind._replace(traced=traced), n_rows, n_threads)
        used.add(tile.kind)
        return tile

    monkeypatch.setattr(packed, "choose_tile", choose_tile)
    model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)  # knows no tiles yet
    for n in sizes:
        rows = slice(sizes[-1] - n, None)
        what = f"{n} rows"
        assert_same(everything(model, x[rows], threads=1), whole, rows, what)
        assert_same(everything(model, x[rows], lengths[rows], threads=1), ragged, rows, what)
    assert used == {kind, kind._replace(traced=True)}


@pytest.mark.full
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_mixture_of_tiles_does_not_show(dtype, monkeypatch):
    """Large tiles for whole rounds and others for the rest, on more threads than one."""
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)
    monkeypatch.setattr(job, "WORTH_A_KERNEL", 0.0)
    case = CASES["tapered"]
    model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
    n = 13 * cpu.lanes(dtype) - 3
    x = make_input(n, case.T, case.I, dtype)
    (stack,) = [k.of for k in make_chain(model.layers)]
    choices = cost.choose_tiles(stack, n, 2, False)
    assert len(choices) == 2, "take a number of rows that two kinds of tile share"
    assert sum(rows for _, rows in choices) == n
    state = model(x, threads=1)[1]
    mixed = [everything(model, x, state=given, threads=2) for given in (None, state)]
    monkeypatch.setattr(packed, "choose_tiles", lambda *args: ((cost.choose_tile(*args), n),))
    alone = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
    for given, result in zip((None, state), mixed, strict=True):
        assert_same(result, everything(alone, x, state=given, threads=1), what="mixed")


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_tile_of_every_kind_is_used(dtype):
    """Some number of rows of some network is fastest in each kind of tile."""
    used = set()
    for size in (1, 4, 8, 20, 40, 64, 128, 200):
        (stack,) = (
            k.of for k in make_chain(make_model(1 if size == 1 else 16, (size,), 0, dtype).layers)
        )
        for n in range(1, 300):
            for threads in (1, 2):
                used.add(cost.choose_tile(stack, n, threads, False).kind)
    possible = {
        kind
        for scalar in (True, False)
        for kind in possible_kinds(dtype, Form(scalar=scalar), False)
    }
    assert used == possible


# --- forms of the input -----------------------------------------------------------------------


def strided(x: np.ndarray) -> np.ndarray:
    holder = np.full([2 * k for k in x.shape], np.nan, x.dtype)
    view = holder[tuple(slice(1, None, 2) for _ in x.shape)]
    view[...] = x
    return view


def read_only(x: np.ndarray) -> np.ndarray:
    x = x.copy()
    x.flags.writeable = False
    return x


def unaligned(x: np.ndarray) -> np.ndarray:
    memory = np.zeros(x.nbytes + 1, np.uint8)[1:]
    view = memory.view(x.dtype).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def memory_mapped(x: np.ndarray, path: Any) -> np.ndarray:
    np.save(path, x)
    return np.load(path, mmap_mode="r")


def frozen_bytes(x: np.ndarray) -> np.ndarray:
    return np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape)


FORMS = {
    "strided": strided,
    "reversed": lambda x: x[::-1, ::-1, ::-1].copy()[::-1, ::-1, ::-1],
    "fortran": np.asfortranarray,
    "time first": lambda x: x.transpose(1, 0, 2).copy().transpose(1, 0, 2),
    "every other row": lambda x: np.repeat(x, 2, axis=0)[::2],
    "read-only": read_only,
    "frozen bytes": frozen_bytes,
    "unaligned": unaligned,
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "float64": lambda x: x.astype("f8"),
    "long double": lambda x: x.astype(np.longdouble),
    "nested lists": lambda x: x.tolist(),
}
# Input that is converted: the caller's numbers, and what they are as the model's dtype.
NUMBERS = {
    "float64 with more digits": lambda x: x.astype("f8") * (1 + 1e-9),
    "float32": lambda x: x.astype("f4"),
    "float16": lambda x: x.astype("f2"),
    "big-endian float16": lambda x: x.astype(">f2"),
    "int8": lambda x: (9 * x).astype("i1"),
    "int64": lambda x: (1e5 * x).astype("i8"),
    "big-endian uint16": lambda x: np.abs(99 * x).astype(">u2"),
    "bool": lambda x: x > 0,
    "one row for all": lambda x: np.broadcast_to(x[:1], x.shape),
    "one step for all": lambda x: np.broadcast_to(x[:, :1], x.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["scalar", "odd"])
@pytest.mark.parametrize("form", [*FORMS, *NUMBERS, "memory-mapped"])
def test_the_form_of_the_input_does_not_show(form, name, dtype, tmp_path, monkeypatch):
    """Converted input is copied in groups of rows and stretches of steps: here small ones."""
    check_form(form, name, dtype, 600, tmp_path, monkeypatch)


@pytest.mark.full
@pytest.mark.usual_tiles
@pytest.mark.parametrize("group_bytes", [None, 600])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["scalar", "odd", "two_layers"])
@pytest.mark.parametrize("form", [*FORMS, *NUMBERS, "memory-mapped"])
def test_no_form_shows_in_any_tiles(form, name, dtype, group_bytes, tmp_path, monkeypatch):
    check_form(form, name, dtype, group_bytes, tmp_path, monkeypatch)


def check_form(
    form: str,
    name: str,
    dtype: str,
    group_bytes: int | None,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if group_bytes is not None:
        monkeypatch.setattr(job, "COPIED_BYTES", group_bytes)
    w = work(name, dtype)
    if form in NUMBERS:
        x = NUMBERS[form](w.x)
        plain = x.astype(dtype, order="C")
        whole = everything(w.model, plain)
        ragged = everything(w.model, plain, w.lengths)
    else:
        x = memory_mapped(w.x, tmp_path / "x.npy") if form == "memory-mapped" else FORMS[form](w.x)
        whole, ragged = w.whole, w.ragged
    assert_same(everything(w.model, x), whole)
    if not isinstance(x, list):
        before = np.array(x)
        assert_same(everything(w.model, x, w.lengths, threads=2), ragged)
        middle = x.shape[1] // 2
        pieces = [everything(w.model, x[:, :middle])]
        pieces.append(everything(w.model, x[:, middle:], state=to_state(pieces[0])))
        assert_same(join_steps(pieces), whole)
        assert np.array_equal(x, before), "the input was written to"


@pytest.mark.parametrize("form", ["fortran", "float64", "ragged", "list"])
def test_long_sequences_are_converted_a_stretch_at_a_time(form):
    """At the real size of a group: more steps than fit into one."""
    N, T, I = 70, 2500, 8  # noqa: E741
    assert job.COPIED_BYTES < 16 * T * I * 4 * 4, "make T longer than a group"
    model = make_model(I, (4,), 1)
    x = make_input(N, T, I)
    lengths = np.linspace(0, T, N).astype(int)
    expected = everything(model, x, lengths)
    rows = [row[:n].astype("f8") for row, n in zip(x, lengths, strict=True)]
    if form in FORMS:
        assert_same(everything(model, FORMS[form](x), lengths), expected)
    else:
        assert_same(everything(model, rows if form == "list" else Ragged.from_list(rows)), expected)


# --- another CPU ------------------------------------------------------------------------------


def on_this_cpu() -> dict[str, np.ndarray]:
    """Results of both dtypes, one hidden unit and many, by name."""
    results = {}
    for dtype in DTYPES:
        for name in ("scalar", "tapered", "blocks"):
            case = CASES[name]
            model = make_model(case.I, case.hidden_sizes, case.outputs, dtype)
            x = make_input(17, case.T, case.I, dtype)  # one size: few kernels to compile
            lengths = np.arange(17) % (case.T + 1)
            for kind, result in (
                ("whole", everything(model, x)),
                ("ragged", everything(model, x.astype("f8"), lengths)),
            ):
                results |= {f"{dtype} {name} {kind} {key}": v for key, v in result.items()}
        # all sizes of numbers through the activations
        span = np.ldexp(make_input(17, 1600, 1, dtype), np.arange(1600)[:, np.newaxis] % 160 - 150)
        for key, value in everything(make_model(1, (1,), 1, dtype), span).items():
            results[f"{dtype} span {key}"] = value
    return results


ON_ANOTHER_CPU = """
import sys
import numpy as np
import helpers
import test_bits
if sys.argv[2] == "few":
    test_bits.packed.choose_tile = helpers.choose_of_few_tiles
np.savez(sys.argv[1], **test_bits.on_this_cpu())
print(test_bits.cpu.simd_name())
"""


@pytest.mark.full
@pytest.mark.skipif(
    cpu.vector_bits() != 512, reason=f"needs a CPU with AVX-512, this one has {cpu.simd_name()}"
)
@pytest.mark.parametrize("tiles", ["few", pytest.param("usual", marks=pytest.mark.usual_tiles)])
def test_avx2_gives_the_bits_of_avx512(tiles, tmp_path):
    """In a process for which Numba compiles for an older CPU."""
    path, cache = tmp_path / "results.npz", str(tmp_path / "cache")
    with start_child(ON_ANOTHER_CPU, str(path), tiles, NUMBA_CACHE_DIR=cache, **AVX2_CPU) as child:
        expected = on_this_cpu()
        assert wait_for(child).strip() == "AVX2"
    with np.load(path) as actual:
        assert set(actual) == set(expected)
        for name, value in expected.items():
            assert_same_bits(actual[name], value, name)
