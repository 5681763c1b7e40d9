"""The reader: a small classifier that says what is in a picture, drawn by the world or a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from starter.captions import ATTRIBUTES, labels, truth
from starter.optimizers import optimizers_for
from starter.stages import Budget, Stage, run_stage
from starter.vae import to_tensor
from starter.world import Scene
from webui.files import replacing

WEIGHTS = Path(__file__).with_name("reader.safetensors")
_CHANNELS = (32, 64, 96, 128)
_BATCH = 64
_SOFT = 16
"""Rebuilt pictures of a batch: they are few, and the reader should not know them by heart."""
_MOVED_PX = 6
"""How far a picture may be shifted while training."""


def reduced(pictures: np.ndarray, device: str = "cpu") -> Tensor:
    """Return pictures, uint8 ``[n, 256, 256, 3]``, as the reader looks at them: half as wide."""
    return functional.avg_pool2d(to_tensor(pictures, device), 2)


class Again(nn.Module):
    """Looks once more at what a layer saw, and adds what it finds to it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm.weight)

    def forward(self, seen: Tensor) -> Tensor:
        """Return [n, channels, h, w] of the same shape."""
        return seen + functional.relu(self.norm(self.conv(seen)))


class Reader(nn.Module):
    """Pictures [n, 3, 128, 128] in -1..1 -> for each attribute the scores [n, classes]."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for channels in _CHANNELS:
            size = 5 if before == 3 else 3
            layers += [
                nn.Conv2d(before, channels, size, stride=2, padding=size // 2, bias=False),
                nn.BatchNorm2d(channels),
                nn.ReLU(),
            ]
            if before != 3:  # at full width a second look costs more than it tells
                layers.append(Again(channels))
            before = channels
        self.see = nn.Sequential(*layers)  # [n, 128, 8, 8]
        self.think = nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(before * 16, 256), nn.ReLU(), nn.Dropout(0.2)
        )
        self.tell = nn.ModuleList(nn.Linear(256, len(names)) for names in ATTRIBUTES.values())

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the scores of every attribute, in the order of ``ATTRIBUTES``."""
        thought = self.think(self.see(pictures))
        return [head(thought) for head in self.tell]


def load_reader(path: Path = WEIGHTS) -> Reader:
    """Return the reader that ships with the project, ready to read."""
    reader = Reader()
    halves = load_file(path)
    reader.load_state_dict({name: value.float() for name, value in halves.items()}, strict=False)
    return reader.eval()


def save_reader(reader: Reader, path: Path = WEIGHTS) -> None:
    """Write the reader's weights as float16."""
    state = {name: value for name, value in reader.state_dict().items() if value.ndim}
    with replacing(path) as file:
        save_file({name: value.half().contiguous() for name, value in state.items()}, file)


@torch.no_grad()
def read(reader: Reader, pictures: np.ndarray) -> list[dict[str, str]]:
    """Return what is in each picture, uint8 ``[n, 256, 256, 3]``: a value for every attribute."""
    told: list[dict[str, str]] = []
    for start in range(0, len(pictures), 64):
        scores = reader(reduced(pictures[start : start + 64]))
        classes = torch.stack([score.argmax(1) for score in scores], dim=1)  # [n, attributes]
        told += [
            {name: ATTRIBUTES[name][place] for name, place in zip(ATTRIBUTES, row, strict=True)}
            for row in classes.tolist()
        ]
    return told


@torch.no_grad()
def colour_odds(reader: Reader, pictures: np.ndarray, colours: list[str]) -> np.ndarray:
    """Return how sure the reader is that each picture's object has its colour: log-odds ``[n]``."""
    scores = reader(reduced(pictures))[list(ATTRIBUTES).index("colour")]
    places = torch.tensor([[ATTRIBUTES["colour"].index(colour)] for colour in colours])
    chosen = scores.gather(1, places)
    others = scores.scatter(1, places, -torch.inf).logsumexp(1, keepdim=True)
    return (chosen - others)[:, 0].numpy()


def _moved(pictures: Tensor, mirrored: np.ndarray, rng: np.random.Generator) -> Tensor:
    """Return the pictures shifted by a few pixels, and those of ``mirrored`` (bool ``[n]``)
    mirrored."""
    mirror = torch.from_numpy(mirrored).to(pictures.device).view(-1, 1, 1, 1)
    pictures = torch.where(mirror, pictures.flip(3), pictures)
    wide = functional.pad(pictures, [_MOVED_PX] * 4, mode="replicate")
    corners = rng.integers(2 * _MOVED_PX + 1, size=(len(pictures), 2))
    side = pictures.shape[-1]
    cut = (
        picture[:, y : y + side, x : x + side]
        for picture, (y, x) in zip(wide, corners.tolist(), strict=True)
    )
    return torch.stack(list(cut))


def _spoilt(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Return the pictures a little blurred, noisy and shifted in brightness, as a model's may
    be."""
    if rng.random() < 0.25:
        small = functional.interpolate(pictures, scale_factor=0.5, mode="area")
        pictures = functional.interpolate(small, scale_factor=2, mode="bilinear")
    pictures = pictures * rng.uniform(0.9, 1.08) + rng.uniform(-0.06, 0.06)
    return (pictures + rng.uniform(0, 0.08) * torch.randn_like(pictures)).clamp(-1, 1)


def train_reader(
    reader: Reader, pictures: np.ndarray, rebuilt: np.ndarray, scenes: list[Scene],
    budget: Budget, folder: Path, seed: int = 0, peak_lr: float = 1e-3, device: str = "cpu",
) -> None:  # fmt: skip
    """Train the reader in place on pictures uint8 ``[n, 256, 256, 3]`` and the truth about them.

    ``rebuilt`` are the first few of them as they come out of the model's autoencoder, uint8
    [k, 256, 256, 3]: a model's pictures are as soft as these, and some of each batch are. Pictures
    are shifted and mirrored, but where being left or right is part of the truth.
    """
    reader.to(device).train()
    answers = torch.tensor([labels(truth(scene)) for scene in scenes])  # [n, attributes]
    may_mirror = np.array(
        [scene.relation != "beside" and scene.position not in ("left", "right") for scene in scenes]
    )

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, 40, step))
        torch.manual_seed(seed * 1_000_003 + step)
        drawn_rows = np.sort(rng.integers(len(pictures), size=_BATCH - _SOFT))
        soft_rows = rng.integers(len(rebuilt), size=_SOFT)
        rows = np.concatenate([drawn_rows, soft_rows])
        batch = np.concatenate([pictures[drawn_rows], rebuilt[soft_rows]])
        mirrored = may_mirror[rows] & (rng.random(_BATCH) < 0.5)
        shown = _spoilt(_moved(reduced(batch, device), mirrored, rng), rng)
        with torch.autocast(device, torch.bfloat16):
            scores = reader(shown)
        right = answers[rows].to(device).T
        losses = [
            functional.cross_entropy(score.float(), answer)
            for score, answer in zip(scores, right, strict=True)
        ]
        return torch.stack(losses).sum()

    run_stage(Stage("reader", reader, optimizers_for(reader, peak_lr), budget, folder), loss_at)
    reader.eval()
