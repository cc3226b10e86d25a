"""Train the model that `fastlstm demo` scores: `fastlstm/data/weather_model.npz`.

    python -m pip install ".[torch]"
    python examples/train_demo.py

An LSTM with 32 units and a linear head looks at 48 hours of weather at an airport and says by how
many degrees the temperature will have changed six hours later. It is trained on January to
September 2013; October to December are used for nothing but the last lines printed here and by
`fastlstm demo`.

Nine months hold no second autumn, so every training window is moved by a random offset (a warmer
or colder, moister or drier spell of the same weather) and blurred by a little noise. That, the
size and the number of epochs were chosen by the errors that `--check` prints: it trains on March
to September and scores January and February.

One thread and a fixed seed make a run repeatable on one machine and one version of PyTorch; the
bundled model was made with PyTorch 2.13.0. Takes about ten seconds.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch

import fastlstm
from fastlstm.commands.demo import weather

UNITS = 32
EPOCHS = 10
BATCH = 128
RATE = 3e-3
OFFSET = 0.5  # of the scaled temperature, dew point and pressure; 0.5 is 5 degrees or 4 hPa
NOISE = 0.1
SEED = 2013
DESTINATION = Path(fastlstm.__file__).parent / "data" / "weather_model.npz"

CHECK_TRAIN = (np.datetime64("2013-03-01T00"), np.datetime64("2013-10-01T00"))
CHECK_TEST = (np.datetime64("2013-01-01T00"), np.datetime64("2013-03-01T00"))


class Forecaster(torch.nn.Module):
    """An LSTM and a linear head on its last hidden state."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(inputs, units, batch_first=True)
        self.head = torch.nn.Linear(units, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map windows (N, T, I) to temperature changes (N,)."""
        output, _ = self.lstm(x)
        return self.head(output[:, -1])[:, 0]


def varied(x: torch.Tensor) -> torch.Tensor:
    """Move each window's temperature, dew point and pressure, and blur all but the clock."""
    x = x.clone()
    x[:, :, :2] += OFFSET * torch.randn(len(x), 1, 1)
    x[:, :, 2:3] += OFFSET * torch.randn(len(x), 1, 1)
    x[:, :, :5] += NOISE * torch.randn(len(x), x.shape[1], 5)
    return x


def train(windows: weather.Windows) -> Forecaster:
    """Fit a network to the temperature changes of the windows."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.use_deterministic_algorithms(True)
    x = torch.from_numpy(windows.x)
    change = torch.from_numpy(windows.target - windows.now)
    network = Forecaster(x.shape[2], UNITS)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    batches = -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=EPOCHS * batches)
    started = time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        total = 0.0
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = torch.nn.functional.huber_loss(network(varied(x[rows])), change[rows])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(loss.detach()) * len(rows)
        seconds = time.perf_counter() - started
        print(f"epoch {epoch:2d}  loss {total / len(x):.4f}  {seconds:5.1f} s", flush=True)
    return network.eval()


def report(model: fastlstm.LSTM, windows: weather.Windows) -> None:
    """Print the mean absolute and root-mean-square error beside the naive forecasts'."""
    forecasts = {
        "model": windows.now + model.predict(windows.x)[:, 0],
        "no change": windows.now,
        "as yesterday": windows.yesterday,
    }
    first, last = windows.time.min(), windows.time.max()
    print(f"{len(windows.x)} windows, {first} to {last} UTC, errors in degrees Celsius:")
    for name, forecast in forecasts.items():
        error = forecast - windows.target
        mae, rmse = np.abs(error).mean(), np.sqrt(np.square(error).mean())
        print(f"  {name:13s} mean absolute {mae:.2f}  root mean square {rmse:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the model that `fastlstm demo` scores.")
    parser.add_argument("-o", "--output", type=Path, default=DESTINATION)
    parser.add_argument(
        "--check", action="store_true", help="hold out January and February; write nothing"
    )
    arguments = parser.parse_args()
    observed = weather.load_weather()
    train_hours = CHECK_TRAIN if arguments.check else weather.TRAIN
    test_hours = CHECK_TEST if arguments.check else weather.TEST
    network = train(weather.make_windows(observed, *train_hours))
    model = fastlstm.from_torch(network, head="head")
    report(model, weather.make_windows(observed, *test_hours))
    if not arguments.check:
        print(f"wrote {model.save(arguments.output)}")


if __name__ == "__main__":
    main()
