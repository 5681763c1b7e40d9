"""Our txt2img beside diffusers' pipeline on one model: `python bench/generation.py`.

Both draw the same prompt with as many of Euler's steps, the same size, guidance and device in one
process, in turns; ours with live previews and all that the app does but saving. "new" has a prompt
that was not seen before, "again" one whose conditioning is remembered. A round's times are compared
with each other only, because a machine is never equally fast for long.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline  # noqa: E402

from webui.generation.engine import Picture, generate  # noqa: E402
from webui.generation.preview import Previewer  # noqa: E402
from webui.generation.request import GenerationRequest, checked, default_request  # noqa: E402
from webui.models.catalog import find_checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
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
    add("--model", default="starter")
    add("--rounds", type=int, default=7)
    add("--steps", type=int, default=20)
    add("--threads", type=int, default=2)
    add("--device", default="cpu")
    add("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    return parser.parse_args()


def pipeline(model: Model, request: GenerationRequest) -> StableDiffusionPipeline:
    """Return diffusers' pipeline of the model's own parts."""
    pipe = StableDiffusionPipeline(
        vae=model.vae,
        text_encoder=model.text_encoders[0].model,
        tokenizer=model.tokenizer,
        unet=model.unet,
        scheduler=EulerDiscreteScheduler.from_config(model.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(pipe: StableDiffusionPipeline, request: GenerationRequest, prompt: str) -> None:
    """Draw a picture with diffusers."""
    pipe(
        prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale,
        width=request.width,
        height=request.height,
        generator=torch.Generator().manual_seed(request.seed),
    )


def ours(
    model: Model,
    conditioner: Conditioner,
    previewer: Previewer | None,
    request: GenerationRequest,
    prompt: str,
) -> int:
    """Draw a picture with our engine and return how many previews were made."""
    shown, previews = time.monotonic(), 0
    asked = replace(request, prompt=prompt)
    for event in generate(model, asked, NoEmbeddings(), conditioner):
        now = time.monotonic()
        if previewer is None or isinstance(event, Picture):
            continue
        if now - shown >= max(PREVIEW_EVERY_S, previewer.rest_s):
            previewer(event.latents[0])
            shown, previews = now, previews + 1
    return previews


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
    checkpoint = find_checkpoint(options.models_dir, options.model)
    model = load(checkpoint, torch.device(options.device), getattr(torch, options.dtype))
    hints = model.defaults | {"steps": options.steps, "sampler": "Euler"}
    request = checked(default_request(hints, prompt=PROMPTS[0], negative_prompt="blurry", seed=1))
    pipe, conditioner, previewer = pipeline(model, request), Conditioner(), Previewer(model)
    contestants: dict[str, Callable[[int], object]] = {
        "diffusers, new": lambda n: theirs(pipe, request, PROMPTS[n]),
        "ours, new": lambda n: ours(model, conditioner, previewer, request, PROMPTS[n]),
        "diffusers, again": lambda n: theirs(pipe, request, PROMPTS[0]),
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
    print(
        f"{model.name}, {request.width}×{request.height}, {request.sampler}, {options.steps} steps"
    )
    print("| | ms per step | against diffusers, median of rounds |\n|---|---|---|")
    for name, took in times.items():
        base = times["diffusers, new" if "new" in name else "diffusers, again"]
        ratio = statistics.median(one / other for one, other in zip(took, base, strict=True))
        print(f"| {name} | {statistics.median(took) / options.steps * 1000:.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    main()
