"""What every reader of model files returns."""

from __future__ import annotations

from typing import NamedTuple

from fastlstm.network.network import Network

__all__ = ["Found"]


class Found(NamedTuple):
    """A network, and the names of the weights in its file or module that it does not use."""

    network: Network
    unused: tuple[str, ...] = ()  # names of the weights that the network leaves out
