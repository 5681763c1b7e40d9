"""Our training beside the plain diffusers recipe on one model: `python bench/training.py`.

The plain recipe is what diffusers' example script does: pictures encoded by the VAE in each step,
the whole token matrix in AdamW, its other rows written back after each step. Both train on the
same five pictures with the same batch, each in a process of its own, and are measured on the same
fixed inputs; measuring does not count as time. The plain recipe computes in fp32 on a processor, as
the script does by default.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402

from bench.concept_task import task_for  # noqa: E402
from starter.concepts import CONCEPTS  # noqa: E402
from webui.models.catalog import Checkpoint  # noqa: E402
from webui.models.loader import load  # noqa: E402
from webui.training.denoising import generator_for  # noqa: E402
from webui.training.evaluation import prepare_eval_set, score  # noqa: E402
from webui.training.presets import preset  # noqa: E402
from webui.training.recipe import Recipe  # noqa: E402
from webui.training.setup import TrainingSetup, cut_crops  # noqa: E402
from webui.training.trainer import Evaluated, Stepped, begin, train  # noqa: E402

PLACEHOLDERS = 3


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, default=ROOT / "models" / "starter", help="a diffusers folder")
    add("--concept", default="toadstool", help="one of the starter model's held-back concepts")
    add("--steps", type=int, default=250, help="of ours; the plain recipe gets twice as many")
    add("--plain-rate", type=float, default=5e-3, help="AdamW's, the best found on the starter")
    add("--every", type=int, default=10, help="steps between measurements")
    add("--tuples", type=int, default=32)
    add("--precision", default="auto", help="ours: fp32, bf16, or bf16 where it is faster (auto)")
    add("--threads", type=int, default=2)
    add("--device", default="cpu")
    add("--json", type=Path, help="write the figures here")
    return parser.parse_args()


def prepare(options: argparse.Namespace, recipe: Recipe) -> TrainingSetup:
    """Load the model and encode the concept's pictures."""
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    model = load(Checkpoint(options.model.name, options.model), device, dtype)
    concept = next(item for item in CONCEPTS if item.name == options.concept)
    return task_for(model, concept, recipe)


def ours(options: argparse.Namespace) -> Iterator[tuple[float, int, dict[str, Any] | None]]:
    """Yield (seconds, step, vectors to be measured or None) of our recipe."""
    recipe = replace(
        preset("object", "starter"),
        steps=options.steps,
        evaluate_every=20000,
        hold_out=False,
        mixed_precision=options.precision,
    )
    task = prepare(options, recipe)
    yield 0.0, 0, {"task": task, "vectors": task.start}
    progress = begin(task)
    spent, began = 0.0, time.perf_counter()
    for event in train(task, progress):
        if isinstance(event, Evaluated):
            began = time.perf_counter()
        elif isinstance(event, Stepped):
            spent += time.perf_counter() - began
            due = event.step % options.every == 0
            yield spent, event.step, {"task": task, "vectors": progress.vectors} if due else None
            began = time.perf_counter()


def plain(options: argparse.Namespace) -> Iterator[tuple[float, int, dict[str, Any] | None]]:
    """Yield (seconds, step, vectors to be measured or None) of the plain recipe."""
    recipe = replace(
        preset("classic", "starter"), vectors=PLACEHOLDERS, hold_out=False, mixed_precision="fp32"
    )
    task = prepare(options, recipe)
    yield 0.0, 0, {"task": task, "vectors": task.start}
    model = task.model
    encoder, schedule, device = model.text_encoders[0], task.schedule, model.device
    text = encoder.model
    words = text.get_input_embeddings().weight.shape[0]
    text.resize_token_embeddings(words + PLACEHOLDERS, mean_resizing=False)
    table = text.get_input_embeddings().weight
    with torch.no_grad():
        table[words:] = task.start[encoder.key]
    table.requires_grad_(True)
    frozen = table.detach().clone()
    optimizer = torch.optim.AdamW([table], lr=options.plain_rate, weight_decay=1e-2)
    crops = cut_crops(recipe, model, task.pictures)
    pixels = torch.stack(
        [torch.from_numpy(np.array(item.image)).permute(2, 0, 1) / 127.5 - 1 for item in crops]
    ).to(device)
    tokens = range(words, words + PLACEHOLDERS)
    spent = 0.0
    for step in range(1, 2 * options.steps + 1):
        began = time.perf_counter()
        draw = generator_for("plain", step)
        chosen = torch.randint(len(pixels), (recipe.batch_size,), generator=draw)
        with torch.no_grad():
            latent = model.vae.encode(pixels[chosen]).latent_dist.sample()
            latent = latent * model.vae.config.scaling_factor
        noise = torch.randn(latent.shape, generator=draw).to(device)
        t = torch.randint(schedule.config.num_train_timesteps, (recipe.batch_size,), generator=draw)
        t = t.to(device)
        lines = [task.line(0, float(torch.rand((), generator=draw))) for _ in chosen]
        ids = torch.tensor([chunk.token_ids for chunk in task.captions(lines, [tokens])])
        hidden = text(ids.to(device)).last_hidden_state
        noisy = schedule.add_noise(latent, noise, t)
        found = model.unet(noisy.to(model.dtype), t, hidden.to(model.dtype)).sample.float()
        velocity = model.prediction_type == "v_prediction"
        target = schedule.get_velocity(latent, noise, t) if velocity else noise
        torch.nn.functional.mse_loss(found, target).backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            table[:words] = frozen[:words]
        spent += time.perf_counter() - began
        due = step % options.every == 0
        vectors = {encoder.key: table[words:].detach()}
        yield spent, step, {"task": task, "vectors": vectors} if due else None


CONTESTANTS = {"ours": ours, "plain": plain}


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Run one contestant; returns its steps per second, curve of gains and peak memory."""
    examination, before, each, curve = None, 0.0, [], []
    for spent, step, found in CONTESTANTS[name](options):
        if step > 3:
            each.append(spent - before)
        before = spent
        if found:
            task, vectors = found["task"], found["vectors"]
            examination = examination or prepare_eval_set(task, options.tuples)
            curve.append((step, spent, score(task, examination, vectors).gain))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if options.device.startswith("cuda"):
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {"steps_per_s": 1 / statistics.median(each), "peak_mib": peak, "curve": curve}


def seconds_to(curve: list[tuple[int, float, float]], gain: float) -> tuple[int, float] | None:
    """The first (step, seconds) from which two measurements in a row have reached a gain."""
    for (step, spent, one), (_, _, two) in zip(curve, curve[1:], strict=False):
        if min(one, two) >= gain:
            return step, spent
    return None


def main() -> None:
    """Measure both and print them side by side."""
    options = parse()
    results = {}
    for name in CONTESTANTS:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results[name] = pool.apply(measure, (name, options))
    best = {name: max(gain for _, _, gain in found["curve"]) for name, found in results.items()}
    target = 0.9 * min(best.values())
    print(f"| | steps/s | best gain | to a gain of {target:.0%} | peak memory |")
    print("|---|---|---|---|---|")
    for name, found in results.items():
        reached = seconds_to(found["curve"], target)
        when = f"step {reached[0]}, {reached[1]:.1f} s" if reached else "never"
        print(
            f"| {name} | {found['steps_per_s']:.2f} | {best[name]:.1%} | {when} "
            f"| {found['peak_mib']:.0f} MiB |"
        )
    if options.json:
        options.json.write_text(json.dumps(results))


if __name__ == "__main__":
    main()
