"""Small Keras models with every layer and option that is computed: a name, and what builds it.

Each function gets the steps T (None where a model has to take any number), and returns the model.
"""

import keras
from keras import ops

L = keras.layers
I, H = 3, 4  # noqa: E741


def inputs(T):
    return keras.Input((T, I))


def before(*layers):
    """Layers in front of an LSTM."""

    def build(T):
        return keras.Sequential([inputs(T), *[k() for k in layers], L.LSTM(H), L.Dense(2)])

    return build


def behind(*layers):
    """Layers behind the outputs of every step."""

    def build(T):
        return keras.Sequential(
            [inputs(T), L.LSTM(H, return_sequences=True), *[k() for k in layers]]
        )

    return build


def after(*layers):
    """Layers behind the final state."""

    def build(T):
        return keras.Sequential([inputs(T), L.LSTM(H), *[k() for k in layers]])

    return build


def graph(function):
    """What a function makes of the outputs of an LSTM, or of the inputs if it takes two."""

    def build(T):
        x = inputs(T)
        y = L.LSTM(H, return_sequences=True)(x)
        arguments = (y, x) if function.__code__.co_argcount == 2 else (y,)
        return keras.Model(x, function(*arguments))

    return build


def _conv(**options):
    return lambda: L.Conv1D(5, **{"kernel_size": 3, "bias_initializer": "normal", **options})


CONVOLUTIONS = {
    "conv": before(_conv()),
    "conv same": before(_conv(padding="same", activation="relu")),
    "conv causal": before(_conv(padding="causal", activation="tanh")),
    "conv stride": before(_conv(strides=2)),
    "conv same stride": before(_conv(padding="same", strides=2, kernel_size=4)),
    "conv same stride 3": before(_conv(padding="same", strides=3, kernel_size=2)),
    "conv causal stride": before(_conv(padding="causal", strides=2)),
    "conv dilated": before(_conv(dilation_rate=2)),
    "conv dilated causal": before(_conv(dilation_rate=3, padding="causal")),
    "conv dilated same": before(_conv(dilation_rate=2, padding="same")),
    "conv groups": before(lambda: L.Dense(6), lambda: L.Conv1D(4, 2, groups=2)),
    "conv no bias": before(_conv(use_bias=False)),
    "conv softmax": before(_conv(activation="softmax")),
    "conv log_softmax": before(_conv(activation="log_softmax")),
    "conv one": before(_conv(kernel_size=1)),
    "two convs": before(_conv(activation="relu"), lambda: L.Conv1D(4, 2)),
    "depthwise": before(lambda: L.DepthwiseConv1D(3, depth_multiplier=2, activation="relu")),
    "depthwise same": before(lambda: L.DepthwiseConv1D(2, strides=2, padding="same")),
    "separable": before(lambda: L.SeparableConv1D(5, 3, depth_multiplier=2, activation="tanh")),
    "separable no bias": before(lambda: L.SeparableConv1D(5, 3, padding="same", use_bias=False)),
    "max pooling": before(lambda: L.MaxPooling1D()),
    "max pooling same": before(lambda: L.MaxPooling1D(3, padding="same")),
    "max pooling stride": before(lambda: L.MaxPooling1D(3, strides=1)),
    "average pooling": before(lambda: L.AveragePooling1D(2)),
    "average pooling same": before(lambda: L.AveragePooling1D(3, strides=2, padding="same")),
    "zero padding": before(lambda: L.ZeroPadding1D(2)),
    "zero padding, two": before(lambda: L.ZeroPadding1D((1, 3)), _conv()),
    "cropping": before(lambda: L.Cropping1D((1, 2))),
    "cropping behind": before(lambda: L.Cropping1D((0, 2))),
    "cropping in front": before(lambda: L.Cropping1D((2, 0))),
    "upsampling": before(lambda: L.UpSampling1D(3)),
    "conv, pool, norm": before(
        _conv(activation="relu"), lambda: L.MaxPooling1D(2), lambda: L.BatchNormalization()
    ),
    "conv behind": behind(_conv(), lambda: L.GlobalMaxPooling1D(), lambda: L.Dense(2)),
    "conv at the end": behind(_conv(padding="same")),
    "pool behind": behind(lambda: L.AveragePooling1D(2), lambda: L.LSTM(3)),
    "global max": behind(lambda: L.GlobalMaxPooling1D()),
    "global mean": behind(lambda: L.GlobalAveragePooling1D()),
    "global keepdims": behind(lambda: L.GlobalMaxPooling1D(keepdims=True), lambda: L.Dense(2)),
    "global mean keepdims": behind(
        lambda: L.GlobalAveragePooling1D(keepdims=True), lambda: L.Flatten(), lambda: L.Dense(2)
    ),
}


