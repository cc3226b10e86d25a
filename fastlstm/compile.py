"""Compiling ahead of the first call."""

from __future__ import annotations

from fastlstm.model import LSTM

__all__ = ["warmup"]


def warmup(model: LSTM | None = None) -> None:
    """Compile now, or load from the disk cache, what the first calls would compile.

    Parameters
    ----------
    model : LSTM, optional
        Compile for `predict` and calls of this model. Without one, for float32 models of the
        usual cell, of any shape.
    """
    from fastlstm.engine.forms import Form
    from fastlstm.engine.kernels import warm_kernels

    if model is None:
        for scalar in (True, False):
            warm_kernels("float32", Form(scalar=scalar))
    else:
        model._engine.warmup()
