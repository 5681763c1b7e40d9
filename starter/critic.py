"""The critic: a small network that says how well drawn a picture of the world is, whatever it
shows."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from starter.captions import caption
from starter.faults import HELD_BACK, LEARNED, Fault, spoil
from starter.optimizers import optimizers_for
from starter.pictures import picture_at, scene_at
from starter.quality import generate
from starter.reader import Again
from starter.stages import Budget, Stage, run_stage
from starter.text import token_ids
from starter.vae import to_tensor
from starter.world import SIDE
from webui.files import replacing

WEIGHTS = Path(__file__).with_name("critic.safetensors")
_CHANNELS = (24, 40, 64, 96)
_PAIRS = 24
_CROP_PX = 128
_GUESSED = 4
"""Of a batch: pairs from the model's own hand."""
_SHARES = {"wavy": 6.0, "washed out": 2.0, "overdone": 2.0, "oversharpened": 2.0}
"""Of the faults that are hard to tell there are so many times as many pairs as of others."""
_GUESSED_AT = 4
"""Pictures that pass through the denoiser together."""


class Critic(nn.Module):
    """Pictures [n, 3, h, w] in -1..1 -> how well drawn they are, [n].

    Only differences count, between pictures of the same: 1 more is better with odds of e to 1.
    """

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
            if channels >= _CHANNELS[2]:
                layers.append(Again(channels))
            before = channels
        self.see = nn.Sequential(*layers)  # [n, 96, h / 16, w / 16]
        self.judge = nn.Sequential(nn.Linear(2 * before, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, pictures: Tensor) -> Tensor:
        """Judge by what is there on the whole, and by what is there most anywhere."""
        seen = self.see(pictures)
        return self.judge(torch.cat([seen.mean((2, 3)), seen.amax((2, 3))], dim=1))[:, 0]


def load_critic(path: Path = WEIGHTS) -> Critic:
    """Return the critic that ships with the project, ready to judge."""
    critic = Critic()
    halves = load_file(path)
    critic.load_state_dict({name: value.float() for name, value in halves.items()}, strict=False)
    return critic.eval()


def save_critic(critic: Critic, path: Path = WEIGHTS) -> None:
    """Write the critic's weights as float16."""
    state = {name: value for name, value in critic.state_dict().items() if value.ndim}
    with replacing(path) as file:
        save_file({name: value.half().contiguous() for name, value in state.items()}, file)


@torch.no_grad()
def judged(critic: Critic, pictures: np.ndarray) -> np.ndarray:
    """Return how well drawn each picture, uint8 ``[n, 256, 256, 3]``, is: ``[n]``."""
    parts = [critic(to_tensor(pictures[at : at + 32])) for at in range(0, len(pictures), 32)]
    return torch.cat(parts).numpy()


def better_share(critic: Critic, pictures: np.ndarray, than: np.ndarray) -> float:
    """Return in how many of the pairs, of two ``[n, 256, 256, 3]``, the first picture is better."""
    return float(np.mean(judged(critic, pictures) > judged(critic, than)))


@dataclass(frozen=True)
class Guesses:
    """Drawn pictures, uint8 ``[n, 256, 256, 3]``, and what the model makes of the first of them."""

    drawn: np.ndarray
    rebuilt: np.ndarray
    """As they come out of the autoencoder; these and the others are ``[k, 256, 256, 3]``."""
    fair: np.ndarray
    """As the denoiser guesses them, at once, from a little noise."""
    poor: np.ndarray
    """The same from more noise."""


@torch.autocast("cpu", torch.bfloat16)
@torch.no_grad()
def guess(pipeline: StableDiffusionPipeline, seed: int, drawn_count: int, count: int) -> Guesses:
    """Draw pictures of the world, and let the model rebuild some and guess them from noise."""
    vae, schedule = pipeline.vae, pipeline.scheduler
    scale = vae.config.scaling_factor
    found: dict[str, list[np.ndarray]] = {"rebuilt": [], "fair": [], "poor": []}
    drawn = np.stack([picture_at(seed, index, True) for index in range(drawn_count)])
    for start in range(0, count, _GUESSED_AT):
        rows = range(start, min(start + _GUESSED_AT, count))
        rng = np.random.default_rng((seed, start, 3))
        noise_of = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
        told = [caption(scene_at(seed, row, True), rng).text for row in rows]
        states = pipeline.text_encoder(token_ids(pipeline.tokenizer, told)).last_hidden_state
        clean = scale * vae.encode(to_tensor(drawn[rows])).latent_dist.mean.float()
        low = torch.from_numpy(rng.integers(60, 400, len(rows)))
        high = torch.from_numpy(rng.integers(500, 900, len(rows)))
        latents = {"rebuilt": clean}
        for name, t in (("fair", low), ("poor", high)):
            noise = torch.randn(clean.shape, generator=noise_of)
            noisy = schedule.add_noise(clean, noise, t)
            velocity = pipeline.unet(noisy, t, states).sample.float()
            kept = schedule.alphas_cumprod[t].view(-1, 1, 1, 1)
            latents[name] = kept.sqrt() * noisy - (1 - kept).sqrt() * velocity
        for name, each in latents.items():
            pictures = (vae.decode(each / scale).sample.float().clamp(-1, 1) + 1) * 127.5
            found[name].append(pictures.round().byte().permute(0, 2, 3, 1).numpy())
    return Guesses(drawn, **{name: np.concatenate(each) for name, each in found.items()})


def _cut(rng: np.random.Generator, *pictures: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return the same part of each picture, mirrored or not."""
    top, left = rng.integers(SIDE - _CROP_PX + 1, size=2)
    turned = slice(None, None, -1 if rng.random() < 0.5 else 1)
    here = slice(top, top + _CROP_PX), slice(left, left + _CROP_PX)
    return tuple(picture[here][:, turned] for picture in pictures)


def _pair(guesses: Guesses, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return a part of a picture, and the same spoilt, or more so."""
    kind = (guesses.drawn, guesses.rebuilt, guesses.fair)[rng.choice(3, p=(0.3, 0.4, 0.3))]
    (better,) = _cut(rng, kind[rng.integers(len(kind))])
    worse = better
    faults = list(LEARNED.values())
    shares = np.array([_SHARES.get(name, 1.0) for name in LEARNED])
    count = 1 + (rng.random() < 0.3)
    for place in rng.choice(len(faults), count, replace=False, p=shares / shares.sum()):
        strength, how = rng.beta(0.8, 1.6), int(rng.integers(1 << 40))
        if rng.random() < 0.3:
            less = strength * rng.uniform(0.1, 0.6)
            better = spoil(better, faults[place], less, np.random.default_rng(how))
        worse = spoil(worse, faults[place], strength, np.random.default_rng(how))
    return better, worse


def _guessed_pair(guesses: Guesses, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    row = rng.integers(len(guesses.rebuilt))
    stages = (guesses.rebuilt, guesses.fair, guesses.poor)
    first, second = sorted(rng.choice(3, size=2, replace=False))
    better, worse = _cut(rng, stages[first][row], stages[second][row])
    return better, worse


def train_critic(
    critic: Critic, guesses: Guesses, budget: Budget, folder: Path, seed: int = 0,
    peak_lr: float = 1e-3, device: str = "cpu",
) -> None:  # fmt: skip
    """Train the critic in place to prefer, of two pictures of the same, the one less spoilt.

    What it says of the two is taken for log-odds (Bradley and Terry), so nobody has to say how
    much worse a fault is than another.
    """
    critic.to(device).train()

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((seed, 41, step))
        pairs = [_guessed_pair(guesses, rng) for _ in range(_GUESSED)]
        pairs += [_pair(guesses, rng) for _ in range(_PAIRS - _GUESSED)]
        shown = to_tensor(
            np.stack([picture for pair in zip(*pairs, strict=True) for picture in pair]), device
        )
        with torch.autocast(device, torch.bfloat16):
            better, worse = (
                critic(shown.contiguous(memory_format=torch.channels_last)).float().chunk(2)
            )
        return functional.softplus(worse - better).mean()

    run_stage(Stage("critic", critic, optimizers_for(critic, peak_lr), budget, folder), loss_at)
    critic.eval()


def faults_told(critic: Critic, seed: int, count: int, strength: float) -> dict[str, float]:
    """Return how often the critic prefers a drawing to the same with a fault, by kind of fault."""
    rng = np.random.default_rng((seed, 42))
    drawn = np.stack([picture_at(seed, index, True) for index in range(count)])
    clear = judged(critic, drawn)

    def share(fault: Fault) -> float:
        spoilt = np.stack([spoil(picture, fault, strength, rng) for picture in drawn])
        return float(np.mean(clear > judged(critic, spoilt)))

    return {name: share(fault) for name, fault in {**LEARNED, **HELD_BACK}.items()}


POOR_WAYS = {
    "three steps": {"steps": 3},
    "six steps": {"steps": 6},
    "no guidance": {"guidance": 1.0},
    "far too much guidance": {"guidance": 15.0},
}
"""How the model itself draws badly, beside its 20 steps and guidance 4."""


def poor_ways_told(
    critic: Critic, pipeline: StableDiffusionPipeline, seed: int, count: int
) -> dict[str, float]:
    """Return how often the critic prefers what the model draws as it should, by poor way."""
    rng = np.random.default_rng((seed, 43))
    prompts = [caption(scene_at(seed, index), rng).text for index in range(count)]
    usual = generate(pipeline, prompts, seed)
    return {
        name: better_share(critic, usual, generate(pipeline, prompts, seed, **way))
        for name, way in POOR_WAYS.items()
    }
