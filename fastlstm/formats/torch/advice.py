"""What to do where hints cannot say what a module's ``forward`` does: let it be followed."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from typing import Any, Final

from fastlstm.messages import Line, Option

__all__ = ["EXPORTED", "follow_it", "is_live"]

LINE: Final = "fastlstm.from_torch(module, example=x)"
EXPORTED: Final = (
    "an archive of torch.export, whose program is not read. If you trust it, torch runs it: "
    'fastlstm.from_torch(torch.export.load("model.pt2").module(), example=x)'
)
# Modules that are not computed, whatever follows them.
_HOPELESS: Final = re.compile(
    r"GRU|RNN|Attention|Transformer|Conv(Transpose)?[23]d|an attention|a GRU|a plain RNN|a 2-D"
)


def is_live(modules: Mapping[str, Any]) -> bool:
    """Whether these are modules of Python, with a forward that can be run."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    scripted = torch.jit.ScriptModule
    return any(
        isinstance(k, torch.nn.Module) and not isinstance(k, scripted) for k in modules.values()
    )


def follow_it(modules: Mapping[str, Any], kinds: Iterable[str] = ()) -> list[str | Option | Line]:
    """The end of a message: the line that follows the module's own ``forward``.

    Nothing if parts of it are of `kinds` that are not computed anyway.
    """
    if any(_HOPELESS.search(kind) for kind in kinds):
        return []
    if is_live(modules):
        return [f". Or have its own forward followed, for inputs x as it takes them: {LINE}"]
    return [
        ". Or, with the code of its class: build the module, load the weights into it, and have "
        f"its own forward followed, for inputs x as it takes them: {LINE}"
    ]