NORMALISATIONS = {
    "batch norm": before(lambda: L.BatchNormalization()),
    "batch norm bare": before(lambda: L.BatchNormalization(scale=False, center=False)),
    "batch norm scale": before(lambda: L.BatchNormalization(center=False, epsilon=0.1)),
    "batch norm center": before(lambda: L.BatchNormalization(scale=False, axis=2)),
    "batch norm between": behind(lambda: L.BatchNormalization(), lambda: L.LSTM(3)),
    "batch norm after": after(lambda: L.BatchNormalization(), lambda: L.Dense(3)),
    "batch norm of a vector, axis 1": after(lambda: L.BatchNormalization(axis=1)),
    "layer norm": before(lambda: L.LayerNormalization()),
    "layer norm epsilon": behind(lambda: L.LayerNormalization(epsilon=0.5)),
    "layer norm bare": behind(lambda: L.LayerNormalization(center=False, scale=False)),
    "layer norm scale": after(lambda: L.LayerNormalization(center=False)),
    "layer norm center": after(lambda: L.LayerNormalization(scale=False, axis=1)),
    "rms norm": behind(lambda: L.RMSNormalization(epsilon=0.1), lambda: L.LSTM(3)),
    "normalization": before(lambda: L.Normalization()),
    "normalization invert": before(lambda: L.Normalization(invert=True)),
    "normalization given": before(
        lambda: L.Normalization(mean=[1.0, 2.0, 3.0], variance=[0.0, 4.0, 9.0])
    ),
    "normalization of all": before(lambda: L.Normalization(axis=None, mean=1.5, variance=4.0)),
    "rescaling": before(lambda: L.Rescaling(0.5, 1.25)),
    "rescaling each": before(lambda: L.Rescaling([0.5, 2.0, 3.0], offset=[1.0, 0.0, -1.0])),
    "prelu shared": behind(lambda: L.PReLU(shared_axes=[1])),
    "prelu vector": after(lambda: L.PReLU()),
    "leaky relu": behind(lambda: L.LeakyReLU(0.3)),
    "elu": after(lambda: L.ELU(0.5)),
    "relu": before(lambda: L.ReLU()),
    "relu most": behind(lambda: L.ReLU(max_value=0.2)),
    "relu slope": behind(lambda: L.ReLU(negative_slope=0.2)),
    "relu threshold": before(lambda: L.ReLU(threshold=0.3)),
    "softmax": behind(lambda: L.Softmax()),
    "softmax over steps": behind(lambda: L.Softmax(axis=1)),
    "softmax of a vector": after(lambda: L.Softmax()),
    "log softmax": after(lambda: L.Dense(3, activation="log_softmax")),
    "softmax in front": before(lambda: L.Dense(3, activation="softmax")),
}
ACTIVATIONS = [
    "celu",
    "elu",
    "exponential",
    "gelu",
    "hard_sigmoid",
    "hard_silu",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "linear",
    "log_sigmoid",
    "log_softmax",
    "mish",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "softsign",
    "swish",
    "tanh",
]


def _bare(name):
    return before(lambda: L.Activation(name))


def _in_dense(name):
    return after(lambda: L.Dense(3, activation=name))


def _in_cell(name):
    return lambda T: keras.Sequential([inputs(T), L.LSTM(H, activation=name), L.Dense(2)])


ALL_ACTIVATIONS = {
    **{f"bare {name}": _bare(name) for name in ACTIVATIONS},
    **{f"dense {name}": _in_dense(name) for name in ACTIVATIONS},
    **{
        f"cell {name}": _in_cell(name)
        for name in ACTIVATIONS
        if "softmax" not in name and name != "exponential"
    },
}


def _autoencoder(T):
    return keras.Sequential(
        [
            inputs(T),
            L.LSTM(5, return_sequences=True),
            L.LSTM(H),
            L.RepeatVector(T or 6),
            L.LSTM(H, return_sequences=True),
            L.Dropout(0.1),
            L.Bidirectional(L.LSTM(5, return_sequences=True)),
            L.TimeDistributed(L.Dense(I)),
        ]
    )


