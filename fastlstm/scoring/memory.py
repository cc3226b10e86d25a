"""How large chunks may be, so that memory stays bounded."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence

from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Field, Reader

__all__ = ["as_bytes", "chunk_bytes", "resident_bytes", "work_bytes"]

# Larger chunks are no faster. With 16 MB the smallest networks take a tenth longer.
MOST_CHUNK = 64 * 2**20
LEAST_CHUNK = 2**18
# Chunks in memory: one is read, one waits, one is scored. Likewise their results.
STAGES = 3
SEQUENCE = 16  # bytes of a sequence for its number and where it begins
# What the engine's threads, the reader's buffers and the allocator take beside chunks.
RESERVE = 48 * 2**20

# The most work of a chunk: about a second of one core, but enough rows to keep threads busy.
MOST_WORK = 1e11
LEAST_ROWS = 1024

UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12}
UNITS |= {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


def as_bytes(size: int | float | str) -> int:
    """Return a size such as ``"500MB"``, ``"2 GiB"`` or a number of bytes, in bytes.

    Raises
    ------
    ValueError
        It is not a size, or not positive.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zA-Z]*)\s*", str(size))
    unit = UNITS.get(match[2].upper()) if match else None
    if match is None or unit is None or not 1 <= float(match[1]) * unit < 2**63:
        raise ValueError(
            Message("expected ", Option("memory"), f" to be a size such as 500MB, got {size!r}")
        )
    return int(float(match[1]) * unit)


def chunk_bytes(
    memory: int,
    taken: int,
    reader: Reader,
    fields: Sequence[Field],
    written_steps: int,
    scratch: int = 0,
) -> int:
    """Return how many bytes of input a chunk may have.

    Parameters
    ----------
    memory, taken
        What scoring may take, and what it has taken already.
    reader, fields
        What is read and written. The mean length of unequal sequences is not known, so that the
        results of each step count with its inputs.
    written_steps
        The steps of the results for each sequence, or for each step of one where the reader does
        not know how many there are.
    scratch
        Further bytes likewise while a chunk is computed.

    Raises
    ------
    ValueError
        There is too little memory.
    """
    steps = max(reader.steps or 1, 1)
    read = reader.row_bytes or steps * reader.inputs * reader.dtype.itemsize
    written = sum(
        field.dtype.itemsize * max(field.width, 1) * (written_steps if field.stepwise else 1)
        for field in fields
    )
    # what is read may be in memory twice: as read, and as decoded
    share = STAGES * (2 + (SEQUENCE + written) / max(read, 1))
    # results are copied twice when they are written: to columns, and to bytes
    share += (2 * written + scratch) / max(read, 1)
    # some readers hold more than a chunk, such as the stored chunks that they decode
    reserve = taken + RESERVE + reader.held
    size = int((memory - reserve) / share)
    if size < LEAST_CHUNK:
        needed = int(LEAST_CHUNK * share) + reserve
        enough = math.ceil(needed / 1e7 + 0.5)  # what the process holds is not always the same
        raise ValueError(
            Message(
                f"{memory / 1e6:.0f} MB of memory is too little for this model and source: give ",
                Option("memory", f"{enough}0MB"),
                " or more",
            )
        )
    return min(size, MOST_CHUNK)


def work_bytes(work_a_step: float, reader: Reader) -> int:
    """Return how many bytes of input are about a second of work, the most that a crash may lose.

    A window takes few bytes of a series, but all of its steps are work.
    """
    work = work_a_step * (reader.steps or 1)
    row = reader.row_bytes or (reader.steps or 1) * reader.inputs * reader.dtype.itemsize
    return int(max(LEAST_ROWS, MOST_WORK / work) * max(row, 1))


def resident_bytes() -> int:
    """Return the memory that the process holds now, or 0 if the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
