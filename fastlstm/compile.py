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

    Raises
    ------
    TypeError
        If `model` is no LSTM.
    """
    if isinstance(model, LSTM):
        return model._engine.warmup()
    if model is not None:
        raise TypeError(f"expected model to be an LSTM, got {type(model).__name__}")
    from fastlstm.engine.compiling import alone

    with alone():
        from fastlstm.engine.kernel.compiled import warm_kernels
        from fastlstm.engine.kernel.forms import Form

    for scalar in (True, False):
        warm_kernels("float32", Form(scalar=scalar))
    return None
