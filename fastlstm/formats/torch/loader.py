"""Networks from PyTorch: a module, or its tensors by name. Imports torch for neither."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fastlstm.activations import LINEAR, Activation, as_activations
from fastlstm.dense import Dense, as_head
from fastlstm.errors import UnsupportedModelError
from fastlstm.formats.torch.modules import (
    Tail,
    activation_named,
    check_embedding,
    check_lstm,
    refuse_modules,
    tail_of,
)
from fastlstm.formats.torch.names import (
    as_numpy,
    embedding_from,
    find_lstms,
    find_name,
    head_from,
    layers_from,
    lstm_names,
    shortened,
)
from fastlstm.formats.torch.state import parts_of
from fastlstm.formats.trust import WrongChoice
from fastlstm.network import READS, check_layers

if TYPE_CHECKING:
    from fastlstm.model import LSTM

__all__ = ["build", "from_torch"]

DEFAULT_ACTIVATIONS = ("sigmoid", "tanh", "tanh")


def from_torch(
    module_or_state_dict: Any,
    prefix: str | Sequence[str] = "",
    head: Any = None,
    activations: Sequence[Any] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
    *,
    activation: Any = None,
    embedding: str | None = None,
    read: str = "final",
    skip: int = 0,
) -> LSTM:
    """A network from a torch module or from tensors with torch's names.

    Batches always come first, whatever the module's ``batch_first``, and dropout is inactive, as
    in ``eval()`` mode.

    Parameters
    ----------
    module_or_state_dict : nn.LSTM, nn.LSTMCell, nn.Module or mapping of str to array or tensor
        A module that is or holds an LSTM, or a mapping such as its ``state_dict()``, also inside
        of other mappings, as checkpoints have it. A mapping of NumPy arrays needs no torch, its
        layers may differ in hidden size, and it may hold ``peephole_i_l0``, ``peephole_f_l0``
        and ``peephole_o_l0`` (H,). ``float16`` and ``bfloat16`` are widened to ``float32``.
    prefix : str or sequence of str, optional
        Where the LSTM is, such as ``"encoder.lstm"``; of several that follow each other, a list.
        Needed if there are several, and to take just the LSTM, the embedding and the head from a
        model that holds more: without it, nothing may be left over.
    head : str, sequence of str, Dense, number or (weight, bias), optional
        The dense head, or its name: ``"fc"`` takes ``fc.weight`` and ``fc.bias``. A name of an
        `nn.Sequential` of a module takes its dense layers and activations. Names of several
        layers need an `activation` for each.
    activations : sequence of three activations
        Of gates, candidate and cell output; see `Activation`. Torch's own are the default.
    return_sequences : bool
        Whether `predict` applies the head at every step unless told otherwise.
    activation : str, Activation or sequence of them, optional
        Of the head: ``"sigmoid"``, ``"softmax"``, ``("leaky_relu", 0.2)``; of several named dense
        layers a list with one for each, ``["relu", None]``. ``"hardsigmoid"`` is torch's, with
        1/6 and 0.5. What stands in a module's ``forward`` as a function call cannot be seen here.
    embedding : str, optional
        The name of the `nn.Embedding` in front. Torch masks no id, its ``padding_idx`` neither.
    read : str
        What the head reads when there is one output for a sequence. ``"final"`` is ``h_n[-1]``,
        of two directions ``torch.cat([h_n[-2], h_n[-1]], 1)``. ``"last"`` is ``output[:, -1]``:
        the same for one direction, but of two the backward half has read a single step there.
        ``"max"`` and ``"mean"`` are those of ``output`` over the steps.
    skip : int
        So many inputs are added to the head's outputs.

    Returns
    -------
    LSTM

    Raises
    ------
    UnsupportedModelError
        For a GRU or plain RNN, a class of its own instead of `nn.LSTM`, weight_norm, or a dtype
        that is none of the above. Without a `prefix` also for a module that holds more than an
        LSTM, its embedding and its head, such as a ReLU that is not an `activation`.
    ValueError
        If the LSTM or the head is missing or ambiguous (the candidates are listed), if there
        are tensors that nothing names and no `prefix`, or if shapes do not fit.
    TypeError
        If the first argument is none of these, or a weight is masked.
    """
    try:
        return build(
            module_or_state_dict,
            prefix,
            head,
            activations,
            return_sequences,
            activation=activation,
            embedding=embedding,
            read=read,
            skip=skip,
        )
    except WrongChoice as error:
        raise ValueError(str(error)) from None


def build(
    module_or_state_dict: Any,
    prefix: str | Sequence[str] = "",
    head: Any = None,
    activations: Sequence[Any] = DEFAULT_ACTIVATIONS,
    return_sequences: bool = False,
    *,
    activation: Any = None,
    embedding: str | None = None,
    read: str = "final",
    skip: int = 0,
) -> LSTM:
    """`from_torch`, with errors that tell a wrong choice (`WrongChoice`) from wrong tensors."""
    from fastlstm.model import LSTM

    if read not in READS:
        raise WrongChoice(f"read: expected one of {READS}, got {read!r}")
    of_cell = as_activations([activation_named(k) for k in activations])
    tensors, modules = parts_of(module_or_state_dict)
    roots = find_lstms(tensors, prefix)
    used: set[str] = set()
    mine: set[str] = set()
    layers: list[Any] = []
    for root in roots:
        check_lstm(modules, root)
        layers += layers_from(tensors, root, of_cell)
        used.update(lstm_names(tensors, root))
        mine.add(root.removesuffix("."))
    check_layers(layers)
    top = layers[-1]
    if embedding is not None:
        embedding = embedding.removesuffix(".")
        full = find_name(tensors, f"{embedding}.weight", roots[0], "embedding")
        name = embedding if full is None else full.removesuffix(".weight")
        check_embedding(modules, name)
        layers.insert(0, embedding_from(tensors, name))
        used.add(f"{name}.weight")
        mine.add(name)
    names = _names_of(head)
    if names is not None:
        tail, of_tail = _tail(tensors, modules, names, activation, roots[-1], return_sequences)
        head = [head_from(tensors, name, of_dense) for name, of_dense in tail]
        mine |= of_tail
        used |= {f"{name}.{part}" for name, _ in tail for part in ("weight", "bias")}
    elif isinstance(head, (tuple, list)) and not all(isinstance(k, Dense) for k in head):
        head = [None if part is None else as_numpy(part) for part in head]
    if not prefix:
        part = _part(roots[0])
        _refuse_rest(tensors, used, names, embedding, part)
        refuse_modules(modules, mine, _hinted(activation), part)
    try:
        denses = as_head(head, top.output_size, top.dtype)
        if names is None:
            denses = _with_activation(denses, activation)
        return LSTM(layers, denses, return_sequences, read=read, skip=skip)
    except UnsupportedModelError:
        raise
    except ValueError as error:
        raise WrongChoice(str(error)) from None


def _names_of(head: Any) -> list[str] | None:
    """The names of dense layers in a `head`, None if it holds weights."""
    if isinstance(head, str):
        head = [head]
    if isinstance(head, (tuple, list)) and head and all(isinstance(k, str) for k in head):
        return [name.removesuffix(".") for name in head]
    return None


def _tail(
    tensors: Mapping[str, Any],
    modules: Mapping[str, Any],
    names: list[str],
    activation: Any,
    root: str,
    every_step: bool,
) -> tuple[Tail, set[str]]:
    """The dense layers of these names with their activations, and all modules in them."""
    hints = [activation] if len(names) == 1 else activation
    if isinstance(hints, str) or not isinstance(hints, Sequence) or len(hints) != len(names):
        raise WrongChoice(
            f"head={names!r}: expected an activation for each of the {len(names)} layers, such as "
            f"activation={['relu'] * (len(names) - 1) + [None]!r}, got {activation!r}"
        )
    tail: Tail = []
    mine: set[str] = set()
    for name, hint in zip(names, hints, strict=True):
        module = find_name(modules, name, root, "head") if modules else None
        if module is not None:
            part, seen = tail_of(modules, module, every_step)
            mine |= seen
        else:
            full = find_name(tensors, f"{name}.weight", root, "head")
            part = [(name if full is None else full.removesuffix(".weight"), LINEAR)]
        if hint is not None and part:
            named, own = activation_named(hint), part[-1][1]
            if own not in (LINEAR, named):
                raise WrongChoice(
                    f"head={name!r} has the activation {own} already, got activation={hint!r}"
                )
            part[-1] = (part[-1][0], named)
        tail += part
    return tail, mine


def _with_activation(denses: tuple[Dense, ...], activation: Any) -> tuple[Dense, ...]:
    """A head by value whose last layer has the activation that was named beside it."""
    if activation is None:
        return denses
    if not denses or denses[-1].activation != LINEAR:
        what = "there is no head" if not denses else f"the head has {denses[-1].activation}"
        raise WrongChoice(f"activation={activation!r}: {what}")
    last = denses[-1]
    return (*denses[:-1], Dense(last.weight, last.bias, activation=activation_named(activation)))


def _hinted(activation: Any) -> list[Activation | str]:
    """All activations that a caller has named."""
    if isinstance(activation, (tuple, list)):
        try:
            return [activation_named(activation)]  # a name and its numbers
        except (TypeError, ValueError):
            return [activation_named(part) for part in activation]
    return [activation_named(activation)]


def _refuse_rest(
    tensors: Mapping[str, Any],
    used: set[str],
    names: list[str] | None,
    embedding: str | None,
    part: str,
) -> None:
    """Refuse tensors besides those of the LSTM and of what is named: they would be dropped."""
    rest = [name for name in tensors if name not in used]
    if not rest:
        return
    named = "" if names is None else f" and the head {', '.join(map(repr, names))}"
    named += "" if embedding is None else f" and the embedding {embedding!r}"
    weights = [name.removesuffix(".weight") for name in rest if name.endswith(".weight")]
    alone = [name for name in weights if f"{name}.bias" not in tensors]
    dense = [name for name in weights if name not in alone]
    hints = [] if names is not None else [f"its dense head by head={_only(dense)!r}"]
    if alone and embedding is None:
        hints.append(f"its embedding by embedding={_only(alone)!r}")
    hint = f"; name {' and '.join(hints)}" if hints else ""
    kind = ValueError if names is None else WrongChoice  # a head unnamed: who knows what it is
    raise kind(f"the model holds more than an LSTM{named}: {shortened(rest)}{hint}{part}")


def _only(names: list[str]) -> str:
    """The one name that there is, to be shown in a hint."""
    return names[0] if len(names) == 1 else "..."


def _part(root: str) -> str:
    """How to take the LSTM and the head all the same."""
    if not root:  # its names begin with nothing, which is no prefix either
        return "; to drop the rest, pass the tensors of the LSTM and its head only"
    return f"; to take just this LSTM and its head, if any, name it by prefix={root[:-1]!r}"
