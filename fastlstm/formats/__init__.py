"""Readers of model files, each of which returns a `Network` and knows nothing of how it is used.

No file that is read here can execute code, and nothing that a file claims is used unchecked.
"""
