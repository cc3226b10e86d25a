"""Networks of PyTorch, each a module as its authors would write it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .cases import Case, register, trained

# Slopes and epsilons are powers of 2 where they can be: those of ONNX are float32 in any file.
NETWORKS: dict[str, Case] = {}


def network(steps: int, inputs: int, **options: Any) -> Any:
    return register(NETWORKS, steps, inputs, **options)


def settle(module: nn.Module, seed: int) -> nn.Module:
    """Give a module trained-looking weights and statistics, and set it to `eval`."""
    import numpy as np

    rng = np.random.default_rng(seed)
    for owner in module.modules():
        normalises = isinstance(owner, (nn.modules.batchnorm._NormBase, nn.LayerNorm))
        tensors = list(owner.named_parameters(recurse=False))
        tensors += [(n, b) for n, b in owner.named_buffers(recurse=False) if n.startswith("run")]
        for name, tensor in tensors:
            kind = "rows"
            if name.startswith("running"):
                kind = name.removeprefix("running_").replace("var", "variance")
            elif isinstance(owner, nn.PReLU):
                kind = "slope"
            elif normalises:
                kind = "scale" if name == "weight" else "bias"
            elif isinstance(owner, nn.LSTM) and "bias" in name:
                kind = "lstm bias"
            elif "bias" in name:
                kind = "bias"
            elif isinstance(owner, nn.Conv1d):
                kind = "conv"
            shape = tuple(tensor.shape)
            if kind == "conv":  # (O, I, taps), of which I * taps are summed
                values = trained("rows", (shape[0], shape[1] * shape[2]), rng).reshape(shape)
            else:
                values = trained(kind, shape, rng)
            tensor.data = torch.from_numpy(values)
    return module.eval()


# Sensors: convolutions in front


@network(24, 9, free=True)
class HarCNNLSTM(nn.Module):
    """Human activity: two convolutions, pooling, LSTM, the last step."""

    def __init__(self, input_size: int = 9, hidden_size: int = 8, num_classes: int = 6) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        self.conv1 = nn.Conv1d(input_size, 6, kernel_size=3, padding=1)
        self.conv2 = nn.Conv1d(6, 8, kernel_size=3, padding=1)
        self.pool = nn.MaxPool1d(kernel_size=2)
        self.lstm = nn.LSTM(8, hidden_size, num_layers=1, batch_first=True)
        self.fc = nn.Linear(hidden_size, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 1)
        x = F.relu(self.conv1(x))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.permute(0, 2, 1)
        h0 = torch.zeros(1, x.size(0), self.hidden_size).to(x)
        c0 = torch.zeros(1, x.size(0), self.hidden_size).to(x)
        out, _ = self.lstm(x, (h0, c0))
        return self.fc(out[:, -1, :])


@network(36, 3, layout="NIT", free=True)
class ConvBlocks(nn.Module):
    """Blocks of convolution, batch normalisation, ReLU and pooling, channels first."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(3, 6, kernel_size=5, padding=2),
            nn.BatchNorm1d(6),
            nn.ReLU(inplace=True),
            nn.MaxPool1d(2),
            nn.Dropout(0.2),
            nn.Conv1d(6, 8, kernel_size=3, padding=1),
            nn.BatchNorm1d(8),
            nn.ReLU(inplace=True),
            nn.MaxPool1d(kernel_size=3, stride=2, padding=1),
        )
        self.lstm = nn.LSTM(8, 6, num_layers=2, batch_first=True, dropout=0.3)
        self.dropout = nn.Dropout(0.5)
        self.classifier = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)
        x = x.transpose(1, 2)
        _, (hidden, _) = self.lstm(x)
        return self.classifier(self.dropout(hidden[-1]))


