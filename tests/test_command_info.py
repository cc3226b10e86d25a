"""``fastlstm info``: what it says of a model file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from model_files import fc, random, tensors
from networks import WITH_PARTS, make_network

from fastlstm import LSTM, Bidirectional, Dense, Embedding, Layer, cli
from fastlstm.commands.info.counts import counts_of
from fastlstm.commands.info.describe import describe

GOLDEN = Path(__file__).parent / "golden" / "torch"


def layer(seed: int, inputs: int = 3, **options) -> Layer:
    return Layer(random(16, inputs, seed=seed), random(16, 4, seed=seed), random(16), **options)


@pytest.fixture
def model() -> LSTM:
    both = Bidirectional(layer(0, clip=2.5), layer(1, direction="reverse", coupled=True), "sum")
    head = [Dense(random(2, 4), random(2), activation=("elu", 0.5)), Dense(random(2, 2))]
    return LSTM([Embedding(random(9, 3)), both], head, read="mean")


def test_info_of_an_own_file(tmp_path, capsys, model):
    path = model.save(tmp_path / "model.npz")
    assert cli.main(["info", str(path)]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    kind, *lines = printed.out.splitlines()
    assert kind.startswith(f"{path}: fastlstm's own, version ")
    assert kind.endswith(f" {path.stat().st_size:,} bytes")
    assert lines == [
        "   inputs          (N, T) ids  weights",
        "0  embedding       (N, T, 3)        27  9 ids",
        "1  LSTM both ways  (N, T, 4)       256  4 units in each direction, added, "
        "forward: clip 2.5; backward: coupled gates",
        "2  read            (N, 4)               the mean over all steps",
        "3  dense           (N, 2)           10  elu(0.5)",
        "4  dense           (N, 2)            4  no bias",
        "   outputs         (N, 2)",
        "float32, 297 weights",
    ]
    sizes = [27, 2 * (16 * 3 + 16 * 4 + 16), 10, 4]
    assert sum(sizes) == 297


PLAIN = layer(0)
DESCRIBED = {
    "a plain layer": (
        LSTM([PLAIN]),
        [
            "inputs (N, T, 3) weights",
            "0 LSTM (N, T, 4) 128 4 units",
            "1 read (N, 4) the final outputs",
        ],
    ),
    "a mask": (
        LSTM([PLAIN], mask_value=1.5),
        ["0 mask (N, T, 3) steps whose inputs are all 1.5 are skipped"],
    ),
    "every step": (
        LSTM([PLAIN], Dense(random(1, 4)), True, skip=1),
        [
            "1 read (N, T, 4) every step",
            "2 dense (N, T, 1) 4 no bias",
            "3 add (N, T, 1) the first input",
            "outputs (N, T, 1)",
        ],
    ),
    "a skip of two": (
        LSTM([PLAIN], Dense(random(2, 4)), skip=2),
        ["3 add (N, 2) the first 2 inputs", "outputs (N, 2)"],
    ),
    "all options of a cell": (
        LSTM(
            [
                layer(
                    0,
                    peepholes=random(3, 4),
                    h_0=random(4),
                    activations=("relu", "tanh", "softsign"),
                    direction="go_backwards",
                )
            ]
        ),
        [
            "0 LSTM (N, T, 4) 144 4 units, go_backwards, peepholes, relu/tanh/softsign, "
            "starts from learned h_0"
        ],
    ),
}


def words(model: LSTM) -> list[str]:
    """The lines about a model without their columns."""
    return [" ".join(line.split()) for line in describe(model).splitlines()]


@pytest.mark.parametrize(("model", "lines"), DESCRIBED.values(), ids=DESCRIBED)
def test_a_network_in_words(model, lines):
    assert set(lines) <= set(words(model))


CNN = """
   inputs        (N, T, 3)             weights
