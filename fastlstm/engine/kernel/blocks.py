"""The fixed order of summation: the length of its blocks.

Part of the definition of the results: a change here changes the last bits of every score.
"""

BLOCK = 64