def _nested(T):
    encoder = keras.Sequential([inputs(T), L.Conv1D(4, 2), L.BatchNormalization(), L.LSTM(H)])
    begin = keras.Input((H,))
    decoder = keras.Model(
        begin, L.Dense(2)(L.LSTM(3, return_sequences=True)(L.RepeatVector(3)(begin)))
    )
    x = inputs(T)
    return keras.Model(x, decoder(encoder(x)))


def _inner(*layers):
    return lambda: L.TimeDistributed(keras.Sequential([k() for k in layers]))


def _time(layer):
    return lambda: L.TimeDistributed(layer())


SHAPES = {
    "autoencoder": _autoencoder,
    "nested": _nested,
    "repeat, norm": after(
        lambda: L.RepeatVector(4), lambda: L.LayerNormalization(), lambda: L.LSTM(3)
    ),
    "repeat at the end": after(lambda: L.RepeatVector(4)),
    "repeat, dense": after(lambda: L.RepeatVector(4), lambda: L.Dense(3, activation="relu")),
    "dense, reshape": after(lambda: L.Dense(12), lambda: L.Reshape((4, 3)), lambda: L.LSTM(2)),
    "dense, reshape -1": after(lambda: L.Dense(12), lambda: L.Reshape((-1, 3)), lambda: L.LSTM(2)),
    "reshape to one step": after(lambda: L.Reshape((1, H)), lambda: L.LSTM(2)),
    "reshape to one number": after(lambda: L.Reshape((H, 1)), lambda: L.LSTM(2)),
    "reshape at the end": after(lambda: L.Dense(6), lambda: L.Reshape((2, 3))),
    "reshape nothing": behind(lambda: L.Reshape((-1, H)), lambda: L.LSTM(2)),
    "one number a step": behind(lambda: L.Dense(1), lambda: L.Reshape((-1, 1)), lambda: L.LSTM(2)),
    "flatten nothing": after(lambda: L.Flatten(), lambda: L.Dense(2)),
    "permute twice": behind(
        lambda: L.Permute((2, 1)), lambda: L.Permute((2, 1)), lambda: L.LSTM(2)
    ),
    "permute nothing": behind(lambda: L.Permute((1, 2)), lambda: L.LSTM(2)),
    "time dense": behind(_time(lambda: L.Dense(3, activation="relu")), lambda: L.LSTM(2)),
    "time activation": behind(_time(lambda: L.Activation("softmax"))),
    "time dropout": behind(_time(lambda: L.Dropout(0.5)), lambda: L.LSTM(2)),
    "time batch norm": before(_time(lambda: L.BatchNormalization())),
    "time layer norm": before(_time(lambda: L.LayerNormalization())),
    "time flatten": behind(
        lambda: L.Reshape((-1, 1, H)), _time(lambda: L.Flatten()), lambda: L.LSTM(2)
    ),
    "time model": behind(
        _inner(lambda: L.Dense(5, activation="tanh"), lambda: L.Dense(2)), lambda: L.LSTM(2)
    ),
    "bidirectional between": behind(
        lambda: L.Bidirectional(L.LSTM(3, return_sequences=True)),
        lambda: L.BatchNormalization(),
        lambda: L.Bidirectional(L.LSTM(2), merge_mode="sum"),
    ),
}
FIXED = {  # these need a known number of steps
    "flatten": behind(lambda: L.Flatten(), lambda: L.Dense(3)),
    "flatten alone": behind(lambda: L.Flatten()),
    "flatten, norm": behind(
        lambda: L.Flatten(), lambda: L.BatchNormalization(), lambda: L.Dense(3)
    ),
    "conv, flatten": behind(
        _conv(), lambda: L.MaxPooling1D(2), lambda: L.Flatten(), lambda: L.Dense(2)
    ),
    "flatten numbers": behind(lambda: L.Dense(1), lambda: L.Flatten()),
    "flatten, repeat": before(lambda: L.Flatten(), lambda: L.Dense(5), lambda: L.RepeatVector(3)),
    "reshape steps": before(lambda: L.Reshape((I, -1))),
    "permute": before(lambda: L.Permute((2, 1))),
    "permute conv": behind(lambda: L.Permute((2, 1)), lambda: L.Conv1D(3, 2), lambda: L.LSTM(2)),
    "permute dense": graph(
        lambda y: L.LSTM(2)(
            L.Multiply()(
                [y, L.Permute((2, 1))(L.Dense(y.shape[1], "softmax")(L.Permute((2, 1))(y)))]
            )
        )
    ),
    "permute, flatten": behind(lambda: L.Permute((2, 1)), lambda: L.Flatten(), lambda: L.Dense(2)),
    "permute at the end": behind(lambda: L.Permute((2, 1))),
    "dense for every step": graph(
        lambda y: L.Dense(y.shape[1], activation="softmax")(L.Flatten()(y))
    ),
    "weights from a dense layer": graph(
        lambda y: L.Dot(axes=1)([L.Dense(y.shape[1], activation="softmax")(L.Flatten()(y)), y])
    ),
    "batch norm of steps flattened": behind(
        lambda: L.Dense(1), lambda: L.Flatten(), lambda: L.BatchNormalization()
    ),
}