0  convolution   (N, T, 6)                  60  3 steps, padding same, relu
1  scale, shift  (N, T, 6)                  18
2  pooling       (N, T // 2, 6)                 maximum of 2 steps
3  convolution   (N, (T + 2) // 4, 4)       76  3 steps, stride 2, padding same
4  LSTM          (N, (T + 2) // 4, 5)      220  5 units
5  LSTM          (N, (T + 2) // 4, 4)      176  4 units
6  read          (N, 4)                         the final outputs
7  dense         (N, 2)                     10  sigmoid
   outputs       (N, 2)
float32, 560 weights; takes sequences of at least 2 steps
"""
ATTENTION = """
   inputs          (N, T, 3)   weights
0  LSTM both ways  (N, T, 10)      400  5 units in each direction, side by side
1  dense           (N, T, 4)        44  tanh
2  read            (N, 4)               the final outputs
3  dot             (N, T, 1)            part 1 and part 2
4  softmax         (N, T, 1)            over the steps
5  multiply        (N, T, 4)            part 1 and part 4
6  read            (N, 4)               the sum over all steps
7  add             (N, 4)               part 6 and part 2
8  dense           (N, 2)           10
   outputs         (N, 2)
float32, 454 weights
"""
FRAMES = """
   inputs   (N, 9, 3)  weights
0  flatten  (N, 27)             9 steps
1  divide   (N, 3, 9)           into 3 steps
2  LSTM     (N, 3, 5)      320  5 units
3  read     (N, 5)              the final outputs
4  dense    (N, 1)           6
   outputs  (N, 1)
float32, 326 weights; takes sequences of 9 steps
"""
WINDOWS = """
   inputs   (N, T, 3)   weights
0  pooling  (N, T0, 3)           maximum of 2 steps, dilation 3, padding 1 in front, 2 behind, the last may be cut off
1  LSTM     (N, T0, 5)      200  5 units
2  pooling  (N, T0, 5)           maximum of 2 steps, stride 1, padding causal
3  read     (N, 5)               the mean over all steps
   outputs  (N, 5)
float32, 200 weights
T0: the steps that part 0 gives, 51 for T = 100
"""  # noqa: E501
SLICES = """
   inputs          (N, T, 3)              weights
0  LSTM both ways  (N, T, 10)                 400  5 units in each direction, side by side
1  steps           (N, T - 2, 10)                  [1:-1]
2  LSTM            (N, T - 2, 4)              256  4 units, backward
3  steps           (N, min(T - 2, 3), 4)           [:3]
4  dense           (N, min(T - 2, 3), 2)       10
   outputs         (N, min(T - 2, 3), 2)
float32, 666 weights; takes sequences of at least 3 steps
"""


@pytest.mark.parametrize(
    ("name", "drawn"),
    [
        ("conv, pool, batch norm", CNN),
        ("attention, dot, both", ATTENTION),
        ("frames", FRAMES),
        ("maximum of windows", WINDOWS),
        ("slices, both", SLICES),
    ],
)
def test_a_network_as_it_is_drawn(name, drawn):
    assert describe(make_network(name, "float32")).splitlines() == drawn.strip("\n").splitlines()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("autoencoder", "3 repeat (N, 9, 4) at 9 steps"),
        ("autoencoder", "outputs (N, 9, 3)"),
        ("autoencoder, both", "outputs (N, 3) the last step; with return_sequences=True, every "
         "step"),
        ("upsampling, both", "2 repeat (N, 2 * (T // 3), 10) each step 2 times"),
        ("flatten, both", "float32, 294 weights; takes sequences of 8 or 9 steps"),
        ("padding", "1 padding (N, T + 6, 3) 1 step in front, 2 behind: mirrored"),
        ("slices", "0 steps (N, T, 3) in reverse order"),
        ("conv, causal, groups", "1 convolution (N, T, 6) 18 2 steps, dilation 4, padding causal, "
         "depthwise"),
        ("convs side by side", "1 from (N, T, 3) the inputs"),
        ("convs side by side", "3 concatenate (N, T, 9) part 0, part 2 and the inputs"),
        ("mean of padded windows", "0 pooling (N, T0, 3) mean of 3 steps, stride 2, padding 1 in "
         "front, 1 behind, the last may be cut off, padding counts"),
        ("mean of windows", "2 pooling (N, (T + 1) // 2, 4) mean of 2 steps, the last may be cut "
         "off"),
        ("layer norm", "5 dense (N, T, 2) 10"),
        ("layer norm", "4 RMS norm (N, T, 4) 8 epsilon 0.01"),
        ("activations", "8 activation (N, 3) log_softmax"),
    ],
)  # fmt: skip
def test_parts_in_words(name, line):
    assert line in words(make_network(name, "float32"))


@pytest.mark.parametrize("name", WITH_PARTS)
def test_steps_as_they_are_written(name):
    """What is said of T steps is true of every number of steps, and what is left out is named."""
    network = make_network(name, "float32").network
    counts, drawn = counts_of(network.parts), describe(LSTM.from_network(network))
    fewest, most = network.step_limits
    for steps in range(1, 60):
        taken = network.steps(np.array([steps]))
        assert taken.refused[0] == (steps < fewest or (most is not None and steps > most)), steps
        if taken.refused[0]:
            continue
        fixed = counts_of(network.parts, steps)
        for i, count in enumerate(counts):
            true = taken.value(i)
            if true is None:
                assert count is fixed[i] is None
                continue
            assert str(fixed[i]) == str(true[0])
            if (named := re.search(r"T\d+", str(count))) is None:
                assert eval(str(count), {"T": steps, "min": min}) == true[0], (i, steps)
            else:
                assert f"\n{named[0]}: the steps that part " in drawn


def test_as_json(tmp_path, capsys):
    model = make_network("conv, pool, both", "float32")
    path = model.save(tmp_path / "model.npz")
    assert cli.main(["info", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["bytes"]) == (str(path), path.stat().st_size)
    assert said["inputs"] == {
        "shape": ["N", "T", 3],
        "dtype": "float32",
        "steps": {"least": 1, "most": None},
    }
    assert [part["kind"] for part in said["parts"]] == [
        "conv", "pool", "bidirectional", "bidirectional", "read", "dense",
    ]  # fmt: skip
    assert said["parts"][1]["shape"] == ["N", "(T + 1) // 2", 6]
    assert said["parts"][0]["dilation"] == 2
    assert said["outputs"] == {"shape": ["N", 2]}
    assert said["weights"] == sum(part["weights"] for part in said["parts"])
    assert said["unused"] == []
    np.savez(path := tmp_path / "unclear.npz", **tensors((2, 3), "a."), **fc(), **fc("out"))
    assert cli.main(["info", str(path), "--json"]) == 1
    printed = capsys.readouterr()
    assert "a.weight_ih_l0" in json.loads(printed.out)["tensors"]
    assert "more than an LSTM" in printed.err


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".json", ".pt"])
def test_info_of_a_file_that_needs_hints(tmp_path, capsys, suffix):
    """Its tensors, then the reason on stderr."""
    path, named = tmp_path / f"model{suffix}", tensors((2, 3), "a.") | fc() | fc("out")
    if suffix == ".npz":
        np.savez(path, **named)
    elif suffix == ".json":
        path.write_text(json.dumps({name: a.tolist() for name, a in named.items()}))
    elif suffix == ".pt":
        from test_formats_pt import archive, state_dict

        archive(path, state_dict(named), named.values())
    else:
        pytest.importorskip("safetensors.numpy").save_file(named, path)
    assert cli.main(["info", str(path)]) == 1
    printed = capsys.readouterr()
    kind, *lines = printed.out.splitlines()
    assert kind.startswith(f"{path}: t")
    assert len(lines) == len(named)
    assert any(re.fullmatch(r"  a\.weight_ih_l0  (\S+ )?\(12, 2\)", line) for line in lines)
    (line,) = printed.err.splitlines()
    assert re.search(
        r"more than an LSTM: fc \(a dense layer, 3 -> 2\), out .*, with --ignore", line
    )
    arguments = ["info", str(path), "--prefix", "a", "--head", "out"]
    assert cli.main(arguments) == 1
    assert "and the head 'out': fc (a dense layer" in capsys.readouterr().err
    assert cli.main([*arguments, "--ignore", "fc"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert any(re.fullmatch(r"2  dense    \(N, (T, )?2\) +8", line) for line in printed)
    assert [line for line in printed if line.startswith("not used: fc (")]


def test_hints(capsys):
    """Each of them is what the loader calls so."""
    arguments = ["--embedding", "emb", "--head", "fc.1", "fc.3", "--activation", "relu", "softmax"]
    assert cli.main(["info", str(GOLDEN / "checkpoint.pt"), *arguments, "--read", "last"]) == 0
    printed = capsys.readouterr().out
    assert [" ".join(line.split()) for line in printed.splitlines()][1:8] == [
        "inputs (N, T) ids weights",
        "0 embedding (N, T, 4) 44 11 ids",
        "1 LSTM both ways (N, T, 6) 216 3 units in each direction, side by side",
        "2 LSTM both ways (N, T, 6) 264 3 units in each direction, side by side",
        "3 read (N, 6) the outputs at the last step",
        "4 dense (N, 4) 28 relu",
        "5 dense (N, 3) 15 softmax",
    ]
    arguments = ["--head", "out", "--activation", "tanh", "--return-sequences"]
    assert cli.main(["info", str(GOLDEN / "cell.pt"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "(N, T, 1)        5  tanh" in printed
    assert "outputs  (N, T, 1)" in printed


@pytest.mark.parametrize("name", ["amp.nam", "rtneural.json", "rtneural_torch.json"])
def test_info_of_json_models(capsys, name):
    assert cli.main(["info", str(GOLDEN / name)]) == 0
    assert "  every step\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.pt"], "there is no model file"),
        (["whole_module.pt"], "more than an LSTM: tail.0 (a dense layer, 4 -> 3)"),
        (["scripted.pt", "--node", "x"], "node"),
        (["files.npz"], "expected the tensors of an LSTM"),
    ],
)
def test_errors(capsys, arguments, message):
    source, *more = arguments
    assert cli.main(["info", str(GOLDEN / source), *more]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("fastlstm: error: ")
    assert message in line


def test_info_of_an_activation_by_itself(tmp_path, capsys):
    np.savez(path := tmp_path / "model.npz", **tensors((2, 3)), **fc())
    assert cli.main(["info", str(path), "--head", "fc", "--between", "relu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-5:] == [
        "1  read        (N, 3)              the final outputs",
        "2  activation  (N, 3)              relu",
        "3  dense       (N, 2)           8",
        "   outputs     (N, 2)",
        "float32, 92 weights",
    ]
    assert sum(a.size for a in (tensors((2, 3)) | fc()).values()) == 92


def test_what_is_not_shown(tmp_path, capsys):
    """Sizes and axes, of which a graph has dozens; of the rest not more than a screen or two."""
    named = {f"shape_{k}": np.zeros(3, np.int64) for k in range(90)}
    named |= {f"w{k}.weight": random(2, 2) for k in range(70)} | {"scale": random(1)[0]}
    np.savez(path := tmp_path / "model.npz", **tensors((2, 3)), **named)
    assert cli.main(["info", str(path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 60 + 2
    assert lines[-2:] == ["  and 14 more", "  and 91 that are integers or single numbers"]
    assert "  w0.weight  float32 (2, 2)" in lines
