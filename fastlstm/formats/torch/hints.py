"""The hints that a caller gives about bare weights, checked once."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from fastlstm.formats.trust import WrongChoice
from fastlstm.messages import Line, Message, Option
from fastlstm.network.network import as_flag
from fastlstm.network.reading import READS

__all__ = ["ACTIVATIONS", "HINTS", "Hints", "refuse_decoder"]

ACTIVATIONS: Final = ("sigmoid", "tanh", "tanh")  # of torch's own cell
Names = str | Sequence[str]


class Hints(NamedTuple):
    """The hints of a call; `fastlstm.from_torch` says what each means."""

    prefix: Names = ""
    head: Any = None
    activation: Any = None
    activations: Sequence[Any] = ACTIVATIONS
    between: Any = None
    embedding: str | None = None
    read: str | None = None
    ignore: Names = ()
    chain: str | None = None
    return_sequences: bool = False
    skip: int = 0
    parts: Names = ()

    def checked(self) -> Hints:
        """Return the hints, checked, with all sequences as lists.

        Raises
        ------
        TypeError
            If a name is not text, or `return_sequences` is neither True nor False.
        WrongChoice
            If `read` or `chain` is not one of the words that it takes.
        """
        every = as_flag("return_sequences", self.return_sequences)
        if self.read is not None and self.read not in READS:
            wanted = f": expected one of {READS}, got {self.read!r:.80}"
            raise WrongChoice(Message(Option("read"), wanted))
        if self.chain not in (None, "steps"):
            wanted = f': expected "steps", got {self.chain!r:.80}'
            raise WrongChoice(Message(Option("chain"), wanted))
        _require_text("prefix", self.prefix, several=True)
        _require_text("ignore", self.ignore, several=True)
        _require_text("parts", self.parts, several=True)
        _require_text("embedding", self.embedding or "", several=False)
        return self._replace(
            prefix=self.prefix if isinstance(self.prefix, str) else list(self.prefix),
            head=list(self.head) if isinstance(self.head, tuple) and self.head_names else self.head,
            activations=_as_tuple(self.activations),
            ignore=self.ignore if isinstance(self.ignore, str) else list(self.ignore),
            return_sequences=every,
            parts=[self.parts] if isinstance(self.parts, str) else list(self.parts),
        )

    @property
    def head_names(self) -> list[str] | None:
        """The names of the dense layers of the head; None if it is given by its weights."""
        names = [self.head] if isinstance(self.head, str) else self.head
        if isinstance(names, (tuple, list)) and names and all(isinstance(k, str) for k in names):
            return [name.removesuffix(".") for name in names]
        return None

    @property
    def ignored(self) -> list[str]:
        """The names of what is left out."""
        return [self.ignore] if isinstance(self.ignore, str) else list(self.ignore)

    @property
    def alone(self) -> bool:
        """Whether one LSTM is taken, and nothing that follows it."""
        return isinstance(self.prefix, str) and bool(self.prefix) and self.head is None

    def line(self, **change: Any) -> Line:
        """The caller's own line with hints changed."""
        return Line(self.given, change)

    @property
    def given(self) -> dict[str, Any]:
        """The hints that are not left at their defaults, by name."""
        default = Hints()
        return {k: v for k, v in self._asdict().items() if _is_given(v, getattr(default, k))}


HINTS: Final = Hints._fields


def _is_given(value: Any, default: Any) -> bool:
    if isinstance(value, (str, list, tuple, int)):  # a flag is an int, too
        return bool(value) and value != default
    return value is not None


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _require_text(name: str, value: Any, several: bool) -> None:
    listed = several and isinstance(value, Sequence) and all(isinstance(k, str) for k in value)
    if not isinstance(value, str) and not listed:
        expected = "a name or a list of names" if several else "a name"
        raise TypeError(Message(Option(name), f": expected {expected}, got {value!r:.80}"))


def refuse_decoder(prefix: Names, chain: str | None) -> None:
    """Refuse to chain an encoder and a decoder, unless the caller confirms that they are a chain.

    Raises
    ------
    WrongChoice
        If that is not confirmed, or there is nothing to confirm.
    """
    chained = isinstance(prefix, list) and len(prefix) > 1
    if chain is not None:
        if not chained:
            raise WrongChoice(
                Message(Option("chain"), ": expected a list of several names as ", Option("prefix"))
            )
        return
    if chained and re.search("enc.*\n.*dec", "\n".join(prefix), re.IGNORECASE | re.DOTALL):
        raise WrongChoice(
            Message(
                "a list of prefixes is a chain, in which each LSTM reads every step of the one "
                f"before it: {_called(prefix)}. Most decoders read something else, such as one "
                "vector again and again, or take over the encoder's state, which is not computed "
                "here. If yours does read every step of the encoder, say so with ",
                Option("chain", "steps"),
            )
        )


def _called(names: Sequence[str]) -> str:
    """A chain of LSTMs as torch's code has it: ``b(a(x)[0])``."""
    text = "x"
    for name in names:
        text = f"{name.removesuffix('.')}({text})[0]"
    return text.removesuffix("[0]")