@network(60, 2, layout="NIT")
class EcgConvLSTM(nn.Module):
    """ECG: strided convolutions without biases, both final states."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(2, 6, kernel_size=7, stride=3, padding=3, bias=False)
        self.bn1 = nn.BatchNorm1d(6)
        self.conv2 = nn.Conv1d(6, 8, kernel_size=5, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(8, eps=2**-10)
        self.relu = nn.LeakyReLU(0.125)
        self.rnn = nn.LSTM(8, 5, num_layers=2, batch_first=True, bidirectional=True)
        self.out = nn.Linear(10, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = x.permute(0, 2, 1)
        _, (h_n, _) = self.rnn(x)
        x = torch.cat((h_n[-2, :, :], h_n[-1, :, :]), dim=1)
        return F.softmax(self.out(x), dim=1)


@network(19, 5)
class ReplicatePadding(nn.Module):
    """Padding by the outermost steps, and pooling that moves by single steps."""

    def __init__(self, n_features: int = 5, n_hidden: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            n_features, n_features, kernel_size=3, padding=2, padding_mode="replicate"
        )
        self.maxpool = nn.MaxPool1d(kernel_size=2, stride=1)
        self.lstm = nn.LSTM(input_size=n_features, hidden_size=n_hidden, batch_first=True)
        self.fc = nn.Linear(n_hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = self.maxpool(self.conv(x))
        x = x.transpose(1, 2)
        out, _ = self.lstm(x)
        return torch.sigmoid(self.fc(out[:, -1]))


@network(20, 4, free=True)
class CausalTCN(nn.Module):
    """Dilated convolutions made causal: padded on both sides, and the end cut off."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv1d(4 if k == 0 else 6, 6, 3, padding=2 * 2**k, dilation=2**k) for k in range(2)
        )
        self.last = nn.Conv1d(6, 5, kernel_size=2)
        self.act = nn.ReLU()
        self.lstm = nn.LSTM(5, 5, batch_first=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = x.transpose(1, 2)
        for conv in self.convs:
            y = self.act(conv(y)[:, :, : -conv.padding[0]].contiguous())
        y = F.pad(y, (1, 0))
        y = self.act(self.last(y)).transpose(1, 2)
        out, _ = self.lstm(y)
        return self.head(out)


@network(24, 4, layout="NIT", free=True)
class DepthwiseSeparable(nn.Module):
    """Small devices: depthwise and pointwise convolutions, ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(4, 4, kernel_size=5, padding=2, groups=4)
        self.pointwise = nn.Conv1d(4, 8, kernel_size=1)
        self.grouped = nn.Conv1d(8, 6, kernel_size=3, groups=2)
        self.bn = nn.BatchNorm1d(8)
        self.act = nn.ReLU6()
        self.avg = nn.AvgPool1d(2)
        self.lstm = nn.LSTM(6, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.bn(self.pointwise(self.depthwise(x))))
        x = self.avg(x)
        x = self.act(self.grouped(x))
        x = x.permute(2, 0, 1)
        out, (_hn, _cn) = self.lstm(x)
        return F.log_softmax(self.fc(out[-1]), dim=-1)


@network(26, 3, wide=False)
class ManyActivations(nn.Module):
    """Convolutions with activations of all kinds."""

    def __init__(self) -> None:
        super().__init__()
        acts = [
            nn.PReLU(),
            nn.PReLU(4),
            nn.GELU(),
            nn.SiLU(),
            nn.ELU(0.7),
            nn.Hardtanh(0, 20),
            nn.SELU(),
            nn.Mish(),
        ]
        layers: list[nn.Module] = []
        for k, act in enumerate(acts):
            layers += [nn.Conv1d(3 if k == 0 else 4, 4, 3), act]
        self.body = nn.Sequential(*layers)
        self.lstm = nn.LSTM(4, 5, batch_first=True)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x.permute(0, 2, 1)).permute(0, 2, 1)
        out, _ = self.lstm(F.hardswish(x))
        return self.fc(F.gelu(out[:, -1, :], approximate="tanh"))


@network(20, 3, free=True)
class LstmConvPool(nn.Module):
    """A layer, a convolution, a layer, and adaptive pooling to one step."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm1 = nn.LSTM(3, 5, batch_first=True, bidirectional=True)
        self.conv = nn.Conv1d(10, 6, kernel_size=3, padding="same")
        self.norm = nn.BatchNorm1d(6)
        self.lstm2 = nn.LSTM(6, 5, batch_first=True)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.lstm1(x)
        x = torch.tanh(self.norm(self.conv(x.transpose(1, 2))))
        x, _ = self.lstm2(x.transpose(1, 2))
        x = self.pool(x.permute(0, 2, 1)).squeeze(-1)
        return self.fc(x)


@network(20, 1, layout="NT", free=True)
class UnivariateConv(nn.Module):
    """One number a step, without an axis of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 5, 4, stride=2)
        self.lstm = nn.LSTM(5, 6, batch_first=True)
        self.pool = nn.AdaptiveMaxPool1d(1)
        self.fc = nn.Linear(6, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x.unsqueeze(1)))
        out, _ = self.lstm(x.transpose(1, 2))
        x = self.pool(out.transpose(1, 2))
        x = x.view(x.size(0), -1)
        return self.fc(x).squeeze(-1)


@network(30, 6, free=True)
class SpeechCRNN(nn.Module):
    """Speech: strided convolutions, clipped; summed directions; log-probabilities of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv1d(6, 8, kernel_size=5, stride=2, padding=2),
            nn.BatchNorm1d(8),
            nn.Hardtanh(0, 20),
            nn.Conv1d(8, 8, kernel_size=3, padding=1),
            nn.BatchNorm1d(8),
            nn.Hardtanh(0, 20),
        )
        self.norm = nn.LayerNorm(8)
        self.rnn = nn.LSTM(8, 5, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(5, 7)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        x, _ = self.rnn(self.norm(x))
        x = x.view(x.size(0), x.size(1), 2, -1).sum(2)
        return F.log_softmax(self.fc(x), dim=-1)


# Text and attention


@network(18, 30, ids=True, free=True)
class TextCnnBiLSTM(nn.Module):
    """Sentiment: embedding, convolution, pooling, the mean of a bidirectional layer."""

    def __init__(self, vocab_size: int = 30) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, 6, padding_idx=0)
        self.conv = nn.Conv1d(6, 8, kernel_size=3, padding=1)
        self.lstm = nn.LSTM(8, 5, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(10, 2)

    def forward(self, text: Tensor) -> Tensor:
        embedded = self.embedding(text).permute(0, 2, 1)
        x = F.max_pool1d(F.relu(self.conv(embedded)), 2)
        out, _ = self.lstm(x.permute(0, 2, 1))
        return self.fc(self.dropout(out.mean(dim=1)))


class Attention(nn.Module):
    """A score a step from one linear layer."""

    def __init__(self, hidden_dim: int) -> None:
        super().__init__()
        self.attention = nn.Linear(hidden_dim, 1)

    def forward(self, lstm_output: Tensor) -> Tensor:
        weights = torch.softmax(self.attention(lstm_output), dim=1)
        return torch.sum(weights * lstm_output, dim=1)


@network(16, 30, ids=True, free=True)
class TextAttention(nn.Module):
    """Sentiment: attention pooling with a linear score."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 6)
        self.lstm = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.attention = Attention(10)
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(10, 2)

    def forward(self, x: Tensor) -> Tensor:
        lstm_out, _ = self.lstm(self.embedding(x))
        return self.fc(self.dropout(self.attention(lstm_out)))


@network(15, 4, free=True)
class AdditiveAttention(nn.Module):
    """Scores from two layers, squeezed, and a product of matrices for the weighted sum."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 6, num_layers=2, batch_first=True)
        self.w = nn.Linear(6, 5)
        self.v = nn.Linear(5, 1, bias=False)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(x)
        scores = self.v(torch.tanh(self.w(out))).squeeze(-1)
        weights = F.softmax(scores, dim=1)
        context = torch.bmm(weights.unsqueeze(1), out).squeeze(1)
        return self.fc(context)


@network(15, 30, ids=True, free=True)
class LastStateAttention(nn.Module):
    """Scores are products with the final hidden state."""

    def __init__(self) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(30, 5)
        self.lstm = nn.LSTM(5, 6)
        self.label = nn.Linear(6, 2)

    def attention_net(self, lstm_output: Tensor, final_state: Tensor) -> Tensor:
        hidden = final_state.squeeze(0)
        attn_weights = torch.bmm(lstm_output, hidden.unsqueeze(2)).squeeze(2)
        soft_attn_weights = F.softmax(attn_weights, 1)
        return torch.bmm(lstm_output.transpose(1, 2), soft_attn_weights.unsqueeze(2)).squeeze(2)

    def forward(self, input_sentences: Tensor) -> Tensor:
        x = self.word_embeddings(input_sentences)
        x = x.permute(1, 0, 2)
        output, (final_hidden_state, _) = self.lstm(x)
        output = output.permute(1, 0, 2)
        return self.label(self.attention_net(output, final_hidden_state))


@network(16, 30, ids=True, free=True)
class TextRnnAtt(nn.Module):
    """Scores are products of the outputs' tanh with a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 6, padding_idx=29)
        self.lstm = nn.LSTM(6, 5, 2, bidirectional=True, batch_first=True, dropout=0.5)
        self.tanh1 = nn.Tanh()
        self.w = nn.Parameter(torch.zeros(10))
        self.fc1 = nn.Linear(10, 6)
        self.fc = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        H, _ = self.lstm(self.embedding(x))
        M = self.tanh1(H)
        alpha = F.softmax(torch.matmul(M, self.w), dim=1).unsqueeze(-1)
        out = torch.sum(H * alpha, 1)
        out = self.fc1(F.relu(out))
        return self.fc(out)


@network(14, 30, ids=True, joined=True)
class TextRcnn(nn.Module):
    """The embedding beside the layer's outputs, and the maximum over the steps."""

    def __init__(self, pad_size: int = 14) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 5)
        self.lstm = nn.LSTM(5, 4, 1, bidirectional=True, batch_first=True)
        self.maxpool = nn.MaxPool1d(pad_size)
        self.fc = nn.Linear(13, 3)

    def forward(self, x: Tensor) -> Tensor:
        embed = self.embedding(x)
        out, _ = self.lstm(embed)
        out = torch.cat((embed, out), 2)
        out = F.relu(out)
        out = out.permute(0, 2, 1)
        out = self.maxpool(out).squeeze(-1)
        return self.fc(out)


