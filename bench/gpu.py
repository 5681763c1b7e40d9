"""Drawing and training on a GPU beside diffusers, in one command: `python bench/gpu.py`.

Models of the sizes of SD 1.5 and SDXL with random weights are made on the device, so nothing has to
be downloaded; speed does not depend on the weights. UNets compute in bf16. Drawing is 20 Euler
steps with guidance, text encoding and decoding included; diffusers' pipeline has text encoders and
VAE in bf16, too, as people run it. Training is our steps against those of diffusers' example
script: images encoded in each step, the whole token matrix in AdamW. The table has iterations of
the sampler per second (an iteration is one step of the whole batch), milliseconds per training
sample, and the memory that torch had allocated at most. With --compile all is measured
compiled, too: the UNet that draws and that of the script's steps, and the whole of our steps.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from diffusers import (  # noqa: E402
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
)
from PIL import Image  # noqa: E402

from bench.generation import NoEmbeddings  # noqa: E402
from webui.devices.choice import choose_device  # noqa: E402
from webui.devices.compiling import Compiled  # noqa: E402
from webui.generation.engine import generate  # noqa: E402
from webui.generation.request import GenerationRequest, checked, default_request  # noqa: E402
from webui.libraries import (  # noqa: E402
    AutoencoderKL,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    UNet2DConditionModel,
)
from webui.models.families import FAMILIES  # noqa: E402
from webui.models.loader import decode_in  # noqa: E402
from webui.models.model import Model, TextEncoder  # noqa: E402
from webui.models.parts import read_config  # noqa: E402
from webui.models.single_file import CONFIGS, STARTER_FOLDER  # noqa: E402
from webui.prompting.conditioning import Conditioner  # noqa: E402
from webui.training.dataset import Picture  # noqa: E402
from webui.training.denoising import encode_crop  # noqa: E402
from webui.training.recipe import Recipe  # noqa: E402
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup  # noqa: E402
from webui.training.trainer import Progress, begin, queue_step  # noqa: E402
from webui.training.updates.graph import UpdateGraph  # noqa: E402

GOALS = """
Goals on an H200: SD 1.5 at batch 1 at least 105 it/s, with a warm-up of at most 15 s; training
SD 1.5 at batch 4 at most 10 ms per sample, and at least 3 times as fast as the script.
"""
Build = Callable[[str, torch.device], Model]
"""Makes a model of a family on a device."""


@dataclass(frozen=True)
class Row:
    """One measurement."""

    what: str
    figure: float
    unit: str
    warm_up_s: float
    """The first time, which chooses kernels, or compiles."""
    peak_gib: float

    def __str__(self) -> str:
        figures = f"{self.figure:.1f} {self.unit} | {self.warm_up_s:.1f} | {self.peak_gib:.2f}"
        return f"| {self.what} | {figures} |"


def random_model(family: str, device: torch.device) -> Model:
    """Return a model of a family's full size, its UNet in bf16."""
    folder = CONFIGS / family

    def part(kind: Any, name: str, dtype: torch.dtype = torch.float32) -> Any:
        config = read_config(folder / name / "config.json")
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with device:
                made = (
                    kind(CLIPTextConfig(**config)) if "text" in name else kind.from_config(config)
                )
        finally:
            torch.set_default_dtype(before)
        return made.to(dtype).requires_grad_(False).eval()

    encoders = [TextEncoder("clip_l", part(CLIPTextModel, "text_encoder"))]
    if family == "sdxl":
        second = part(CLIPTextModelWithProjection, "text_encoder_2")
        encoders = [
            TextEncoder(key, model, skipped_layers=1, final_norm=False)
            for key, model in (("clip_l", encoders[0].model), ("clip_g", second))
        ]
    side = FAMILIES[family].size
    model = Model(
        name=f"{FAMILIES[family].label}, random weights",
        path=folder,
        short_hash="0" * 10,
        family=family,
        tokenizer=CLIPTokenizer.from_pretrained(STARTER_FOLDER / "tokenizer"),
        text_encoders=tuple(encoders),
        unet=part(UNet2DConditionModel, "unet", torch.bfloat16),
        vae=part(AutoencoderKL, "vae"),
        scheduler_config=read_config(folder / "scheduler" / "scheduler_config.json"),
        device=device,
        dtype=torch.bfloat16,
        defaults={"width": side, "height": side},
    )
    decode_in(model, model.dtype)
    return model


