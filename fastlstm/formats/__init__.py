"""Readers of model files, each of which gives a `Network`; none knows what is done with it.

No file that is read here can execute code, and none is believed before it is checked.
"""
