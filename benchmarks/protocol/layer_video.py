"""Pictures that move: a convolutional LSTM beside LSTMs over pixels, over patches, and the last frame."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gatestack.nn import LSTM, ConvLSTM2D
from gatestack.training import Training, train

__all__ = ["SIZE", "VIDEOS", "make_video_model", "video_once"]

SIZE = 32  # pixels of a frame along each side
CHANNELS, KERNEL = 12, 3
PATCH, PATCH_UNITS = 4, 28  # 5,616 parameters, the convolutional LSTM has 5,725
PIXEL_UNITS = 64
READ = 6  # frames, before the first that is scored
UPDATES, BATCH = 300, 8


@dataclass(frozen=True)
class Video:
    """A set of sequences: how far ahead of each frame the one lies that is asked for."""

    ahead: int
    words: str


VIDEOS = {
    "digits": Video(1, "two moving digits, the next frame"),
    "radar": Video(3, "rain radar, 15 minutes ahead"),
}


class Convolutional(nn.Module):
    """A ConvLSTM2D and a 1×1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = ConvLSTM2D(CHANNELS, KERNEL, 1)
        self.head = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """What changes from each frame (N, T, S, S) to the one asked for, of the same shape."""
        states = self.layer(x[:, :, None])[0]
        change: Tensor = self.head(states.flatten(0, 1))
        return change.view(x.shape)


class Patches(nn.Module):
    """One LSTM, the same for each patch, which sees nothing of its neighbours. All pixels: one patch."""

    def __init__(self, patch: int, units: int) -> None:
        super().__init__()
        self.patch = patch
        self.layer = LSTM(units, patch * patch)
        self.head = nn.Linear(units, patch * patch)

    def forward(self, x: Tensor) -> Tensor:
        """What changes from each frame (N, T, S, S) to the one asked for, of the same shape."""
        rows, steps, side, patch = x.shape[0], x.shape[1], SIZE // self.patch, self.patch
        cut = x.view(rows, steps, side, patch, side, patch).permute(0, 2, 4, 1, 3, 5)
        read = cut.reshape(rows * side * side, steps, patch * patch)
        change: Tensor = self.head(self.layer(read)[0])
        back = change.view(rows, side, side, steps, patch, patch).permute(0, 3, 1, 4, 2, 5)
        return back.reshape(x.shape)


def make_video_model(name: str) -> nn.Module:
    """A model by name; the untrained head says "no change", so that it starts as persistence."""
    makers: dict[str, Callable[[], Convolutional | Patches]] = {
        "convlstm": Convolutional,
        "patches": partial(Patches, PATCH, PATCH_UNITS),
        "pixels": partial(Patches, SIZE, PIXEL_UNITS),
    }
    model = makers[name]()
    for parameter in model.head.parameters():
        nn.init.zeros_(parameter)
    return model


@lru_cache
def digits(data: Path) -> np.ndarray:
    """The 10,000 images at half their size, (10000, 14, 14) in [0, 1]."""
    with gzip.open(data / "mnist" / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), dtype=np.uint8, offset=16).reshape(-1, 14, 2, 14, 2)
    small: np.ndarray = images.mean(axis=(2, 4), dtype=np.float32) / 255
    return small


def moving_digits(data: Path, rows: int, frames: int, key: int, first: int, last: int) -> Tensor:
    """Two digits of images first … last - 1 bounce in each sequence -> (rows, frames, S, S)."""
    random = np.random.default_rng(key)
    images, room = digits(data), SIZE - 14
    out = np.zeros((rows, frames, SIZE, SIZE), dtype=np.float32)
    for row in out:
        for _ in range(2):
            image = images[random.integers(first, last)]
            place, angle = random.uniform(0, room, 2), random.uniform(0, 2 * np.pi)
            speed = 1.5 * np.array([np.cos(angle), np.sin(angle)])
            for frame in row:
                y, x = np.rint(place).astype(int)
                part = frame[y : y + 14, x : x + 14]
                np.maximum(part, image, out=part)
                place = place + speed
                speed = np.where((place < 0) | (place > room), -speed, speed)
                place = np.where(place < 0, -place, np.where(place > room, 2 * room - place, place))
    return torch.from_numpy(out)