def timed(
    what: str, unit: str, work: Callable[[], object], device: torch.device, rounds: int
) -> tuple[Row, float]:
    """Return a row without its figure, and the median of the seconds that ``work`` takes."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)

    def seconds() -> float:
        began = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter() - began

    first = seconds()
    usual = statistics.median(seconds() for _ in range(rounds))
    peak = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return Row(what, 0.0, unit, first, peak / 2**30), usual


def drawing(model: Model, batches: Sequence[int], steps: int, rounds: int) -> Iterator[Row]:
    """Measure our engine and diffusers' pipeline."""
    hints = model.defaults | {"steps": steps, "sampler": "Euler"}
    request = checked(default_request(hints, prompt="a red heart", negative_prompt="blue", seed=1))
    pipe, conditioner = pipeline(model), Conditioner()
    for batch in batches:
        asked = replace(request, batch_size=batch)

        def ours(asked: GenerationRequest = asked) -> None:
            for _ in generate(model, asked, NoEmbeddings(), conditioner):
                pass
            if model.compiled:
                model.compiled.wait()

        def theirs(batch: int = batch) -> None:
            pipe(
                [request.prompt] * batch,
                negative_prompt=[request.negative_prompt] * batch,
                num_inference_steps=steps,
                guidance_scale=request.cfg_scale,
                width=request.width,
                height=request.height,
            )

        for name, work in (("diffusers", theirs), ("ours", ours)):
            what = f"{model.name}: {request.width}×{request.height}, batch {batch}, {name}"
            row, took = timed(what, "it/s", work, model.device, rounds)
            yield replace(row, figure=steps / took)


def theirs_of(model: Model) -> Any:
    """Return the UNet that diffusers computes with, compiled as people do it if ours is."""
    return (
        torch.compile(model.unet, backend=model.compiled.backend) if model.compiled else model.unet
    )


def pipeline(model: Model) -> Any:
    """Return diffusers' pipeline of the model's UNet and copies of its other parts in bf16."""
    unet = theirs_of(model)
    texts = [copy.deepcopy(encoder.model).to(model.dtype) for encoder in model.text_encoders]
    parts: dict[str, Any] = {
        "vae": copy.deepcopy(model.vae).to(model.dtype),
        "text_encoder": texts[0],
        "tokenizer": model.tokenizer,
        "unet": unet,
        "scheduler": EulerDiscreteScheduler.from_config(model.scheduler_config),
    }
    if len(texts) > 1:
        made: Any = StableDiffusionXLPipeline(
            **parts, text_encoder_2=texts[1], tokenizer_2=model.tokenizer, add_watermarker=False
        )
    else:
        made = StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    made.set_progress_bar_config(disable=True)
    return made


def training(model: Model, batches: Sequence[int], steps: int, rounds: int) -> Iterator[Row]:
    """Measure our steps and those of diffusers' script; the script knows one text encoder."""
    for batch in batches:
        setup = setup_of(model, batch)
        progress, graph = begin(setup), None
        if model.compiled:
            graph = UpdateGraph(setup, progress.optimizers, progress.lora, model.compiled)

        def ours(
            setup: TrainingSetup = setup,
            progress: Progress = progress,
            graph: UpdateGraph | None = graph,
        ) -> None:
            if graph and not graph.wait(0):
                queue_step(setup, progress, graph)
                graph.wait()
                queue_step(setup, progress, graph)  # compared with the same step as it is
            done = [queue_step(setup, progress, graph).figures for _ in range(steps)]
            torch.stack(done).tolist()

        works = {"ours": ours}
        if len(model.text_encoders) == 1:
            works = {"diffusers' script": script(setup, steps), **works}
        for name, work in works.items():
            what = f"{model.name}: training, batch {batch}, {name}"
            row, took = timed(what, "ms per sample", work, model.device, rounds)
            yield replace(row, figure=1000 * took / steps / batch)


