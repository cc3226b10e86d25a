"""Make the golden data of this folder with PyTorch: ``python tests/golden/generate.py``.

Each ``.npz`` holds one small network under torch's names, an input, and what PyTorch computed
from it. A layer is run by an `nn.LSTM` of its own, so that hidden sizes may differ, and unequal
lengths go through packed sequences. The four gates get clearly different biases and scales:
swapped gates cannot pass.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

# name: N, T, I, hidden sizes, outputs of the head, initial state, unequal lengths, biases
CASES = {
    "scalar": (5, 9, 1, (1,), 1, False, False, True),
    "one_input": (4, 7, 1, (8,), 1, True, False, True),
    "one_unit": (3, 6, 5, (1,), 2, True, True, True),
    "odd": (7, 11, 3, (5,), 3, True, True, True),
    "two_layers": (6, 8, 4, (9, 9), 2, True, True, True),
    "tapered": (5, 10, 6, (13, 7, 2), 1, True, True, True),
    "no_bias": (3, 5, 2, (6, 3), 0, False, False, False),
    "wide": (2, 4, 10, (33,), 4, True, False, True),
}
GATE_BIAS = (-0.5, 1.0, 0.3, -1.2)  # i f g o
GATE_SCALE = (1.0, 0.7, 1.6, 1.3)


def make_case(name: str, dtype: torch.dtype) -> dict[str, np.ndarray]:
    N, T, I, hidden_sizes, outputs, with_state, ragged, biases = CASES[name]  # noqa: E741
    rng = torch.Generator().manual_seed(1000 + list(CASES).index(name))

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=rng, dtype=torch.float64).to(dtype)

    x = random(N, T, I)
    lengths = torch.randint(1, T + 1, (N,), generator=rng)
    lengths[0], lengths[-1] = T, 1
    case = {"x": x}
    if ragged:
        case["lengths"] = lengths
    below = x
    for k, H in enumerate(hidden_sizes):
        lstm = torch.nn.LSTM(below.shape[2], H, bias=biases, batch_first=True, dtype=dtype)
        for kind, weight in lstm.named_parameters():
            gates = random(4, H, *weight.shape[1:])
            for gate in range(4):
                gates[gate] *= GATE_SCALE[gate] / np.sqrt(H)
                if kind.startswith("bias"):
                    gates[gate] += GATE_BIAS[gate]
            weight.data = gates.reshape(weight.shape)
            case[kind.replace("_l0", f"_l{k}")] = weight
        h0, c0 = (random(1, N, H) for _ in range(2))
        if with_state:
            case[f"h0_l{k}"], case[f"c0_l{k}"] = h0, c0
        start = (h0, c0) if with_state else None
        if ragged:
            packed = pack_padded_sequence(below, lengths, batch_first=True, enforce_sorted=False)
            packed, (h, c) = lstm(packed, start)
            below, _ = pad_packed_sequence(packed, batch_first=True, total_length=T)
        else:
            below, (h, c) = lstm(below, start)
        case[f"h_l{k}"], case[f"c_l{k}"] = h, c
    case["output"] = below
    if outputs:
        head = torch.nn.Linear(hidden_sizes[-1], outputs, dtype=dtype)
        head.weight.data, head.bias.data = random(*head.weight.shape), random(outputs)
        case["head.weight"], case["head.bias"] = head.weight, head.bias
        case["predicted"] = head(h[0])
    return {key: value.detach().numpy() for key, value in case.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(__file__).parent
    for name in CASES:
        for dtype in (torch.float32, torch.float64):
            np.savez(folder / f"{name}_{str(dtype)[6:]}.npz", **make_case(name, dtype))
