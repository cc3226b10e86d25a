"""`fastlstm trace`: the gates of chosen sequences, as a table or drawn."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastlstm
from fastlstm.commands.files import check_destination, map_array
from fastlstm.commands.parsers import MODEL, new_parser, positive

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastlstm.commands.parsers import Commands
    from fastlstm.trace import Trace

TABLES, DRAWINGS = (".csv", ".npz", ".parquet"), (".png", ".svg", ".pdf")
STDOUT = Path("-")


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "trace",
        run,
        help="the gates of chosen sequences, as a table or drawn",
        description="Write the gates and states of one layer for chosen sequences: a table with a "
        "line for each row, step and unit, or a drawing, by the suffix of the output. Rows, units "
        "and layers count from 0, steps from 1. Numbers are written so that they read back "
        "exactly.",
        examples=(
            "fastlstm trace windows.npy --model model.npz --rows 0 3 7-9 > gates.csv",
            "fastlstm trace windows.npy --model model.npz --layer 0 --unit 5 -o gates.parquet",
            "fastlstm trace windows.npy --model model.npz --rows 0-2 --unit 0 5 -o gates.png",
        ),
    )
    parser.add_argument("source", type=Path, help="the sequences: an .npy file")
    parser.add_argument("--model", type=Path, required=True, help=MODEL)
    parser.add_argument(
        "--rows",
        type=numbers,
        nargs="+",
        default=[range(1)],
        metavar="ROW",
        help="which sequences: numbers, or ranges such as 7-9 with both ends (default: 0)",
    )
    parser.add_argument("--lengths", type=Path, help="real length of each sequence: an .npy file")
    parser.add_argument(
        "--layer", type=int, default=-1, help="which recurrent layer (default: -1, the last)"
    )
    parser.add_argument(
        "--unit",
        type=numbers,
        nargs="+",
        metavar="UNIT",
        help="which hidden units, as rows; a backward direction's follow the forward one's "
        "(default: all in a table, 0 in a drawing)",
    )
    parser.add_argument("--threads", type=positive, help="default: all that this process may use")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=STDOUT,
        help=f"the table ({', '.join(TABLES)}) or drawing ({', '.join(DRAWINGS)}) to write "
        "(default: -, a .csv on stdout)",
    )


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    from fastlstm.commands import trace_files

    output: Path = options.output
    if output != STDOUT:
        if output.suffix not in TABLES + DRAWINGS:
            raise ValueError(
                f"{output}: expected a suffix of {', '.join(TABLES)} for a table or "
                f"{', '.join(DRAWINGS)} for a drawing"
            )
        check_destination(output, (options.source, options.lengths, options.model))
    drawn = output.suffix in DRAWINGS
    sequences = read_rows(options.source, options.rows)
    lengths = None if options.lengths is None else read_rows(options.lengths, options.rows)
    rows = expanded(options.rows)
    model = fastlstm.load(options.model)
    layer: int = options.layer

    # No sequence at all is enough to see that all fits together.
    nothing = model.trace(sequences[:0], layer=layer, threads=options.threads)
    if len(nothing.cell_state):
        raise ValueError(
            f"{options.source}: expected sequences of shape (N, T, {model.input_size})"
            f"{' or (N, T)' if model.input_size == 1 else ''}, got rows of shape "
            f"{sequences.shape[1:]}"
        )
    count = nothing.cell_state.shape[-1]
    units = options.unit or [range(1 if drawn else count)]
    check_numbers("unit", units, count, f"layer {layer} of the model")

    if nothing.hidden_state.shape != nothing.cell_state.shape:
        print(
            f"fastlstm: layer {layer} has a projection: its outputs are not those of single units "
            "and are left out",
            file=sys.stderr,
        )

    def traced() -> Iterator[Trace]:
        for k, row in enumerate(rows):
            one = slice(k, k + 1)
            length = None if lengths is None else lengths[one]
            try:
                trace = model.trace(sequences[one], length, layer=layer, threads=options.threads)
            except (TypeError, ValueError) as error:
                raise type(error)(f"row {row}: {error}") from None
            yield trace

    write = trace_files.draw if drawn else trace_files.write_table
    write(output, rows, traced(), expanded(units))


def read_rows(path: Path, rows: Sequence[range]) -> npt.NDArray[Any]:
    """Read the chosen rows of an .npy file, and no others; a row that is chosen twice once.

    Raises
    ------
    FileNotFoundError
        If there is none.
    ValueError
        If it holds something else, or has no such row.
    """
    array = map_array(path)
    if not array.ndim:
        raise ValueError(f"{path}: expected an array of sequences, got a single number")
    check_numbers("row", rows, len(array), str(path))
    return array[expanded(rows)]


def check_numbers(what: str, chosen: Sequence[range], count: int, of: str) -> None:
    """Refuse the number of something that there is not."""
    last = max(part[-1] for part in chosen)
    if last >= count:
        has = f"has {what}s 0 ... {count - 1}" if count else f"has no {what}s"
        raise ValueError(f"there is no {what} {last}: {of} {has}")


def numbers(text: str) -> range:
    """An argument that is a whole number, or a range such as 7-9 with both ends."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    first, last = (int(part or match[1]) for part in match.groups()) if match else (1, 0)
    if first > last:
        raise argparse.ArgumentTypeError(
            f"expected a number from 0 or a range such as 7-9, got {text!r}"
        )
    return range(first, last + 1)


def expanded(ranges: Sequence[range]) -> list[int]:
    """All numbers in their order, each once."""
    return list(dict.fromkeys(k for part in ranges for k in part))
