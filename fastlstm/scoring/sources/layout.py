"""How sequences lie in a source, in the words of `fastlstm.score`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fastlstm.messages import Message, Option

__all__ = ["Layout", "check_count"]

MOST = 2**62  # so that a position in a source, plus any option, fits into 64 bits


@dataclass(frozen=True)
class Layout:
    """Where the sequences are; the parameters are those of `fastlstm.score`."""

    lengths: Any = None
    column: str | None = None
    id: str | None = None
    time: str | None = None
    features: tuple[str, ...] | None = None
    keep: tuple[str, ...] = ()
    window: int | None = None
    stride: int = 1
    fill_missing: bool = False

    def __post_init__(self) -> None:
        check_count("window", self.window)
        check_count("stride", self.stride)
        if self.stride != 1 and self.window is None:
            raise ValueError(
                Message(
                    Option("stride", self.stride),
                    " is the distance between windows: give ",
                    Option("window"),
                    " too",
                )
            )
        if self.window is not None and self.lengths is not None:
            raise ValueError(
                Message(
                    Option("lengths"),
                    " cannot be combined with ",
                    Option("window"),
                    ": all windows have the same length",
                )
            )

    @property
    def a_row_is_a_step(self) -> bool:
        """Whether each row of a table is one step of a sequence, rather than a whole one."""
        return self.time is not None or self.features is not None

    @property
    def kept(self) -> list[str]:
        """The columns that are carried along to the destination."""
        return list(dict.fromkeys([*([self.id] if self.id else []), *self.keep]))

    def as_dict(self) -> dict[str, Any]:
        """Return the layout as a dict that JSON can hold."""
        return asdict(self)

    def refuse(self, kind: str, *names: str) -> None:
        """Refuse options that mean nothing for a kind of source.

        Raises
        ------
        ValueError
            One of them was given.
        """
        for name in names:
            given = getattr(self, name)
            if given is not None and not (isinstance(given, tuple) and not given):
                raise ValueError(Message(Option(name), f" does not apply to {kind}"))


def check_count(name: str, value: object) -> None:
    """Refuse an option that is not a count: an integer of 1 or more, or None.

    Raises
    ------
    ValueError
        It is not an integer, less than 1, or too large.
    """
    if value is None:
        return
    if not isinstance(value, int | np.integer) or value < 1:
        expected = "an integer of 1 or more"
    elif value > MOST:
        expected = f"at most {MOST}"
    else:
        return
    raise ValueError(Message("expected ", Option(name), f" to be {expected}, got {value!r}"))