def setup_of(model: Model, batch: int) -> TrainingSetup:
    """Return a run on five random pictures."""
    recipe = Recipe(batch_size=batch, vectors=3, hold_out=False)
    side = model.defaults["width"]
    draw = np.random.default_rng(0)
    pictures = [
        Picture(
            Path(f"{number}.png"),
            Image.fromarray(draw.integers(0, 256, (side, side, 3), dtype=np.uint8)),
            None, "", "", has_text_file=False,
        )
        for number in range(5)
    ]  # fmt: skip
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, crop) for crop in cut]
    return prepare_setup(model, recipe, "thing", "cat", pictures, cut, moments)


def script(setup: TrainingSetup, steps: int) -> Callable[[], None]:
    """Return steps as diffusers' example script does them, on copies of what it changes."""
    model, recipe, schedule = setup.model, setup.recipe, setup.schedule
    unet = theirs_of(model)
    text = copy.deepcopy(model.text_encoders[0].model)
    vae = copy.deepcopy(model.vae).to(model.dtype)
    table = text.get_input_embeddings().weight.requires_grad_(True)
    frozen = table.detach().clone()
    optimizer = torch.optim.AdamW([table], lr=5e-4, weight_decay=1e-2)
    crops = cut_crops(recipe, model, setup.pictures)
    pixels = torch.stack(
        [torch.from_numpy(np.array(crop.image)).permute(2, 0, 1) / 127.5 - 1 for crop in crops]
    ).to(model.device, model.dtype)
    batch, total = recipe.batch_size, schedule.config["num_train_timesteps"]
    lines = [setup.line(0, 0.0)] * batch
    chunks = setup.captions(lines, setup.initializers)
    ids = torch.tensor([chunk.token_ids for chunk in chunks], device=model.device)

    def step() -> float:
        chosen = torch.randint(len(pixels), (batch,), device=model.device)
        with torch.no_grad():
            latent = vae.encode(pixels[chosen]).latent_dist.sample() * vae.config["scaling_factor"]
        noise = torch.randn_like(latent)
        t = torch.randint(total, (batch,), device=model.device)
        noisy = schedule.add_noise(latent, noise, t)  # type: ignore[arg-type]
        hidden = text(ids).last_hidden_state.to(model.dtype)
        found = unet(noisy.to(model.dtype), t, hidden).sample.float()
        loss = torch.nn.functional.mse_loss(found, noise.float())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table[:-3] = frozen[:-3]
        return float(loss.detach())  # which the script shows beside its progress bar

    def work() -> None:
        with torch.enable_grad():
            for _ in range(steps):
                step()

    return work


def main(arguments: Sequence[str] | None = None, build: Build = random_model) -> list[Row]:
    """Measure, print the table, and return its rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--device", default="auto")
    add("--families", nargs="+", default=["sd1", "sdxl"], choices=("sd1", "sdxl"))
    add("--draw", type=int, nargs="+", default=[1, 4], help="batch sizes")
    add("--train", type=int, nargs="+", default=[1, 4, 8], help="batch sizes")
    add("--steps", type=int, default=20)
    add("--rounds", type=int, default=3)
    add("--compile", nargs="?", const="inductor", metavar="BACKEND", help="also compiled")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(f"{name}, torch {torch.__version__}\n")
    print("| | | first time, s | peak, GiB |\n|---|---|---|---|")
    rows = []
    for family in options.families:
        model = build(family, device)
        models = [model]
        if options.compile:
            name = f"{model.name}, compiled"
            models.append(replace(model, name=name, compiled=Compiled(model.unet, options.compile)))
        for each in models:
            parts = (
                drawing(each, options.draw, options.steps, options.rounds),
                training(each, options.train, options.steps, options.rounds),
            )
            for part in parts:
                for row in part:
                    print(row, flush=True)
                    rows.append(row)
        del model, models, each, parts, part
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print(GOALS)
    return rows


if __name__ == "__main__":
    main()
