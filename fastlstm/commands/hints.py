"""Hints, as `fastlstm.load` has them: what a model file does not say itself."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastlstm

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["add_hints", "add_model_hints", "given_hints", "load_model", "name_unused"]

READS = ("final", "last", "max", "mean")
# As `fastlstm.load` has them; but for its `dtype`, which commands have for all models.
NAMES = (
    "prefix",
    "head",
    "activation",
    "activations",
    "between",
    "embedding",
    "read",
    "return_sequences",
    "ignore",
    "chain",
    "skip",
    "node",
    "config",
)


def add_hints(parser: argparse.ArgumentParser) -> None:
    """Add them to the parser of a command."""
    hints = add_model_hints(parser)
    hints.add_argument(
        "--return-sequences",
        action="store_true",
        default=None,
        help="the head is applied to every step",
    )


def add_model_hints(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add those that are about the network alone."""
    hints = parser.add_argument_group("hints, where the model file does not say")
    hints.add_argument(
        "--prefix",
        nargs="+",
        help="where the LSTM is; of several, each reads every step of the one before",
    )
    hints.add_argument("--head", nargs="+", help="names of the dense layers behind")
    hints.add_argument("--activation", nargs="+", help="one for each of the --head; linear is none")
    hints.add_argument(
        "--activations", nargs=3, help="of the cell: gates, candidate, output (sigmoid tanh tanh)"
    )
    hints.add_argument("--between", help="an activation between the LSTM and the head: relu")
    hints.add_argument("--embedding", help="name of the embedding in front")
    hints.add_argument(
        "--read",
        choices=READS,
        help="what the head reads of a whole sequence; two directions need it: final is "
        "torch.cat([h_n[-2], h_n[-1]], 1), last is out[:, -1]",
    )
    hints.add_argument(
        "--ignore", nargs="+", help="weights of another branch, which the network leaves out"
    )
    hints.add_argument(
        "--chain", choices=("steps",), help="confirms --prefix of an encoder and a decoder"
    )
    hints.add_argument("--skip", type=int, help="so many inputs are added to the outputs")
    hints.add_argument("--node", help="the LSTM operator of an ONNX graph")
    hints.add_argument("--config", type=Path, help="the architecture of a .h5 of weights alone")
    return hints


def given_hints(options: argparse.Namespace) -> dict[str, Any]:
    """The hints that were given; a single name is no list."""
    given = {name: getattr(options, name, None) for name in NAMES}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }


def load_model(path: str | os.PathLike[str], options: argparse.Namespace) -> LSTM:
    """Load the model of a command; weights that it leaves out are named on stderr."""
    model = fastlstm.load(path, **given_hints(options))
    name_unused(model)
    return model


def name_unused(model: LSTM) -> None:
    """Name the weights of its file that a model leaves out, on stderr."""
    if model.unused:
        modules = dict.fromkeys(name.rpartition(".")[0] or name for name in model.unused)
        print(
            f"fastlstm: the model leaves out weights of the file: {', '.join(modules)}",
            file=sys.stderr,
        )
