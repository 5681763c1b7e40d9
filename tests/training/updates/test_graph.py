"""A run's whole update is one graph, compiled once, that computes what the run did without it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend

from tests.training.conftest import tiny_model
from webui.devices.compiling import Compiled, shadow_of
from webui.libraries import UNet2DConditionModel
from webui.models.catalog import Checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.settings import ROOT
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup
from webui.training.trainer import (
    Pace,
    Progress,
    RolledBack,
    TrainEvent,
    begin,
    queue_step,
    train_in_stretches,
)
from webui.training.updates.graph import UpdateGraph, double_by_views

SHIPPED = ROOT / "models" / "starter"
QUICK = Recipe(
    steps=6, batch_size=2, vectors=2, evaluate_every=6, evaluation_tuples=2, warmup_steps=2,
    mixed_precision="fp32",
)  # fmt: skip


@pytest.fixture(autouse=True)
def _nothing_is_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture
def setup_of(picture_files: Callable[..., tuple[Path, ...]]) -> Callable[..., TrainingSetup]:
    def make(model: Model, recipe: Recipe = QUICK) -> TrainingSetup:
        pictures = read_pictures(picture_files(5))
        cut = cut_crops(recipe, model, pictures)
        moments = [encode_crop(model, crop) for crop in cut]
        return prepare_setup(model, recipe, "my-thing", "grey cat", pictures, cut, moments)

    return make


def compiled_by(model: Model, backend: Any) -> Model:
    return replace(model, compiled=Compiled(model.unet, backend))


def tensors_of(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value
    return [tensor for part in parts for tensor in tensors_of(part)]


def one_block() -> Model:
    """A model whose UNet is as small as one of its class can be: inductor takes its time."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(16,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        mid_block_type=None,
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    return replace(tiny_model(), unet=unet.eval().requires_grad_(False))


def shipped() -> Model:
    return load(Checkpoint("starter", SHIPPED), torch.device("cpu"), torch.float32)


MODELS: dict[str, Callable[[], Model]] = {
    "starter": tiny_model,
    "sdxl": partial(tiny_model, "sdxl"),
    "one block": one_block,
    "shipped": shipped,
}
CASES = {
    "shipped": ("shipped", {}),
    "min-snr": ("starter", {"min_snr_gamma": 5.0, "mixed_precision": "bf16"}),
    "lora": ("starter", {"lora_rank": 2, "gradient_checkpointing": True}),
    "sdxl": (
        "sdxl",
        {"optimizer": "adamw", "max_grad_norm": 1e-3, "gradient_accumulation_steps": 2},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "case", "error"),
    [*(("aot_eager", case, 1e-5) for case in CASES), ("inductor", "one block", 1e-4)],
)
def test_steps_of_all_captions_timesteps_and_rates_are_the_graph_of_the_first(
    setup_of: Callable[..., TrainingSetup], backend: str, case: str, error: float
):
    which, settings = CASES.get(case, (case, {}))
    graphs = CompileCounterWithBackend(backend)
    model = MODELS[which]()
    setup = setup_of(model, replace(QUICK, **settings))
    eager, progress = begin(setup), begin(setup)
    like = Compiled(model.unet, graphs)
    graph = UpdateGraph(setup, progress.optimizers, progress.lora, like)
    for each, how in ((progress, graph), (eager, None)):
        queue_step(setup, each, how)
    assert graph.wait(500)
    for _ in range(4):
        found, expected = queue_step(setup, progress, graph), queue_step(setup, eager)
        torch.testing.assert_close(found.figures, expected.figures, rtol=error, atol=0)
        for ours, theirs in zip(*map(tensors_of, (progress.learned, eager.learned)), strict=True):
            assert (ours - theirs).abs().max() <= error * theirs.abs().max()
    assert graphs.frame_count == 1


