"""One run of bulk scoring: its parts are checked against each other before anything is written."""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

import fastlstm
from fastlstm.engine.compiling import clock
from fastlstm.engine.run.progress import Progress
from fastlstm.loading import load
from fastlstm.messages import Message, Option, separated
from fastlstm.model import LSTM
from fastlstm.scoring.bad_rows import POLICIES, BadRow
from fastlstm.scoring.chunk import Chunk, Position
from fastlstm.scoring.cluster import check_source, connected, make_pieces, score_pieces
from fastlstm.scoring.destinations.check import check_destination, check_targets
from fastlstm.scoring.destinations.open import make_writer, open_stream
from fastlstm.scoring.destinations.writer import Results
from fastlstm.scoring.ledger import Entry, Ledger
from fastlstm.scoring.memory import as_bytes, chunk_bytes, resident_bytes, work_bytes
from fastlstm.scoring.outputs import (
    Wanted,
    check_wanted,
    fields_of,
    most_steps,
    scratch_bytes,
    steps_of_all,
)
from fastlstm.scoring.partial import Partial, changes, partial_folder
from fastlstm.scoring.scorer import Scorer
from fastlstm.scoring.sources.layout import Layout, check_count
from fastlstm.scoring.sources.open import find_files, open_source
from fastlstm.scoring.stages import ahead, behind
from fastlstm.scoring.summary import Summary

__all__ = ["Run"]


