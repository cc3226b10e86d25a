"""What `fastlstm demo` prints: the tutorial's cell, forecasts of real weather, their timing."""

from __future__ import annotations

import sys
from importlib.resources import as_file, files
from statistics import median
from typing import TextIO

import numpy as np
import numpy.typing as npt

import fastlstm
from fastlstm.commands.demo import weather
from fastlstm.commands.speed.timing import time_both, timed
from fastlstm.engine.run import threads
from fastlstm.tutorial import RECORD_KEYS, TUTORIAL_PARAMS, lstm_forward

__all__ = ["show_demo"]

SERIES = (1.0, 2.0, 3.0)
HEAD = 4.0  # the tutorial's y = 4 * h
ROWS = 6  # forecasts printed one by one
REPEATS = 7  # timed runs, of which the median is printed

Floats = npt.NDArray[np.float32]


def show_demo(out: TextIO | None = None) -> None:
    """Print the tutorial's table, then score the bundled weather with the bundled model.

    Parameters
    ----------
    out : text stream, optional
        Where to print; standard output if left out.
    """
    out = sys.stdout if out is None else out
    show_tutorial(out)
    print(file=out)
    model = load_model()
    observed = weather.load_weather()
    windows = weather.make_windows(observed, *weather.TEST)
    first_call, change = timed(lambda: model.predict(windows.x))
    show_forecasts(observed, windows, windows.now + change[:, 0], out)
    print(file=out)
    show_speed(model, windows.x, first_call, out)


def load_model() -> fastlstm.LSTM:
    """Load the bundled model, which forecasts by how much the temperature changes."""
    with as_file(files("fastlstm") / "data" / "weather_model.npz") as path:
        return fastlstm.load(path)


def show_tutorial(out: TextIO) -> None:
    """Print every step of the tutorial's cell as the engine computes it, beside plain Python."""
    model = fastlstm.LSTM.from_gates(TUTORIAL_PARAMS, head=HEAD)
    x = np.array(SERIES).reshape(1, -1, 1)
    seconds, trace = timed(lambda: model.trace(x))
    records = trace.to_records()
    states, last_hidden = lstm_forward(SERIES, TUTORIAL_PARAMS)

    print("The tutorial's cell reads the series 1, 2, 3 (by the engine, in float64)", file=out)
    for number, record in enumerate(records, start=1):
        values = (f"{key.split()[0].lower()} {record[key]:.4f}" for key in RECORD_KEYS)
        print(f"step {number}: {' '.join(values)}", file=out)
    print(f"predicted next value: {model.predict(x)[0, 0]:.4f}", file=out)
    apart = max(
        abs(record[key] - state[key])
        for record, state in zip(records, states, strict=True)
        for key in RECORD_KEYS
    )
    print(
        f"by lstm_forward, plain Python: {HEAD * last_hidden:.4f}; "
        f"its {len(records) * len(RECORD_KEYS)} values differ by at most {apart:.1e}\n"
        f"The first call took {seconds:.2f} s: it compiles a kernel, "
        "or loads what an earlier run compiled",
        file=out,
    )


def show_forecasts(
    observed: weather.Weather, windows: weather.Windows, forecast: Floats, out: TextIO
) -> None:
    """Print some forecasts next to what was observed, and the errors of all and of naive ones."""
    lead, window = weather.LEAD, weather.WINDOW
    print(
        f"Temperature at New York's airports {lead} hours ahead, from {window} hours of weather\n"
        "(bundled, of 2013; trained on January to September, these are October to December)\n\n"
        f"airport  hour (UTC)        {lead} h before  forecast    true   degrees Celsius",
        file=out,
    )
    for n in np.linspace(0, len(windows.x) - 1, ROWS).astype(int):
        hour = str(windows.time[n]).replace("T", " ") + ":00"
        print(
            f"{windows.airport[n]:7s}  {hour}  {windows.now[n]:10.1f}"
            f"  {forecast[n]:8.1f}  {windows.target[n]:6.1f}",
            file=out,
        )

    usual = weather.usual_change(observed, *weather.TRAIN)
    forecasts = {
        "this model": forecast,
        "no change": windows.now,
        "same hour of the day before": windows.yesterday,
        "usual change at that hour": windows.now + usual[weather.hour_of_day(windows.time)],
    }
    print(
        f"\nerror over {len(windows.x):,} windows       mean absolute   root mean square",
        file=out,
    )
    naive = float(np.abs(windows.now - windows.target).mean())
    for name, values in forecasts.items():
        error = (values - windows.target).astype(np.float64)
        absolute, square = float(np.abs(error).mean()), float(np.sqrt(np.square(error).mean()))
        gain = f"   {1 - absolute / naive:.0%} below no change" if values is forecast else ""
        print(f"{name:30s} {absolute:10.2f} {square:18.2f}{gain}", file=out)


def show_speed(model: fastlstm.LSTM, x: Floats, first_call: float, out: TextIO) -> None:
    """Time the engine and the NumPy loop in turn, and print the medians."""
    timing = time_both(model, x, fewest=REPEATS)
    sequences, steps, inputs = x.shape
    count = threads.default_threads()
    fast, slow = median(timing.engine), median(timing.loop)
    print(
        f"{sequences:,} sequences of {steps} steps, {inputs} inputs, {model.hidden_size} hidden "
        f"units, {model.dtype}, {count} thread{'s' if count != 1 else ''}; "
        f"median of {REPEATS} runs\n"
        f"engine      {fast * 1e3:8.1f} ms  {sequences / fast:12,.0f} sequences a second\n"
        f"NumPy loop  {slow * 1e3:8.1f} ms  {sequences / slow:12,.0f} sequences a second\n"
        f"{timing.gain:.1f} times as fast; "
        f"the forecasts differ by at most {timing.largest_difference:.1e} degrees\n"
        f"The first call of this model took {first_call:.2f} s",
        file=out,
    )