@network(13, 4, free=True, joined=True)
class MeanAndMax(nn.Module):
    """Mean and maximum side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, batch_first=True, bidirectional=True)
        self.linear = nn.Linear(20, 8)
        self.out = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, _ = self.lstm(x)
        avg_pool = torch.mean(h, 1)
        max_pool, _ = torch.max(h, 1)
        return self.out(F.relu(self.linear(torch.cat((avg_pool, max_pool), 1))))


@network(14, 25, ids=True, free=True, layout="TNI")
class TaggerTimeFirst(nn.Module):
    """A class for each word, time first, through a view of all words of all sentences."""

    def __init__(self) -> None:
        super().__init__()
        self.emb = nn.Embedding(25, 6)
        self.rnn = nn.LSTM(6, 5, 2, bidirectional=True)
        self.hidden2tag = nn.Linear(10, 4)

    def forward(self, sentence: Tensor) -> Tensor:
        out, _ = self.rnn(self.emb(sentence))
        t, n, h = out.size()
        scores = self.hidden2tag(out.view(t * n, h))
        return F.log_softmax(scores.view(t, n, -1), dim=2)


# Autoencoders


class Encoder(nn.Module):
    def __init__(self, n_features: int, embedding_dim: int) -> None:
        super().__init__()
        self.rnn1 = nn.LSTM(n_features, 2 * embedding_dim, num_layers=1, batch_first=True)
        self.rnn2 = nn.LSTM(2 * embedding_dim, embedding_dim, num_layers=1, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x, (_, _) = self.rnn1(x)
        x, (hidden_n, _) = self.rnn2(x)
        return hidden_n[-1]


class Decoder(nn.Module):
    def __init__(self, seq_len: int, embedding_dim: int, n_features: int) -> None:
        super().__init__()
        self.seq_len = seq_len
        self.rnn1 = nn.LSTM(embedding_dim, embedding_dim, num_layers=1, batch_first=True)
        self.rnn2 = nn.LSTM(embedding_dim, 2 * embedding_dim, num_layers=1, batch_first=True)
        self.output_layer = nn.Linear(2 * embedding_dim, n_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unsqueeze(1).repeat(1, self.seq_len, 1)
        x, _ = self.rnn1(x)
        x, _ = self.rnn2(x)
        return self.output_layer(x)


@network(11, 3)
class RecurrentAutoencoder(nn.Module):
    """Reconstruction: two layers, the final state repeated, two layers, linear."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = Encoder(3, 4)
        self.decoder = Decoder(11, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(self.encoder(x))


@network(9, 2, batch=1)
class OneSequenceAutoencoder(nn.Module):
    """The same for one sequence at a time: its reshapes name the sizes."""

    def __init__(self, seq_len: int = 9, n_features: int = 2, dim: int = 4) -> None:
        super().__init__()
        self.seq_len, self.n_features, self.dim = seq_len, n_features, dim
        self.encoder = nn.LSTM(n_features, dim, batch_first=True)
        self.decoder = nn.LSTM(dim, 2 * dim, batch_first=True)
        self.dense_layers = nn.Linear(2 * dim, n_features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.reshape((1, self.seq_len, self.n_features))
        _, (hidden_n, _) = self.encoder(x)
        x = hidden_n.reshape((1, self.dim))
        x = x.repeat(self.seq_len, 1).reshape((1, self.seq_len, self.dim))
        x, (_, _) = self.decoder(x)
        x = x.reshape((self.seq_len, 2 * self.dim))
        return self.dense_layers(x).reshape((1, self.seq_len, self.n_features))


@network(12, 4, free=True)
class LatentAutoencoder(nn.Module):
    """The final state through a linear layer, expanded to as many steps as came."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.LSTM(4, 6, 2, batch_first=True, dropout=0.2)
        self.to_latent = nn.Linear(6, 3)
        self.from_latent = nn.Linear(3, 6)
        self.decoder = nn.LSTM(6, 6, 2, batch_first=True, dropout=0.2)
        self.output = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        batch_size, seq_len, _ = x.size()
        _, (h, _) = self.encoder(x)
        z = self.to_latent(h[-1])
        d = self.from_latent(z).unsqueeze(1).expand(batch_size, seq_len, -1)
        out, _ = self.decoder(d)
        return self.output(out)


@network(10, 3, free=True, layout="TNI", exported=False)
class ProjectedAutoencoder(nn.Module):
    """Time first; the decoder projects to the inputs' size, which ONNX cannot say."""

    def __init__(self, input_dim: int = 3, hidden_dim: int = 6) -> None:
        super().__init__()
        self.encoder = nn.LSTM(input_size=input_dim, hidden_size=hidden_dim)
        self.decoder = nn.LSTM(hidden_dim, hidden_dim, proj_size=input_dim)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.encoder(x)
        out = out[-1, :, :].unsqueeze(0).repeat(x.shape[0], 1, 1)
        pred_x, _ = self.decoder(out)
        return pred_x


@network(16, 3, layout="NIT")
class ConvAutoencoder(nn.Module):
    """Pooled, a layer, and doubled again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv1d(3, 6, 3, padding=1), nn.ELU(), nn.MaxPool1d(2))
        self.lstm = nn.LSTM(6, 5, batch_first=True)
        self.up = nn.Upsample(scale_factor=2)
        self.out = nn.Conv1d(5, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(x).transpose(1, 2)
        x, _ = self.lstm(x)
        return self.out(self.up(x.transpose(1, 2)))


# Forecasts


@network(14, 4, free=True)
class NormsBetween(nn.Module):
    """LayerNorm between two layers, and a head of several parts."""

    def __init__(self) -> None:
        super().__init__()
        self.norm0 = nn.LayerNorm(4)
        self.lstm1 = nn.LSTM(4, 7, batch_first=True)
        self.norm1 = nn.LayerNorm(7)
        self.drop = nn.Dropout(0.2)
        self.lstm2 = nn.LSTM(7, 5, batch_first=True)
        self.norm2 = nn.LayerNorm(5, eps=2**-10)
        self.fc1 = nn.Linear(5, 4)
        self.fc2 = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x, _ = self.lstm1(self.norm0(x))
        x = self.drop(self.norm1(x))
        x, _ = self.lstm2(x)
        x = self.norm2(x[:, -1, :])
        return self.fc2(F.relu(self.fc1(x)))


@network(13, 5, free=True)
class BatchNormAround(nn.Module):
    """BatchNorm1d of the features in front, and of the final state."""

    def __init__(self) -> None:
        super().__init__()
        self.bn_in = nn.BatchNorm1d(5)
        self.lstm = nn.LSTM(5, 6, 2, batch_first=True)
        self.bn = nn.BatchNorm1d(6)
        self.fc1 = nn.Linear(6, 5)
        self.fc2 = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn_in(x.permute(0, 2, 1)).permute(0, 2, 1)
        h_0 = x.new_zeros(2, x.size(0), 6)
        c_0 = x.new_zeros(2, x.size(0), 6)
        _, (h_n, _) = self.lstm(x, (h_0, c_0))
        x = self.bn(h_n[-1])
        return self.fc2(F.leaky_relu(self.fc1(x), 0.25))


@network(13, 4, free=True)
class DeepBidirectional(nn.Module):
    """Both final states of the last of three layers."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(4, 5, num_layers=3, bidirectional=True, batch_first=True)
        self.fc = nn.Sequential(
            nn.Linear(10, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 3)
        )

    def forward(self, x: Tensor) -> Tensor:
        _, (h_n, _) = self.lstm(x)
        h_n = h_n[-2:].transpose(0, 1).contiguous().view(x.size(0), -1)
        return F.log_softmax(self.fc(h_n), dim=1)


@network(12, 3)
class FlattenedSteps(nn.Module):
    """All steps, flattened into a dense layer."""

    def __init__(self, seq_len: int = 12) -> None:
        super().__init__()
        self.l_lstm = nn.LSTM(input_size=3, hidden_size=5, num_layers=1, batch_first=True)
        self.l_linear = nn.Linear(5 * seq_len, 4)

    def forward(self, x: Tensor) -> Tensor:
        batch_size = x.size(0)
        lstm_out, _ = self.l_lstm(x)
        x = lstm_out.contiguous().view(batch_size, -1)
        return self.l_linear(x)


@network(17, 3, free=True)
class SlicedSteps(nn.Module):
    """Every other step, then the last five."""

    def __init__(self) -> None:
        super().__init__()
        self.inp = nn.Sequential(nn.Linear(3, 5), nn.ReLU())
        self.lstm = nn.LSTM(5, 6, batch_first=True)
        self.fc = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(self.inp(x[:, ::2, :]))
        return self.fc(out[:, -5:, :])


class ExtractOutput(nn.Module):
    def forward(self, x: tuple[Tensor, tuple[Tensor, Tensor]]) -> Tensor:
        out, _ = x
        return out


class ExtractLast(nn.Module):
    def forward(self, x: tuple[Tensor, tuple[Tensor, Tensor]]) -> Tensor:
        return x[0][:, -1, :]


@network(12, 4, free=True)
class AllInSequential(nn.Sequential):
    """Modules that pick a layer's outputs, in one `nn.Sequential`."""

    def __init__(self) -> None:
        super().__init__(
            nn.LSTM(4, 6, batch_first=True),
            ExtractOutput(),
            nn.LayerNorm(6),
            nn.LSTM(6, 5, batch_first=True, bidirectional=True),
            ExtractLast(),
            nn.Linear(10, 4),
            nn.Softplus(),
            nn.Linear(4, 1),
        )


@network(12, 3, free=True)
class ScaledForecast(nn.Module):
    """Inputs and outputs scaled by the statistics of the data."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, -0.25, 0.125]))
        self.register_buffer("std", torch.tensor([1.5, 0.75, 2.0]))
        self.lstm = nn.LSTM(3, 6, batch_first=True)
        self.fc = nn.Linear(6, 6 * 2)

    def forward(self, x: Tensor) -> Tensor:
        x = (x - self.mean) / self.std
        out, _ = self.lstm(x)
        y = self.fc(out[:, -1]).reshape(-1, 6, 2)
        return y * self.std[0] + self.mean[0]


@network(13, 4, free=True)
class MaxOverTime(nn.Module):
    """A gated sum of activations, the maximum over the steps, and probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 6)
        self.lstm = nn.LSTM(6, 5, 2, batch_first=True, bidirectional=True, bias=False)
        self.act = nn.SiLU()
        self.fc = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        out, _ = self.lstm(self.act(self.proj(x)))
        out = out.max(dim=1)[0]
        return torch.sigmoid(self.fc(torch.clamp(out, min=-0.5, max=0.5)))
