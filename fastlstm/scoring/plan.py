"""What a run would do, and about how long it would take."""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from fastlstm.scoring.memory import RESERVE, STAGES, resident_bytes
from fastlstm.scoring.summary import shorter_than_a_window

if TYPE_CHECKING:
    from fastlstm.scoring.job import Job

__all__ = ["Plan", "make_plan"]

SAMPLE = 2**22  # bytes of input that are scored to know the rate


@dataclass(frozen=True)
class Plan:
    """What would be read and written.

    Parameters
    ----------
    source : str
        What is there.
    sequences, steps : int or None
        N and T, where they are known before all is read.
    too_short : int or None
        Sequences shorter than a window, of which nothing is scored, where that is known.
    inputs : int
        I.
    model : str
        What would score them.
    outputs : dict
        Shape of every field, ``None`` for a number that is not known.
    destination : str
        Where they would be written.
    bytes_written : int or None
        Of the numbers, where they are known.
    chunk_bytes, memory : int
        Input at a time, and what the process would take, about.
    seconds : float or None
        How long it would take at the rate of the first sequences, where N is known.
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
        """Return it as what JSON can say."""
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


def make_plan(job: Job) -> Plan:
    """Return what a job would do; the first sequences are scored for it, and nothing is written."""
    reader, count = job.reader, job.reader.count
    chunk_bytes = job.chunk_bytes()
    shapes: dict[str, list[int | None]] = {}
    total = 0
    for field in job.fields:
        shape = [count, *([job.steps] if field.stepwise else []), field.width]
        shapes[field.name] = shape
        total += field.dtype.itemsize * _product(shape)
    known = all(None not in shape for shape in shapes.values())
    return Plan(
        source=reader.describe(),
        sequences=count,
        steps=job.steps,
        too_short=reader.too_short,
        inputs=reader.inputs,
        model=repr(job.model),
        destination=job.destination,
        outputs=shapes,
        bytes_written=total if known else None,
        chunk_bytes=chunk_bytes,
        memory=resident_bytes() + STAGES * chunk_bytes + RESERVE,
        # reading from standard input would take it away
        seconds=_seconds(job, count) if count is not None and reader.again else None,
    )


def _seconds(job: Job, count: int) -> float:
    rates = []
    for _ in range(2):  # the first one compiles, and wakes the threads
        started = time.perf_counter()
        chunks = job.reader.chunks(min(SAMPLE, job.chunk_bytes()), None)
        for chunk in itertools.islice(chunks, 1):
            job.scorer.score(chunk, 0, job.scorer.bad_rows(chunk))
            rates.append((time.perf_counter() - started) / max(chunk.count, 1))
    return count * min(rates, default=0.0)


def _product(shape: list[int | None]) -> int:
    product = 1
    for n in shape:
        product *= n or 0
    return product


def _known(n: int | None) -> str:
    return "unknown" if n is None else f"{n:,}"
