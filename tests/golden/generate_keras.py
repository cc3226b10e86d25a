"""Model files of Keras 1, 2 and 3 with what they give: ``python generate_keras.py``.

``python generate_keras.py parts`` writes those of convolution, normalisation, joints and so on.

Needs Keras 3 and tf_keras (Keras 2), both on TensorFlow: other backends of Keras 3 compute some of
float64 in float32, TensorFlow just gelu and the slope of leaky_relu. Weights are random, so that
no two gates and no bias are alike. Files of Keras 1, and of layers for GPUs, are written by hand
with h5py in the format of their time; tf_keras, which still reads it, says what they give.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import h5py
import keras
import numpy as np
import tf_keras

HERE = Path(tempfile.mkdtemp())
ARCHIVE = Path(__file__).parent / "keras" / "keras.zip"  # the files are mostly empty space
RNG = np.random.default_rng(4)
EXPECTED = {}
N, T, INPUTS = 5, 6, 3


def randomise(model):
    model.set_weights([RNG.uniform(-1, 1, w.shape).astype(w.dtype) for w in model.get_weights()])


def sequences():
    return RNG.normal(size=(N, T, INPUTS)).astype("float32")  # an Input of Keras is no wider


def masked(value=0.0):
    """Holes, masked first and last steps, and a row of nothing else (but for one step)."""
    x = sequences()
    for row, steps in enumerate(([], [2, 3], [0, 1, 4], [3, 4, 5], [0, 1, 2, 4, 5])):
        x[row, steps] = value
    return x


def ids(v=7):
    x = RNG.integers(1, v, size=(N, T))
    for row, steps in enumerate(([], [2, 3], [0, 1, 4], [3, 4, 5], [0, 1, 2, 4, 5])):
        x[row, steps] = 0
    return x


def expect(name, model, x):
    y = np.asarray(model(x, training=False))
    EXPECTED[f"{name}:x"], EXPECTED[f"{name}:y"] = x, y
    print(name, y.shape, y.dtype)


def keep(name, model, x, *suffixes):
    randomise(model)
    for suffix in suffixes:
        path = HERE / f"{name}{suffix}"
        if suffix.endswith(".weights.h5"):
            model.save_weights(path)
            path.with_suffix("").with_suffix(".json").write_text(model.to_json())
        else:
            model.save(path)
    expect(name, model, x)


def keras_3():
    L = keras.layers
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    begin = keras.Input((None, INPUTS))

    words = keras.Input((None,), dtype="int32")
    y = L.Embedding(7, 4, mask_zero=True)(words)
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(y)
    y = L.LSTM(5, return_sequences=True, dropout=0.3)(y)
    y = L.GlobalAveragePooling1D()(y)
    y = L.Dense(4, activation="relu")(y)
    y = L.Dropout(0.5)(y)
    y = L.Activation("softmax")(L.Dense(3)(y))
    keep("k3_words", keras.Model(words, y), ids(), ".keras", ".h5")

    model = keras.Sequential(
        [
            keras.Input((None, INPUTS)),
            L.Masking(2.5),
            L.Dense(4, activation="tanh"),
            L.LSTM(3, return_sequences=True, recurrent_activation="hard_sigmoid"),
            L.Bidirectional(L.LSTM(2, return_sequences=True), merge_mode="sum"),
            L.TimeDistributed(L.Dense(2, activation="elu")),
        ]
    )
    keep("k3_masks", model, masked(2.5), ".keras", ".weights.h5")

    model = keras.Sequential(
        [
            keras.Input((T, INPUTS)),
            L.Bidirectional(L.LSTM(3, return_sequences=True, activation="relu"), merge_mode="ave"),
            L.GaussianNoise(0.2),
            L.Bidirectional(
                L.LSTM(4, use_bias=False),
                backward_layer=L.LSTM(4, go_backwards=True, activation="softsign"),
                merge_mode="mul",
            ),
            L.Flatten(),
            L.Dense(3),
            L.LeakyReLU(0.25),
        ]
    )
    keep("k3_merges", model, sequences(), ".keras", ".h5")

    y = L.LSTM(4, go_backwards=True, return_sequences=True, activation="elu")(begin)
    y = keras.Sequential(
        [
            keras.Input((None, 4)),
            L.Dense(3, use_bias=False, activation="softplus"),
            L.LSTM(3, return_sequences=True, activation="silu", recurrent_activation="softplus"),
            L.SpatialDropout1D(0.2),
        ]
    )(y)
    y = L.GlobalMaxPooling1D()(y)
    keep("k3_backwards", keras.Model(begin, y), sequences(), ".keras", ".h5")

    cells = [L.LSTMCell(3), L.LSTMCell(4, use_bias=False, activation="linear")]
    y, *_ = L.LSTM(3, return_sequences=True, return_state=True)(begin)
    y = L.RNN(L.StackedRNNCells(cells), return_sequences=True)(y)[:, -1]
    keep("k3_cells", keras.Model(begin, L.Dense(2)(y)), sequences(), ".keras", ".h5")

    model = keras.Sequential(
        [
            keras.Input((T, INPUTS), batch_size=N),
            L.Masking(),
            L.LSTM(4, stateful=True, go_backwards=True),
        ]
    )
    keep("k3_stateful", model, masked(), ".keras")

    keras.config.set_floatx("float32")
    keras.config.set_dtype_policy("float32")

    def narrow(dtype):
        plain = {"recurrent_initializer": "zeros", "dtype": dtype}  # no other for bfloat16
        return keras.Sequential(
            [
                keras.Input((None, INPUTS)),
                L.Bidirectional(L.LSTM(4, return_sequences=True, **plain), dtype=dtype),
                L.TimeDistributed(L.Dense(5, activation="gelu", dtype=dtype), dtype=dtype),
                L.LSTM(6, **plain),
                L.Dense(4, activation="leaky_relu", dtype=dtype),
                L.Dense(2, activation="sigmoid", dtype=dtype),
            ]
        )

    model, x = narrow("float32"), sequences()
    keep("k3_float32", model, x, ".keras")
    for dtype in ("float16", "bfloat16"):  # the weights of these, computed in float32
        stored = narrow(dtype)
        stored.set_weights(model.get_weights())
        stored.save(HERE / f"k3_{dtype}.keras")
        widened = narrow("float32")
        widened.set_weights([w.astype("float32") for w in stored.get_weights()])
        expect(f"k3_{dtype}", widened, x)


def keras_2():
    L = tf_keras.layers
    tf_keras.mixed_precision.set_global_policy("float64")
    model = tf_keras.Sequential(
        [
            L.Embedding(7, 4, mask_zero=True),
            tf_keras.Sequential([L.Bidirectional(L.LSTM(3, return_sequences=True))]),
            L.LSTM(2, recurrent_activation="hard_sigmoid", return_sequences=True),
            L.TimeDistributed(L.Dense(3)),
            L.ReLU(),
        ]
    )
    x = ids()
    model(x)
    keep("k2_words", model, x, ".keras", ".h5")

    begin = L.Input((None, INPUTS))
    y = L.Masking(2.5)(begin)
    y, *_ = L.LSTM(4, return_sequences=True, return_state=True)(y)
    y = tf_keras.Sequential([L.Bidirectional(L.LSTM(3), merge_mode="ave")])(y)
    y = L.LeakyReLU(0.25)(L.Dense(2)(y))
    keep("k2_masks", model := tf_keras.Model(begin, y), masked(2.5), ".h5")
    y = L.LSTM(2, return_sequences=True, go_backwards=True)(begin)
    y = L.Bidirectional(L.LSTM(2, return_sequences=True))(y)[:, -1, :]
    keep("k2_last", tf_keras.Model(begin, y), sequences(), ".h5")
    # save_weights of Keras 2, and the architecture apart from it
    model.save_weights(HERE / "k2_weights.h5")
    (HERE / "k2_weights.json").write_text(model.to_json())


def parts(keras, tag):
    """Models of everything that may stand around an LSTM."""
    L, I = keras.layers, INPUTS  # noqa: E741
    steps = 8

    def begin():
        return keras.Input((steps, I))

    def randomised(name, model, x, *suffixes):
        model.set_weights(
            [
                np.asarray(w)
                if "count" in w.name
                else RNG.uniform(0.2 if "variance" in w.name else -1, 1, w.shape)
                for w in model.weights
            ]
        )
        for layer in model.layers:
            if isinstance(layer, L.Normalization):
                layer.finalize_state()
        for suffix in suffixes:
            model.save(HERE / f"{tag}_{name}{suffix}")
        expect(f"{tag}_{name}", model, x)

    def numbers():
        return RNG.normal(size=(N, steps, I)).astype("float64")

    model = keras.Sequential(
        [
            begin(),
            L.Normalization(),
            L.Conv1D(6, 3, padding="causal", dilation_rate=2, activation="relu"),
            L.BatchNormalization(epsilon=0.05),
            L.Conv1D(4, 4, padding="same", strides=2, groups=2),
            L.ReLU(),
            L.ZeroPadding1D((2, 0)),
            L.MaxPooling1D(2, strides=1),
            L.LSTM(4, return_sequences=True),
            L.SeparableConv1D(4, 2, depth_multiplier=2, activation="tanh"),
            L.AveragePooling1D(2, padding="same"),
            L.Flatten(),
            L.Dense(3),
            L.BatchNormalization(scale=False),
            L.Activation("elu"),
        ]
    )
    randomised("conv", model, numbers(), ".keras", ".h5")

    model = keras.Sequential(
        [
            begin(),
            L.Rescaling(0.5, 0.25),
            L.LSTM(5, return_sequences=True),
            L.LayerNormalization(epsilon=0.1),
            L.LSTM(4),
            L.RepeatVector(6),
            L.LSTM(4, return_sequences=True),
            L.PReLU(shared_axes=[1]),
            L.Cropping1D((1, 2)),
            L.UpSampling1D(2),
            L.TimeDistributed(L.Dense(I)),
        ]
    )
    randomised("autoencoder", model, numbers(), ".keras", ".h5")

    x = begin()
    y = L.Bidirectional(L.LSTM(3, return_sequences=True))(x)
    a = L.Activation("softmax")(L.Flatten()(L.Dense(1, activation="tanh")(y)))
    a = L.Multiply()([y, L.Permute((2, 1))(L.RepeatVector(6)(a))])
    context = L.GlobalAveragePooling1D()(a)
    other = L.AdditiveAttention()([y[:, -1:, :], y])
    other = L.Attention(use_scale=True)([other, L.Conv1D(6, 2)(y)])
    z = L.Concatenate()([context, L.Flatten()(other), L.GlobalMaxPooling1D()(y)])
    randomised("attention", keras.Model(x, L.Dense(2)(z)), numbers(), ".keras", ".h5")

    x = begin()
    y = L.Add()([L.Conv1D(4, 3, padding="same")(x), L.Dense(4)(x)])
    y = L.Subtract()(
        [L.LSTM(4, return_sequences=True)(y), L.Average()([y, L.LayerNormalization()(y)])]
    )
    end = L.LSTM(4)(y)
    scores = L.Softmax()(L.Dot(axes=[2, 1])([y, end]))
    z = L.Dot(axes=[1, 1])([y, scores])
    z = keras.Sequential(
        [keras.Input((4,)), L.Dense(3), L.BatchNormalization(), L.Dense(2), L.BatchNormalization()]
    )(z)
    randomised("joints", keras.Model(x, z), numbers(), ".keras", ".h5")

    words = keras.Input((steps,), dtype="int32")
    y = L.SpatialDropout1D(0.2)(L.Embedding(7, 4, mask_zero=True)(words))
    y = L.LSTM(3, return_sequences=True)(L.Conv1D(5, 3)(y))
    y = L.Dense(2, activation="softmax")(L.BatchNormalization()(y[:, ::2, :]))
    ids = RNG.integers(0, 7, size=(N, steps))
    randomised("words", keras.Model(words, y), ids, ".keras", ".h5")


def convolution_of_keras_1():
    """Convolution1D of Keras 1, whose kernel has one axis more."""
    L = tf_keras.layers
    common = {"init": "glorot_uniform", "trainable": True, "W_regularizer": None}
    conv = {**common, "name": "convolution1d_1", "nb_filter": 4, "filter_length": 3, "bias": True}
    conv |= {
        "subsample_length": 1,
        "border_mode": "same",
        "activation": "relu",
        "input_dim": INPUTS,
    }
    conv |= {"batch_input_shape": [None, 8, INPUTS], "input_length": 8}
    norm = {"name": "batchnormalization_1", "trainable": True, "mode": 0, "axis": -1}
    norm |= {"epsilon": 0.02, "momentum": 0.9}
    pool = {"name": "maxpooling1d_1", "pool_length": 2, "stride": 2, "border_mode": "valid"}
    lstm = {**common, "name": "lstm_1", "output_dim": 3, "activation": "tanh"}
    lstm |= {"inner_activation": "hard_sigmoid", "return_sequences": False, "go_backwards": False}
    stack = [("Convolution1D", conv), ("BatchNormalization", norm), ("MaxPooling1D", pool)]
    config = {
        "class_name": "Sequential",
        "config": [{"class_name": k, "config": c} for k, c in [*stack, ("LSTM", lstm)]],
    }
    names = [f"batchnormalization_1_{k}" for k in ("gamma", "beta", "running_mean")]
    layers = [
        (
            "convolution1d_1",
            {"convolution1d_1_W": random(3, 1, INPUTS, 4), "convolution1d_1_b": random(4)},
        ),
        (
            "batchnormalization_1",
            {
                **{name: random(4) for name in names},
                "batchnormalization_1_running_std": abs(random(4)) + 0.1,
            },
        ),
        ("maxpooling1d_1", {}),
        ("lstm_1", of_keras_1("lstm_1", 4, 3)),
    ]
    write_h5("k1_conv", config, None, layers)
    tf_keras.mixed_precision.set_global_policy("float32")
    model = tf_keras.Sequential(
        [
            L.Input((8, INPUTS)),
            L.Conv1D(4, 3, padding="same", activation="relu"),
            L.BatchNormalization(epsilon=0.02),
            L.MaxPooling1D(2),
            L.LSTM(3, recurrent_activation="hard_sigmoid"),
        ]
    )
    by_tf_keras("k1_conv", model, RNG.normal(size=(N, 8, INPUTS)).astype("float32"))


def write_h5(name, config, version, layers):
    """A whole model as Keras 1 and early Keras 2 wrote it, in bytes."""
    with h5py.File(HERE / f"{name}.h5", "w") as file:
        file.attrs["model_config"] = json.dumps(config).encode()
        if version:
            file.attrs["keras_version"] = version.encode()
        groups = file.create_group("model_weights")
        groups.attrs["layer_names"] = [layer.encode() for layer, _ in layers]
        if version:
            groups.attrs["keras_version"] = version.encode()
        for layer, weights in layers:
            group = groups.create_group(layer)
            names = [weight.encode() for weight in weights]
            if len(names) > 6:  # as Keras splits lists that are too long for one attribute
                group.attrs["weight_names0"] = names[:6]
                group.attrs["weight_names1"] = names[6:]
            else:
                group.attrs["weight_names"] = names
            for weight, array in weights.items():
                group[weight] = array


def random(*shape):
    return RNG.uniform(-1, 1, shape).astype("float32")


def of_keras_1(prefix, inputs, units):
    """W, U and b of each gate, in the order i c f o."""
    return {
        f"{prefix}_{kind}_{gate}": random(*shape)
        for gate in "icfo"
        for kind, shape in (("W", (inputs, units)), ("U", (units, units)), ("b", (units,)))
    }


def by_tf_keras(name, model, x):
    """Give a model the weights of a file, through tf_keras' own reader of old files."""
    from tf_keras.src.saving.legacy import hdf5_format

    with h5py.File(HERE / f"{name}.h5") as file:
        hdf5_format.load_weights_from_hdf5_group(file["model_weights"], model)
    expect(name, model, x)


