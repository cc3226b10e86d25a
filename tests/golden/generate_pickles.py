"""Make whole modules and a checkpoint as Lightning writes them: ``python generate_pickles.py``.

They go to ``torch/``: ``pickled_module.pt`` and ``pickled_module_old.pt`` (as before torch 1.6),
``lightning.ckpt``, and ``pickles.npz`` with inputs and what PyTorch computed. The classes of the
checkpoint's hyperparameters are made up here, under the names of the packages that have them.
"""

import argparse
import datetime
import enum
import functools
import pathlib
import sys
import types
from collections import OrderedDict, deque
from pathlib import Path

import numpy as np
import torch
from generate_torch import Classifier, shake
from torch import nn

FOLDER = Path(__file__).parent / "torch"


class Mode(enum.Enum):
    FAST = "fast"


class DictConfig(dict):
    """Stands for omegaconf's: a mapping that keeps its content in its state."""

    def __reduce__(self):
        return type(self), (), {"_content": dict(self), "_metadata": Mode.FAST}


class Recorder:
    __slots__ = ("best", "path")

    def __init__(self) -> None:
        self.best, self.path = 0.5, pathlib.PurePosixPath("best.ckpt")


class Forecaster(nn.Module):
    """What a LightningModule wraps: two layers, the last step, two dense layers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, 5, 2, batch_first=True, dropout=0.1)
        self.fc = nn.Sequential(nn.Linear(5, 4), nn.LeakyReLU(0.3), nn.Linear(4, 1))
        self.register_buffer("fleeting", torch.ones(3), persistent=False)
        self.scale = torch.ones(3)  # no parameter: a state_dict lacks it

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.lstm(x)[0][:, -1])


def foreign(kind: type, module: str) -> type:
    """Have a class bear the name of another package's module."""
    kind.__module__ = module
    kind.__qualname__ = kind.__name__
    for name in (module.partition(".")[0], module):
        sys.modules.setdefault(name, types.ModuleType(name))
    setattr(sys.modules[module], kind.__name__, kind)
    return kind


def make_lightning(rng: torch.Generator) -> dict[str, np.ndarray]:
    net = shake(Forecaster(), rng)
    wrapper = nn.ModuleDict({"model": net})
    optimizer = torch.optim.Adam(net.parameters())
    x = torch.randn(4, 6, 3, generator=rng)
    net(x).sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    hyper = {
        "config": foreign(DictConfig, "omegaconf.dictconfig")(hidden=5),
        "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "mode": foreign(Mode, "project.modes").FAST,
        "folder": pathlib.PurePosixPath("data"),
        "when": datetime.datetime(2024, 1, 2, 3, 4, 5),
        "mean": np.array([[1.0, 2.0], [3.0, 4.0]]),
        "scale": np.float64(0.5),
        "steps": np.int64(7),
        "kind": np.dtype("float32"),
        "names": np.array(["a", "b"], dtype=object),
        "function": functools.partial(max, 1),
        "last": deque([1, 2], maxlen=2),
        "optimizer": torch.optim.Adam,
        (1, 2): "a tuple",
    }
    checkpoint = {
        "epoch": 3,
        "global_step": 100,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": wrapper.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best": torch.tensor(0.25)}},
        "recorder": foreign(Recorder, "project.recorders")(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [OrderedDict(last_epoch=3)],
        "hparams_name": "kwargs",
        "hyper_parameters": hyper,
    }
    torch.save(checkpoint, FOLDER / "lightning.ckpt")
    with torch.no_grad():
        return {"x": x.numpy(), "lightning": net(x).numpy()}


def make_modules(rng: torch.Generator) -> dict[str, np.ndarray]:
    foreign(Classifier, "project.networks")
    foreign(Forecaster, "project.networks")
    net = shake(Classifier(), rng)
    ids = torch.randint(0, 11, (4, 6), generator=rng)
    torch.save(net, FOLDER / "pickled_module.pt")
    # without the source of each class and where it was on this machine
    torch.serialization.get_source_lines_and_file = lambda kind: (["class"], 0, "networks.py")
    old = shake(Forecaster(), rng)
    torch.save(old, FOLDER / "pickled_module_old.pt", _use_new_zipfile_serialization=False)
    x = torch.randn(3, 6, 3, generator=rng)
    with torch.no_grad():
        found = {"ids": ids, "pickled_module": net(ids), "old_x": x, "pickled_module_old": old(x)}
    return {name: value.numpy() for name, value in found.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(11)
    arrays = make_lightning(generator) | make_modules(generator)
    np.savez(FOLDER / "pickles.npz", **arrays)
