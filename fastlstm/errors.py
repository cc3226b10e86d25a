"""The errors about models."""

from __future__ import annotations

__all__ = ["ModelFormatError", "UnsupportedModelError"]


class UnsupportedModelError(ValueError):
    """The model is sound, but this version does not compute it exactly.

    The message names the layer and the option. Nothing is ever dropped silently.
    """


class ModelFormatError(ValueError):
    """A model file is damaged, incomplete or hostile. The message names the file and the flaw."""