def _branches(y, x):
    a = L.Conv1D(3, 2, padding="same")(x)
    a = L.GlobalAveragePooling1D()(L.BatchNormalization()(a))
    return L.Dense(2)(L.Concatenate()([a, L.LSTM(3)(y)]))


def _residual(y):
    z = L.Add()([y, L.LSTM(H, return_sequences=True)(y)])
    z = L.LayerNormalization()(L.Average()([z, y, L.Dense(H)(z)]))
    return L.LSTM(2)(L.Multiply()([z, y]))


def _bahdanau(y, x):
    out, h, _ = L.LSTM(5, return_sequences=True, return_state=True)(y)
    score = L.Dense(1)(
        L.Activation("tanh")(L.Add()([L.Dense(3)(out), L.Dense(3)(L.RepeatVector(1)(h))]))
    )
    weights = L.Softmax(axis=1)(score)
    return L.Dense(2)(ops.sum(weights * out, axis=1))


def _classic(K):
    """Attention as it is written for Keras 1 and 2, with flattening, repeating and permuting."""

    def build(y):
        a = L.Flatten()(L.Dense(1, activation="tanh")(y))
        a = L.Activation("softmax")(a)
        a = L.Permute((2, 1))(L.RepeatVector(K)(a))
        return L.Dense(2)(ops.sum(L.Multiply()([y, a]), axis=1))

    return build


def _last_query(y):
    q = y[:, -1:]
    return L.Flatten()(L.Attention()([q, y]))


