"""Values and offsets, from lists and from Arrow."""

import copy
import pickle
import sys

import numpy as np
import pytest

from fastlstm.calls.ragged import Ragged


def rows(ragged):
    return [row.tolist() for row in ragged]


def test_rows_are_views():
    values = np.arange(12.0).reshape(6, 2)
    ragged = Ragged(values, [0, 2, 2, 5])
    assert len(ragged) == 3
    assert ragged.input_size == 2
    assert ragged.lengths.tolist() == [2, 0, 3]
    assert rows(ragged) == [[[0, 1], [2, 3]], [], [[4, 5], [6, 7], [8, 9]]]
    assert ragged[1].shape == (0, 2)
    assert ragged[-1].tolist() == ragged[2].tolist()
    assert np.shares_memory(ragged[0], values)
    assert repr(ragged) == "Ragged(3 sequences, 5 steps, 2 inputs)"
    for n in (3, -4):
        with pytest.raises(IndexError, match=rf"expected a sequence in 0 \.\.\. 2, got {n}"):
            ragged[n]


def test_one_input():
    ragged = Ragged(np.arange(5, dtype=">i2"), np.array([1, 3, 4], np.uint8))
    assert ragged.input_size == 1
    assert rows(ragged) == [[1, 2], [3]]
    assert ragged.offsets.dtype == np.int64
    assert ragged.values.dtype == ">i2"


def test_offsets_cannot_be_changed_afterwards():
    offsets = np.array([0, 2])
    ragged = Ragged(np.zeros(2), offsets)
    offsets[1] = 99
    assert ragged.offsets.tolist() == [0, 2]
    with pytest.raises(ValueError, match="read-only"):
        ragged.offsets[1] = 99


def test_no_sequences():
    for ragged in (Ragged(np.zeros((0, 3)), [0]), Ragged(np.zeros((4, 3)), [2])):
        assert len(ragged) == 0
        assert ragged.lengths.shape == (0,)
        assert rows(ragged) == []


@pytest.mark.parametrize(
    ("values", "offsets", "error", "message"),
    [
        (np.zeros(4), [0, 5], ValueError, r"within 0 \.\.\. 4, the rows of values, got 0 \.\.\. 5"),
        (np.zeros(4), [-1, 2], ValueError, r"within 0 \.\.\. 4.* got -1 \.\.\. 2"),
        (np.zeros(4), [0, 3, 2], ValueError, r"got 2 after 3 \(sequence 1 would end before"),
        (np.zeros(4), np.array([0, 3, 2], "u8"), ValueError, "got 2 after 3"),
        (np.zeros(4), [0.0, 2.0], TypeError, "offsets: expected integers, got float64"),
        (np.zeros(4), [[0, 2]], ValueError, r"offsets: expected shape \(sequences \+ 1,\)"),
        (np.zeros(4), np.zeros(0, int), ValueError, r"offsets: .*got \(0,\)"),
        (np.zeros((4, 2, 2)), [0, 4], ValueError, r"values: expected shape .*got \(4, 2, 2\)"),
        (np.float64(1), [0, 0], ValueError, r"values: expected shape .*got \(\)"),
        (np.array(["a"]), [0, 1], TypeError, "values: expected real numbers, got <U1"),
        (np.zeros(2, complex), [0, 1], TypeError, "values: .*got complex128"),
    ],
)
def test_wrong(values, offsets, error, message):
    with pytest.raises(error, match=message):
        Ragged(values, offsets)


@pytest.mark.parametrize(
    "remake",
    [lambda r: r, copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))],
)
def test_offsets_are_immutable_in_copies_too(remake):
    for kind in ("i8", ">i8", "u1"):
        ragged = remake(Ragged(np.arange(6.0).reshape(3, 2), np.array([0, 2, 2, 3], kind)))
        assert rows(ragged) == [[[0, 1], [2, 3]], [], [[4, 5]]]
        assert ragged.offsets.dtype == np.int64
        with pytest.raises(ValueError, match="read-only"):
            ragged.offsets[1] = 1 << 40
        with pytest.raises(ValueError, match="WRITEABLE"):
            ragged.offsets.flags.writeable = True


