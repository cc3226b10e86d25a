"""Hints as flags, for what a model file does not say itself. They are those of `fastlstm.load`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fastlstm

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["HINTS", "add_hints", "given_hints", "load_model", "name_unused"]

READS = ("final", "last", "max", "mean", "sum")
# What argparse is told about each. `load` also takes `dtype`; but the --dtype of a command means
# something else: the dtype to compute in, whatever the model.
HINTS: dict[str, dict[str, Any]] = {
    "prefix": {
        "nargs": "+",
        "help": "where the LSTM is: the part of the weights' names before weight_ih_l0; if there "
        "are several, each LSTM reads every step of the one before",
    },
    "head": {
        "nargs": "+",
        "metavar": "NAME",
        "help": "names of the dense layers after the LSTM, in order",
    },
    "activation": {
        "nargs": "+",
        "help": "activation of each layer of --head, in order; linear means none",
    },
    "activations": {
        "nargs": 3,
        "metavar": "ACTIVATION",
        "help": "of the gates, the candidate and the cell output (default: sigmoid tanh tanh)",
    },
    "between": {
        "metavar": "ACTIVATION",
        "help": "an activation between the LSTM and the head, such as relu",
    },
    "embedding": {"metavar": "NAME", "help": "name of the embedding before the LSTM"},
    "read": {
        "choices": READS,
        "help": "what the head reads of a sequence; required if there are two directions: final is "
        "torch.cat([h_n[-2], h_n[-1]], 1), last is out[:, -1], the others are over the steps",
    },
    "return_sequences": {
        "action": "store_true",
        "default": None,
        "help": "apply the head at every step",
    },
    "ignore": {
        "nargs": "+",
        "metavar": "NAME",
        "help": "weights or modules that are not between the inputs and the outputs, such as "
        "another branch",
    },
    "chain": {
        "choices": ("steps",),
        "help": "confirm that --prefix names a chain, although its names are those of an encoder "
        "and a decoder",
    },
    "skip": {"type": int, "metavar": "N", "help": "add the first N inputs to the outputs"},
    "parts": {
        "nargs": "+",
        "metavar": "PART",
        "help": "all that is computed, in order, instead of the hints above: names of weights, "
        "activations, poolings and what is read, such as 'conv(stride=1, padding=1, dilation=1, "
        "groups=1)' relu 'max_pool(2)' lstm last fc",
    },
    "node": {"metavar": "NAME", "help": "take this LSTM operator of an ONNX graph by itself"},
    "config": {
        "type": Path,
        "metavar": "FILE",
        "help": "the architecture, model.to_json(), of an .h5 file that holds weights alone",
    },
}


def add_hints(parser: argparse.ArgumentParser, leave_out: tuple[str, ...] = ()) -> None:
    """Add the hints to the parser of a command, except those that it describes itself."""
    group = parser.add_argument_group("hints about what the model file does not say")
    for name, described in HINTS.items():
        if name not in leave_out:
            group.add_argument(f"--{name.replace('_', '-')}", **described)


def given_hints(options: argparse.Namespace) -> dict[str, Any]:
    """Return the hints that were given, a single name as text rather than a list."""
    given = {name: getattr(options, name) for name in HINTS}
    return {
        name: value[0] if isinstance(value, list) and len(value) == 1 else value
        for name, value in given.items()
        if value is not None
    }


def load_model(path: str | os.PathLike[str], options: argparse.Namespace) -> LSTM:
    """Load the model of a command, and name the weights that it does not use on stderr."""
    model = fastlstm.load(path, **given_hints(options))
    name_unused(model)
    return model


def name_unused(model: LSTM) -> None:
    """Print the names of the weights in its file that a model does not use, on stderr."""
    if model.unused:
        modules = dict.fromkeys(name.rpartition(".")[0] or name for name in model.unused)
        print(
            f"fastlstm: weights in the file that the model does not use: {', '.join(modules)}",
            file=sys.stderr,
        )