JOINTS = {
    "branches": graph(_branches),
    "residual": graph(_residual),
    "subtract": graph(lambda y: L.LSTM(2)(L.Subtract()([y, L.Dense(H)(y)]))),
    "concatenate sequences": graph(lambda y, x: L.LSTM(2)(L.Concatenate()([y, x, y]))),
    "concatenate a repeated vector": graph(
        lambda y: (
            L.LSTM(2)(L.Concatenate(axis=2)([y, L.RepeatVector(y.shape[1])(L.LSTM(2)(y))]))
            if y.shape[1]
            else L.LSTM(2)(y)
        )
    ),
    "poolings": graph(
        lambda y: L.Dense(2)(
            L.concatenate([L.GlobalMaxPooling1D()(y), L.GlobalAveragePooling1D()(y), y[:, -1]])
        )
    ),
    "attention": graph(_last_query),
    "attention scale": graph(
        lambda y: L.Flatten()(
            L.Attention(use_scale=True, dropout=0.1)([L.RepeatVector(1)(L.LSTM(H)(y)), y])
        )
    ),
    "attention concat": graph(
        lambda y: L.Flatten()(L.Attention(use_scale=True, score_mode="concat")([y[:, :1], y]))
    ),
    "attention key": graph(lambda y: L.Attention()([y[:, 2:3], L.Dense(3)(y), L.Dense(H)(y)])),
    "additive attention": graph(lambda y: L.Flatten()(L.AdditiveAttention()([y[:, -1:], y]))),
    "additive attention bare": graph(
        lambda y: L.AdditiveAttention(use_scale=False)([ops.expand_dims(L.LSTM(H)(y), 1), y])
    ),
    "bahdanau": graph(_bahdanau),
    "classic": graph(_classic(H)),
    "softmax, dot": graph(
        lambda y: L.Flatten()(L.Dot(axes=1)([L.Softmax(axis=1)(L.Dense(1)(y)), y]))
    ),
    "dot, flattened": graph(
        lambda y: L.Dot(axes=1)([L.Activation("softmax")(L.Flatten()(L.Dense(1)(y))), y])
    ),
    "dot with the last": graph(
        lambda y: L.Dot(axes=[1, 1])([y, L.Softmax()(L.Dot(axes=[2, 1])([y, L.LSTM(H)(y)]))])
    ),
    "dot of vectors": graph(lambda y: L.Dot(axes=-1)([L.LSTM(3)(y), L.LSTM(3)(y)])),
    "matmul": graph(
        lambda y: ops.matmul(ops.transpose(y, (0, 2, 1)), L.Softmax(axis=1)(L.Dense(1)(y)))
    ),
    "stack": graph(lambda y: L.LSTM(2)(ops.stack([L.LSTM(3)(y), L.LSTM(3)(y)], axis=1))),
    "concatenate as steps": graph(
        lambda y: L.LSTM(2)(
            L.Concatenate(axis=1)(
                [L.RepeatVector(1)(L.LSTM(3)(y)), L.RepeatVector(1)(L.LSTM(3)(y))]
            )
        )
    ),
    "squeeze and excite": graph(
        lambda y: L.LSTM(2)(
            L.multiply([y, L.Reshape((1, H))(L.Dense(H, "sigmoid")(L.GlobalAveragePooling1D()(y)))])
        )
    ),
    "an activation beside": graph(
        lambda y: (lambda d: L.LSTM(2)(L.Add()([d, L.Activation("relu")(d)])))(L.Dense(3)(y))
    ),
}
OPERATIONS = {
    "sum": graph(lambda y: ops.sum(y, axis=1)),
    "sum over numbers": graph(lambda y: L.LSTM(2)(ops.sum(y, axis=-1, keepdims=True))),
    "mean": graph(lambda y: ops.mean(y, axis=1, keepdims=True)),
    "mean over numbers": graph(lambda y: ops.mean(L.LSTM(3)(y), axis=-1, keepdims=True)),
    "max": graph(lambda y: ops.max(y, axis=1)),
    "step 0": graph(lambda y: y[:, 0]),
    "step 2": graph(lambda y: y[:, 2, :]),
    "step -2": graph(lambda y: L.Dense(2)(y[:, -2])),
    "last steps": graph(lambda y: L.LSTM(2)(y[:, -3:])),
    "every second": graph(lambda y: L.LSTM(2)(y[:, ::2, :])),
    "reversed": graph(lambda y: L.LSTM(2)(y[:, ::-1])),
    "flip": graph(lambda y: L.LSTM(2)(ops.flip(y, axis=1))),
    "some numbers": graph(lambda y: L.LSTM(2)(y[:, :, 1:3])),
    "a number": graph(lambda y: y[:, -1, 2:3]),
    "a number of each step": graph(lambda y: L.LSTM(2)(L.Reshape((-1, 1))(y[..., 1]))),
    "new axis": graph(lambda y: L.LSTM(2)(y[:, -1][:, None, :])),
    "numbers in front": graph(lambda y, x: L.LSTM(2)(L.Concatenate()([y, x[:, :, :2]]))),
    "arithmetic": graph(lambda y: L.LSTM(2)(1.0 - (2.0 * y + 0.5) / 3.0 - 0.25)),
    "functions": graph(lambda y: L.LSTM(2)(ops.relu(ops.tanh(y) * ops.sigmoid(y) - ops.exp(y)))),
    "ops softmax": graph(lambda y: L.LSTM(2)(ops.softmax(y, axis=1) + ops.softmax(y))),
    "squeeze": graph(lambda y: ops.squeeze(ops.mean(y, axis=1, keepdims=True), axis=1)),
    "repeat": graph(lambda y: L.LSTM(2)(ops.repeat(ops.expand_dims(L.LSTM(3)(y), 1), 4, axis=1))),
    "tile": graph(lambda y: L.LSTM(2)(ops.tile(ops.expand_dims(L.LSTM(3)(y), 1), (1, 4, 1)))),
    "ops reshape": graph(lambda y: L.LSTM(2)(ops.reshape(L.Dense(6)(L.LSTM(3)(y)), (-1, 2, 3)))),
    "ops concatenate": graph(lambda y: ops.concatenate([ops.mean(y, 1), ops.max(y, 1)], axis=-1)),
    "swapaxes": graph(lambda y: L.LSTM(2)(ops.swapaxes(ops.swapaxes(y, 1, 2), 1, 2))),
    "difference": graph(lambda y, x: L.LSTM(2)(x - ops.mean(x, axis=1, keepdims=True))),
}