def test_a_damaged_pickle_is_refused():
    raw = pickle.dumps(Ragged(np.arange(9.0), [0, 7]))
    true, false = (np.int64(k).tobytes() for k in (7, 1 << 40))
    assert raw.count(true) == 1
    with pytest.raises(ValueError, match=r"within 0 \.\.\. 9"):
        pickle.loads(raw.replace(true, false))


@pytest.mark.filterwarnings("ignore:Setting the shape")  # NumPy 2.5; that is the point here
def test_a_new_shape_of_the_callers_array_does_not_matter():
    values = np.arange(6.0)
    ragged = Ragged(values, [0, 6])
    values.shape = (1, 6)
    assert ragged[0].tolist() == [0, 1, 2, 3, 4, 5]


def test_masks_are_not_dropped():
    masked = np.ma.array([1.0, 2.0], mask=[False, True])
    two = np.ma.array(np.ones((2, 1)), mask=[[False], [True]])
    for make in (
        lambda: Ragged(masked, [0, 2]),
        lambda: Ragged(np.ones(2), np.ma.array([0, 2])),
        lambda: Ragged.from_list([np.ones(2), masked]),
        lambda: Ragged.from_list([[masked, masked]]),
        lambda: Ragged.from_list(two),
    ):
        with pytest.raises(TypeError, match=r"the mask would be lost; .*\.filled\(\)"):
            make()


def test_no_values_at_all():
    for sequences in ([], [[], []], [np.zeros(0, "f4")]):
        ragged = Ragged.from_list(sequences)
        assert ragged.values.shape == (0,)
        assert len(ragged) == len(sequences)
        assert ragged.lengths.tolist() == [0] * len(sequences)


def test_from_list():
    ragged = Ragged.from_list([np.ones((2, 3), "f4"), [], np.zeros((0, 3), "f4"), np.zeros((1, 3))])
    assert ragged.offsets.tolist() == [0, 2, 2, 2, 3]
    assert ragged.values.shape == (3, 3)
    assert rows(Ragged.from_list([[1, 2], [], [3]])) == [[1, 2], [], [3]]
    assert rows(Ragged.from_list(iter([[1, 2], []]))) == [[1, 2], []]
    assert Ragged.from_list([[1.5], []]).values.ndim == 1
    assert Ragged.from_list([np.ones(2, "f4"), []]).values.dtype == np.float32
    assert len(Ragged.from_list([])) == 0
    assert Ragged.from_list([[], []]).lengths.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("sequences", "message"),
    [
        ([np.ones((2, 3)), np.ones((2, 4))], r"sequence 1: expected shape \(steps, 3\).*\(2, 4\)"),
        ([np.ones((2, 3)), np.ones(2)], r"sequence 1: expected shape \(steps, 3\).*\(2,\)"),
        ([np.ones(2), np.ones((2, 1))], r"sequence 1: expected shape \(steps,\).*\(2, 1\)"),
        ([1.0, 2.0], r"sequence 0: expected shape \(steps, inputs\) or \(steps,\), got \(\)"),
        ([np.ones((2, 3, 1))], r"sequence 0: .*got \(2, 3, 1\)"),
    ],
)
def test_wrong_lists(sequences, message):
    with pytest.raises(ValueError, match=message):
        Ragged.from_list(sequences)


NUMBERS = [[1.0, 2.0], [], [3.0], [4.0, 5.0, 6.0]]
NESTED = [[[1, 2], [3, 4]], [], [[5, 6]]]


@pytest.fixture
def pa():
    return pytest.importorskip("pyarrow")


@pytest.mark.parametrize("large", [False, True])
def test_arrow_lists(pa, large):
    kind = pa.large_list if large else pa.list_
    array = pa.array(NUMBERS, type=kind(pa.float32()))
    ragged = Ragged.from_arrow(array)
    assert rows(ragged) == NUMBERS
    assert ragged.values.dtype == np.float32
    assert rows(Ragged.from_arrow(array[1:3])) == NUMBERS[1:3]
    assert rows(Ragged.from_arrow(array[2:][1:])) == NUMBERS[3:]
    assert rows(Ragged.from_arrow(array[:0])) == []