def keras_1():
    L = tf_keras.layers
    tf_keras.mixed_precision.set_global_policy("float32")
    common = {"init": "glorot_uniform", "trainable": True, "W_regularizer": None}
    lstm = {
        **common,
        "inner_init": "orthogonal",
        "forget_bias_init": "one",
        "activation": "tanh",
        "inner_activation": "hard_sigmoid",
        "return_sequences": True,
        "go_backwards": False,
        "stateful": False,
        "unroll": False,
        "consume_less": "cpu",
        "dropout_W": 0.2,
        "dropout_U": 0.0,
        "U_regularizer": None,
        "b_regularizer": None,
        "input_length": None,
    }
    first = {**lstm, "name": "lstm_1", "output_dim": 4, "input_dim": INPUTS}
    first["batch_input_shape"] = [None, None, INPUTS]
    inner = {**lstm, "name": "lstm_2", "output_dim": 3, "input_dim": 4, "consume_less": "gpu"}
    dense = {**common, "output_dim": 2, "activation": "sigmoid", "bias": True, "input_dim": 6}
    both = {"name": "bidirectional_1", "trainable": True, "merge_mode": "concat"}
    both["layer"] = {"class_name": "LSTM", "config": {**inner, "return_sequences": False}}
    config = {
        "class_name": "Sequential",
        "config": [
            {"class_name": "Masking", "config": {"name": "masking_1", "mask_value": 0.0}},
            {"class_name": "LSTM", "config": first},
            {"class_name": "Dropout", "config": {"name": "dropout_1", "p": 0.5}},
            {"class_name": "Bidirectional", "config": both},
            {"class_name": "Dense", "config": {**dense, "name": "dense_1"}},
        ],
    }
    layers = [
        ("masking_1", {}),
        ("lstm_1", of_keras_1("lstm_1", INPUTS, 4)),
        ("dropout_1", {}),
        (
            "bidirectional_1",
            {**of_keras_1("forward_lstm_2", 4, 3), **of_keras_1("backward_lstm_2", 4, 3)},
        ),
        ("dense_1", {"dense_1_W": random(6, 2), "dense_1_b": random(2)}),
    ]
    write_h5("k1_separate", config, None, layers)
    hard = {"recurrent_activation": "hard_sigmoid"}
    model = tf_keras.Sequential(
        [
            L.Input((None, INPUTS)),
            L.Masking(),
            L.LSTM(4, return_sequences=True, **hard),
            L.Bidirectional(L.LSTM(3, **hard)),
            L.Dense(2, activation="sigmoid"),
        ]
    )
    by_tf_keras("k1_separate", model, masked())

    # Layers for GPUs, as Keras 2.2 wrote them.
    cudnn = {"trainable": True, "return_sequences": True, "return_state": False}
    cudnn |= {"go_backwards": False, "stateful": False, "unit_forget_bias": True}
    first = {**cudnn, "name": "cu_dnnlstm_1", "units": 4}
    inner = {**cudnn, "name": "cu_dnnlstm_2", "units": 3}
    both["layer"] = {"class_name": "CuDNNLSTM", "config": inner}
    stack = [
        {"class_name": "CuDNNLSTM", "config": first},
        {"class_name": "Bidirectional", "config": both},
    ]
    config = {"class_name": "Sequential", "config": {"name": "sequential_1", "layers": stack}}

    def weights(prefix, inputs, units):
        shapes = (inputs, 4 * units), (units, 4 * units), (8 * units,)
        names = ("kernel:0", "recurrent_kernel:0", "bias:0")
        return {f"{prefix}/{n}": random(*s) for n, s in zip(names, shapes, strict=True)}

    where = "bidirectional_1/{}_cu_dnnlstm_2"
    halves = [weights(where.format(k), 4, 3) for k in ("forward", "backward")]
    layers = [
        ("cu_dnnlstm_1", weights("cu_dnnlstm_1", INPUTS, 4)),
        ("bidirectional_1", {**halves[0], **halves[1]}),
    ]
    write_h5("k2_cudnn", config, "2.2.4", layers)
    model = tf_keras.Sequential(
        [
            L.Input((None, INPUTS)),
            L.LSTM(4, return_sequences=True),
            L.Bidirectional(L.LSTM(3, return_sequences=True)),
        ]
    )
    by_tf_keras("k2_cudnn", model, sequences())


if __name__ == "__main__":
    if sys.argv[1:] == ["parts"]:
        ARCHIVE = ARCHIVE.with_name("parts.zip")
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        parts(keras, "k3")
        tf_keras.backend.set_floatx("float64")
        tf_keras.mixed_precision.set_global_policy("float64")
        parts(tf_keras, "k2")
        tf_keras.backend.set_floatx("float32")
        convolution_of_keras_1()
    else:
        keras_3()
        keras_2()
        keras_1()
    np.savez(HERE / "expected.npz", **EXPECTED)
    with zipfile.ZipFile(ARCHIVE, "w", zipfile.ZIP_LZMA) as archive:
        for path in sorted(HERE.iterdir()):
            archive.write(path, path.name)
    shutil.rmtree(HERE)
