"""How near our noise, levels, walks and images are to others': `python bench/parity.py`.

Walks and levels are compared with k-diffusion's, which AUTOMATIC1111 uses. It needs two of its
modules alone, so it is enough to install it without what it depends on:

    pip install --no-deps k-diffusion torchdiffeq && pip install torchsde

`--picture 256` draws an image of that size with a random checkpoint of Stable Diffusion 1.5's size,
once with diffusers' pipeline from the same noise over the same levels, and once with ours.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers import AutoencoderKL, UNet2DConditionModel  # noqa: E402
from torch import Tensor  # noqa: E402
from transformers import CLIPTextConfig, CLIPTextModel  # noqa: E402

from bench.generation import NoEmbeddings, pipeline, theirs  # noqa: E402
from webui.generation.engine import Picture, generate  # noqa: E402
from webui.generation.request import GenerationRequest  # noqa: E402
from webui.generation.sampling.brownian import BrownianNoise, BrownianTree  # noqa: E402
from webui.generation.sampling.noise import Philox  # noqa: E402
from webui.generation.sampling.noise_levels import LevelTable  # noqa: E402
from webui.generation.sampling.samplers import (  # noqa: E402
    SAMPLERS,
    SCHEDULE_TYPES,
    Course,
    lay_out,
)
from webui.generation.sampling.solvers import Given  # noqa: E402
from webui.models.catalog import find_checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.prompting.conditioning import Conditioner  # noqa: E402

CONFIGS = ROOT / "webui" / "models" / "configs" / "sd1"
CONFIG = json.loads((CONFIGS / "scheduler" / "scheduler_config.json").read_text())
TABLE = LevelTable.of(CONFIG)
STEPS = 5, 10, 20, 31
SHAPE = 1, 4, 8, 8
THEIRS = {
    "DPM++ 2M": "dpmpp_2m",
    "DPM++ SDE": "dpmpp_sde",
    "DPM++ 2M SDE": "dpmpp_2m_sde",
    "DPM++ 2M SDE Heun": "dpmpp_2m_sde",
    "DPM++ 2S a": "dpmpp_2s_ancestral",
    "DPM++ 3M SDE": "dpmpp_3m_sde",
    "Euler a": "euler_ancestral",
    "Euler": "euler",
    "LMS": "lms",
    "Heun": "heun",
    "DPM2": "dpm_2",
    "DPM2 a": "dpm_2_ancestral",
    "DPM fast": "dpm_fast",
    "DPM adaptive": "dpm_adaptive",
}
"""Our samplers that k-diffusion has, and its names."""


def draws(seed: int) -> Callable[[], Tensor]:
    """Return what draws noise of one seed, call by call."""
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator)


def bent(x: Tensor, sigma: Any) -> Tensor:
    """Stand for a model, of some curvature."""
    return (0.09 * x + 0.5 * sigma**2) / (0.09 + sigma**2) + 0.1 * torch.sin(3 * x) / (1 + sigma)


def noise() -> None:
    """Print CUDA's first numbers, and how long a latent's take."""
    numbers = ", ".join(f"{number:.4f}" for number in Philox(0).normal((4,)).tolist())
    generator, times = Philox(1), []
    for _ in range(50):
        began = time.perf_counter()
        generator.normal((4, 64, 64))
        times.append(time.perf_counter() - began)
    print(f"Philox of seed 0: {numbers}; 4×64×64 in {1000 * sorted(times)[25]:.2f} ms")


def k_diffusion() -> Any | None:
    """Return k-diffusion with its modules of levels and walks alone; None where it is not."""
    found = importlib.util.find_spec("k_diffusion")
    if found is None or found.submodule_search_locations is None:
        return None
    folder = Path(found.submodule_search_locations[0])
    package, utils = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    package.__path__ = [str(folder)]
    utils.append_dims = lambda x, count: x[(...,) + (None,) * (count - x.ndim)]
    package.utils = utils
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils}
    for name in ("sampling", "external"):
        spec = importlib.util.spec_from_file_location(f"k_diffusion.{name}", folder / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        setattr(package, name, module)
        spec.loader.exec_module(module)
    return package


def levels(kd: Any) -> None:
    """Print how far the levels that k-diffusion knows are from ours."""
    known = kd.external.DiscreteSchedule(TABLE.sigmas, quantize=False)
    ends = {"sigma_min": TABLE.low, "sigma_max": TABLE.high}
    theirs = {
        "Uniform": known.get_sigmas,
        "Karras": lambda n: kd.sampling.get_sigmas_karras(n, **ends),
        "Exponential": lambda n: kd.sampling.get_sigmas_exponential(n, **ends),
        "Polyexponential": lambda n: kd.sampling.get_sigmas_polyexponential(n, **ends),
    }
    for schedule, of in theirs.items():
        apart = [
            (torch.tensor(lay_out("Euler", schedule, TABLE, steps).levels) - of(steps)).abs().max()
            for steps in STEPS
        ]
        print(f"levels of {schedule}: at most {float(max(apart)):.1e} apart")


def walks(kd: Any) -> None:
    """Print how far the ends of walks are from k-diffusion's, over all levels and steps."""
    print("\n| sampler | calls as many | farthest apart |\n| --- | --- | --- |")
    for name in THEIRS:
        apart, as_many = [], True
        for course, taken, steps, eta in courses(name):
            x = course.noise * draws(3)() + (bent(torch.zeros(SHAPE), 5.0) if taken else 0)
            theirs, count = their_walk(kd, name, course, x, taken, steps, eta)
            ours, own_count = our_walk(name, course, x, eta)
            apart.append(float((ours - theirs).abs().max()))
            as_many &= count == own_count
        print(f"| {name} | {'yes' if as_many else 'no'} | {max(apart):.1e} |")


