"""The NumPy loop against golden PyTorch data, and what the contract says of any engine."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from networks import (
    STEPS,
    WITH_PARTS,
    Maker,
    chain,
    gives_every_step,
    make_lengths,
    make_network,
    make_values,
)

from fastlstm import Dense, Layer, reference
from fastlstm.network.convolution import Conv
from fastlstm.network.joints import AddInputs, From, Join
from fastlstm.network.network import Network
from fastlstm.network.normalisation import Affine, LayerNorm
from fastlstm.network.pointwise import Activate, PReLU, StepSoftmax
from fastlstm.network.pooling import Pool
from fastlstm.network.reading import Read
from fastlstm.network.state import State
from fastlstm.network.steps import Flatten, Pad, Repeat, Slice, Unflatten, Upsample
from fastlstm.tutorial import TUTORIAL_PARAMS, lstm_forward

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.npz"))
ATOL = {"float32": 6e-7, "float64": 2e-15}


def golden(path):
    """One golden file: layers, head, x, state, lengths and what PyTorch made of them."""
    case = dict(np.load(path))
    depth = sum(name.startswith("weight_ih") for name in case)
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    layers = [Layer(*(case.get(f"{kind}_l{k}") for kind in kinds)) for k in range(depth)]
    head = Dense(case["head.weight"], case["head.bias"]) if "head.weight" in case else None
    return SimpleNamespace(
        network=Network.of(layers, head),
        x=case["x"],
        lengths=case.get("lengths"),
        state=State((case[f"h0_l{k}"], case[f"c0_l{k}"]) for k in range(depth))
        if "h0_l0" in case
        else None,
        output=case["output"],
        final=State((case[f"h_l{k}"], case[f"c_l{k}"]) for k in range(depth)),
        predicted=case.get("predicted"),
        dtype=str(case["x"].dtype),
    )


@pytest.fixture(params=GOLDEN, ids=lambda path: path.stem)
def case(request):
    return golden(request.param)


@pytest.fixture
def odd():
    return golden(GOLDEN[0].parent / "odd_float64.npz")


@pytest.fixture
def tapered():
    return golden(GOLDEN[0].parent / "tapered_float64.npz")


def assert_close(actual, expected, dtype):
    assert actual.dtype == expected.dtype == dtype
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ATOL[dtype])


def test_golden_cases_are_many_and_small():
    assert len(GOLDEN) == 16
    assert sum(path.stat().st_size for path in GOLDEN) < 300_000


def test_golden(case):
    output, final = reference.lstm(case.network, case.x, case.state, case.lengths)
    assert_close(output, case.output, case.dtype)
    for mine, torch in zip(final, case.final, strict=True):
        assert_close(mine.h, torch.h, case.dtype)
        assert_close(mine.c, torch.c, case.dtype)


def test_golden_prediction(case):
    arguments = (case.network, case.x, case.lengths, case.state)
    y = reference.predict(*arguments)
    assert_close(y, case.final[-1].h[0] if not case.network.head else case.predicted, case.dtype)
    sequences = reference.predict(*arguments, return_sequences=True)
    lengths = [case.x.shape[1]] * len(y) if case.lengths is None else case.lengths
    for row, last, length in zip(sequences, y, lengths, strict=True):
        np.testing.assert_allclose(row[length - 1], last, rtol=0, atol=ATOL[case.dtype])
        assert not row[length:].any()


def test_tutorial():
    states, _ = lstm_forward([1, 2, 3], TUTORIAL_PARAMS)
    network = Network.of([Layer.from_gates(TUTORIAL_PARAMS)])
    i, f, g, o, c, h = reference.trace(network, np.array([[[1.0], [2.0], [3.0]]]))
    columns = np.stack([value[0, :, 0] for value in (f, i, g, c, o, h)], axis=1)
    expected = [list(state.values()) for state in states]
    np.testing.assert_allclose(columns, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("layer", [0, 1, -1])
def test_trace_obeys_the_equations(tapered, layer):
    """Every traced value follows from the traced values before it, gate by gate."""
    case, depth = tapered, layer % len(tapered.network.layers)
    below = case.x
    if depth:
        below, _ = reference.lstm(case.network.up_to(depth - 1), case.x, State(case.state[:depth]))
    own = case.network.layers[layer]
    H = own.hidden_size
    now = reference.trace(case.network, case.x, state=case.state, layer=layer)
    h0, c0 = case.state[layer]
    h = np.concatenate([h0.transpose(1, 0, 2), now.h[:, :-1]], axis=1)
    c = np.concatenate([c0.transpose(1, 0, 2), now.c[:, :-1]], axis=1)
    z = np.einsum("nti,gi->ntg", below, own.w_ih) + np.einsum("nth,gh->ntg", h, own.w_hh)
    z += own.b_ih + own.b_hh
    for gate, value in enumerate((now.i, now.f, now.g, now.o)):
        mine = z[..., gate * H : (gate + 1) * H]
        expected = np.tanh(mine) if gate == 2 else 0.5 + 0.5 * np.tanh(mine / 2)
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14)
    np.testing.assert_allclose(now.c, now.f * c + now.i * now.g, rtol=0, atol=1e-14)
    np.testing.assert_allclose(now.h, now.o * np.tanh(now.c), rtol=0, atol=1e-14)


def test_lengths_are_the_rows_cut_off(odd):
    output, final = reference.lstm(odd.network, odd.x, odd.state, odd.lengths)
    traced = reference.trace(odd.network, odd.x, odd.lengths, odd.state)
    for n, length in enumerate(odd.lengths):
        start = State((h[:, n : n + 1], c[:, n : n + 1]) for h, c in odd.state)
        row = odd.x[n : n + 1, :length]
        alone, end = reference.lstm(odd.network, row, start)
        np.testing.assert_allclose(output[n, :length], alone[0], atol=1e-14)
        np.testing.assert_allclose(final[0].c[:, n], end[0].c[:, 0], atol=1e-14)
        for all_rows, one in zip(
            traced, reference.trace(odd.network, row, None, start), strict=True
        ):
            np.testing.assert_allclose(all_rows[n, :length], one[0], atol=1e-14)
            assert not all_rows[n, length:].any()


def test_padding_does_not_matter(odd):
    padded = odd.x.copy()
    padded[np.arange(odd.x.shape[1]) >= odd.lengths[:, None]] = np.nan
    for mine, same in zip(
        reference.lstm(odd.network, odd.x, odd.state, odd.lengths)[1],
        reference.lstm(odd.network, padded, odd.state, odd.lengths)[1],
        strict=True,
    ):
        np.testing.assert_array_equal(mine, same)


def test_in_pieces(tapered):
    whole, final = reference.lstm(tapered.network, tapered.x, tapered.state)
    first, state = reference.lstm(tapered.network, tapered.x[:, :4], tapered.state)
    second, state = reference.lstm(tapered.network, tapered.x[:, 4:], state)
    np.testing.assert_array_equal(whole, np.concatenate([first, second], axis=1))
    for mine, same in zip(final, state, strict=True):
        np.testing.assert_array_equal(mine, same)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_nothing_to_do(odd, shape):
    output, final = reference.lstm(odd.network, np.zeros((*shape, 3)))
    assert output.shape == (*shape, 5)
    assert final.h_n.shape == final.c_n.shape == (1, shape[0], 5)
    assert not final.h_n.any()
    assert reference.predict(odd.network, np.zeros((*shape, 3))).shape == (shape[0], 3)


def test_no_steps_give_back_the_state(odd):
    _, final = reference.lstm(odd.network, odd.x[:, :0], odd.state)
    np.testing.assert_array_equal(final.c_n, odd.state.c_n)
    y = reference.predict(odd.network.without_head, odd.x[:, :0], state=odd.state)
    np.testing.assert_array_equal(y, odd.state.h_n[0])
    _, final = reference.lstm(odd.network, odd.x, odd.state, np.zeros(len(odd.x), int))
    np.testing.assert_array_equal(final.h_n, odd.state.h_n)


def test_dtype_is_that_of_the_weights(odd):
    narrow = odd.network.astype("float32")
    assert reference.lstm(narrow, odd.x)[0].dtype == np.float32
    assert reference.lstm(odd.network, odd.x.astype(">f4"))[0].dtype == np.float64
    (now,) = next(reference.walk(narrow.cells, odd.x))
    assert {value.dtype for value in now} == {np.dtype("float32")}


def test_a_broken_row_stays_alone_and_saturation_is_silent(odd):
    x = odd.x.copy()
    x[2, 3], x[4, 1] = np.nan, np.inf
    clean, broken = (reference.lstm(odd.network, rows)[0] for rows in (odd.x, x))
    others = [n for n in range(len(x)) if n not in (2, 4)]
    np.testing.assert_array_equal(clean[others], broken[others])
    assert np.isnan(broken[2, 3:]).all()
    layer = odd.network.layers[0]
    big = Network.of([Layer(layer.w_ih * 1e30, layer.w_hh).astype("float32")])
    assert np.isfinite(reference.lstm(big, odd.x)[0]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sigmoid(dtype):
    z = np.array([-1000, -50, -1e-3, 0, 1e-3, 50, 1000, -np.inf, np.inf, np.nan], dtype)
    with np.errstate(over="ignore"):
        s = reference.sigmoid(z)
    assert s.dtype == dtype
    exact = [0, 1.9287498479639178e-22, 0.49975000002083333, 0.5, 0.50024999997916667, 1, 1, 0, 1]
    np.testing.assert_allclose(s[:-1], exact, rtol=5 * np.finfo(dtype).eps)
    assert np.isnan(s[-1])


def test_last_step_needs_no_memory_for_the_sequence():
    rng = np.random.default_rng(0)
    network = Network.of([Layer(rng.normal(size=(32, 1)), rng.normal(size=(32, 8)))])
    x = rng.normal(size=(50, 1000, 1))
    tracemalloc.start()
    reference.predict(network, x)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < x.nbytes  # an eighth of the sequence of hidden states


# --- parts by themselves --------------------------------------------------------------------


def given(x, *parts, lengths=None):
    """What parts make of sequences x (N, T, K); a layer, which a network needs, is beside them."""
    layer = Layer(np.zeros((4, x.shape[2])), np.zeros((4, 1)))
    network = Network([layer, From(-1), *parts])
    every = network.shapes[-1].every
    return reference.predict(network, x, lengths, return_sequences=every)


def of_numbers(*parts, x=(1, 2, 3, 4, 5)):
    """What parts make of one sequence of single numbers."""
    return given(np.array(x, float)[None, :, None], *parts)[0].tolist()


def column(*numbers):
    return [[pytest.approx(number)] for number in numbers]


TAPS = [[[1.0], [10.0]]]  # (1, 2, 1): the number of a step, and that of a later one ten times


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (21, 32, 43, 54)),
        ({"padding": "same"}, (21, 32, 43, 54, 5)),
        ({"padding": "causal"}, (10, 21, 32, 43, 54)),
        ({"padding": (0, 2)}, (21, 32, 43, 54, 5, 0)),
        ({"stride": 2}, (21, 43)),
        ({"stride": 2, "padding": "same"}, (21, 43, 5)),
        ({"stride": 2, "padding": "causal"}, (10, 32, 54)),
        ({"dilation": 2}, (31, 42, 53)),
        ({"dilation": 2, "padding": "same"}, (20, 31, 42, 53, 4)),
        ({"dilation": 3, "padding": "same"}, (30, 41, 52, 3, 4)),
        ({"dilation": 2, "padding": "causal"}, (10, 20, 31, 42, 53)),
        ({"activation": ("affine", 2.0, 1.0)}, (43, 65, 87, 109)),
    ],
    ids=str,
)
def test_convolution_of_numbers(options, expected):
    assert of_numbers(Conv(np.array(TAPS), **options)) == column(*expected)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_convolution_term_by_term(groups):
    """Every output as the formula of `Conv` says, of rows of their own lengths."""
    rng = np.random.default_rng(groups)
    O, J, I, stride, dilation, before, after = 8, 3, 4, 2, 2, 3, 1  # noqa: E741
    weight, bias = rng.normal(size=(O, J, I // groups)), rng.normal(size=O)
    x, lengths = rng.normal(size=(3, 9, I)), np.array([9, 0, 4])
    conv = Conv(
        weight, bias, stride=stride, dilation=dilation, groups=groups, padding=(before, after)
    )
    y = given(x, conv, lengths=lengths)
    assert y.shape == (3, 5, O)
    for n, length in enumerate(lengths):
        steps = (length + before + after - (J - 1) * dilation - 1) // stride + 1 if length else 0
        assert not y[n, steps:].any()
        for t in range(steps):
            for o in range(O):
                first = o // (O // groups) * (I // groups)
                total = bias[o]
                for j in range(J):
                    at = t * stride + j * dilation - before
                    for i in range(I // groups):
                        if 0 <= at < length:
                            total += weight[o, j, i] * x[n, at, first + i]
                np.testing.assert_allclose(y[n, t, o], total, rtol=1e-12)


@pytest.mark.parametrize(
    ("pool", "expected"),
    [
        (Pool("max", 2), (2, 4)),
        (Pool("max", 2, ceil=True), (2, 4, 5)),
        (Pool("max", 2, 1, padding="same"), (2, 3, 4, 5, 5)),
        (Pool("max", 2, 1, padding="causal"), (1, 2, 3, 4, 5)),
        (Pool("max", 2, 1, dilation=2), (3, 4, 5)),
        (Pool("max", 3, 2, padding=(1, 1)), (2, 4, 5)),
        (Pool("mean", 2), (1.5, 3.5)),
        (Pool("mean", 2, ceil=True), (1.5, 3.5, 5)),
        (Pool("mean", 3, 2, padding="same"), (1.5, 3, 4.5)),
        (Pool("mean", 3, 2, padding=(1, 1), counts_padding=True), (1, 3, 3)),
        (Pool("mean", 3, 2, padding=(1, 0), counts_padding=True, ceil=True), (1, 3, 4.5)),
        (Pool("mean", 4, 3, padding="same"), (2, 4)),
        (Pool("mean", 2, 1, dilation=2), (2, 3, 4)),
    ],
    ids=str,
)
def test_pooling(pool, expected):
    assert of_numbers(pool) == column(*expected)


def test_pooling_at_the_edges():
    below_zero = of_numbers(Pool("max", 2, 1, padding="same"), x=(-3, -2, -5))
    assert below_zero == column(-2, -2, -5)  # zeros of padding do not win
    even = of_numbers(Pool("mean", 3, 2, padding="same"), x=(1, 2, 3, 4))
    assert even == column(2, 3.5)  # all padding is behind
    outside = of_numbers(Pool("max", 2, 2, padding=(1, 1), ceil=True), x=(1, 2, 3))
    assert outside == column(1, 3)  # no window begins in the padding behind


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (Pad(2, 1), (0, 0, 1, 2, 3, 4, 5, 0)),
        (Pad(2, 1, "edge"), (1, 1, 1, 2, 3, 4, 5, 5)),
        (Pad(2, 1, "reflect"), (3, 2, 1, 2, 3, 4, 5, 4)),
        (Slice(None, None, -1), (5, 4, 3, 2, 1)),
        (Slice(1, -1), (2, 3, 4)),
        (Slice(-2, None), (4, 5)),
        (Slice(None, None, 2), (1, 3, 5)),
        (Slice(-1, None, -2), (5, 3, 1)),
        (Upsample(2), (1, 1, 2, 2, 3, 3, 4, 4, 5, 5)),
    ],
    ids=str,
)
def test_steps_that_move(part, expected):
    assert of_numbers(part) == column(*expected)


def test_steps_move_within_each_sequence():
    x, lengths = np.arange(1.0, 11).reshape(2, 5, 1), np.array([5, 3])
    expected = {
        Slice(None, None, -1): [8, 7, 6, 0, 0],
        Slice(-2, None): [7, 8],
        Pad(1, 1, "edge"): [6, 6, 7, 8, 8, 0, 0],
        Pad(0, 2, "reflect"): [6, 7, 8, 7, 6, 0, 0],
        Upsample(2): [6, 6, 7, 7, 8, 8, 0, 0, 0, 0],
        Conv(np.array(TAPS), padding="same"): [76, 87, 8, 0, 0],
        Conv(np.array(TAPS), stride=2, padding="causal"): [60, 87, 0],
        Pool("max", 2): [7, 0],
        Pool("mean", 2, ceil=True): [6.5, 8, 0],
    }
    for part, of_short in expected.items():
        assert given(x, part, lengths=lengths)[1, :, 0].tolist() == of_short, part


def test_vectors_and_sequences():
    x = np.arange(24.0).reshape(2, 3, 4)
    assert given(x, Flatten(3)).tolist() == x.reshape(2, 12).tolist()
    padded = np.concatenate([x, x], axis=1)
    assert given(padded, Flatten(3), lengths=[3, 3]).tolist() == x.reshape(2, 12).tolist()
    assert given(x, Flatten(3), Unflatten(2)).tolist() == x.reshape(2, 2, 6).tolist()
    repeated = given(x, Read("last"), Repeat(3))
    assert repeated.tolist() == [[[8, 9, 10, 11]] * 3, [[20, 21, 22, 23]] * 3]
    with pytest.raises(ValueError, match=r"part 2, Flatten, takes exactly 3 steps, and gets 2"):
        given(x, Flatten(3), lengths=[3, 2])


def test_affine_and_slopes():
    center, scale, shift = np.array([1.0, 2.0]), np.array([2.0, -1.0]), np.array([3.0, 0.5])
    x = np.array([[[4.0, 4.0], [0.0, -1.0]]])
    assert given(x, Affine(center, scale, shift)).tolist() == [[[9, -1.5], [1, 3.5]]]
    slope = PReLU(np.array([0.5, -2.0]))
    assert given(x - 1, slope).tolist() == [[[3, 3], [-0.5, 4]]]


def test_norms():
    x = np.array([[[1.0, 2.0, 3.0, 6.0]]])  # mean 3, variance 3.5
    scale, shift = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 1.0, 0.0, -1.0])
    assert given(x, LayerNorm(scale, shift, 0.5)).tolist() == [[[-1, 0, 0, 5]]]
    of_squares = given(x, LayerNorm(scale, shift, 3.5, centered=False))  # their mean is 12.5
    assert of_squares.tolist() == [[[0.25, 2, 2.25, 5]]]


def test_activations_over_numbers():
    x = np.log([[[1.0, 2.0, 5.0], [3.0, 3.0, 2.0]]]) + 1000
    softmax = np.array([[[1, 2, 5], [3, 3, 2]]]) / 8
    np.testing.assert_allclose(given(x, Activate("softmax")), softmax, rtol=1e-12)
    np.testing.assert_allclose(given(x, Activate("log_softmax")), np.log(softmax), rtol=1e-12)
    assert given(x, Activate(("affine", 2.0, 1.0))).tolist() == (2 * x + 1).tolist()


def test_softmax_over_real_steps():
    x = np.log([[[1.0, 5.0], [3.0, 5.0], [4.0, 10.0]], [[1.0, 3.0], [1.0, 1.0], [99.0, 99.0]]])
    x[0] += 1000
    y = given(x, StepSoftmax(), lengths=[3, 2])
    of_both = [[[1, 2], [3, 2], [4, 4]], [[4, 6], [4, 2], [0, 0]]]
    np.testing.assert_allclose(y, np.array(of_both) / 8, rtol=1e-12)
    assert given(x, StepSoftmax(), lengths=[0, 2])[0].tolist() == [[0, 0]] * 3


def test_joints():
    x = np.array([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])
    last, first = Read("last"), Slice(0, 1)

    def joined(how, *parts, values):
        return given(x, *parts, Join(how, values))[0].tolist()

    # value 1 is the inputs, value 2 the last step
    assert joined("add", last, values=(1, 2)) == [[6, 8], [8, 10], [10, 12]]
    assert joined("multiply", last, values=(2, -1)) == [[5, 12], [15, 24], [25, 36]]
    assert joined("concatenate", last, values=(2, 1, 2))[1] == [5, 6, 3, 4, 5, 6]
    assert joined("dot", last, values=(1, 2)) == [[17], [39], [61]]
    assert joined("dot", last, values=(2, 2)) == [61]
    assert joined("concatenate", last, From(1), Read("sum"), values=(2, 4)) == [5, 6, 9, 12]
    single = Dense(np.array([[1.0, -1.0]])), Dense(np.array([[3.0]]))  # value 3 is -3
    assert joined("add", *single, values=(1, 3)) == [[-2, -1], [0, 1], [2, 3]]
    assert joined("multiply", *single, values=(3, 1, 3))[0] == [9, 18]
    with pytest.raises(ValueError, match="part 3, Join, joins values of unequal steps"):
        joined("add", first, values=(1, 2))


def test_inputs_are_added():
    x, lengths = np.arange(12.0).reshape(2, 3, 2), [3, 1]
    weight = Dense(np.array([[10.0, 0.0]]))
    expected = [[[0], [22], [44]], [[66], [0], [0]]]
    assert given(x, weight, AddInputs(1), lengths=lengths).tolist() == expected
    assert given(x, Read("last"), weight, AddInputs(1), lengths=lengths).tolist() == [[44], [66]]


@pytest.mark.parametrize(
    ("how", "expected", "of_none"),
    [
        ("final", (5, 6), np.nan),
        ("last", (5, 6), np.nan),
        ("max", (7, 6), np.nan),
        ("mean", (4, 2), np.nan),
        ("sum", (12, 6), 0),
    ],
)
def test_reading(how, expected, of_none):
    x = np.array([[[0.0, 1.0], [7.0, -1.0], [5.0, 6.0], [99.0, 99.0]]] * 2)
    y = given(x, Read(how), lengths=[3, 0])
    np.testing.assert_array_equal(y, [expected, (of_none, of_none)])


def test_final_outputs_of_both_directions():
    model = make_network("bidirectional, head", "float64")
    x, (layer, _, dense) = make_values(model, 3, 4), model.network.parts
    _, state = reference.lstm(model.network, x)
    forward, backward = state[0].h
    expected = np.concatenate([forward, backward], 1) @ dense.weight.T + dense.bias
    for order in ([layer, Read("final"), dense], [layer, dense, Read("final")]):
        y = reference.predict(Network(order), x)
        np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("how", ["final", "last"])
def test_of_no_steps_the_state_is_read_through_parts_of_each_step(how):
    rng = np.random.default_rng(0)
    layer = Layer(rng.normal(size=(8, 3)), rng.normal(size=(8, 2)))
    dense, norm = Dense(rng.normal(size=(4, 2))), LayerNorm(np.ones(4), np.zeros(4))
    h, c = rng.normal(size=(2, 1, 1, 2))
    network = Network([layer, dense, norm, Read(how)])
    alone = reference.predict(network, np.zeros((1, 0, 3)), state=State([(h, c)]))
    y = h[0, 0] @ dense.weight.T
    np.testing.assert_allclose(alone[0], (y - y.mean()) / np.sqrt(y.var() + 1e-5), rtol=1e-12)
    behind = Network([layer, Conv(np.ones((1, 1, 2))), Read(how)])
    assert np.isnan(reference.predict(behind, np.zeros((1, 0, 3)), state=State([(h, c)]))).all()


def test_attention_pooling_written_out():
    rng = np.random.default_rng(0)
    layer = Layer(rng.normal(size=(20, 3)), rng.normal(size=(20, 5)))
    u, v = Dense(rng.normal(size=(4, 5)), rng.normal(size=4), activation="tanh"), rng.normal(size=4)
    parts = (layer, u, Dense(v[None]), StepSoftmax(), Join("multiply", (0, 3)), Read("sum"))
    x, lengths = rng.normal(size=(2, 6, 3)), [6, 4]
    y = reference.predict(Network(parts), x, lengths)
    h, _ = reference.lstm(Network([layer]), x)
    for n, length in enumerate(lengths):
        weights = [np.exp(v @ np.tanh(u.weight @ h[n, t] + u.bias)) for t in range(length)]
        expected = sum(a * h[n, t] for t, a in enumerate(weights)) / sum(weights)
        np.testing.assert_allclose(y[n], expected, rtol=1e-12)


# --- networks of parts ----------------------------------------------------------------------


@pytest.mark.parametrize("name", WITH_PARTS)
def test_each_row_has_the_numbers_that_it_has_alone(name):
    """Whatever stands past its length, of every value; and its steps are those that are said."""
    model = make_network(name, "float64")
    network, N = model.network, 12
    x, lengths = make_values(model, N, STEPS), make_lengths(model, N, STEPS)
    junk = x.copy()
    junk[np.arange(STEPS) >= lengths[:, None]] = 0 if model.input_dtype == np.int64 else np.nan
    whole = reference.predict(network, junk, lengths)
    outputs, _ = reference.lstm(network, junk, None, lengths)
    every = gives_every_step(model)
    if every:
        sequences = reference.predict(network, junk, lengths, return_sequences=True)
        steps = network.output_steps(lengths)
        assert sequences.shape[1] == network.output_steps(np.array([STEPS]))[0]
    for n, length in enumerate(lengths):
        row = x[n : n + 1, :length]
        alone = reference.predict(network, row)[0]
        np.testing.assert_allclose(whole[n, : len(alone)], alone, rtol=1e-9, atol=1e-13)
        if every:
            alone = reference.predict(network, row, return_sequences=True)[0]
            assert len(alone) == steps[n]
            np.testing.assert_allclose(sequences[n, : steps[n]], alone, rtol=1e-9, atol=1e-13)
            assert not sequences[n, steps[n] :].any()
        alone = reference.lstm(network, row)[0][0]
        np.testing.assert_allclose(outputs[n, : len(alone)], alone, rtol=1e-9, atol=1e-13)


def test_a_trace_goes_no_further_than_its_layer():
    model = make_network("flatten, both", "float64")  # takes 8 or 9 steps
    x = make_values(model, 3, 5)
    assert reference.trace(model.network, x).h.shape == (3, 2, 6)
    assert reference.lstm(model.network, x)[0].shape == (3, 2, 6)
    with pytest.raises(ValueError, match="Flatten, takes exactly 4 steps, and gets 2"):
        reference.predict(model.network, x)


def test_no_sequences_and_windows_of_nothing_but_padding():
    make = Maker(0, "float64")
    steps = (Flatten(2), Unflatten(3), make.layer(4, 5))
    none = reference.predict(Network((*steps, Read())), np.zeros((0, 2, 6)))
    assert none.shape == (0, 5)
    empty = Pool("mean", 2, 1, dilation=2, padding="same")  # as ONNX Runtime: 0, not 0 / 0
    model = chain(empty, make.layer(3, 5), Read())
    x = np.ones((2, 1, 3))
    np.testing.assert_array_equal(
        reference.predict(model.network, x), reference.predict(model.network, 0 * x)
    )
    np.testing.assert_allclose(model.predict(x), reference.predict(model.network, x), 1e-12)


def test_traces_have_the_steps_of_a_padded_sequence():
    make, x, lengths = Maker(0, "float64"), np.ones((2, 9, 3)), np.array([3, 5])
    model = chain(make.conv(3, 4, 3), make.layer(4, 5), Read())
    for given, true in zip(
        model.trace(x, lengths).values.values(),
        reference.trace(model.network, x, lengths),
        strict=True,
    ):
        assert given.shape == true.shape == (2, 7, 5)
