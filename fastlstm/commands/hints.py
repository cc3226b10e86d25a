"""The options of `fastlstm.load`, for files that do not say themselves what they are."""

from __future__ import annotations

import argparse
from typing import Any

__all__ = ["add_hints", "add_model_hints", "given_hints"]

READS = ("final", "last", "max", "mean")
NAMES = ("prefix", "head", "activation", "embedding", "read", "return_sequences", "node")


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
    hints = parser.add_argument_group("hints, where the file does not say")
    hints.add_argument("--prefix", nargs="+", help="where the LSTM is; several follow each other")
    hints.add_argument("--head", nargs="+", help="names of the dense layers behind")
    hints.add_argument("--activation", nargs="+", help="one for each dense layer; linear is one")
    hints.add_argument("--embedding", help="name of the embedding in front")
    hints.add_argument("--read", choices=READS, help="what the head reads of a whole sequence")
    hints.add_argument("--node", help="the LSTM operator of an ONNX graph")
    return hints


def given_hints(options: argparse.Namespace) -> dict[str, Any]:
    """The hints that were given; a single name is no list."""
    given = {name: getattr(options, name) for name in NAMES}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }
