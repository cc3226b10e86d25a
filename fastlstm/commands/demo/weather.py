"""The bundled data set: hourly weather at New York's three airports in 2013.

`fastlstm/data/README.md` says where the numbers come from and what was left out. This module
turns them into windows for a network and into the naive forecasts that a network has to beat.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import as_file, files
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CARRY",
    "CENTRE",
    "INPUTS",
    "LEAD",
    "SCALE",
    "TEST",
    "TRAIN",
    "WINDOW",
    "Weather",
    "Windows",
    "hour_of_day",
    "load_weather",
    "make_windows",
    "usual_change",
]

WINDOW = 48  # hours of weather that a forecast looks back on
LEAD = 6  # hours from the last observation to the forecast
CARRY = 6  # hours for which the last observed value stands in for missing ones

# The year is split by the hour that is forecast: [first, last). The bundled model saw TRAIN only.
TRAIN = (np.datetime64("2013-01-01T00"), np.datetime64("2013-10-01T00"))
TEST = (np.datetime64("2013-10-01T00"), np.datetime64("2014-01-01T00"))

INPUTS = (
    "temperature",
    "dew point",
    "pressure",
    "wind to the east",
    "wind to the north",
    "sine of the hour",
    "cosine of the hour",
)
# Round numbers that bring every input near [-2, 2]; fixed by hand, so nothing is fitted to them.
CENTRE = np.array([12, 5, 1017, 0, 0, 0, 0], dtype=np.float32)
SCALE = np.array([10, 10, 8, 5, 5, 1, 1], dtype=np.float32)

_MISSING = -32768
_FASTEST_WIND = 80  # knots; above it the reading is an error (one row says 911)
_LARGEST_JUMP = 12.0  # degrees in an hour, there and back: an error (one row)

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Weather:
    """Hourly observations, NaN if missing.

    Attributes
    ----------
    airports : tuple of str
        The A airports.
    time : ndarray of datetime64[h], shape (hours,)
        Every hour of the year in UTC, without a gap.
    values : dict of str to ndarray, shape (A, hours)
        temperature and dew_point (degrees Celsius), pressure (hPa), wind_speed (knots) and
        wind_direction (degrees that the wind comes from).
    """

    airports: tuple[str, ...]
    time: npt.NDArray[np.datetime64]
    values: dict[str, Floats]


@dataclass(frozen=True)
class Windows:
    """What a network reads, what was observed, and naive forecasts; one entry for each window.

    Attributes
    ----------
    x : ndarray, shape (N, WINDOW, inputs)
        The inputs in the order of `INPUTS`, centred and scaled.
    target : ndarray, shape (N,)
        The temperature observed `LEAD` hours after the window's last hour.
    now : ndarray, shape (N,)
        The temperature in the window's last hour: the persistence forecast.
    yesterday : ndarray, shape (N,)
        The temperature 24 hours before the hour that is forecast.
    airport : ndarray of str, shape (N,)
    time : ndarray of datetime64[h], shape (N,)
        The hour that is forecast, in UTC.
    """

    x: Floats
    target: Floats
    now: Floats
    yesterday: Floats
    airport: npt.NDArray[np.str_]
    time: npt.NDArray[np.datetime64]


def load_weather() -> Weather:
    """Read the bundled observations, without the readings that cannot be true."""
    with (
        as_file(files("fastlstm") / "data" / "weather.npz") as path,
        np.load(path, allow_pickle=False) as stored,
    ):
        airports = tuple(str(name) for name in stored["airports"])
        first = stored["first_hour"]
        units = {name: float(stored[f"{name}_unit"]) for name in stored["columns"]}
        counts = {name: stored[name] for name in units}  # (A, hours) int16
    values = {}
    for name, unit in units.items():
        column = (counts[name] * unit).astype(np.float32)
        column[counts[name] == _MISSING] = np.nan
        values[name] = column
    hours = next(iter(counts.values())).shape[1]
    _take_out_errors(values)
    return Weather(airports, first + np.arange(hours) * np.timedelta64(1, "h"), values)


def make_windows(weather: Weather, first: Any, last: Any) -> Windows:
    """Cut the windows whose forecast falls in the hours [first, last).

    A missing value takes the last one observed, for up to `CARRY` hours, so that no window
    looks ahead. A window with a longer gap is left out, and so is one without an observed
    temperature in its last hour, in the hour to forecast or a day before that one.
    """
    inputs = _inputs(weather)  # (A, hours, inputs)
    complete = np.all(np.isfinite(inputs), axis=2)  # (A, hours)
    temperature = weather.values["temperature"]  # (A, hours)

    ends = np.arange(WINDOW - 1, weather.time.size - LEAD)  # each window's last hour
    ends = ends[(weather.time[ends + LEAD] >= first) & (weather.time[ends + LEAD] < last)]
    whole = np.lib.stride_tricks.sliding_window_view(complete, WINDOW, axis=1)
    usable = np.all(whole[:, ends - (WINDOW - 1)], axis=2)  # (A, windows)
    for hours in (ends, ends + LEAD, ends + LEAD - 24):
        usable &= np.isfinite(temperature[:, hours])

    which, kept = np.nonzero(usable)
    at = ends[kept]
    steps = at[:, None] + np.arange(1 - WINDOW, 1)  # (N, WINDOW)
    return Windows(
        x=np.ascontiguousarray(inputs[which[:, None], steps]),
        target=temperature[which, at + LEAD],
        now=temperature[which, at],
        yesterday=temperature[which, at + LEAD - 24],
        airport=np.array(weather.airports)[which],
        time=weather.time[at + LEAD],
    )


def usual_change(weather: Weather, first: Any, last: Any) -> Floats:
    """The mean change of the temperature over `LEAD` hours in [first, last), by hour of the day.

    Returns
    -------
    ndarray, shape (24,)
        Indexed by the UTC hour that is forecast.
    """
    temperature = weather.values["temperature"]
    change = temperature[:, LEAD:] - temperature[:, :-LEAD]  # (A, hours - LEAD)
    time = weather.time[LEAD:]
    inside = (time >= first) & (time < last)
    of_day = hour_of_day(time)
    means = [np.nanmean(change[:, inside & (of_day == hour)]) for hour in range(24)]
    return np.array(means, dtype=np.float32)


def hour_of_day(time: npt.NDArray[np.datetime64]) -> npt.NDArray[np.int64]:
    """The UTC hour, 0 to 23."""
    hours: npt.NDArray[np.int64] = (time - time.astype("datetime64[D]")).astype(np.int64)
    return hours


def _take_out_errors(values: dict[str, Floats]) -> None:
    """Set readings that cannot be true to NaN."""
    wind = values["wind_speed"]
    wind[wind > _FASTEST_WIND] = np.nan
    temperature = values["temperature"]
    before, here, after = temperature[:, :-2], temperature[:, 1:-1], temperature[:, 2:]
    spike = (np.abs(here - before) > _LARGEST_JUMP) & (np.abs(here - after) > _LARGEST_JUMP)
    values["dew_point"][:, 1:-1][spike] = np.nan
    here[spike] = np.nan


def _inputs(weather: Weather) -> Floats:
    """Make the network's inputs (A, hours, inputs) from the observations."""
    filled = {name: _carried_forward(column) for name, column in weather.values.items()}
    came_from = np.radians(filled["wind_direction"])
    speed = filled["wind_speed"] * np.float32(0.514444)  # metres a second
    turn = hour_of_day(weather.time).astype(np.float32) * np.float32(2 * np.pi / 24)
    angle = np.broadcast_to(turn, speed.shape)
    columns = (
        filled["temperature"],
        filled["dew_point"],
        filled["pressure"],
        -speed * np.sin(came_from),
        -speed * np.cos(came_from),
        np.sin(angle),
        np.cos(angle),
    )
    scaled: Floats = (np.stack(columns, axis=2) - CENTRE) / SCALE
    return scaled


def _carried_forward(column: Floats) -> Floats:
    """Replace NaN by the last observed value, if it is at most `CARRY` hours old."""
    hours = np.arange(column.shape[1])
    seen = np.maximum.accumulate(np.where(np.isfinite(column), hours, -1), axis=1)  # (A, hours)
    filled = np.take_along_axis(column, np.maximum(seen, 0), axis=1)
    filled[hours - seen > CARRY] = np.nan
    return filled
