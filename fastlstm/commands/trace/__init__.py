"""`fastlstm trace`: the gates of chosen sequences, as a table or a drawing."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from fastlstm.commands.hints import add_hints, load_model
from fastlstm.commands.layout import SOURCE, add_layout, given_layout
from fastlstm.commands.parsers import new_parser, positive
from fastlstm.messages import Message, message_of

if TYPE_CHECKING:
    from fastlstm.calls.trace import Trace
    from fastlstm.commands.parsers import Commands

TABLES, DRAWINGS = (".csv", ".npz", ".parquet"), (".png", ".svg", ".pdf")
STDOUT = Path("-")


def add_parser(commands: Commands) -> None:
    """Describe the command."""
    parser = new_parser(
        commands,
        "trace",
        run,
        help="write or draw the gates of chosen sequences",
        description="Write the gates and states of one layer for chosen sequences. The suffix of "
        "the output decides what it is: a table with a line for each row, step and unit, or a "
        "drawing. Rows, units and layers are numbered from 0, steps from 1. Numbers in a table "
        "read back exactly.",
        examples=(
            "fastlstm trace windows.npy --model model.npz --rows 0 3 7-9 > gates.csv",
            "fastlstm trace windows.npy --model model.npz --layer 0 --unit 5 -o gates.parquet",
            "fastlstm trace windows.npy --model model.npz --rows 0-2 --unit 0 5 -o gates.png",
            "fastlstm trace events.parquet --model model.npz --id user --time at -o gates.csv",
        ),
    )
    parser.add_argument("source", help=SOURCE)
    parser.add_argument("--model", type=Path, required=True, help="a model file of any kind")
    parser.add_argument(
        "--rows",
        type=numbers,
        nargs="+",
        default=[range(1)],
        metavar="ROW",
        help="the numbers of the sequences, or ranges that include both ends, such as 7-9 "
        "(default: 0)",
    )
    parser.add_argument(
        "--layer", type=int, default=-1, help="the recurrent layer (default: -1, the last)"
    )
    parser.add_argument(
        "--unit",
        type=numbers,
        nargs="+",
        metavar="UNIT",
        help="the hidden units, numbers or ranges; those of a backward direction follow those of "
        "the forward one (default: all in a table, 0 in a drawing)",
    )
    parser.add_argument(
        "--threads", type=positive, metavar="K", help="default: all that this process may use"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=STDOUT,
        help=f"the table ({', '.join(TABLES)}) or drawing ({', '.join(DRAWINGS)}) to write "
        "(default: -, CSV on standard output)",
    )
    add_layout(parser, keep="columns that are not steps, in CSV with one row for each sequence")
    add_hints(parser)


def run(options: argparse.Namespace) -> None:
    """Run the command."""
    import numpy as np

    from fastlstm.commands.trace.files import check_destination, draw, write_table
    from fastlstm.commands.trace.rows import check_numbers, expanded, read_rows
    from fastlstm.scoring.sources.open import open_source
    from fastlstm.scoring.sources.paths import split_inner

    output: Path = options.output
    drawn = output.suffix in DRAWINGS
    if output != STDOUT:
        if output.suffix not in TABLES + DRAWINGS:
            raise ValueError(
                f"{output}: expected a suffix of {', '.join(TABLES)} for a table or "
                f"{', '.join(DRAWINGS)} for a drawing"
            )
        inputs = (split_inner(options.source)[0], options.lengths, options.model)
        check_destination(output, [str(path) for path in inputs if path is not None], drawn)
    model = load_model(options.model, options)
    layer: int = options.layer
    with closing(open_source(options.source, given_layout(options), model)) as reader:
        sequences = read_rows(reader, options.rows, options.source)
    rows = expanded(options.rows)

    # A call on no sequence at all already says whether the arguments fit together.
    nothing = model.trace(sequences[rows[0]][np.newaxis][:0], layer=layer, threads=options.threads)
    count = nothing.cell_state.shape[-1]
    units = options.unit or [range(1 if drawn else count)]
    check_numbers("unit", units, count, f"layer {layer} of the model")

    if nothing.hidden_state.shape != nothing.cell_state.shape:
        print(
            f"fastlstm: layer {layer} has a projection: its hidden states do not belong to single "
            "units and are left out",
            file=sys.stderr,
        )

    def traced() -> Iterator[Trace]:
        for row in rows:
            one = sequences[row][np.newaxis]  # (1, T, I)
            try:
                trace = model.trace(one, layer=layer, threads=options.threads)
            except (TypeError, ValueError) as error:
                raise type(error)(Message(f"row {row}: ", message_of(error))) from None
            yield trace

    write = draw if drawn else write_table
    write(output, rows, traced(), expanded(units))


def numbers(text: str) -> range:
    """An argument that is a whole number, or a range that includes both ends, such as 7-9."""
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    first, last = (int(part or match[1]) for part in match.groups()) if match else (1, 0)
    if first > last:
        raise argparse.ArgumentTypeError(
            f"expected a number of 0 or more, or a range such as 7-9, got {text!r}"
        )
    return range(first, last + 1)
