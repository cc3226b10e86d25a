"""Models from PyTorch: modules, tensors by name, and files of both."""

from fastlstm.formats.torch.loader import from_torch

__all__ = ["from_torch"]
