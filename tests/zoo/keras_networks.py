"""Networks of Keras. A maker gets the module, Keras 3 or Keras 2 (``tf_keras``)."""

from __future__ import annotations

from typing import Any

import numpy as np

from .cases import Case, register, trained

NETWORKS: dict[str, Case] = {}


def network(steps: int, inputs: int, **options: Any) -> Any:
    return register(NETWORKS, steps, inputs, **options)


def kind_of(path: str) -> str:
    """What a weight is, by its name and that of its layer."""
    path = path.lower()
    for word, kind in (
        ("moving_variance", "variance"),
        ("variance", "variance"),
        ("moving_mean", "mean"),
        ("mean", "mean"),
        ("gamma", "scale"),
        ("alpha", "slope"),
        ("beta", "bias"),
    ):
        if word in path:
            return kind
    if "bias" in path:
        return "lstm bias" if "lstm" in path else "bias"
    return "rows" if "embedding" in path else "columns" if "kernel" in path else "scale"


def settle(model: Any, seed: int) -> Any:
    """Give a model trained-looking weights, the same for Keras 2 and 3."""
    rng = np.random.default_rng(seed)
    values = []
    for weight in model.weights:
        path = getattr(weight, "path", weight.name)
        shape = tuple(weight.shape)
        if path.split("/")[-1].startswith("count"):
            values.append(np.array(7))
        else:
            values.append(trained(kind_of(path), shape, rng))
    model.set_weights(values)
    for layer in model.layers:
        if hasattr(layer, "finalize_state"):  # of Normalization
            layer.finalize_state()
    return model


# Sensors: convolutions in front


@network(24, 9)
def har_cnn_lstm(k: Any) -> Any:
    """Human activity: two convolutions, pooling, LSTM."""
    L, model = k.layers, k.Sequential(name="har")
    model.add(k.Input(shape=(24, 9)))
    model.add(L.Conv1D(filters=8, kernel_size=3, activation="relu"))
    model.add(L.Conv1D(filters=8, kernel_size=3, activation="relu"))
    model.add(L.Dropout(0.5))
    model.add(L.MaxPooling1D(pool_size=2))
    model.add(L.LSTM(10))
    model.add(L.Dropout(0.5))
    model.add(L.Dense(8, activation="relu"))
    model.add(L.Dense(6, activation="softmax"))
    return model


@network(21, 6, free=True)
def sensor_conv_batchnorm(k: Any) -> Any:
    """Convolution, batch normalisation and ReLU as layers of their own, two LSTMs."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None, 6)),
            L.Conv1D(8, 5, padding="same", use_bias=False),
            L.BatchNormalization(),
            L.Activation("relu"),
            L.MaxPooling1D(2),
            L.Conv1D(6, 3, padding="same"),
            L.BatchNormalization(epsilon=1e-5, momentum=0.9),
            L.ReLU(),
            L.MaxPooling1D(2, strides=1, padding="same"),
            L.LSTM(7, return_sequences=True),
            L.Dropout(0.3),
            L.LSTM(5),
            L.Dense(4, activation="softmax"),
        ]
    )


@network(40, 1)
def ecg_strided(k: Any) -> Any:
    """ECG: strided convolutions, overlapping pooling, a bidirectional layer."""
    L = k.layers
    inputs = k.Input(shape=(40, 1), name="ecg")
    x = L.Conv1D(6, 7, strides=2, padding="same")(inputs)
    x = L.BatchNormalization()(x)
    x = L.ReLU()(x)
    x = L.MaxPooling1D(pool_size=3, strides=2, padding="same")(x)
    x = L.Conv1D(8, 5, padding="same", kernel_initializer="he_normal")(x)
    x = L.BatchNormalization()(x)
    x = L.Activation("relu")(x)
    x = L.Dropout(0.2)(x)
    x = L.Bidirectional(L.LSTM(5))(x)
    x = L.Dense(6, activation="relu")(x)
    outputs = L.Dense(5, activation="softmax", name="classes")(x)
    return k.Model(inputs=inputs, outputs=outputs, name="ecg_net")


@network(32, 1, free=True)
def causal_dilated(k: Any) -> Any:
    """Causal convolutions of growing dilation, then a layer with a score for every step."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=[None, 1]))
    for rate in (1, 2, 4, 8):
        model.add(
            L.Conv1D(5, kernel_size=2, padding="causal", activation="relu", dilation_rate=rate)
        )
    model.add(L.LSTM(6, return_sequences=True))
    model.add(L.TimeDistributed(L.Dense(3)))
    return model


