"""The bundled data set: cleaned as its README says, and never looking ahead."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fastlstm.commands.demo import weather


@pytest.fixture(scope="module")
def observed() -> weather.Weather:
    return weather.load_weather()


@pytest.fixture(scope="module")
def windows(observed) -> weather.Windows:
    return weather.make_windows(observed, *weather.TEST)


def test_the_observations_are_plausible(observed):
    assert observed.airports == ("EWR", "JFK", "LGA")
    assert observed.time[0] == np.datetime64("2013-01-01T06")
    assert (np.diff(observed.time).astype(int) == 1).all()
    ranges = {
        "temperature": (-15, 40),
        "dew_point": (-30, 30),
        "pressure": (960, 1060),
        "wind_speed": (0, 80),
        "wind_direction": (0, 360),
    }
    assert set(observed.values) == set(ranges)
    for name, (low, high) in ranges.items():
        column = observed.values[name]
        assert column.shape == (3, observed.time.size)
        assert np.nanmin(column) >= low
        assert np.nanmax(column) <= high


def test_the_two_impossible_readings_are_out(observed):
    hours = {str(hour): at for at, hour in enumerate(observed.time)}
    assert np.isnan(observed.values["wind_speed"][0, hours["2013-02-12T08"]])
    assert np.isnan(observed.values["temperature"][1, hours["2013-05-09T02"]])


def test_windows_hold_what_was_observed(observed, windows):
    assert windows.x.shape == (6024, weather.WINDOW, len(weather.INPUTS))
    assert windows.x.dtype == np.float32
    assert np.isfinite(windows.x).all()
    assert windows.time.min() >= weather.TEST[0]
    assert windows.time.max() < weather.TEST[1]
    temperature = observed.values["temperature"]
    for n in range(0, len(windows.x), 500):
        airport = observed.airports.index(windows.airport[n])
        hour = int(np.flatnonzero(observed.time == windows.time[n])[0])
        assert windows.target[n] == temperature[airport, hour]
        assert windows.now[n] == temperature[airport, hour - weather.LEAD]
        assert windows.yesterday[n] == temperature[airport, hour - 24]
        last = windows.x[n, -1] * weather.SCALE + weather.CENTRE
        assert last[0] == pytest.approx(windows.now[n], abs=1e-4)


def test_windows_do_not_look_ahead(observed, windows):
    """Whatever comes after a window's last hour, the window is the same."""
    cut = int(np.flatnonzero(observed.time == np.datetime64("2013-11-15T12"))[0])
    values = {name: column.copy() for name, column in observed.values.items()}
    for column in values.values():
        column[:, cut + 1 :] = 1.0
    changed = weather.make_windows(dataclasses.replace(observed, values=values), *weather.TEST)
    until = observed.time[cut + weather.LEAD]
    before, after = windows.time <= until, changed.time <= until
    kept = np.isin(_keys(windows)[before], _keys(changed)[after])
    assert kept.all()
    for n in np.flatnonzero(before)[::97]:
        m = np.flatnonzero(_keys(changed) == _keys(windows)[n])[0]
        np.testing.assert_array_equal(windows.x[n], changed.x[m])


def test_the_model_was_trained_on_other_hours_than_it_is_scored_on():
    assert weather.TRAIN[1] <= weather.TEST[0]


def test_a_missing_value_is_the_last_one_for_six_hours():
    column = np.full((1, 12), np.nan, dtype=np.float32)
    column[0, 2] = 5.0
    filled = weather._carried_forward(column)
    expected = [np.nan] * 2 + [5.0] * (1 + weather.CARRY) + [np.nan] * 3
    np.testing.assert_array_equal(filled[0], expected)


def test_usual_change_is_that_of_the_hour(observed):
    change = weather.usual_change(observed, *weather.TRAIN)
    assert change.shape == (24,)
    assert change[19] > 2  # six hours to the early afternoon (UTC is five hours ahead)
    assert change[4] < -2  # six hours into the night


def _keys(windows: weather.Windows) -> np.ndarray:
    return np.char.add(windows.airport, windows.time.astype(str))
