"""Small networks of the kinds that people publish, written as their authors would.

`keras_networks` and `torch_networks` make those that are computed, `refused_networks` those that
are not. ``tests/golden/generate_zoo.py`` keeps them as files, with what their frameworks give.
"""
