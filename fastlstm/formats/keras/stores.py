"""Where a Keras model's weights are: a tree of groups, a list for each layer, or a live model.

Each of these stores returns the weights of a layer, or of something inside it such as
``layers/lstm/cell``, and at the end the names of those that were left over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from fastlstm.errors import ModelFormatError
from fastlstm.formats.floats import widened
from fastlstm.formats.keras.graph import KerasLayer, unique_names

__all__ = ["Listed", "Live", "Store", "Tree"]

Array = npt.NDArray[Any]

GATES_OF_KERAS_1: Final = "icfo"
KERAS_1: Final = {"kernel": "W", "recurrent_kernel": "U", "bias": "b", "embeddings": "W"}
# Other names of a weight, in other versions.
ALSO: Final = {
    **{name: (old,) for name, old in KERAS_1.items()},
    "alpha": ("alphas",),
    "beta": (),
    "count": (),
    "depthwise_kernel": ("kernel",),
    "gamma": (),
    "mean": (),
    "moving_mean": ("running_mean",),
    "moving_variance": ("running_std",),
    "pointwise_kernel": (),
    "variance": (),
}
NAMES: Final = "|".join(sorted({*ALSO, *(old for names in ALSO.values() for old in names)}))
NOT_TRAINED: Final = ("count", "mean", "moving_mean", "moving_variance", "variance")


class Store(Protocol):
    """The weights of a model.

    Attributes
    ----------
    backward_taps : bool
        Whether the taps of a Conv1D are in the opposite order.
    """

    backward_taps: bool

    def take(
        self, layer: KerasLayer, inside: str, names: Sequence[str], unread: Sequence[str] = ()
    ) -> list[Array]:
        """Return the weights with these names of a layer, or of its ``"cell"`` or another part.

        Those that are `unread` stand behind them, or are missing. They count as taken.
        """

    def rest(self) -> list[str]:
        """Return the names of the weights that were not taken."""


class Tree:
    """Groups named as the layers are: ``.keras`` and ``.weights.h5`` of Keras 3."""

    backward_taps = False

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._rest = dict.fromkeys(arrays)

    def take(
        self, layer: KerasLayer, inside: str, names: Sequence[str], unread: Sequence[str] = ()
    ) -> list[Array]:
        """As `Store`."""
        group = "/".join(filter(None, (layer.path, inside, "vars")))
        found = [f"{group}/{k}" for k in range(len(names))]
        for name, what in zip(found, names, strict=True):
            if name not in self._rest:
                raise ModelFormatError(f"{layer}: there is no {what} under {name}")
            del self._rest[name]
        for k in range(len(names), len(names) + len(unread)):
            self._rest.pop(f"{group}/{k}", None)
        return [widened(name, self._arrays[name]) for name in found]

    def rest(self) -> list[str]:
        """As `Store`."""
        return [name for name in self._rest if not re.search(r"(^|/)seed_generator/", name)]


class Listed:
    """A list of weights for each layer of the outermost model: ``.h5`` of all versions.

    Keras reads them in this order. Where names say more, they count: a model inside, or a layer of
    two directions, stores the weights that are not trained last.

    Parameters
    ----------
    groups : iterable of (str, mapping of str to array)
        The layers that have weights, in order.
    named : bool
        Whether the names of the layers must fit.
    backward_taps : bool
        Whether the taps of convolutions are in the opposite order, as Theano had them.
    """

    def __init__(
        self,
        groups: Sequence[tuple[str, Mapping[str, Any]]],
        named: bool,
        backward_taps: bool = False,
    ) -> None:
        self._groups = iter(groups)
        self.backward_taps = backward_taps
        self._named = named
        self._top: str | None = None
        self._name = ""
        self._arrays: Mapping[str, Any] = {}
        self._left: list[str] = []

    def take(
        self, layer: KerasLayer, inside: str, names: Sequence[str], unread: Sequence[str] = ()
    ) -> list[Array]:
        """As `Store`."""
        if layer.top != self._top:
            self._enter(layer)
        left = list(self._left)
        whole = re.compile(rf"(^|/){re.escape(layer.name)}(/|$)")
        left = [name for name in left if whole.search(name)] or left
        for hint in (layer.name, *re.findall("forward_|backward_", inside)):
            left = [name for name in left if hint in name] or left
        if (
            left
            and names[0] == "kernel"
            and "recurrent_kernel" in names
            and re.search(r"_W_[icfo](:0)?$|^param_\d+$", left[0])
            and len(left) >= 4 * len(names)
        ):
            return self._gates(layer, left, names)
        taken = [self._array(layer, *pair) for pair in self._pairs(layer, left, names)]
        for name in [k for k in left if k in self._left and _said(k) in unread]:
            self._left.remove(name)
        return taken

    def _enter(self, layer: KerasLayer) -> None:
        if self._left:
            raise ModelFormatError(f"weights that no layer reads: {self._left}")
        found = next(self._groups, None)
        if found is None or (self._named and found[0] != layer.top):
            raise ModelFormatError(
                f"expected weights of {layer} next, got {found and repr(found[0])}"
            )
        self._top, self._name, self._arrays = layer.top, *found
        self._left = list(self._arrays)

    def _pairs(
        self, layer: KerasLayer, left: list[str], names: Sequence[str]
    ) -> Iterator[tuple[str, str]]:
        if len(left) < len(names):
            raise ModelFormatError(f"{layer}: expected weights {list(names)}, got {left}")
        left = list(left)
        for what in names:
            fits = (what, None, *ALSO.get(what, ()))
            name = left[0]
            if what in NOT_TRAINED:  # a model inside stores these behind all others
                name = next((k for k in left if _said(k) in fits), name)
            if _said(name) not in fits:
                raise ModelFormatError(f"{layer}: expected the {what}, got {name!r}")
            left.remove(name)
            yield name, what

    def _array(self, layer: KerasLayer, name: str, what: str) -> Array:
        self._left.remove(name)
        return widened(f"{layer}, {what}", self._arrays[name])

    def _gates(self, layer: KerasLayer, left: list[str], names: Sequence[str]) -> list[Array]:
        """Keras 1 stored each gate by itself: W_i, U_i, b_i, then those of c, f and o."""
        gates: dict[str, dict[str, Array]] = {}
        for k, gate in enumerate(GATES_OF_KERAS_1):
            for name, what in zip(left[k * len(names) :], names, strict=False):
                said = re.search(r"_([WUb]_[icfo])(:0)?$", name)
                if said and said[1] != f"{KERAS_1[what]}_{gate}":
                    raise ModelFormatError(f"{layer}: expected the {what} of {gate}, got {name!r}")
                gates.setdefault(what, {})[gate] = self._array(layer, name, what)
        return [np.concatenate([gates[what][g] for g in "ifco"], axis=-1) for what in names]

    def rest(self) -> list[str]:
        """As `Store`."""
        return self._left + [f"{group}/{name}" for group, arrays in self._groups for name in arrays]


def _said(name: str) -> str | None:
    """Which weight a name says that it is, if it says so."""
    said = re.search(rf"(?:^|[/_])({NAMES})(?:_\d+)?(?::0)?$", name)
    return said[1] if said else None


class Live:
    """The layers of a live model, by their attributes."""

    backward_taps = False

    def __init__(self, model: Any) -> None:
        self._model = model
        self._taken = 0

    def take(
        self, layer: KerasLayer, inside: str, names: Sequence[str], unread: Sequence[str] = ()
    ) -> list[Array]:
        """As `Store`."""
        found: Any = self._model
        for step in filter(None, f"{layer.path}/{inside}".split("/")):
            if isinstance(found, (list, tuple)):
                kinds = unique_names([type(one).__name__ for one in found])
                found = found[kinds.index(step)]
            else:
                found = getattr(found, step)
        arrays = [np.asarray(array) for array in found.get_weights()]
        if len(arrays) not in (len(names), len(names) + len(unread)):
            raise ValueError(
                f"{layer}: expected weights {list(names)}, got {len(arrays)} arrays"
                + ("" if arrays else "; is the model built?")
            )
        self._taken += len(arrays)
        return [widened(f"{layer}, {what}", a) for what, a in zip(names, arrays, strict=False)]

    def rest(self) -> list[str]:
        """As `Store`."""
        return [weight.name for weight in self._model.weights[self._taken :]]