@network(23, 2, free=True)
def conv_downsampled(k: Any) -> Any:
    """A strided convolution in front of two layers with a forecast at each step."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None, 2)),
            L.Conv1D(filters=6, kernel_size=4, strides=2, padding="valid"),
            L.LSTM(6, return_sequences=True),
            L.LSTM(5, return_sequences=True),
            L.TimeDistributed(L.Dense(4)),
        ]
    )


@network(20, 4, free=True)
def separable_conv(k: Any) -> Any:
    """Separable and depthwise convolutions and average pooling, as in small devices."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None, 4)),
            L.SeparableConv1D(7, 3, padding="same", activation="relu", depth_multiplier=2),
            L.AveragePooling1D(2),
            L.DepthwiseConv1D(3, padding="valid", depth_multiplier=1),
            L.BatchNormalization(),
            L.ReLU(max_value=6.0),
            L.LSTM(6),
            L.Dense(3),
            L.Softmax(),
        ]
    )


@network(18, 3, free=True)
def padded_and_cropped(k: Any) -> Any:
    """Zero padding, a valid convolution, and cropping."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None, 3)),
            L.ZeroPadding1D((3, 1)),
            L.Conv1D(6, 4, activation="tanh"),
            L.Cropping1D((1, 2)),
            L.AveragePooling1D(pool_size=3, strides=2, padding="same"),
            L.LSTM(5, return_sequences=True),
            L.GlobalAveragePooling1D(),
            L.Dense(1),
        ]
    )


@network(26, 3, wide=False)
def many_activations(k: Any) -> Any:
    """Convolutions with activations of all kinds, as layers and as options."""
    L = k.layers
    x = inputs = k.Input((26, 3))
    for kind in (
        L.LeakyReLU(),
        L.ELU(alpha=0.7),
        L.PReLU(shared_axes=[1]),
        L.ReLU(6.0),
        L.Activation("gelu"),
        L.Activation("swish"),
        L.Activation("selu"),
    ):
        x = L.Conv1D(4, 3)(x)
        x = kind(x)
    x = L.LSTM(5, return_sequences=True)(x)
    x = L.GlobalMaxPooling1D()(x)
    return k.Model(inputs, L.Dense(2, activation="sigmoid")(x))


@network(30, 4, free=True)
def audio_scenes(k: Any) -> Any:
    """Audio: normalisation of layers, a bidirectional layer, log-probabilities of every step."""
    L = k.layers
    inputs = k.Input(shape=(None, 4), name="mel")
    x = L.LayerNormalization()(inputs)
    x = L.Conv1D(8, 5, strides=2, padding="same", activation="relu")(x)
    x = L.LayerNormalization(epsilon=1e-6)(x)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True, dropout=0.1))(x)
    x = L.Bidirectional(L.LSTM(4, return_sequences=True), merge_mode="sum")(x)
    x = L.Dense(6)(x)
    return k.Model(inputs, L.Softmax(axis=-1)(x))


# Text


@network(28, 40, ids=True)
def imdb_cnn_lstm(k: Any) -> Any:
    """Keras' own example of old: embedding, convolution, pooling, LSTM."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=(28,)))
    model.add(L.Embedding(40, 8))
    model.add(L.Dropout(0.25))
    model.add(L.Conv1D(8, 5, padding="valid", activation="relu", strides=1))
    model.add(L.MaxPooling1D(pool_size=4))
    model.add(L.LSTM(7))
    model.add(L.Dense(1))
    model.add(L.Activation("sigmoid"))
    return model


