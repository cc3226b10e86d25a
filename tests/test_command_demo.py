"""The demo prints the tutorial's table to the letter, and forecasts that are worth having."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from helpers import choose_of_few_tiles

from fastlstm import reference
from fastlstm.commands.demo import show, weather
from fastlstm.engine.run import packed

TABLE = """\
step 1: forget 0.6225 input 0.6457 candidate 0.6044 cell 0.3902 output 0.6900 hidden 0.2564
step 2: forget 0.7361 input 0.7775 candidate 0.9009 cell 0.9877 output 0.8459 hidden 0.6398
step 3: forget 0.8269 input 0.8730 candidate 0.9798 cell 1.6721 output 0.9344 hidden 0.8707
predicted next value: 3.4827
"""


@pytest.fixture(scope="module")
def printed() -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(show, "REPEATS", 1)
        patch.setattr(packed, "choose_tile", choose_of_few_tiles)  # `few_kernels` comes too late
        out = io.StringIO()
        show.show_demo(out)
    return out.getvalue()


def test_the_tutorials_table_is_printed_to_the_letter(printed):
    assert TABLE in printed
    apart = re.search(
        r"^by lstm_forward, plain Python: 3\.4827; its 18 values differ by at most (\S+)$",
        printed,
        re.M,
    )
    assert float(apart[1]) <= 1e-15


def test_the_forecasts_beat_the_naive_ones(printed):
    errors = {
        name: float(absolute)
        for name, absolute in re.findall(r"^(\S.*?) {2,}(\d\.\d\d) +\d\.\d\d", printed, re.M)
    }
    assert set(errors) == {
        "this model",
        "no change",
        "same hour of the day before",
        "usual change at that hour",
    }
    best = errors.pop("this model")
    assert best < 0.7 * errors["no change"]
    assert best < 0.9 * min(errors.values())


def test_some_forecasts_stand_beside_the_true_values(printed):
    rows = re.findall(r"^(?:EWR|JFK|LGA) +2013-1[0-2]-\d\d \d\d:00( +-?\d+\.\d){3}$", printed, re.M)
    assert len(rows) == show.ROWS


def test_the_speed_is_stated_with_its_shape(printed):
    assert re.search(r"6,024 sequences of 48 steps, 7 inputs, 32 hidden units, float32", printed)
    assert re.search(r"engine +[\d.]+ ms +[\d,]+ sequences a second", printed)
    assert re.search(r"NumPy loop +[\d.]+ ms +[\d,]+ sequences a second", printed)
    apart = re.search(
        r"[\d.]+ times as fast; the forecasts differ by at most (\S+) degrees", printed
    )
    assert float(apart[1]) < 1e-4
    assert re.search(r"^The first call of this model took \d+\.\d\d s$", printed, re.M)


def test_the_demo_is_plain_text_that_fits_a_terminal(printed):
    assert printed.isascii()
    assert max(map(len, printed.splitlines())) <= 100


def test_the_bundled_model_agrees_with_the_reference():
    model = show.load_model()
    windows = weather.make_windows(weather.load_weather(), *weather.TEST)
    x = windows.x[::50]
    double = model.astype("float64")
    exact = reference.predict(double.network, x.astype("float64"))
    np.testing.assert_allclose(model.predict(x), exact, atol=1e-4)
