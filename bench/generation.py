"""Our txt2img beside diffusers' pipeline on one model: `python bench/generation.py`.

Both draw the same prompt from the same noise over as many of Euler's levels, with the same size,
guidance and device in one process, in turns; diffusers in float32, ours in `--dtype` with live
previews and all that the app does but saving. "new" has a prompt that was not seen before, "again"
one whose conditioning is remembered. A round's times are compared with each other only, because a
machine is never equally fast for long. Last comes how far the images are apart.

`--model sd1` is a model of Stable Diffusion 1.5's size with random weights.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline  # noqa: E402

from webui.generation.engine import Picture, generate  # noqa: E402
from webui.generation.preview import Previewer  # noqa: E402
from webui.generation.request import GenerationRequest, checked, default_request  # noqa: E402
from webui.generation.sampling.noise import Philox  # noqa: E402
from webui.generation.sampling.noise_levels import LevelTable  # noqa: E402
from webui.generation.sampling.samplers import lay_out  # noqa: E402
from webui.models.catalog import find_checkpoint  # noqa: E402
from webui.models.loader import decode_in, load  # noqa: E402
from webui.models.model import Model  # noqa: E402
from webui.prompting.conditioning import Conditioner  # noqa: E402
from webui.studio.jobs import PREVIEW_EVERY_S  # noqa: E402

PROMPTS = [f"a red heart with {number} white dots on a blue background" for number in range(99)]


class NoEmbeddings:
    """An empty collection of embeddings."""

    version = 0

    def names(self) -> list[str]:
        return []

    def get(self, name: str) -> None:
        return None

    def card(self, name: str) -> None:
        return None


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models-dir", type=Path, default=ROOT / "models")
    add("--model", default="starter", help="the name of a checkpoint, or sd1")
    add("--side", type=int, default=0, help="of the images in pixels; 0: as the model likes it")
    add("--rounds", type=int, default=7)
    add("--pictures", type=int, default=3, help="whose distance is measured")
    add("--steps", type=int, default=20)
    add("--threads", type=int, default=2)
    add("--device", default="cpu")
    add("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    return parser.parse_args()


def both_models(options: argparse.Namespace) -> tuple[Model, Model]:
    """Return the model in float32, and in the precision asked for."""
    device, dtype = torch.device(options.device), getattr(torch, options.dtype)
    if options.model == "sd1":
        from bench.gpu import random_model  # it imports this module

        made = random_model("sd1", device)
        made.unet.float()
        decode_in(made, torch.float32)
        exact = replace(made, dtype=torch.float32)
    else:
        checkpoint = find_checkpoint(options.models_dir, options.model)
        exact = load(checkpoint, device, torch.float32)
    if dtype == torch.float32:
        return exact, exact
    quick = replace(exact, unet=copy.deepcopy(exact.unet).to(dtype), dtype=dtype)
    if dtype == torch.bfloat16:
        quick = replace(quick, vae=copy.deepcopy(exact.vae))
        decode_in(quick, dtype)
    return exact, quick


def pipeline(model: Model) -> StableDiffusionPipeline:
    """Return diffusers' pipeline of the model's own parts."""
    pipe = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoders[0].model,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=EulerDiscreteScheduler.from_config(
            model.scheduler_config | {"timestep_spacing": "linspace"}
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(
    pipe: StableDiffusionPipeline, model: Model, request: GenerationRequest, prompt: str
) -> np.ndarray:
    """Draw a picture with diffusers, from our noise over our levels."""
    table = LevelTable.of(model.scheduler_config)
    course = lay_out("Euler", request.schedule_type, table, request.steps)
    sides = (side // model.latent_scale for side in (request.height, request.width))
    [image] = pipe(
        prompt,
        negative_prompt=request.negative_prompt,
        sigmas=list(course.levels),
        guidance_scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        latents=Philox(request.seed).normal((4, *sides))[None].to(model.device),
    ).images
    return np.asarray(image, np.int16)


def ours(
    model: Model,
    conditioner: Conditioner,
    previewer: Previewer | None,
    request: GenerationRequest,
    prompt: str,
) -> np.ndarray:
    """Draw a picture with our engine, and previews when they are due."""
    shown = time.monotonic()
    asked = replace(request, prompt=prompt)
    for event in generate(model, asked, NoEmbeddings(), conditioner):
        now = time.monotonic()
        if isinstance(event, Picture):
            return np.asarray(event.image, np.int16)
        if previewer is None:
            continue
        if now - shown >= max(PREVIEW_EVERY_S, previewer.rest_s):
            previewer(event.latents[0])
            shown = now
    raise RuntimeError("There was no picture.")


def seconds(work: Callable[[], object], device: str) -> float:
    """Return how long ``work`` takes, the device's queue included."""
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    """Draw in turns and print milliseconds a step and the median ratios."""
    options = parse()
    torch.set_num_threads(options.threads)
    exact, model = both_models(options)
    hints = model.defaults | {"steps": options.steps, "sampler": "Euler"}
    if options.side:
        hints |= {"width": options.side, "height": options.side}
    request = checked(default_request(hints, prompt=PROMPTS[0], negative_prompt="blurry", seed=1))
    pipe, conditioner, previewer = pipeline(exact), Conditioner(), Previewer(model)
    contestants: dict[str, Callable[[int], np.ndarray]] = {
        "diffusers, new": lambda n: theirs(pipe, exact, request, PROMPTS[n]),
        "ours, new": lambda n: ours(model, conditioner, previewer, request, PROMPTS[n]),
        "diffusers, again": lambda n: theirs(pipe, exact, request, PROMPTS[0]),
        "ours, again": lambda n: ours(model, conditioner, previewer, request, PROMPTS[0]),
        "ours, again, no previews": lambda n: ours(model, conditioner, None, request, PROMPTS[0]),
    }
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(options.rounds + 1):
        names = list(contestants) if number % 2 else list(contestants)[::-1]
        for name in names:
            work = contestants[name]
            took = seconds(lambda: work(number + 1), options.device)  # noqa: B023
            if number:  # the first round warms up
                times[name].append(took)
    size = f"{request.width}×{request.height}"
    print(f"{model.name}, {options.dtype}, {size}, {request.sampler}, {options.steps} steps")
    print("| | ms per step | against diffusers, median of rounds |\n|---|---|---|")
    for name, took in times.items():
        base = times["diffusers, new" if "new" in name else "diffusers, again"]
        ratio = statistics.median(one / other for one, other in zip(took, base, strict=True))
        print(f"| {name} | {statistics.median(took) / options.steps * 1000:.1f} | {ratio:.3f} |")
    apart = np.stack(
        [
            np.abs(contestants["ours, new"](number) - contestants["diffusers, new"](number))
            for number in range(options.pictures)
        ]
    )
    print(f"The images are at most {apart.max()} of 255 apart, {apart.mean():.3f} in the mean.")


if __name__ == "__main__":
    main()