@lru_cache
def radar(data: Path, day: str) -> Tensor:
    """Reflectivity of a day at 8 km a pixel, (frames, 152, 95), 0 for none and 1 for 60 dBZ."""
    frames = []
    for file in sorted((data / "radar_fmi" / day).glob("*.pgm.gz")):
        raw = gzip.decompress(file.read_bytes())
        # The header ends with the maximum; 760 × 1226 bytes follow.
        pixels = np.frombuffer(raw[-760 * 1226 :], dtype=np.uint8).reshape(1226, 760).astype(np.float32)
        rain = np.where(pixels == 255, 0, np.clip((pixels - 64) / 2, 0, 60)) / 60
        frames.append(rain[:1216].reshape(152, 8, 95, 8).mean(axis=(1, 3)))
    return torch.from_numpy(np.stack(frames))


def radar_batch(data: Path, steps: int, step: int, seed: int) -> Tensor:
    """Crops of the first day at random places and times."""
    frames = radar(data, "20160928")
    random = np.random.default_rng([seed, step])
    crops = []
    for _ in range(BATCH):
        at, y, x = (random.integers(limit + 1) for limit in (len(frames) - steps, 152 - SIZE, 95 - SIZE))
        crops.append(frames[at : at + steps, y : y + SIZE, x : x + SIZE])
    return torch.stack(crops)


def radar_test(data: Path) -> Tensor:
    """The other day, in 4 × 2 crops side by side, all of its frames."""
    frames = radar(data, "20170509")
    crops = [frames[:, y : y + SIZE, x : x + SIZE] for y in range(12, 140, SIZE) for x in range(15, 79, SIZE)]
    return torch.stack(crops)


def loss_of(network: nn.Module, batch: Tensor, ahead: int) -> Tensor:
    """Mean squared error of the frame `ahead`, at every frame."""
    known = batch[:, :-ahead]
    return nn.functional.mse_loss(known + network(known), batch[:, ahead:])


def video_once(name: str, model: str, seed: int, data: Path) -> dict[str, Any]:
    """Train, then score on digits, or on a day, that the training did not see."""
    ahead = VIDEOS[name].ahead
    torch.manual_seed(seed)
    network = make_video_model(model)

    def sampler(step: int) -> Tensor:
        if name == "radar":
            return radar_batch(data, 10 + ahead, step, seed)
        return moving_digits(data, BATCH, 10 + ahead, 1_000_000 * (seed + 1) + step, 0, 8000)

    options = Training(learning_rate=0.005, weight_decay=0, device="cpu")
    record = train(
        network,
        partial(loss_of, ahead=ahead),
        sampler,
        options=options,
        max_steps=UPDATES,
        seed=seed,
        progress=False,
    )
    if record.stopped_by == "interrupt":
        raise KeyboardInterrupt
    if name == "radar":
        test, seen = radar_test(data), torch.cat([radar_batch(data, 24, 10**6 + n, 0) for n in range(4)])
    else:
        test = moving_digits(data, 200, 12, 0, 8000, 10000)
        seen = moving_digits(data, 200, 12, 1, 0, 8000)
    scores, training = scores_of(network, test, ahead), scores_of(network, seen, ahead)
    baselines = {"last frame": scores["still"], "no rain, no digit": scores["empty"]}
    return {
        "score": scores["own"],
        "baselines": baselines,
        "in_training": {"own": training["own"], "last frame": training["still"]},
        "parameters": sum(part.numel() for part in network.parameters()),
        "seconds": record.seconds,
    }


def scores_of(network: nn.Module, frames: Tensor, ahead: int) -> dict[str, float]:
    """Mean squared error × 1000 of the network, of the last frame and of an empty one."""
    known, truth = frames[:, :-ahead], frames[:, ahead:]
    with torch.no_grad():
        change = torch.cat([network(part) for part in torch.split(known, 20)])
    scored = slice(READ - 1, None)
    errors = {"own": known + change - truth, "still": known - truth, "empty": truth}
    return {name: 1000 * float(error[:, scored].square().mean()) for name, error in errors.items()}
