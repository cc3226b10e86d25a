"""Stand-ins for torch's modules, as a file has them."""

from model_files import (
    random,
    tensors,
)

from fastlstm.formats.torch.state import Holder


def both_directions():
    return tensors((2, 3)) | {f"{name}_reverse": -a for name, a in tensors((2, 3)).items()}


def held(kind, **attributes):
    """A module of a file; `kind` is its class in torch, or a class of a stranger's."""
    home = {"LSTM": "rnn", "Linear": "linear", "Embedding": "sparse", "LayerNorm": "normalization"}
    home |= {"Conv1d": "conv", "BatchNorm1d": "batchnorm", "MaxPool1d": "pooling"}
    home |= {"AvgPool1d": "pooling", "RMSNorm": "normalization"}
    home |= {"Sequential": "container", "Dropout": "dropout", "Identity": "linear"}
    torchs = f"torch.nn.modules.{home.get(kind, 'activation')}.{kind}"
    holder = Holder(kind if "." in kind else torchs)
    holder.attributes = attributes
    return holder


def sequential(*modules):
    return held("Sequential", **{str(k): module for k, module in enumerate(modules)})


def linear(inputs, outputs, seed=0):
    weight, bias = random(outputs, inputs, seed=seed), random(outputs, seed=seed)
    return held("Linear", weight=weight, bias=bias)


def held_net(head=None, sizes=(2, 3), **more):
    head = {"fc": linear(sizes[-1], 1)} if head is None else {"head": head}
    return held("project.Net", lstm=held("LSTM", **tensors(sizes)), **head, **more)
