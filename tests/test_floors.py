"""The package is built in floors: imports run downwards, and no circle joins two modules."""

import ast
from pathlib import Path

import pytest

import fastlstm

PACKAGE = Path(fastlstm.__file__).resolve().parent

# From the ground up; a module stands on the first floor that names it or a folder around it.
FLOORS = (
    ("errors", "files", "lazy", "messages", "tutorial"),
    ("network",),
    ("reference",),
    ("engine.compiling", "engine.cpu", "engine.jit"),
    ("engine.simd",),
    ("engine.kernel",),
    ("engine.plan",),
    ("engine.run",),
    ("calls",),
    ("formats",),
    ("model",),
    ("check", "loading"),
    ("scoring",),
    ("commands", "versions"),
    ("cli", "__main__"),
)


def modules() -> dict[str, ast.Module]:
    """Every module of the package but its front door, which imports lazily, by dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name and name != "engine":
            found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


MODULES = modules()


def imports(tree: ast.Module) -> set[str]:
    """The package's own modules that one imports, at its head, in functions and for types."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.append(whole if _own(whole) in MODULES else f"{node.module}")
    return {_own(name) for name in names} & MODULES.keys()


def _own(name: str) -> str:
    """A module's name within the package."""
    return name.removeprefix("fastlstm.")


IMPORTS = {name: imports(tree) for name, tree in MODULES.items()}


def floor_of(module: str) -> int:
    for number, names in enumerate(FLOORS):
        if any(module == name or module.startswith(f"{name}.") for name in names):
            return number
    raise AssertionError(f"no floor names {module}: add it to FLOORS")


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_downwards(module):
    upwards = [other for other in IMPORTS[module] if floor_of(other) > floor_of(module)]
    assert not upwards


def test_no_circles():
    left = {name: {k for k in of if k != name} for name, of in IMPORTS.items()}
    while True:
        done = {name for name, of in left.items() if not of & left.keys()}
        if not done:
            break
        left = {name: of for name, of in left.items() if name not in done}
    # what is left stands on a circle, or above one
    assert not left, {name: sorted(of & left.keys()) for name, of in left.items()}


def test_relative_imports_are_not_used():
    """They would pass the two tests above unseen."""
    for name, tree in MODULES.items():
        assert not any(isinstance(k, ast.ImportFrom) and k.level for k in ast.walk(tree)), name
