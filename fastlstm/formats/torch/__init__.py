"""Models from PyTorch: modules, tensors by name, and files of both."""