@network(22, 30, ids=True, free=True)
def text_cnn_bilstm(k: Any) -> Any:
    """Sentiment: embedding, convolution of the same length, bidirectional layers."""
    L = k.layers
    inputs = k.Input(shape=(None,), dtype="int32")
    x = L.Embedding(30, 6)(inputs)
    x = L.SpatialDropout1D(0.2)(x)
    x = L.Conv1D(8, 3, padding="same", activation="relu")(x)
    x = L.MaxPooling1D(2)(x)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True))(x)
    x = L.Bidirectional(L.LSTM(4))(x)
    x = L.Dense(6, activation="relu")(x)
    x = L.BatchNormalization()(x)
    return k.Model(inputs, L.Dense(3, activation="softmax")(x))


@network(16, 25, ids=True, free=True)
def tagger(k: Any) -> Any:
    """Named entities: a class for every word."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None,), dtype="int32"),
            L.Embedding(25, 7),
            L.SpatialDropout1D(0.1),
            L.Bidirectional(L.LSTM(5, return_sequences=True, recurrent_dropout=0.1)),
            L.TimeDistributed(L.Dense(6, activation="relu")),
            L.TimeDistributed(L.Dropout(0.1)),
            L.TimeDistributed(L.Dense(5, activation="softmax")),
        ]
    )


@network(18, 30, ids=True, free=True)
def lstm_then_cnn(k: Any) -> Any:
    """Text: the convolution behind the layer, and the maximum over the steps."""
    L = k.layers
    inputs = k.Input((None,), dtype="int32")
    x = L.Embedding(30, 6)(inputs)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True))(x)
    x = L.Conv1D(8, kernel_size=3, padding="valid", kernel_initializer="glorot_uniform")(x)
    x = L.GlobalMaxPooling1D()(x)
    x = L.Dropout(0.1)(x)
    return k.Model(inputs, L.Dense(4, activation="sigmoid")(x))


@network(15, 30, ids=True, free=True, joined=True)
def two_poolings(k: Any) -> Any:
    """Text: the mean beside the maximum."""
    L = k.layers
    inputs = k.Input((None,), dtype="int32")
    x = L.Embedding(30, 6)(inputs)
    x = L.Bidirectional(L.LSTM(5, return_sequences=True))(x)
    x = L.concatenate([L.GlobalAveragePooling1D()(x), L.GlobalMaxPooling1D()(x)])
    x = L.Dense(6, activation="relu")(x)
    return k.Model(inputs, L.Dense(1, activation="sigmoid")(x))


@network(14, 20, ids=True, free=True, masked=True)
def masked_text(k: Any) -> Any:
    """Ids of 0 are masked; normalisations of single steps stand between the layers."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None,), dtype="int32"),
            L.Embedding(20, 6, mask_zero=True),
            L.LSTM(6, return_sequences=True),
            L.LayerNormalization(),
            L.LSTM(5),
            L.BatchNormalization(),
            L.Dense(3, activation="softmax"),
        ]
    )


# Autoencoders


@network(10, 3)
def lstm_autoencoder(k: Any) -> Any:
    """Reconstruction: two layers, one vector for all steps, two layers, dense."""
    L = k.layers
    inputs = k.Input(shape=(10, 3))
    x = L.LSTM(10, activation="relu", return_sequences=True)(inputs)
    x = L.LSTM(5, activation="relu", return_sequences=False)(x)
    x = L.RepeatVector(10)(x)
    x = L.LSTM(5, activation="relu", return_sequences=True)(x)
    x = L.LSTM(10, activation="relu", return_sequences=True)(x)
    return k.Model(inputs, L.TimeDistributed(L.Dense(3))(x))


@network(12, 4)
def anomaly_autoencoder(k: Any) -> Any:
    """Reconstruction with dropout, of tanh, as anomaly detectors have it."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=(12, 4)))
    model.add(L.LSTM(units=8))
    model.add(L.Dropout(rate=0.2))
    model.add(L.RepeatVector(n=12))
    model.add(L.LSTM(units=8, return_sequences=True))
    model.add(L.Dropout(rate=0.2))
    model.add(L.TimeDistributed(L.Dense(units=4)))
    return model


@network(12, 2)
def nested_autoencoder(k: Any) -> Any:
    """Encoder and decoder are models of their own, and bidirectional."""
    L = k.layers
    encoder = k.Sequential(
        [
            k.Input((12, 2)),
            L.Bidirectional(L.LSTM(5, return_sequences=True)),
            L.LSTM(4),
            L.Dense(3, activation="tanh", name="latent"),
        ],
        name="encoder",
    )
    code = k.Input((3,))
    y = L.RepeatVector(12)(code)
    y = L.Bidirectional(L.LSTM(5, return_sequences=True))(y)
    decoder = k.Model(code, L.TimeDistributed(L.Dense(2))(y), name="decoder")
    inputs = k.Input((12, 2))
    return k.Model(inputs, decoder(encoder(inputs)), name="autoencoder")


@network(14, 5)
def forecast_encoder_decoder(k: Any) -> Any:
    """Several steps ahead: the encoder's vector repeated as often as there are steps."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=(14, 5)))
    model.add(L.LSTM(8, activation="relu"))
    model.add(L.RepeatVector(7))
    model.add(L.LSTM(8, activation="relu", return_sequences=True))
    model.add(L.TimeDistributed(L.Dense(6, activation="relu")))
    model.add(L.TimeDistributed(L.Dense(1)))
    return model


