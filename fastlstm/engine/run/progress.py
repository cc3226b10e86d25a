"""A progress bar by tqdm, or none."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from fastlstm.engine.compiling import waited


class Progress:
    """Shows how many sequences are done while a call waits for its threads.

    Raises
    ------
    ImportError
        If a bar is wanted and tqdm is not installed.
    """

    def __init__(self, total: int | None, wanted: bool, initial: int = 0) -> None:
        self.bar: Any = None
        self.waited = waited()  # what is spent on compiling does not count for the rate
        self.interval: float | None = None
        self.total = total
        if wanted:
            try:
                from tqdm.auto import tqdm
            except ImportError as error:
                raise ImportError(
                    'a progress bar needs tqdm: pip install "fastlstm[cli]"'
                ) from error
            self.bar = tqdm(total=total, initial=initial, unit=" sequences", unit_scale=True)
            self.interval = 0.1

    def show(self, done: int) -> None:
        """Move the bar to `done` sequences."""
        if self.bar is None:
            return
        compiling = waited() - self.waited
        if compiling and hasattr(self.bar, "start_t"):  # not if TQDM_DISABLE is set
            self.bar.start_t += compiling
            self.bar.last_print_t += compiling
        self.waited += compiling
        self.bar.update(done - self.bar.n)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.bar is not None:
            if kind is None and self.total is not None:
                self.show(self.total)
            self.bar.close()
