"""Networks of the kinds that people publish, as files of their frameworks, loaded in one line."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import helpers
import numpy as np
import pytest
from zoo.refused_networks import REASONS

from fastlstm import LSTM, ModelFormatError, UnsupportedModelError, load, reference

FOLDER = Path(__file__).parent / "golden" / "zoo"


def stored():
    """All files of the archives, and the arrays beside them."""
    files, arrays = {}, {}
    for path in sorted(FOLDER.glob("*.tar.xz")):
        with tarfile.open(path) as archive:
            for member in archive:
                content = archive.extractfile(member).read()
                if member.name == "expected.npz":
                    with np.load(io.BytesIO(content)) as found:
                        arrays |= found
                else:
                    files[member.name] = content
    return files, arrays


FILES, EXPECTED = stored()
FEW_STEPS = set(EXPECTED.pop("steps of x only", np.array([])).tolist())
NETWORKS = sorted({name.partition("/")[0] for name in EXPECTED})
OF_NETWORKS = sorted(name for name in FILES if name not in REASONS)
# Of these the usual tests run the engine, too: each network has kernels of its own to compile.
IN_ENGINE = {"har_cnn_lstm", "lstm_autoencoder", "TextAttention"}

# What is refused so far, by network or file, and why.
REFUSED = {
    "ConvAutoencoder": "outputs whose channels come before their steps",
    "SpeechCRNN": "two directions added up over an axis of their own",
    "AllInSequential-dynamo.onnx": "softplus written out with Greater and Where",
    "AllInSequential-dynamo-fixed.onnx": "softplus written out with Greater and Where",
}

pytestmark = pytest.mark.every_cell


def network_of(file: str) -> str:
    return file.partition("-")[0]


def usual(network: str) -> str:
    """The file that stands for a network where one is enough."""
    return next(f for f in (f"{network}-3.keras", f"{network}-legacy.onnx") if f in FILES)


def marked(names):
    """The names as parameters; files that run only for the exporter's example need not load."""
    kept = pytest.mark.xfail(reason="the exporter kept its example's number of steps", strict=False)
    found = []
    for name in names:
        marks = [kept] if name in FEW_STEPS else []
        if reason := REFUSED.get(network_of(name)) or REFUSED.get(name):
            marks = [pytest.mark.xfail(reason=reason, raises=UnsupportedModelError, strict=True)]
        found.append(pytest.param(name, marks=marks))
    return found


def read(file: str, folder: Path) -> LSTM:
    path = folder / file
    path.write_bytes(FILES[file])
    return load(path)


def predictions(model: LSTM, x: np.ndarray, lengths=None, engine: bool = True):
    yield "reference", reference.predict(model.network, x, lengths)
    if engine and helpers.runs_in_engine(model):
        yield "engine", model.predict(x, lengths)


def agrees(actual: np.ndarray, y: np.ndarray, wide: np.ndarray, what: str) -> None:
    """Within 1e-12 in float64, in float32 within four times the framework's own error."""
    assert actual.shape == y.shape, what
    scale = max(1, abs(wide).max())
    error, own = abs(actual - wide).max(), abs(y - wide).max()
    assert own <= 1e-4 * scale, what
    eps = np.finfo("f4").eps
    allowed = 1e-12 * scale if actual.dtype == "float64" else 4 * own + 4 * eps * scale
    assert error <= allowed, f"{what}: {error:.2g} off, {allowed:.2g} is allowed"


@pytest.mark.parametrize("file", marked(OF_NETWORKS))
def test_a_file_gives_the_numbers_of_its_framework(file, tmp_path):
    name = network_of(file)
    model = read(file, tmp_path)
    assert model.dtype == ("float64" if "-double" in file else "float32")
    fixed = "-fixed" in file or file in FEW_STEPS
    for key in ("x", "x2"):
        if f"{name}/{key}" not in EXPECTED or (key == "x2" and fixed):
            continue
        x, y, wide = (EXPECTED[f"{name}/{key}{part}"] for part in ("", "/y", "/wide"))
        x = x.astype(model.dtype) if x.dtype.kind == "f" else x
        # The files of a network hold the same network: kernels run one of them.
        engine = file == usual(name) and (helpers.EVERY_CELL or name in IN_ENGINE)
        for way, actual in predictions(model, x, engine=engine):
            agrees(actual, y, wide, f"{file} {key} {way}")


@pytest.mark.parametrize("name", marked(name for name in NETWORKS if f"{name}/x2" in EXPECTED))
def test_sequences_of_different_lengths(name, tmp_path):
    """A padded row gives what the framework gave for a batch of its own length."""
    model = read(usual(name), tmp_path)
    short, long = EXPECTED[f"{name}/x"], EXPECTED[f"{name}/x2"]
    n, t = short.shape[:2]
    padding = np.full((n, long.shape[1] - t, *short.shape[2:]), 1, short.dtype)
    if short.dtype.kind == "f":
        padding[:] = np.nan
    x = np.concatenate([np.concatenate([short, padding], 1), long])
    lengths = np.array([t] * n + [long.shape[1]] * len(long))
    for way, actual in predictions(model, x, lengths, helpers.EVERY_CELL or name in IN_ENGINE):
        for key, found in (("x", actual[:n]), ("x2", actual[n:])):
            y, wide = EXPECTED[f"{name}/{key}/y"], EXPECTED[f"{name}/{key}/wide"]
            if y.ndim == 3:
                found = found[:, : y.shape[1]]
            agrees(found, y, wide, f"{name} {key} {way}")


@pytest.mark.parametrize("file", sorted(REASONS))
def test_what_stays_refused_is_named(file, tmp_path):
    with pytest.raises((UnsupportedModelError, ModelFormatError), match=REASONS[file]):
        read(file, tmp_path)


def test_there_are_enough_of_them():
    assert len(NETWORKS) >= 60
    assert len(REASONS) >= 8
    assert set(REASONS) <= set(FILES)
    assert {network_of(file) for file in OF_NETWORKS} == set(NETWORKS)