@pytest.mark.slow
def test_the_way_back_through_doubled_images_is_not_lost():
    """Inductor's own loses it in this block of the starter model's UNet."""
    unet = shipped().unet
    doubling = shadow_of(unet)
    double_by_views(doubling)
    draw = torch.Generator().manual_seed(0)
    image, skipped, last = (
        torch.randn(2, width, 8, 8, generator=draw).to(memory_format=torch.channels_last)
        for width in (160, 96, 48)
    )
    when = torch.randn(2, 384, generator=draw)

    def gradient(block: torch.nn.Module, image: torch.Tensor) -> torch.Tensor:
        with torch.enable_grad():
            point = image.detach().requires_grad_()
            found = block(point, (last, skipped), when)
            return torch.autograd.grad(found.square().mean(), [point])[0]

    expected = gradient(unet.up_blocks[2], image)
    ours = Compiled(lambda image: gradient(doubling.up_blocks[2], image), what="block", learns=True)
    assert ours.attempt(image) is None and ours.wait(300)
    assert (ours.attempt(image) - expected).norm() <= 1e-4 * expected.norm()


def gone_through(setup: TrainingSetup, progress: Progress) -> list[TrainEvent]:
    """A run whose vectors are spoilt at step 3, and that waits for what is being compiled."""
    found: list[TrainEvent] = []
    for events in train_in_stretches(setup, progress, Pace(1)):
        found += events
        for thread in threading.enumerate():
            if thread.name == "compile":
                thread.join()
        if progress.step == 3 and not progress.roll_backs:
            progress.vectors["clip_l"][0, 0] = torch.nan
            progress.optimizer.kept["ahead"]["clip_l"][0, 0] = torch.nan
    return found


@pytest.mark.slow
def test_a_run_is_the_same_with_its_steps_compiled_roll_back_included(
    setup_of: Callable[..., TrainingSetup],
):
    graphs = CompileCounterWithBackend("aot_eager")
    plain, ours = setup_of(tiny_model()), setup_of(compiled_by(tiny_model(), graphs))
    expected, progress = begin(plain), begin(ours)
    events = gone_through(plain, expected)
    found = gone_through(ours, progress)
    assert list(map(type, found)) == list(map(type, events)) and graphs.frame_count == 1
    assert any(isinstance(event, RolledBack) for event in events)
    torch.testing.assert_close(progress.vectors["clip_l"], expected.vectors["clip_l"])


def test_a_run_whose_steps_cannot_be_compiled_goes_on_with_one_line(
    setup_of: Callable[..., TrainingSetup], caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.WARNING, "webui")
    plain, ours = setup_of(tiny_model()), setup_of(compiled_by(tiny_model(), "no such backend"))
    recipe = replace(QUICK, steps=4, evaluate_every=4)
    plain, ours = replace(plain, recipe=recipe), replace(ours, recipe=recipe)
    expected, progress = begin(plain), begin(ours)
    for each, run in ((plain, expected), (ours, progress)):
        for _ in train_in_stretches(each, run):
            pass
    assert torch.equal(progress.vectors["clip_l"], expected.vectors["clip_l"])
    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("The training step goes on uncompiled")


@pytest.mark.parametrize("off", [1.01, 0.0])
def test_what_computes_other_figures_is_given_up_and_never_learned_from(
    setup_of: Callable[..., TrainingSetup], caplog: pytest.LogCaptureFixture, off: float
):
    model = tiny_model()
    setup = setup_of(model)
    plain, progress = begin(setup), begin(setup)
    graph = UpdateGraph(setup, progress.optimizers, progress.lora, Compiled(model.unet))
    expected = queue_step(setup, plain).figures
    learned = progress.learned
    answer = learned, expected * torch.tensor([1.0, off, 1.0])
    graph._compiled.attempt = lambda *_: answer  # type: ignore[method-assign]
    found = queue_step(setup, progress, graph)
    assert torch.equal(found.figures, expected)
    assert torch.equal(progress.vectors["clip_l"], plain.vectors["clip_l"])
    assert graph._compiled.failed == (off == 0)
    assert ["other figures" in record.getMessage() for record in caplog.records] == [True] * (
        off == 0
    )
