"""Files of tensors with torch's names."""

import numpy as np
import pytest
from model_files import (
    assert_same,
    fc,
    random,
    tensors,
    write_tensors,
)

from fastlstm import from_torch, load
from fastlstm.errors import ModelFormatError, UnsupportedModelError


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_files_with_names_of_torch(tmp_path, kind):
    named, path = tensors(root="lstm.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named)
    assert_same(load(path, head="fc"), from_torch(named, head="fc"))
    assert load(path, prefix="lstm").head == ()
    with pytest.raises(
        ModelFormatError, match=rf'more than.* fastlstm\.load\("\S+torch{kind}", head="fc"\)'
    ):
        load(path)
    with pytest.raises(UnsupportedModelError, match=f"torch{kind}: activation 'cubic'"):
        load(path, prefix="lstm", activations=("cubic", "tanh", "tanh"))
    with pytest.raises(TypeError, match=r"load takes no argument 'prefiks'; did you mean prefix\?"):
        load(path, prefiks="lstm")


@pytest.mark.parametrize("kind", [".npz", ".safetensors"])
def test_a_wrong_option_is_no_fault_of_the_file(tmp_path, kind):
    named, path = tensors(root="a.") | fc(), tmp_path / f"torch{kind}"
    write_tensors(path, named | tensors(root="b."))
    for options in ({}, {"head": "fc"}, {"prefix": "c"}, {"prefix": "a", "head": "typo"}):
        with pytest.raises(ValueError, match=rf"torch{kind}: .*candidates") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, named | fc("out"))
    for options in ({"head": "out"}, {"prefix": "a", "head": (random(2, 4), None)}):
        with pytest.raises(ValueError, match=rf"torch{kind}: ") as caught:
            load(path, **options)
        assert caught.type is ValueError
    write_tensors(path, fc())
    with pytest.raises(ModelFormatError, match="expected the tensors of an LSTM"):
        load(path, prefix="a")


def test_metadata_of_others_in_safetensors(tmp_path):
    write_tensors(tmp_path / "a.safetensors", tensors(), {"format": "pt"})
    assert_same(load(tmp_path / "a.safetensors"), from_torch(tensors()))


def test_half_precision_in_safetensors(tmp_path):
    torch = pytest.importorskip("torch")
    to_file = pytest.importorskip("safetensors.torch").save_file
    named = {name: torch.from_numpy(value) for name, value in tensors().items()}
    path = tmp_path / "half.safetensors"
    for dtype in (torch.bfloat16, torch.float16):
        narrow = {name: value.to(dtype) for name, value in named.items()}
        to_file(narrow, path)
        assert_same(load(path), from_torch(narrow))
    to_file(named | {"bias_ih_l0": named["bias_ih_l0"].to(torch.int8)}, path)
    with pytest.raises(UnsupportedModelError, match=r"half.safetensors: bias_ih_l0: .*got I8"):
        load(path)


def test_fortran_order_and_other_byte_order_in_npz(tmp_path):
    named = {name: np.asfortranarray(value.astype(">f4")) for name, value in tensors().items()}
    np.savez_compressed(tmp_path / "a.npz", **named)
    assert_same(load(tmp_path / "a.npz"), from_torch(tensors()))


def test_other_numbers_in_npz(tmp_path):
    path = tmp_path / "a.npz"
    for dtype in ("i1", "f16", "c8", "?"):
        np.savez(path, **tensors() | {"bias_hh_l0": np.zeros(12, dtype)})
        with pytest.raises(UnsupportedModelError, match=r"a\.npz: bias_hh_l0: expected float64"):
            load(path)