@network(14, 1)
def forecast_cnn_encoder(k: Any) -> Any:
    """Several steps ahead: a convolutional encoder, flattened, and an LSTM as decoder."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=(14, 1)))
    model.add(L.Conv1D(filters=6, kernel_size=3, activation="relu"))
    model.add(L.Conv1D(filters=6, kernel_size=3, activation="relu"))
    model.add(L.MaxPooling1D(pool_size=2))
    model.add(L.Flatten())
    model.add(L.RepeatVector(7))
    model.add(L.LSTM(8, activation="relu", return_sequences=True))
    model.add(L.TimeDistributed(L.Dense(5, activation="relu")))
    model.add(L.TimeDistributed(L.Dense(1)))
    return model


@network(16, 3)
def conv_autoencoder(k: Any) -> Any:
    """Halved by pooling, doubled by repetition."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((16, 3)),
            L.Conv1D(8, 3, activation="relu", padding="same"),
            L.MaxPooling1D(2, padding="same"),
            L.LSTM(5, return_sequences=True),
            L.UpSampling1D(2),
            L.Conv1D(3, 3, activation="linear", padding="same"),
        ]
    )


@network(11, 3)
def reshaped_decoder(k: Any) -> Any:
    """A dense layer that gives all steps of the decoder."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((11, 3)),
            L.LSTM(6),
            L.Dense(5 * 4, activation="relu"),
            L.Reshape((5, 4)),
            L.LSTM(5, return_sequences=True),
            L.Dense(2),
        ]
    )


# Forecasts


@network(24, 4, free=True)
def forecast_single_shot(k: Any) -> Any:
    """All coming steps from one dense layer, reshaped."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((None, 4)),
            L.LSTM(8, return_sequences=False),
            L.Dense(6 * 4, kernel_initializer="zeros"),
            L.Reshape([6, 4]),
        ]
    )


@network(20, 5)
def stacked_batchnorm(k: Any) -> Any:
    """Prices: three layers with dropout and batch normalisation after each."""
    L, model = k.layers, k.Sequential()
    model.add(k.Input(shape=(20, 5)))
    model.add(L.LSTM(8, return_sequences=True))
    model.add(L.Dropout(0.2))
    model.add(L.BatchNormalization())
    model.add(L.LSTM(7, return_sequences=True))
    model.add(L.Dropout(0.1))
    model.add(L.BatchNormalization())
    model.add(L.LSTM(6))
    model.add(L.Dropout(0.2))
    model.add(L.BatchNormalization())
    model.add(L.Dense(5, activation="relu"))
    model.add(L.Dropout(0.2))
    model.add(L.Dense(2, activation="softmax"))
    return model


@network(13, 4, free=True, wide=False)
def normalized_inputs(k: Any) -> Any:
    """Normalization with the statistics of the data, learned or given, and rescaling."""
    L = k.layers
    inputs = k.Input((None, 4))
    x = L.Normalization(axis=-1)(inputs)
    x = L.Rescaling(scale=0.5, offset=-0.25)(x)
    x = L.Normalization(mean=[0.1, -0.3, 0.5, 0.0], variance=[0.5, 1.5, 2.5, 0.25])(x)
    x = L.LSTM(6)(x)
    x = L.LayerNormalization()(x)
    return k.Model(inputs, L.Dense(1)(x))