def _words(function, masks=True):
    def build(T):
        x = keras.Input((T,), dtype="int32")
        return keras.Model(x, function(L.Embedding(6, 4, mask_zero=masks)(x)))

    return build


def _masking(function, value=0.0):
    def build(T):
        x = inputs(T)
        return keras.Model(x, function(L.Masking(value)(x)))

    return build


WORDS = {  # of ids, some of which are 0
    "mask, conv": _words(lambda e: L.LSTM(3)(L.Conv1D(4, 2)(e))),
    "mask, dropout": _words(lambda e: L.LSTM(3)(L.SpatialDropout1D(0.2)(e))),
    "mask, norm": _words(lambda e: L.LSTM(3)(L.BatchNormalization()(L.LayerNormalization()(e)))),
    "mask, rms norm": _words(lambda e: L.LSTM(3)(L.RMSNormalization()(e))),
    "mask, mean": _words(lambda e: L.GlobalAveragePooling1D()(L.LSTM(3, return_sequences=True)(e))),
    "mask, attention": _words(
        lambda e: (lambda y: L.Flatten()(L.Attention()([y[:, -1:], y])))(
            L.Bidirectional(L.LSTM(3, return_sequences=True))(e)
        )
    ),
    "mask, residual": _words(
        lambda e: L.LSTM(3)(L.Add()([e, L.LSTM(4, return_sequences=True)(e)]))
    ),
    "mask, side by side": _words(
        lambda e: L.GlobalAveragePooling1D()(
            L.Concatenate()([e, L.LSTM(4, return_sequences=True)(e)])
        )
    ),
    "mask, product": _words(
        lambda e: L.LSTM(3)(L.Multiply()([e, L.LSTM(4, return_sequences=True)(e)]))
    ),
    "mask, dense at every step": _words(
        lambda e: L.TimeDistributed(L.Dense(2))(L.LSTM(3, return_sequences=True)(e))
    ),
    "mask, last": _words(lambda e: L.Dense(2)(L.LSTM(3, return_sequences=True)(e)[:, -1])),
    "mask, branches": _words(
        lambda e: L.Concatenate()([L.LSTM(3)(e), L.Bidirectional(L.LSTM(2))(e)])
    ),
    "words, conv": _words(lambda e: L.LSTM(3)(L.Conv1D(4, 2)(e)), masks=False),
    "words, flat": _words(
        lambda e: (
            L.Dense(3)(L.Flatten()(L.LSTM(3, return_sequences=True)(e)))
            if e.shape[1]
            else L.LSTM(3)(e)
        ),
        masks=False,
    ),
}
MASKED = {  # of numbers, with steps of zeros
    "masking, conv": _masking(lambda e: L.LSTM(3)(L.Conv1D(4, 2)(e))),
    "masking, lstm": _masking(lambda e: L.LSTM(3)(e)),
    "masking, normalization": _masking(lambda e: L.LSTM(3)(L.Normalization()(e))),
    "masking, rescaling": _masking(lambda e: L.LSTM(3)(L.Rescaling(2.0, 1.0)(e))),
    "masking, average": _masking(
        lambda e: L.GlobalAveragePooling1D()(
            L.PReLU(shared_axes=[1])(L.LSTM(3, return_sequences=True)(e))
        )
    ),
}
VECTORS = {  # of a vector (N, 12)
    "vector, reshape": lambda: keras.Sequential([keras.Input((12,)), L.Reshape((4, 3)), L.LSTM(3)]),
    "vector, one number a step": lambda: keras.Sequential(
        [keras.Input((12,)), L.Reshape((12, 1)), L.Conv1D(3, 2), L.LSTM(3)]
    ),
    "vector, dense": lambda: keras.Sequential(
        [keras.Input((12,)), L.Dense(5), L.RepeatVector(3), L.LSTM(3, return_sequences=True)]
    ),
    "vector, one step": lambda: keras.Sequential(
        [keras.Input((12,)), L.Reshape((1, 12)), L.LSTM(3)]
    ),
    "vector, expanded": lambda: (lambda x: keras.Model(x, L.LSTM(2)(ops.expand_dims(x, -1))))(
        keras.Input((12,))
    ),
}
GROUPS = (CONVOLUTIONS, NORMALISATIONS, ALL_ACTIVATIONS, SHAPES, JOINTS, OPERATIONS)
ALL = {name: build for group in (*GROUPS, FIXED) for name, build in group.items()}
