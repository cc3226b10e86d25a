"""What the tests of model files share: networks, their tensors by torch's names, bad files."""

from __future__ import annotations

import json
import time
import tracemalloc
from itertools import pairwise

import numpy as np
import pytest

from fastlstm import LSTM, Dense, Layer, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError
from fastlstm.formats.description import described
from fastlstm.formats.native import VERSION

IN_TORCH = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def random(*shape, dtype="float32", seed=0):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(dtype)


def tensors(sizes=(2, 3, 3), root="", dtype="float32", biases=True):
    """A state_dict of an LSTM: sizes are those of the input and of each layer."""
    named = {}
    for k, (inputs, hidden) in enumerate(pairwise(sizes)):
        shapes = ((4 * hidden, inputs), (4 * hidden, hidden), (4 * hidden,), (4 * hidden,))
        for seed, (kind, shape) in enumerate(zip(IN_TORCH, shapes, strict=True)):
            if biases or not kind.startswith("bias"):
                named[f"{root}{kind}_l{k}"] = random(*shape, dtype=dtype, seed=seed)
    return named


def fc(name="fc", hidden=3, outputs=2, dtype="float32"):
    return {
        f"{name}.weight": random(outputs, hidden, dtype=dtype),
        f"{name}.bias": random(outputs, dtype=dtype),
    }


def layer_of(named, k=0, root=""):
    return Layer(*(named.get(f"{root}{kind}_l{k}") for kind in IN_TORCH))


def make_model(dtype="float32", biases=True, head=True, return_sequences=False, sizes=(2, 5, 3)):
    named = tensors(sizes, dtype=dtype, biases=biases)
    layers = [layer_of(named, k) for k in range(len(sizes) - 1)]
    dense = Dense(random(2, sizes[-1], dtype=dtype), random(2, dtype=dtype)) if head else None
    return LSTM(layers, head=dense, return_sequences=return_sequences)


def assert_same(a, b):
    assert a.layers == b.layers
    assert a.head == b.head
    assert a.return_sequences is b.return_sequences


NAN = random(12)
NAN[5] = np.nan


# A file of two layers of 3 hidden units without a head, as `save` writes it.
OWN_NETWORK, OWN_TENSORS = described(make_model(head=False, sizes=(2, 3, 3)).network)
OWN = {"format": "fastlstm", "version": VERSION, "network": OWN_NETWORK}


def write_tensors(path, named, metadata=None):
    """A file as `save` writes it, with whatever tensors and metadata."""
    if metadata is not None and "network" in metadata:
        metadata = {"tensors": sorted(named), **metadata}
    if path.suffix == ".npz":
        own = {} if metadata is None else {"fastlstm": np.array(json.dumps(metadata))}
        np.savez(path, **named, **own)
    elif path.suffix == ".json":
        content = {
            name: {"dtype": str(a.dtype), "shape": a.shape, "values": a.tolist()}
            for name, a in named.items()
        }
        path.write_text(json.dumps({"fastlstm": metadata, "tensors": content}))
    else:
        if metadata is not None:
            metadata = {
                name: value if isinstance(value, str) else json.dumps(value)
                for name, value in metadata.items()
            }
        save_file = pytest.importorskip("safetensors.numpy").save_file
        save_file(named, path, metadata)


def refused(path, message, kind=ModelFormatError):
    """Loading fails at once, without much memory, and the error names the file."""
    start = time.process_time()  # of our own, however busy the machine is
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    seconds = time.process_time() - start
    tracemalloc.start()  # it makes everything slower: not while the time is taken
    with pytest.raises(kind):
        load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert caught.type is kind
    assert str(path) in str(caught.value)
    assert seconds < 1
    assert peak < 1 << 25


def changed_bytes_load_or_are_refused(path, whole, times=300, most=3):
    """Whatever bytes of a file are changed, it loads or is refused by name, and nothing else."""
    rng, refusals = np.random.default_rng(0), 0
    for _ in range(times):
        damaged = bytearray(whole)
        for at in rng.integers(len(whole), size=rng.integers(1, most + 1)):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            load(path)
        except (ModelFormatError, UnsupportedModelError) as error:
            assert str(path) in str(error)  # noqa: PT017
            refusals += 1
    assert refusals > 20
