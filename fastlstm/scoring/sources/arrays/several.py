"""Several files as one source: their sequences follow each other."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fastlstm.messages import Message, Option
from fastlstm.scoring.chunk import Chunk, MappedFile, Position, Reader
from fastlstm.scoring.sources.layout import Layout

__all__ = ["joined"]

BEHIND = 2  # a chunk has been scored once this many later ones have been taken


def joined(readers: Iterable[Reader], layout: Layout) -> Reader:
    """Return one reader for all, or a single one as it is. If one cannot be opened, close all.

    Raises
    ------
    ValueError
        They keep different columns, or one array of lengths was given for several files.
    """
    opened: list[Reader] = []
    try:
        opened.extend(readers)
        if len(opened) == 1:
            return opened[0]
        if layout.lengths is not None:
            raise ValueError(
                Message(Option("lengths"), " goes with one file: score the files one by one")
            )
        return SeveralReaders(opened)
    except BaseException:
        for reader in opened:
            reader.close()
        raise


class SeveralReaders(Reader):
    """Readers of one kind, one after another. A position is a file's number, and one in it."""

    def __init__(self, readers: Sequence[Reader]) -> None:
        self.readers = list(readers)
        first = self.readers[0]
        for reader in self.readers:
            if reader.kept != first.kept:
                raise ValueError(
                    f"expected the same columns in all files, got {reader.kept} in "
                    f"{reader.describe()} and {first.kept} in {first.describe()}"
                )
        counts = [reader.count for reader in self.readers]
        self.count = None if None in counts else sum(n or 0 for n in counts)
        steps = [reader.steps for reader in self.readers]
        self.steps = None if None in steps else max(n or 0 for n in steps)
        self.equal = all(reader.equal for reader in self.readers) and len(set(steps)) == 1
        sizes = [reader.row_bytes for reader in self.readers]
        self.row_bytes = None if None in sizes else max(n or 0 for n in sizes)
        self.inputs, self.kept = first.inputs, first.kept
        self.dtype = np.result_type(*(reader.dtype for reader in self.readers))
        self.held = sum(reader.held for reader in self.readers)
        short = [reader.too_short for reader in self.readers]
        self.too_short = None if None in short else sum(n or 0 for n in short)
        self.again = all(reader.again for reader in self.readers)
        # files that were read, each with the number of chunks up to its end
        self.spent: deque[tuple[int, Reader]] = deque()
        self.at = 0  # the file that is being read

    def describe(self) -> str:
        return f"{len(self.readers)} files, the first {self.readers[0].describe()}"

    def identity(self) -> dict[str, Any]:
        return {f"file {i}": reader.identity() for i, reader in enumerate(self.readers)}

    def chunks(self, n_bytes: int, position: Position | None) -> Iterator[Chunk]:
        file, inside = position or (0, None)
        spent = self.spent = deque()
        number = 0
        for i in range(file, len(self.readers)):
            self.at = i
            for chunk in self.readers[i].chunks(n_bytes, inside):
                yield replace(chunk, after=(i, chunk.after))
                number += 1
                while spent and number - spent[0][0] >= BEHIND:
                    spent.popleft()[1].close()  # frees the memory that its chunks lay in
            spent.append((number, self.readers[i]))
            inside = None

    def mapped_files(self) -> Sequence[MappedFile]:
        readers = [*(reader for _, reader in self.spent), self.readers[self.at]]
        return [file for reader in readers for file in reader.mapped_files()]

    def close(self) -> None:
        for reader in self.readers:
            reader.close()