@network(12, 3)
def flattened_steps(k: Any) -> Any:
    """All steps of the last layer, flattened into a dense one."""
    L = k.layers
    return k.Sequential(
        [
            k.Input((12, 3)),
            L.GaussianNoise(0.1),
            L.LSTM(5, return_sequences=True),
            L.LayerNormalization(axis=-1),
            L.Flatten(),
            L.Dense(8, activation="elu"),
            L.Dense(4),
        ]
    )


@network(17, 3, free=True)
def sliced_steps(k: Any) -> Any:
    """Every other step of the inputs, the last step of the outputs."""
    L = k.layers
    inputs = k.Input((None, 3))
    x = L.Dense(5, activation="relu")(inputs[:, ::2])
    x = L.LSTM(6, return_sequences=True)(x)
    x = L.BatchNormalization()(x[:, 1:])
    x = L.LSTM(5, return_sequences=True)(x)
    return k.Model(inputs, L.Dense(2)(x[:, -1, :]))


@network(15, 1, layout="NT")
def reshaped_inputs(k: Any) -> Any:
    """One number a step, given as a vector."""
    L = k.layers
    inputs = k.Input((15,))
    x = L.Reshape((15, 1))(inputs)
    x = L.Conv1D(5, 3, activation="relu", padding="causal")(x)
    x = L.LSTM(6, return_sequences=True)(x)
    x = L.LSTM(4)(x)
    return k.Model(inputs, L.Dense(1)(x))


# Attention


@network(13, 4, free=True)
def attention_softmax(k: Any) -> Any:
    """A score for each step, softmax over the steps, weighted, summed by a product."""
    L = k.layers
    inputs = k.Input((None, 4))
    h = L.Bidirectional(L.LSTM(5, return_sequences=True))(inputs)
    score = L.Dense(1, activation="tanh")(h)
    weights = L.Softmax(axis=1)(score)
    context = L.Dot(axes=1)([weights, h])
    context = L.Reshape((10,))(context)
    return k.Model(inputs, L.Dense(3, activation="softmax")(context))


@network(12, 4)
def attention_repeated(k: Any) -> Any:
    """The same without a word of time: flattened, softmax, repeated, permuted, multiplied."""
    L = k.layers
    inputs = k.Input((12, 4))
    h = L.LSTM(6, return_sequences=True)(inputs)
    weights = L.Dense(1, activation="tanh")(h)
    weights = L.Flatten()(weights)
    weights = L.Activation("softmax")(weights)
    weights = L.RepeatVector(6)(weights)
    weights = L.Permute([2, 1])(weights)
    x = L.Multiply()([h, weights])
    x = L.GlobalAveragePooling1D()(x)
    return k.Model(inputs, L.Dense(2, activation="sigmoid")(x))


@network(12, 4, free=True, only_keras_3=True)
def attention_ops(k: Any) -> Any:
    """Additive attention with the functions of Keras 3."""
    L = k.layers
    inputs = k.Input((None, 4))
    h = L.LSTM(6, return_sequences=True)(inputs)
    score = L.Dense(1, use_bias=False)(k.ops.tanh(L.Dense(5)(h)))
    weights = k.ops.softmax(score, axis=1)
    context = k.ops.sum(h * weights, axis=1)
    return k.Model(inputs, L.Dense(2)(context))


@network(13, 4, free=True)
def attention_query(k: Any) -> Any:
    """The last state asks, all steps answer."""
    L = k.layers
    inputs = k.Input((None, 4))
    h, last, _ = L.LSTM(6, return_sequences=True, return_state=True)(inputs)
    query = L.Reshape((1, 6))(last)
    context = L.Attention(use_scale=True)([query, h])
    context = L.Flatten()(context)
    return k.Model(inputs, L.Dense(2)(context))


@network(13, 4, free=True)
def attention_additive_query(k: Any) -> Any:
    """The same, with additive attention."""
    L = k.layers
    inputs = k.Input((None, 4))
    h, last, _ = L.LSTM(6, return_sequences=True, return_state=True)(inputs)
    query = L.RepeatVector(1)(last)
    context = L.AdditiveAttention()([query, h])
    context = L.Flatten()(context)
    return k.Model(inputs, L.Dense(2)(context))
