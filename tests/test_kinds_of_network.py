"""Every kind of network: against the reference loop, and the same bits whichever way it is run."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from helpers import assert_same_bits, some_of
from networks import (
    MASKED,
    NETWORKS,
    STEPS,
    WITH_PARTS,
    Maker,
    chain,
    gives_every_step,
    make_lengths,
    make_network,
    make_values,
)

from fastlstm import LSTM, Dense, Layer, Ragged, State, UnsupportedModelError, reference
from fastlstm.engine.kernel.forms import possible_kinds
from fastlstm.engine.plan import program
from fastlstm.engine.plan.chain import make_chain
from fastlstm.engine.plan.cost import make_tile
from fastlstm.engine.run import engine as run
from fastlstm.engine.run import operations, packed
from fastlstm.network.pointwise import Activate
from fastlstm.network.pooling import Pool

N, T = 37, STEPS
# Of one unit of the result's size; the reference rounds elsewhere.
TOLERANCE = {"float32": 3e-6, "float64": 1e-14}


def start_of(model: LSTM, n: int) -> State:
    rng = np.random.default_rng(5)
    return State(
        (
            rng.normal(size=(len(k.cells), n, k.cells[0].output_size)).astype(model.dtype),
            rng.normal(size=(len(k.cells), n, k.hidden_size)).astype(model.dtype),
        )
        for k in model.recurrent
    )


def assert_close(actual: Any, exact: Any, dtype: str, what: str) -> None:
    actual, exact = np.asarray(actual), np.asarray(exact)
    assert actual.shape == exact.shape, what
    assert actual.dtype == dtype, what
    np.testing.assert_array_equal(np.isnan(actual), np.isnan(exact), what)
    error = np.abs(np.nan_to_num(actual) - np.nan_to_num(exact)) / np.maximum(np.abs(exact), 1)
    assert np.nanmax(error, initial=0) <= TOLERANCE[dtype], what


# Of these the traces are looked at, too.
# kernels of their own, of which other networks have every part
SELDOM = ("peepholes, clip", "peepholes, one unit", "projection, both", "coupled, peepholes")
THOROUGHLY = ("bidirectional", "projection, both", "peepholes, clip", "all options")
THOROUGHLY += ("conv, pool, batch norm", "autoencoder, both", "layers side by side", "slices, both")


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "float64") for name in [*NETWORKS, *WITH_PARTS] if name not in SELDOM),
        *(pytest.param(name, "float64", marks=pytest.mark.full) for name in SELDOM),
        ("bidirectional", "float32"),
        ("conv, pool, batch norm", "float32"),
        ("attention, dot, both", "float32"),
        *(
            pytest.param(name, "float32", marks=pytest.mark.full)
            for name in (*THOROUGHLY[1:], *WITH_PARTS)
        ),
    ],
)
def test_against_the_reference(name, dtype):
    model = make_network(name, dtype)
    exact = model.astype("float64")
    x = make_values(model, N, T)
    for lengths in (None, make_lengths(model, N, T)):
        for state in (None, start_of(model, N)):
            what = f"{lengths is not None=} {state is not None=}"
            every = (None, True) if gives_every_step(model) else (None,)
            every += (False,) if model.return_sequences else ()
            for sequences in every:
                y = model.predict(x, lengths, state, return_sequences=sequences)
                expected = reference.predict(exact.network, x, lengths, state, sequences)
                assert_close(y, expected, dtype, f"predict, {sequences} {what}")
            output, end = model(x, state, lengths)
            true_output, true_end = reference.lstm(exact.network, x, state, lengths)
            assert_close(output, true_output, dtype, f"output, {what}")
            for given, true in zip(end, true_end, strict=True):
                assert_close(given.h, true.h, dtype, f"h, {what}")
                assert_close(given.c, true.c, dtype, f"c, {what}")
            for layer in range(model.num_layers if name in THOROUGHLY else 0):
                trace = model.trace(x, lengths, state, layer)
                i, f, g, o, c, h = reference.trace(exact.network, x, lengths, state, layer)
                for given, true in zip(trace.values.values(), (f, i, g, c, o, h), strict=True):
                    assert_close(given, true, dtype, f"trace of layer {layer}, {what}")


@pytest.mark.parametrize("read", ["last", "max", "mean"])
def test_one_step_and_every_step_of_one_model(read):
    """The head is part of the kernel in one of the two calls, and not in the other."""
    make = Maker(1, "float64")
    direction = "reverse" if read == "last" else "forward"
    layers, head = [make.layer(3, 5, direction=direction)], make.dense(5, 2)
    model, other_way_round = LSTM(layers, head, read=read), LSTM(layers, head, read=read)
    x = make_values(model, N, T)
    results = [
        (model, False), (model, True), (other_way_round, True), (other_way_round, False)
    ]  # fmt: skip
    for each, every in results:
        expected = reference.predict(each.network, x, return_sequences=every)
        assert_close(each.predict(x, return_sequences=every), expected, "float64", f"{every=}")


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize("where", ["end", "holes"])
@pytest.mark.parametrize("name", MASKED)
def test_masks(name, where):
    model = make_network(name, "float64")
    x = make_values(model, N, T)
    if where == "end":
        masked = model.network.masked_input
        x[np.arange(T) >= make_lengths(model, N, T)[:, None]] = masked
    every = (None, True) if gives_every_step(model) else (None,)
    for lengths in (None, make_lengths(model, N, T)):
        for sequences in every:
            y = model.predict(x, lengths, return_sequences=sequences)
            expected = reference.predict(model.network, x, lengths, None, sequences)
            assert_close(y, expected, "float64", f"{lengths is not None=} {sequences=}")


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize(
    "name",
    [
        "bidirectional, head",
        "dense in between",
        "masked, both",
        "conv, pool, both",
        "conv between",
        "upsampling",
    ],
)
def test_no_steps(name):
    """There are none, or all are masked: every step has its outputs all the same."""
    model = make_network(name, "float64")
    for steps in (0, 3) if model.masks else (0,):
        x = np.zeros((4, steps, model.input_size))
        for sequences in (False, True):
            expected = reference.predict(model.network, x, return_sequences=sequences)
            y = model.predict(x, return_sequences=sequences)
            np.testing.assert_array_equal(y, expected, f"{sequences=}")
        assert model(x)[0].shape == reference.lstm(model.network, x)[0].shape


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize("direction", ["reverse", "go_backwards"])
def test_masked_steps_of_a_layer_that_reads_from_the_end(direction):
    """What would be repeated there is another thing in another framework."""
    make = Maker(1, "float64")
    layers = [make.layer(2, 5, direction=direction)]
    model = LSTM(layers, mask_value=0.0)
    x = make_values(model, N, T)
    assert_close(model.predict(x), reference.predict(model.network, x), "float64", "final state")
    for outputs in (model, lambda x: model.predict(x, return_sequences=True)):
        with pytest.raises(UnsupportedModelError, match=f"layer 0: {direction} with a mask"):
            outputs(x)
    for options in ({"return_sequences": True}, {"read": "last"}):
        with pytest.raises(UnsupportedModelError, match=f"layer 0: {direction} with a mask"):
            LSTM(layers, mask_value=0.0, **options)
    with pytest.raises(UnsupportedModelError, match="skip"):
        LSTM([make.layer(2, 5)], make.dense(5, 1), mask_value=0.0, skip=1)


@pytest.mark.usefixtures("few_kernels")
def test_the_last_step_is_masked_and_none_is_before():
    """Its outputs are zeros then, not the state that was given."""
    model = make_network("masked, last step, plain", "float64")
    x, state = make_values(model, N, 2), start_of(model, N)
    assert (x == model.mask_value).all((1, 2)).any()
    y = model.predict(x, state=state)
    assert_close(y, reference.predict(model.network, x, None, state), "float64", "last step")
    assert_same_bits(y, model.predict(x, state=state, return_sequences=True)[:, -1])


def test_a_skip_connection_adds_an_input_to_each_output():
    make = Maker(1, "float64")
    for skip, outputs in ((2, 3), (1, 2), (3, 3)):
        with pytest.raises(
            ValueError, match=f"one of the 2 inputs for each of the {outputs} outputs"
        ):
            LSTM([make.layer(2, 5)], make.dense(5, outputs), skip=skip)


ACTIVATIONS = [
    ("hard_sigmoid", "affine", "elu"),
    ("softsign", "leaky_relu", "linear"),
    ("sigmoid", "gelu", "scaled_tanh"),
    ("tanh", "thresholded_relu", "sigmoid"),
]


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize("names", some_of(map("-".join, ACTIVATIONS), "-".join(ACTIVATIONS[0])))
def test_activations_of_cells(names):
    """Each in its place; `test_functions` looks at all of them by themselves."""
    model = LSTM([Maker(3, "float64").layer(3, 5, activations=names.split("-"))])
    x = make_values(model, N, T) * 3
    np.testing.assert_allclose(
        model.predict(x), reference.predict(model.network, x), rtol=1e-12, atol=1e-14
    )


def everything(model: LSTM, x: Any, lengths: Any = None, threads: int = 1) -> list[np.ndarray]:
    """All results of a model, rows first."""
    output, state = model(x, lengths=lengths, threads=threads)
    states = [array.swapaxes(0, 1) for layer in state for array in layer]
    y = model.predict(x, lengths, threads=threads)
    z = []
    if gives_every_step(model):
        z = [model.predict(x, lengths, return_sequences=True, threads=threads)]
    return [y, *z, output, *states]


WAYS = (
    "bidirectional, two",
    "bidirectional, last step",
    "bidirectional, mean",
    "reverse, three",
    "all options",
    "dense in between",
    "skip, two inputs",
    *WITH_PARTS,
)


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize("name", WAYS)
def test_the_way_does_not_show(name, monkeypatch):
    """Other rows beside, another order, more threads, ragged, another dtype or place."""
    model = make_network(name, "float64")
    x, lengths = make_values(model, N, T), make_lengths(model, N, T)
    whole = everything(model, x, lengths)
    monkeypatch.setattr(run, "LEAST_WORK_A_THREAD", 1.0)

    rows = np.random.default_rng(1).permutation(N)[: N - 4]
    ways = {
        "other rows": (everything(model, x[rows], lengths[rows]), rows),
        "threads": (everything(model, x, lengths, threads=3), slice(None)),
        "strided": (everything(model, np.asfortranarray(x), lengths), slice(None)),
    }
    for what, (results, chosen) in ways.items():
        for of_all, result in zip(whole, results, strict=True):
            assert_same_bits(result, of_all[chosen], what)
    steps = np.arange(T) < lengths[:, None]
    ragged = Ragged(x[steps], np.concatenate([[0], np.cumsum(lengths)]))
    as_list = [row[:length] for row, length in zip(x, lengths, strict=True)]
    for form in (ragged, as_list):
        for of_all, result in zip(whole, everything(model, form), strict=True):
            assert_same_bits(result, of_all, type(form).__name__)
    for length in {int(lengths.min()), int(np.sort(lengths)[N // 2]), T}:
        n = int(np.flatnonzero(lengths == length)[0])  # a row by itself, without padding
        alone, of_all = model.predict(x[n : n + 1, :length]), whole[0][n : n + 1]
        if alone.ndim == 3:
            assert not of_all[:, alone.shape[1] :].any()
            of_all = of_all[:, : alone.shape[1]]
        assert_same_bits(alone, of_all, f"alone, {length} steps")


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize("name", ["conv, pool, both", "attention, dot", "repeated, not walked"])
def test_how_many_rows_does_not_show(name):
    """One row, few, and more than one thread takes at once."""
    model = make_network(name, "float64")
    n = 700
    x, lengths = make_values(model, n, T), make_lengths(model, n, T)
    whole = everything(model, x, lengths)
    for rows in (slice(0, 1), slice(5, 8), slice(n - 70, n)):
        for of_all, result in zip(whole, everything(model, x[rows], lengths[rows]), strict=True):
            assert_same_bits(result, of_all[rows], f"{rows}")


@pytest.mark.parametrize(
    ("name", "length", "message"),
    [
        ("conv", 2, "part 0, Conv, leaves no step"),
        ("flatten", 8, "part 2, Flatten, takes exactly 9 steps, and gets 8"),
        ("slices, both", 2, "part 1, Slice, leaves no step"),
    ],
)
def test_a_sequence_of_too_few_steps_is_named(name, length, message):
    model = make_network(name, "float64")
    x = make_values(model, 5, T)
    lengths = np.full(5, T)
    lengths[[2, 4]] = length
    for call in (model, model.predict, model.trace) if name != "flatten" else (model.predict,):
        with pytest.raises(ValueError, match=rf"{message}.*sequence 2.*has {length} steps"):
            call(x, lengths=lengths)


def usual_reversed(make: Maker) -> LSTM:
    return LSTM([make.layer(3, 19, direction="reverse"), make.layer(19, 5, direction="reverse")])


@pytest.mark.full
@pytest.mark.parametrize(
    "network", [NETWORKS["all options"], usual_reversed], ids=["all options", "reverse"]
)
@pytest.mark.parametrize("chosen", [[0, -1], range(8)], ids=["two", "all"])
def test_tiles_do_not_show(network, chosen, monkeypatch):
    """Every kind of tile that a form has, full and not; traced with the smallest of each layout."""
    model = network(Maker(8, "float64"))
    n = 150
    x, lengths = make_values(model, n, T), make_lengths(model, n, T)
    used = set()
    whole = None
    possible = possible_kinds("float64", make_chain(model.layers)[0].of.form, False)
    possible = [possible[i] for i in chosen if i < len(possible)]
    for kind in possible:

        def choose_tile(stack, n_rows, n_threads, traced, kind=kind):
            of_form = kind._replace(form=stack.form, traced=traced)
            used.add(of_form)
            return make_tile(of_form, n_rows, n_threads)

        monkeypatch.setattr(packed, "choose_tile", choose_tile)
        model = network(Maker(8, "float64"))  # knows no tiles yet
        traces = kind is possible[0] or (len(possible) > 2 and kind.vectors == 1)
        for rows in (slice(None), slice(n - 3, None)):
            results = everything(model, x[rows], lengths[rows])
            if traces:
                results += model.trace(x[rows], lengths[rows]).values.values()
            whole = results if whole is None else whole
            for of_all, result in zip(whole, results, strict=traces):
                assert_same_bits(result, of_all[rows], f"{kind.lanes_hold} {kind.vectors}")
    assert used >= {*possible}


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize(
    "name", ["peepholes", "projection", "embedding", "learned state", "layer norm"]
)
def test_in_pieces(name):
    """A sequence in pieces, the state handed over, gives the bits of the whole."""
    model = make_network(name, "float64")
    x = make_values(model, N, T)
    whole, end = model(x)
    first, state = model(x[:, :4])
    second, state = model(x[:, 4:], state)
    assert_same_bits(np.concatenate([first, second], axis=1), whole)
    for given, true in zip(state, end, strict=True):
        assert_same_bits(given.h, true.h)
        assert_same_bits(given.c, true.c)


@pytest.mark.usefixtures("few_kernels")
def test_states_of_both_directions_as_torch_has_them():
    model = make_network("projection, both", "float64")
    x = make_values(model, N, T)
    _, state = model(x, start_of(model, N))
    assert state.h_n.shape == (4, N, 4)
    assert state.c_n.shape == (4, N, 7)
    for pair in (state, (state.h_n, state.c_n)):
        assert_same_bits(model(x, pair)[0], model(x, state)[0])
    with pytest.raises(ValueError, match="a state of 4 directions, got 2"):
        model(x, (state.h_n[:2], state.c_n[:2]))


@pytest.mark.usefixtures("few_kernels")
def test_the_embedding_is_multiplied_in_with_the_same_bits():
    """What is looked up are the sums that would be computed: also from vectors as inputs."""
    make = Maker(2, "float32")
    for size in (3, 30, 150):
        embedding, layer = make.embedding(20, size), make.layer(size, 7)
        ids = np.random.default_rng(0).integers(0, 20, (N, T))
        looked_up = LSTM([embedding, layer])(ids)[0]
        assert_same_bits(looked_up, LSTM([layer])(embedding.weight[ids])[0], f"{size} numbers")


@pytest.mark.parametrize(
    ("ids", "error", "message"),
    [
        ([[1, 20]], ValueError, r"ids in 0 \.\.\. 19, got 20 at step 1 of sequence 0"),
        ([[1, 2], [-1, 2]], ValueError, "got -1 at step 0 of sequence 1"),
        ([[1.0, 2.0]], TypeError, "integer ids for the model's embedding of 20, got dtype float64"),
        ([[True, False]], TypeError, "got dtype bool"),
        (np.array([[2**63]], np.uint64), ValueError, "ids in 0"),
        (np.zeros((2, 3, 2), int), ValueError, r"expected x of shape \(N, T\)"),
    ],
)
def test_unknown_ids(ids, error, message):
    model = make_network("embedding", "float32")
    with pytest.raises(error, match=message):
        model.predict(ids)


@pytest.mark.usefixtures("few_kernels")
def test_padding_beyond_a_length_may_hold_any_id():
    model = make_network("embedding", "float32")
    x = make_values(model, 3, T)
    lengths = np.array([2, 0, T])
    junk = x.copy()
    junk[np.arange(T) >= lengths[:, None]] = -1
    assert_same_bits(model.predict(junk, lengths), model.predict(x, lengths))


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize(
    "name",
    [
        "bidirectional, two",
        "peepholes, clip",
        "dense in between",
        "conv, pool, batch norm",
        "attention, dot, both",
        "layer norm, both",
    ],
)
def test_a_bad_row_stays_alone(name):
    model = make_network(name, "float64")
    x = make_values(model, N, T)
    good = model.predict(x)
    x[3, 4, 1], x[9, 0, 0] = np.nan, np.inf
    bad = model.predict(x)
    others = np.delete(np.arange(N), [3, 9])
    assert_same_bits(bad[others], good[others])
    assert np.isnan(bad[3]).any()


@pytest.mark.parametrize("name", [*NETWORKS, *WITH_PARTS, *MASKED])
def test_pickles_and_dtypes(name):
    model = make_network(name, "float32")
    copy = pickle.loads(pickle.dumps(model))
    assert copy == model
    assert hash(copy) == hash(model)
    assert model.astype("float64").astype("float32") == model
    assert model.astype("float64") != model


def test_weights_packed_with_a_head_and_without():
    """Read at its last step, a reversed layer has its head apart; at every step, in its kernel."""
    rng = np.random.default_rng(0)
    shapes = ((20, 3), (20, 5), (20,))
    layer = Layer(*(rng.normal(size=shape) for shape in shapes), direction="reverse")
    model = LSTM([layer], head=Dense(rng.normal(size=(2, 5))), read="last")
    x = rng.normal(size=(3, 7, 3))
    last = model.predict(x)
    every = model.predict(x, return_sequences=True)
    np.testing.assert_allclose(every[:, -1], last, rtol=1e-12)
    np.testing.assert_allclose(
        every, reference.predict(model.network, x, return_sequences=True), rtol=1e-12
    )


PARTS_BEHIND_A_CONVOLUTION = {
    "nothing": lambda m, k: (),
    "batch norm": lambda m, k: (m.affine(k), Activate("relu")),
    "layer norm": lambda m, k: (m.norm(k),),
}


@pytest.mark.usefixtures("few_kernels")
@pytest.mark.parametrize(
    ("how", "between", "dtype"),
    [
        ("max", "nothing", "float32"),
        ("mean", "batch norm", "float64"),
        *(
            pytest.param(how, between, dtype, marks=pytest.mark.full)
            for how, dtype in (("max", "float64"), ("mean", "float32"))
            for between in PARTS_BEHIND_A_CONVOLUTION
        ),
    ],
)
def test_a_convolution_gives_the_same_bits_with_and_without_what_is_behind_it(
    how, between, dtype, monkeypatch
):
    """Some windows at a time, too, and for rows of different lengths."""
    rng = np.random.default_rng(11)
    for outputs, groups, dilation, stride, pool in (
        (6, 3, 2, 1, Pool(how, 2)),
        (2, 1, 1, 2, Pool(how, 3)),
        (66, 2, 1, 1, Pool(how, 2, 3)),
    ):
        make = Maker(int(rng.integers(100)), dtype)
        conv = make.conv(
            6, outputs, 3, groups=groups, dilation=dilation, stride=stride, activation="relu"
        )
        network = chain(
            conv, *PARTS_BEHIND_A_CONVOLUTION[between](make, outputs), pool, make.layer(outputs, 5)
        ).network
        bits: list[Any] = []
        x = rng.standard_normal((21, 23, 6)).astype(dtype)
        for lengths in (None, rng.integers(12, 24, 21)):
            for fuse, some in ((False, 1 << 20), (True, 1 << 20), (True, 1000), (True, 1)):
                with monkeypatch.context() as patch:
                    patch.setattr(operations, "WINDOW_BYTES", some)
                    if not fuse:
                        patch.setattr(program, "_fused", lambda *of: of)
                    bits.append(LSTM.from_network(network).predict(x, lengths))
            assert not np.isnan(bits[-1]).any()
            for other in bits[-3:]:
                assert_same_bits(other, bits[-4])


@pytest.mark.usefixtures("few_kernels")
def test_a_call_in_pieces_that_only_the_head_would_refuse():
    """Calls and traces run the network up to its last layer: what follows sets them no limit."""
    model = make_network("flatten", "float64")
    x = make_values(model, 3, STEPS)
    whole, end = model(x)
    first, state = model(x[:, :4])
    second, state = model(x[:, 4:], state)
    assert_same_bits(np.concatenate([first, second], axis=1), whole)
    assert_same_bits(state.h_n, end.h_n)
    gates = model.trace(x[:, :4]).forget_gate
    assert_same_bits(gates, model.trace(x).forget_gate[:, :4])
