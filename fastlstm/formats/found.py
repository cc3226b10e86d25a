"""What every reader of model files gives."""

from __future__ import annotations

from typing import NamedTuple

from fastlstm.network.network import Network

__all__ = ["Found"]


class Found(NamedTuple):
    """A network, and what its file or module holds besides."""

    network: Network
    unused: tuple[str, ...] = ()  # names of the weights that the network leaves out