def courses(name: str) -> Iterator[tuple[Course, int | None, int, float]]:
    """Yield courses of a sampler, and how many steps of how many are taken, with which eta."""
    etas = (1.0, 0.5, 0.0) if SAMPLERS[name].eta is not None else (1.0,)
    for schedule, steps, taken, eta in product(SCHEDULE_TYPES, STEPS, (None, 4), etas):
        yield lay_out(name, schedule, TABLE, steps, taken), taken, steps, eta


def our_walk(name: str, course: Course, x: Tensor, eta: float) -> tuple[Tensor, int]:
    """Return where our walk ends, and the number of calls."""

    def of_seed(seed: int) -> Tensor:
        return torch.randn(SHAPE[1:], generator=torch.Generator().manual_seed(seed))

    brownian = BrownianNoise([BrownianTree(course.low, course.high, 11, of_seed)])
    path = SAMPLERS[name].path(x, course.levels, Given(TABLE, draws(7), brownian, lambda: x, eta))
    call, count = next(path), 0
    while True:
        count += 1
        try:
            call = path.send(bent(call.latents, call.sigma))
        except StopIteration as end:
            return end.value, count


def their_walk(
    kd: Any, name: str, course: Course, x: Tensor, taken: int | None, steps: int, eta: float
) -> tuple[Tensor, int]:
    """Return where k-diffusion's walk ends, and the number of calls."""
    sampling, drawn, calls = kd.sampling, draws(7), []
    sampling.torch = types.SimpleNamespace(
        **{key: value for key, value in vars(torch).items() if key != "randn_like"},
        randn_like=lambda x: drawn(),
    )

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        calls.append(sigma)
        return bent(x, sigma.reshape(-1, 1, 1, 1))

    sigmas = torch.tensor(course.levels)
    options: dict[str, Any] = {"sigmas": sigmas}
    if SAMPLERS[name].own_steps:
        ends = (TABLE.low, TABLE.high) if taken is None else (sigmas[-2], sigmas[0])
        options = dict(zip(("sigma_min", "sigma_max"), ends, strict=True))
        if name == "DPM fast":
            options["n"] = taken or steps
    if SAMPLERS[name].eta is not None:
        options["eta"] = eta
    if SAMPLERS[name].brownian:
        low, high = torch.tensor(course.low), torch.tensor(course.high)
        options["noise_sampler"] = sampling.BrownianTreeNoiseSampler(x, low, high, seed=[11])
    if name == "DPM++ 2M SDE Heun":
        options["solver_type"] = "heun"
    return getattr(sampling, f"sample_{THEIRS[name]}")(model, x, disable=True, **options), len(
        calls
    )


def random_checkpoint(folder: Path) -> Model:
    """Write a random checkpoint of Stable Diffusion 1.5's size and load it."""
    torch.manual_seed(0)
    text = json.loads((CONFIGS / "text_encoder" / "config.json").read_text())
    parts = {
        "text_encoder": CLIPTextModel(CLIPTextConfig(**text)),
        "unet": UNet2DConditionModel.from_config(
            UNet2DConditionModel.load_config(CONFIGS / "unet")
        ),
        "vae": AutoencoderKL.from_config(AutoencoderKL.load_config(CONFIGS / "vae")),
    }
    place = folder / "random"
    for name, part in parts.items():
        part.save_pretrained(place / name)
    (place / "tokenizer").symlink_to(ROOT / "models" / "starter" / "tokenizer")
    (place / "scheduler").symlink_to(CONFIGS / "scheduler")
    (place / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    return load(find_checkpoint(folder, "random"), torch.device("cpu"), torch.float32)


def picture(side: int, steps: int) -> None:
    """Draw with diffusers and with ours, and print how far the images are apart."""
    with tempfile.TemporaryDirectory() as folder:
        model = random_checkpoint(Path(folder))
    request = GenerationRequest(
        prompt="a red heart on a blue background", negative_prompt="blurry", steps=steps,
        sampler="Euler", schedule_type="Karras", seed=5, width=side, height=side,
    )  # fmt: skip
    expected = theirs(pipeline(model), model, request, request.prompt)
    for other in (request, replace(request, seed=6)):
        events = generate(model, other, NoEmbeddings(), Conditioner())
        [image] = [event.image for event in events if isinstance(event, Picture)]
        apart = np.abs(np.asarray(image, np.int16) - expected).max()
        print(f"{side}×{side}, {steps} steps, seed {other.seed}: at most {apart} of 255 apart")


def main() -> None:
    """Compare, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--picture", type=int, default=0, help="side of the image in pixels")
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    warnings.filterwarnings("ignore")
    noise()
    kd = k_diffusion()
    if kd is None:
        print("k-diffusion is not installed; levels and walks are not compared.")
    else:
        levels(kd)
        walks(kd)
    if options.picture:
        picture(options.picture, options.steps)


if __name__ == "__main__":
    main()
