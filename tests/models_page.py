"""The tables of ``docs/models.md`` that the code decides.

``python tests/models_page.py`` writes them, `test_models_page` compares them with the page. What a
part is comes from its docstring, what a format has from the tables of its reader.
"""

from __future__ import annotations

import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "models.md"
WIDTH = 116

sys.path.insert(0, str(ROOT))

from fastlstm.formats.description import KINDS, OPTIONS  # noqa: E402
from fastlstm.formats.keras import layers as keras_layers  # noqa: E402
from fastlstm.formats.keras import unsupported  # noqa: E402
from fastlstm.formats.onnx import layers as onnx_layers  # noqa: E402
from fastlstm.formats.onnx import ops  # noqa: E402


def parts() -> str:
    """A line for each part of a network."""
    lines = ["| part | what is computed | options |", "|---|---|---|"]
    for kind in sorted(KINDS.values(), key=lambda kind: kind.__name__):
        options = [f.name for f in fields(kind) if f.type in OPTIONS and f.name != "values"]
        what = re.sub(r"\s+", " ", inspect.getdoc(kind).split("\n\n")[0])
        what = what.replace("``", "`").replace("|", "\\|")
        lines.append(f"| `{kind.__name__}` | {what} | {named(options, None)} |")
    return "\n".join(lines)


def keras() -> str:
    """The layers and operations of Keras."""
    computed = {*keras_layers.ADDERS, *keras_layers.JOINTS}
    return paragraphs(
        f"Layers: {named(computed)}.",
        f"Layers that do nothing when a model is used: {named(keras_layers.INERT)}.",
        f"Operations of a functional model: {named(keras_layers.OPERATIONS)}.",
    )


def onnx() -> str:
    """The operators of ONNX."""
    return paragraphs(
        f"Operators on what the network computes: {named(onnx_layers.LAYERS)}.",
        f"Operators that move numbers about: {named(ops.MOVES)}.",
        f"Operators on constants, sizes and axes: {named(ops.FOLDED)}.",
    )


def refused() -> str:
    """What Keras has and is refused with a reason of its own."""
    lines = []
    for kinds, reason in unsupported.REASONS:
        if not reason.endswith("is not"):
            reason = reason.removeprefix("is not computed: ")
        lines.append(wrapped(f"- {named(kinds, None)}: {reason}."))
    return "\n".join(lines)


TABLES = {"parts": parts, "keras": keras, "onnx": onnx, "refused": refused}


def named(names: Iterable[str], order: type | None = str) -> str:
    return ", ".join(f"`{name}`" for name in (sorted(names, key=order) if order else names))


def paragraphs(*texts: str) -> str:
    return "\n\n".join(map(wrapped, texts))


def wrapped(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, subsequent_indent="  " if text.startswith("- ") else "",
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def written(page: str) -> str:
    """The page with its tables as the code has them."""
    for name, table in TABLES.items():
        begin, end = f"<!-- {name}: from the code -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"{PAGE.name}: there is no place for {name}")
        page = f"{before}{begin}{table()}\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