class Run:
    """A model, a source and a destination that fit together; a context manager.

    Parameters and exceptions are those of `fastlstm.score`, and

    Parameters
    ----------
    hints
        For `fastlstm.load`.
    held
        Bytes of the process that do not count as scoring's; by default what it holds already.
    """

    def __init__(
        self,
        model: LSTM | str | os.PathLike[str],
        source: str | os.PathLike[str],
        destination: str | os.PathLike[str],
        *,
        layout: Layout,
        wanted: Wanted,
        hints: Mapping[str, Any] | None = None,
        dtype: Any = None,
        max_steps: int | None = None,
        on_bad_row: str = "error",
        memory: int | str = "500MB",
        held: int | None = None,
        threads: int | None = None,
        dask: Any = None,
    ) -> None:
        if on_bad_row not in POLICIES:
            raise ValueError(
                Message(
                    "expected ",
                    Option("on_bad_row"),
                    f" to be one of {', '.join(POLICIES)}, got {on_bad_row!r}",
                )
            )
        check_count("max_steps", max_steps)
        check_count("threads", threads)
        self.memory = as_bytes(memory)
        self.held = resident_bytes() if held is None else held
        self.source, self.destination = os.fspath(source), os.fspath(destination)
        self.suffix = Path(self.destination).suffix.lower()  # of a link, not of what it leads to
        model_path = None if isinstance(model, LSTM) else os.fspath(model)
        check_destination(self.destination, [self.source, model_path, layout.lengths])
        if hints and model_path is None:
            raise TypeError(
                Message("hints are for a model file, not for a model: got ", *separated(hints))
            )
        if isinstance(model, LSTM):
            loaded = model
        else:
            loaded = _loaded(model, hints or {}, bool(wanted.return_sequences))
        self.model = loaded if dtype is None else loaded.astype(dtype)
        if wanted.return_sequences is None:
            wanted = wanted._replace(return_sequences=self.model.return_sequences)
        self.wanted, self.max_steps, self.on_bad_row = wanted, max_steps, on_bad_row
        self.scorer = Scorer(self.model, wanted, max_steps, on_bad_row, threads)
        self.cluster = dask
        self.begun = False
        self.unscored: deque[Chunk] = deque()  # chunks that were read and not scored yet
        self.layout = layout
        self.fields = fields_of(self.model, wanted)
        check_wanted(self.model, wanted)
        fewest, _ = self.model.network.step_limits
        if not fewest:
            raise ValueError("the model's parts do not fit together for any number of steps")
        # compile now, so that the memory it takes is counted before chunks are sized
        self.model.predict(np.zeros((1, fewest, self.model.input_size), self.model.input_dtype))
        if dask is not None:
            check_source(self.source, layout)
        self.reader = open_source(self.source, layout, self.model)
        try:
            self._check_steps()
            self.seen = self._source_identity()
        except BaseException:
            self.reader.close()
            raise

    def _check_steps(self) -> None:
        """Raise an error if the model takes none of the sequences of a source.

        Raises
        ------
        ValueError
            All of them have a number of steps that it does not take.
        """
        network, steps = self.model.network, self.reader.steps
        if not self.reader.equal or steps is None or self.reader.count == 0:
            return
        found = network.steps(np.array([steps]))
        if not found.refused[0]:
            return
        fewest, most = network.step_limits
        taken = f"at least {fewest}" if most is None else f"{fewest} to {most}"
        said: list[str | Option] = [
            f"{self.source}: all sequences have {steps} steps; the model takes "
            f"{fewest if fewest == most else taken}: {found.why}"
        ]
        if most is not None and steps > most:
            said += ["; ", Option("window", most), " scores windows of them"]
        raise ValueError(Message(*said))

    @property
    def steps(self) -> int | None:
        """The most steps of a sequence, if known."""
        known = [n for n in (self.reader.steps, self.max_steps) if n is not None]
        return self.reader.steps if self.reader.equal else min(known, default=None)

    @property
    def results(self) -> Results:
        """What is known of the results before any is computed."""
        steps, equal = self.steps, self.reader.equal
        if (of_all := steps_of_all(self.model, self.wanted)) is not None:
            steps, equal = of_all, True
        elif steps is not None:
            steps = most_steps(self.model, self.wanted, steps)
        return Results(self.suffix, self.fields, steps, equal, self.reader.kept)

    def chunk_bytes(self) -> int:
        """Return how many bytes of input are read at a time."""
        taken = max(0, resident_bytes() - self.held)
        known = self.reader.steps
        # where it is not known, a step counts with its share of a long sequence
        steps, share = (known, 1) if known else (1024, 1024)
        written = -(-most_steps(self.model, self.wanted, steps) // share)
        if not known and (of_all := steps_of_all(self.model, self.wanted)) is not None:
            written = of_all  # however short the sequences are
        scratch = -(-scratch_bytes(self.model, self.wanted, steps) // share)
        size = chunk_bytes(self.memory, taken, self.reader, self.fields, written, scratch)
        return min(size, work_bytes(self.model._engine.work_a_step, self.reader))

    def identity(self) -> dict[str, Any]:
        """Return all that the bytes of the result depend on."""
        layout = {k: v for k, v in self.layout.as_dict().items() if k != "lengths"}
        return {
            "fastlstm": fastlstm.__version__,
            "model": hashlib.sha256(self.model.__dask_tokenize__().encode()).hexdigest(),
            "source": self.seen,
            "layout": layout,
            "outputs": self.wanted._asdict(),
            "dtype": self.model.dtype.name,
            "max_steps": self.max_steps,
            "destination": self.suffix,
            "cluster": self.cluster is not None,
        }

    def _source_identity(self) -> dict[str, Any]:
        """Return what tells the source from a changed one."""
        identity = self.reader.identity()
        if self.source != "-":
            names = [os.path.basename(path) for path in find_files(self.source)]
            if len(names) > 1:
                identity["files"] = hashlib.sha256(json.dumps(names).encode()).hexdigest()
        known: dict[str, Any] = json.loads(json.dumps(identity))
        return known

    def _check_source(self) -> None:
        """Raise an error unless the source is still the one that was opened.

        Raises
        ------
        OSError
            It has changed while it was scored, or vanished.
        """
        self.reader.close()  # all is read: others may write to it
        found = self._source_changes()
        if found:
            raise OSError(
                Message(
                    f"{self.source} has changed while it was scored: {'; '.join(found)}; ",
                    Option("restart", True),
                    " scores it as it is now",
                )
            )

    def _source_changes(self) -> Sequence[str]:
        """Say how the source differs from the one that was opened."""
        try:
            return changes(self.seen, self._source_identity())
        except FileNotFoundError as error:
            return [str(error)]

    def score(
        self, *, resume: bool = False, restart: bool = False, progress: bool = False
    ) -> Summary:
        """Score everything, and return what was done."""
        if self.destination == "-":
            return self._score_to_stream(resume, progress)
        if resume and not self.reader.again:
            raise ValueError(
                Message(
                    f"cannot resume from {self.reader.describe()}: it cannot be read a second "
                    "time; leave out ",
                    Option("resume"),
                )
            )
        partial = Partial(self._target, self.identity(), resume, restart)
        started = clock()
        try:
            ledger = Ledger.resuming(partial, self.on_bad_row)
            writer = make_writer(partial, self.results)
            ledger.targets = writer.targets()
            check_targets(ledger.targets.values(), self.source)
            if not ledger.moving:
                writer.open(ledger.sizes, ledger.written)
                self.begun = True
                ledger.keep(partial, writer)
                try:
                    self._score(ledger, progress)
                    ledger.finish(self._check_source)
                finally:
                    writer.close()
            partial.move(ledger.targets, ledger.finished)
        finally:
            partial.close()
        return self._summary(ledger, clock() - started)

    @property
    def _target(self) -> Path:
        return Path(os.path.realpath(self.destination))  # what a link leads to

    @property
    def partial_folder(self) -> Path:
        """Where the result is kept until it is complete."""
        return partial_folder(self._target)

    @property
    def resumable(self) -> bool:
        """Whether this run left something that another one can resume."""
        if not self.begun or not self.reader.again or self._source_changes():
            return False
        return (self.partial_folder / "journal.json").exists()

    def _score_to_stream(self, resume: bool, progress: bool) -> Summary:
        if resume:
            raise ValueError(
                Message(
                    "cannot resume a result that goes to standard output; leave out ",
                    Option("resume"),
                )
            )
        started = clock()
        ledger = Ledger()
        ledger.writer = open_stream(self.results)
        self._score(ledger, progress)
        ledger.writer.finish()
        self._check_source()
        return self._summary(ledger, clock() - started)

    def _score(self, ledger: Ledger, progress: bool) -> None:
        done = ledger.read
        with Progress(self.reader.count, progress, done) as bar:
            try:
                with self._results(ledger.position, done) as results, behind(ledger.enter) as to:
                    for entry in results:
                        to.put(entry)
                        done += entry[1]
                        bar.show(done)
            except BaseException:
                ledger.rescue()
                raise

    @contextmanager
    def _results(self, position: Position, done: int) -> Iterator[Iterator[Entry]]:
        """Score here, or on a cluster."""
        if self.cluster is None:
            checked = self._checked_chunks(position, done)
            with ahead(checked, self.reader.abandon, self._give_way) as chunks:
                yield self._scored_chunks(chunks, done)
        else:
            pieces = make_pieces(self.source, self.layout, self.scorer)
            with connected(self.cluster) as client:
                yield score_pieces(client, self.scorer, self.layout, pieces, position, done)

    def _checked_chunks(
        self, position: Position, done: int
    ) -> Iterator[tuple[Chunk, dict[int, BadRow]]]:
        self.unscored.clear()
        for chunk in self.reader.chunks(self.chunk_bytes(), position):
            bad = self.scorer.bad_rows(chunk)
            self.scorer.refuse(bad, self.source, done)
            self.unscored.append(chunk)
            yield chunk, bad
            done += chunk.count

    def _give_way(self, waiting: Sequence[tuple[Chunk, dict[int, BadRow]]]) -> None:
        """Let others write to the source although chunks of it wait to be scored.

        Whoever wants to write to a mapped file waits, but not for ever, and scoring may be held up
        for longer. The reading thread calls this, with all chunks that it has handed on and that
        are not being scored.
        """
        wanted = [file for file in self.reader.mapped_files() if file.wanted]
        if not wanted:
            return
        for chunk, _ in waiting:
            chunk.detach()
        if len(self.unscored) == len(waiting):  # none is being scored
            for file in wanted:
                file.close()

    def _scored_chunks(
        self, chunks: Iterator[tuple[Chunk, dict[int, BadRow]]], done: int
    ) -> Iterator[Entry]:
        for chunk, bad in chunks:
            scored = self.scorer.score(chunk, done, bad)
            self.unscored.popleft()
            yield scored, chunk.count, chunk.after, bad
            done += chunk.count

    def _summary(self, ledger: Ledger, seconds: float) -> Summary:
        return Summary(
            source=self.source,
            destination=self.destination,
            sequences=ledger.read,
            written=ledger.written,
            resumed=ledger.resumed,
            seconds=seconds,
            bad_rows=ledger.bad.as_dict(),
            too_short=ledger.too_short,
            outputs={Path(name).stem: str(path) for name, path in ledger.targets.items()},
        )

    def close(self) -> None:
        """Close the source."""
        self.reader.close()

    def __enter__(self) -> Run:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _loaded(path: str | os.PathLike[str], hints: Mapping[str, Any], every: bool) -> LSTM:
    """Load a model, of which the outputs at `every` step are wanted or not.

    Bare weights of a bidirectional network with a head do not say which step the head reads. With
    outputs at every step that does not matter, if `load` is told so; files that describe the whole
    network do not take that hint.
    """
    try:
        return load(path, **hints)
    except ValueError as error:
        if not every:
            raise
        refused = error
    try:
        return load(path, **hints, return_sequences=True)
    except TypeError:
        raise refused from None
