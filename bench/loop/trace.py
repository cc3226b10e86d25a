"""A section of `loop`: a trace beside `predict`, and beside only filling as much memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.harness.goals import Goal, at_most
from bench.harness.limits import FILL
from bench.harness.own import OWN, TRACE
from bench.harness.run import Run
from bench.harness.stored import Row
from bench.harness.workload import Workload

NAMES, SEQUENCES = ("seed", "tiny"), 20_000
MOST_TIMES_PREDICT, MOST_TIMES_FILL = 2.5, 1.3  # whichever takes longer
MILLISECONDS = ("{:.1f} ms", "{:.1f} ms")


def measure(run: Run) -> list[Row]:
    return [
        run.time(Workload.named(name, dtype).with_sequences(SEQUENCES), (OWN, TRACE, FILL))
        for dtype in run.options.dtypes
        for name in NAMES
    ]


def goals(rows: Sequence[Row]) -> Iterator[Goal]:
    for row in rows:
        trace, predict, fill = (1e3 * row["engines"][k]["median"] for k in (TRACE, OWN, FILL))
        most = max(MOST_TIMES_PREDICT * predict, MOST_TIMES_FILL * fill)
        yield from at_most(f"{row['name']} {row['dtype']}: trace", most, trace, MILLISECONDS)
