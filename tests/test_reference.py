"""The NumPy loop against golden PyTorch data, and what the contract says of any engine."""

import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fastlstm import Dense, Layer, reference
from fastlstm.network.network import Network
from fastlstm.network.state import State
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