def test_arrow_values_are_not_copied(pa):
    array = pa.array(NUMBERS)
    buffer = np.frombuffer(array.values.buffers()[1])
    assert np.shares_memory(Ragged.from_arrow(array).values, buffer)


def test_arrow_fixed_size_lists(pa):
    array = pa.array([[1, 2], [3, 4], [5, 6]], type=pa.list_(pa.int16(), 2))
    assert rows(Ragged.from_arrow(array)) == [[1, 2], [3, 4], [5, 6]]
    assert rows(Ragged.from_arrow(array[1:])) == [[3, 4], [5, 6]]


@pytest.mark.parametrize("fixed", [False, True])
def test_arrow_steps_of_several_inputs(pa, fixed):
    step = pa.list_(pa.float64(), 2) if fixed else pa.list_(pa.float64())
    array = pa.array(NESTED, type=pa.list_(step))
    ragged = Ragged.from_arrow(array)
    assert ragged.input_size == 2
    assert rows(ragged) == NESTED
    assert rows(Ragged.from_arrow(array[1:])) == NESTED[1:]
    assert rows(Ragged.from_arrow(array[2:])) == NESTED[2:]
    assert Ragged.from_arrow(array[:0]).values.shape == (0,)  # of any number of inputs
    both = pa.list_(step, 1)
    assert rows(Ragged.from_arrow(pa.array([[[1, 2]], [[3, 4]]], type=both)[1:])) == [[[3, 4]]]


def test_arrow_chunks(pa):
    chunks = pa.chunked_array([NUMBERS[:2], NUMBERS[2:]])
    assert rows(Ragged.from_arrow(chunks)) == NUMBERS
    assert rows(Ragged.from_arrow(chunks[1:3])) == NUMBERS[1:3]
    none = pa.chunked_array([], type=pa.list_(pa.float64()))
    assert len(Ragged.from_arrow(none)) == 0


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ([[1.0], None], "sequence 1 is null"),
        ([[1.0], [2.0, None]], "value 2 is null"),
        ([[[1.0]], [None, [2.0]]], "step 1 is null"),
        ([[[1.0, 2.0]], [[1.0]]], "expected 2 inputs at every step .* got 1 at step 1"),
    ],
)
def test_arrow_nulls_and_unequal_steps(pa, lists, message):
    with pytest.raises(ValueError, match=message):
        Ragged.from_arrow(pa.array(lists))


def test_arrow_nulls_outside_of_a_slice_do_not_matter(pa):
    array = pa.array([[None], None, [1.0, 2.0]])
    assert rows(Ragged.from_arrow(array[2:])) == [[1.0, 2.0]]


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("number", [-4, -(2**28), 2**28, 9])
@pytest.mark.parametrize("inner", [False, True])
def test_arrow_offsets_that_do_not_fit(pa, inner, number, chunked):
    """Nothing is read by them: Arrow itself would follow them anywhere."""
    child = pa.array(np.arange(8, dtype=np.float32))
    offsets = pa.py_buffer(np.array([0, 2, number, number + 2, 8], np.int32))
    kind = pa.list_(pa.float32())
    array = pa.Array.from_buffers(kind, 4, [None, offsets], children=[child])
    if inner:
        array = pa.ListArray.from_arrays(pa.array(range(5), pa.int32()), array)
    with pytest.raises(ValueError, match="list_array: expected a valid array: "):
        Ragged.from_arrow(pa.chunked_array([array]) if chunked else array)


def test_wrong_arrow_kinds(pa):
    for lists in ([["a"]], [[True]], [[[[1.0]]]]):
        with pytest.raises(TypeError, match="expected lists of integers or floats"):
            Ragged.from_arrow(pa.array(lists))
    for other in (pa.array([1.0]), [[1.0]], np.zeros(3)):
        with pytest.raises(TypeError, match="expected a pyarrow ListArray"):
            Ragged.from_arrow(other)


def test_without_pyarrow(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "fastlstm\[arrow\]"'):
        Ragged.from_arrow([[1.0]])
