"""What a run would do, and about how long it would take."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import Any

from fastlstm.scoring.memory import RESERVE, STAGES, resident_bytes
from fastlstm.scoring.run import Run
from fastlstm.scoring.summary import shorter_than_a_window

__all__ = ["DryRun", "dry_run"]

SAMPLE = 2**22  # bytes of input that are scored to measure the rate


@dataclass(frozen=True)
class DryRun:
    """What would be read and written.

    Parameters
    ----------
    source : str
        What would be read.
    sequences, steps : int or None
        N and T, if they are known before all is read.
    too_short : int or None
        Sequences shorter than a window, which would give no score, if that is known.
    inputs : int
        I.
    model : str
        What would score them.
    outputs : dict
        The shape of every result, with None for sizes that are not known.
    destination : str
        Where the scores would be written.
    bytes_written : int or None
        The size of all numbers, if known.
    chunk_bytes, memory : int
        How much input would be read at a time, and about how much memory the process would take.
    seconds : float or None
        About how long it would take at the rate of the first sequences, if N is known.
    """

    source: str
    sequences: int | None
    steps: int | None
    too_short: int | None
    inputs: int
    model: str
    destination: str
    outputs: dict[str, list[int | None]]
    bytes_written: int | None
    chunk_bytes: int
    memory: int
    seconds: float | None

    def as_dict(self) -> dict[str, Any]:
        """Return the dry run as a dict that JSON can hold."""
        return asdict(self)

    def __str__(self) -> str:
        shapes = ", ".join(
            f"{name} ({', '.join('?' if n is None else f'{n:,}' for n in shape)})"
            for name, shape in self.outputs.items()
        )
        size = "" if self.bytes_written is None else f", {self.bytes_written / 1e6:,.1f} MB"
        sequences = f"{_known(self.sequences)}, of {_known(self.steps)} steps at most"
        if self.too_short:
            sequences += f"; {shorter_than_a_window(self.too_short)} left out"
        seconds = "unknown" if self.seconds is None else f"about {self.seconds:,.1f} s"
        lines = {
            "source": self.source,
            "sequences": sequences,
            "model": self.model,
            "destination": self.destination,
            "outputs": shapes + size,
            "chunks": f"{self.chunk_bytes / 1e6:,.1f} MB of input at a time",
            "memory": f"about {self.memory / 1e6:,.0f} MB",
            "time": seconds,
        }
        return "\n".join(f"{name + ':':13s}{text}" for name, text in lines.items())


def dry_run(run: Run) -> DryRun:
    """Return what a run would do. The first sequences are scored for it; nothing is written."""
    reader, count = run.reader, run.reader.count
    chunk_bytes = run.chunk_bytes()
    shapes: dict[str, list[int | None]] = {}
    total = 0
    for field in run.fields:
        shape = [count, *([run.results.steps] if field.stepwise else []), field.width]
        shapes[field.name] = shape
        total += field.dtype.itemsize * _product(shape)
    known = all(None not in shape for shape in shapes.values())
    return DryRun(
        source=reader.describe(),
        sequences=count,
        steps=run.steps,
        too_short=reader.too_short,
        inputs=reader.inputs,
        model=repr(run.model),
        destination=run.destination,
        outputs=shapes,
        bytes_written=total if known else None,
        chunk_bytes=chunk_bytes,
        memory=resident_bytes() + STAGES * chunk_bytes + RESERVE,
        # standard input can be read only once
        seconds=_seconds(run, count) if count is not None and reader.again else None,
    )


def _seconds(run: Run, count: int) -> float:
    rates = []
    for _ in range(2):  # the first time threads are started
        started = time.perf_counter()
        chunks = run.reader.chunks(min(SAMPLE, run.chunk_bytes()), None)
        for chunk in itertools.islice(chunks, 1):
            run.scorer.score(chunk, 0, run.scorer.bad_rows(chunk))
            rates.append((time.perf_counter() - started) / max(chunk.count, 1))
    return count * min(rates, default=0.0)


def _product(shape: list[int | None]) -> int:
    product = 1
    for n in shape:
        product *= n or 0
    return product


def _known(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"
