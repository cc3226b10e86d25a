"""Opening a destination: by its suffix, what writes it."""

from __future__ import annotations

from fastlstm.scoring.destinations.csv import CsvStream, CsvWriter
from fastlstm.scoring.destinations.feather import FeatherWriter
from fastlstm.scoring.destinations.npy import NpyWriter
from fastlstm.scoring.destinations.parquet import ParquetWriter
from fastlstm.scoring.destinations.writer import MakesWriter, Results, StreamWriter, Writer
from fastlstm.scoring.destinations.zarr import ZarrWriter
from fastlstm.scoring.partial import Partial

__all__ = ["WRITERS", "make_writer", "open_stream"]

WRITERS: dict[str, MakesWriter] = {
    ".npy": NpyWriter,
    ".parquet": ParquetWriter,
    ".arrow": FeatherWriter,
    ".feather": FeatherWriter,
    ".zarr": ZarrWriter,
    ".csv": CsvWriter,
}


def make_writer(partial: Partial, results: Results) -> Writer:
    """Return what writes to the destination of an unfinished result; it is not open yet."""
    return WRITERS[results.suffix](partial, results)


def open_stream(results: Results) -> StreamWriter:
    """Return what writes CSV to standard output."""
    return CsvStream(results)
