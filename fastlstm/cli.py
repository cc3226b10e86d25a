"""The command `fastlstm`: demo, info, convert, score and versions."""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastlstm

if TYPE_CHECKING:
    import numpy.typing as npt

DTYPES = ("float32", "float64")
READS = ("final", "last", "max", "mean")
INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return 0, 1 for bad input or 130 for Ctrl-C (argparse exits with 2).

    Parameters
    ----------
    arguments : sequence of str, optional
        What follows the command's name; `sys.argv[1:]` if left out.
    """
    options = make_parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("fastlstm: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, say `head`, has seen enough; keep the interpreter from complaining at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (ImportError, MemoryError, OSError, TypeError, ValueError) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        print(f"fastlstm: error: {what}", file=sys.stderr)
        return 1
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Build the parser; each subcommand names the function that runs it."""
    parser = argparse.ArgumentParser(
        prog="fastlstm", description="Score LSTM networks over large batches of sequences."
    )
    parser.add_argument("--version", action="version", version=f"fastlstm {fastlstm.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    demo = commands.add_parser(
        "demo", help="the tutorial's table, then forecasts on real weather and their speed"
    )
    demo.set_defaults(run=_demo)

    info = commands.add_parser(
        "info",
        help="what a model file holds, and how it is read",
        description="Print what a model file holds and how it is read: its layers and options, "
        "or its tensors and why it cannot be read (exit code 1).",
        epilog="example: fastlstm info checkpoint.pt --head fc --activation sigmoid",
    )
    info.add_argument("model", type=Path, help="a model file of any kind")
    _add_hints(info)
    info.set_defaults(run=_info)

    convert = commands.add_parser(
        "convert",
        help="write a model in this library's own format",
        description="Read a model file of any kind and write it in this library's own format.",
        epilog="example: fastlstm convert checkpoint.pt model.safetensors --head fc",
    )
    convert.add_argument("source", type=Path, help="a model file of any kind")
    convert.add_argument("destination", type=Path, help=".safetensors, .npz or .json")
    convert.add_argument("--dtype", choices=DTYPES, help="round to this (default: as it is)")
    _add_hints(convert)
    convert.set_defaults(run=_convert)

    score = commands.add_parser(
        "score",
        help="score an array of sequences with a model",
        description="Score an array of sequences (N, T, I), or (N, T) for a model with one "
        "input, that fits in memory.",
        epilog="example: fastlstm score windows.npy --model model.safetensors -o scores.npy",
    )
    score.add_argument("windows", type=Path, help="the sequences: an .npy file")
    score.add_argument("--model", type=Path, required=True, help="a model file that needs no hints")
    score.add_argument(
        "-o", "--output", type=Path, required=True, help="the scores: an .npy file to write"
    )
    score.add_argument("--lengths", type=Path, help="real length of each sequence: an .npy file")
    score.add_argument(
        "--return-sequences",
        action="store_true",
        default=None,
        help="a score for every step, not for the last alone",
    )
    score.add_argument("--dtype", choices=DTYPES, help="compute in this (default: the model's)")
    score.add_argument("--threads", type=_positive, help="default: all that this process may use")
    score.add_argument(
        "--progress",
        action=argparse.BooleanOptionalAction,
        help="a progress bar on stderr (default: if that is a terminal and tqdm is installed)",
    )
    score.set_defaults(run=_score)

    versions = commands.add_parser(
        "versions", help="what a bug report needs: versions, CPU, threads, cache folder"
    )
    versions.set_defaults(run=_versions)
    return parser


def _add_hints(command: argparse.ArgumentParser) -> None:
    """The options of `fastlstm.load`, for files that do not say themselves what they are."""
    hints = command.add_argument_group("hints, where the file does not say")
    hints.add_argument("--prefix", nargs="+", help="where the LSTM is; several follow each other")
    hints.add_argument("--head", nargs="+", help="names of the dense layers behind")
    hints.add_argument("--activation", nargs="+", help="one for each dense layer; linear is one")
    hints.add_argument("--embedding", help="name of the embedding in front")
    hints.add_argument("--read", choices=READS, help="what the head reads of a whole sequence")
    hints.add_argument("--return-sequences", action="store_true", default=None)
    hints.add_argument("--node", help="the LSTM operator of an ONNX graph")


def _hints(options: argparse.Namespace) -> dict[str, Any]:
    """The hints that were given; a single name is no list."""
    names = ("prefix", "head", "activation", "embedding", "read", "return_sequences", "node")
    given = {name: getattr(options, name) for name in names}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }


def _info(options: argparse.Namespace) -> None:
    from fastlstm.info import print_info

    print_info(options.model, _hints(options))


def _convert(options: argparse.Namespace) -> None:
    model = fastlstm.load(options.source, **_hints(options))
    if options.dtype is not None:
        model = model.astype(options.dtype)
    path = model.save(options.destination)
    print(f"{path}: {model}", file=sys.stderr)


def _demo(options: argparse.Namespace) -> None:
    from fastlstm.demo import run_demo

    run_demo()


def _versions(options: argparse.Namespace) -> None:
    fastlstm.show_versions()


def _score(options: argparse.Namespace) -> None:
    import numpy as np

    from fastlstm.files import replaced

    progress = _wants_progress(options.progress)
    _check_destination(options)
    x = _read_array(options.windows)
    lengths = None if options.lengths is None else _read_array(options.lengths)
    model = fastlstm.load(options.model)
    if options.dtype is not None:
        model = model.astype(options.dtype)
    started = time.perf_counter()
    scores = model.predict(
        x,
        lengths=lengths,
        return_sequences=options.return_sequences,
        threads=options.threads,
        progress=progress,
    )
    seconds = time.perf_counter() - started
    with replaced(options.output) as stream:
        np.save(stream, scores, allow_pickle=False)
    print(
        f"{options.output}: {'x'.join(map(str, scores.shape))} {scores.dtype}, "
        f"{len(scores):,} sequences in {seconds:.2f} s (compiling included)",
        file=sys.stderr,
    )


def _wants_progress(asked: bool | None) -> bool:
    """Decide on the bar: as asked, or if it can be drawn on a terminal."""
    installed = importlib.util.find_spec("tqdm") is not None
    if asked and not installed:
        raise ImportError("--progress needs tqdm: pip install 'fastlstm[cli]'")
    return installed and sys.stderr.isatty() if asked is None else asked


def _check_destination(options: argparse.Namespace) -> None:
    """Refuse a destination that cannot be written or is an input, before any work is done."""
    output: Path = options.output
    if output.suffix != ".npy":
        raise ValueError(f"{output}: the scores are written as .npy, name them so")
    if output.is_dir():
        raise IsADirectoryError(f"{output} is a folder")
    if not output.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {output.parent} to write {output.name} to")
    for source in (options.windows, options.lengths, options.model):
        if source is not None and output.exists() and source.exists() and output.samefile(source):
            raise ValueError(f"{output} is also an input; name another file for the scores")


def _read_array(path: Path) -> npt.NDArray[Any]:
    """Map an .npy file of numbers into memory."""
    import numpy as np

    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path}: expected an .npy file of numbers: {error}") from None
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError(f"{path}: expected one array in an .npy file, got an .npz archive")
    return array


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number of 1 or more, got {text!r}")
    return value
