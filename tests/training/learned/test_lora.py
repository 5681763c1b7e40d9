"""A LoRA beside the vectors: learned, written, and read by diffusers and by prompts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from tests.training.conftest import tiny_model
from webui.devices.low_precision import low_precision_copy
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding
from webui.errors import AppError
from webui.generation.loras import applied
from webui.models.model import Model
from webui.prompting.loras import LoraCall, list_loras
from webui.reader_process import shared_reader
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.evaluation import prepare_eval_set, score
from webui.training.learned.lora import _DOWN, _UP, applied_lora, file_of, lora_in, new_lora
from webui.training.learned.step import LORA
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup
from webui.training.trainer import Progress, begin, train

QUICK = Recipe(
    steps=20, batch_size=2, evaluate_every=10, evaluation_tuples=8, lora_rank=2,
    lora_learning_rate=0.02, learning_rate="0.02", lr_scheduler="constant",
)  # fmt: skip


def setup_of(model: Model, files: tuple[Path, ...], recipe: Recipe = QUICK) -> TrainingSetup:
    pictures = read_pictures(files)
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, crop) for crop in cut]
    return prepare_setup(model, recipe, "my-thing", "grey cat", pictures, cut, moments)


def trained(setup: TrainingSetup) -> Progress:
    progress = begin(setup)
    list(train(setup, progress))
    return progress


@torch.no_grad()
def output(model: Model) -> torch.Tensor:
    noise = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 4, 4, 4, generator=noise)
    states = torch.randn(1, 77, sum(model.widths.values()), generator=noise)
    more = {"text_embeds": torch.ones(1, 16), "time_ids": torch.ones(1, 6)}
    sizes = more if model.family == "sdxl" else None
    made: torch.Tensor = model.unet(latents, 500, states, added_cond_kwargs=sizes).sample
    return made


def some_lora(model: Model, layers: str = "attention") -> dict[str, torch.Tensor]:
    lora = new_lora(model.unet, 2, layers, 0, model.device)
    draw = torch.Generator().manual_seed(1)
    return {
        name: torch.randn(each.shape, generator=draw) if ".lora_up." in name else each
        for name, each in lora.items()
    }


def test_it_changes_nothing_at_first_and_nothing_after_the_block():
    model = tiny_model()
    before, state = output(model), [each.clone() for each in model.unet.parameters()]
    with applied_lora(model.unet, new_lora(model.unet, 2, "attention", 0, model.device)):
        assert torch.equal(output(model), before)
    with applied_lora(model.unet, some_lora(model)):
        assert not torch.allclose(output(model), before, atol=1e-3)
    assert torch.equal(output(model), before)
    assert all(
        torch.equal(one, other) for one, other in zip(state, model.unet.parameters(), strict=True)
    )


def test_fewer_layers_are_those_that_look_at_the_words():
    model = tiny_model()
    words, every = (
        new_lora(model.unet, 2, layers, 0, model.device) for layers in ("words", "attention")
    )
    assert words.keys() < every.keys() and all("_attn2_" in name for name in words)
    assert all(torch.equal(words[name], every[name]) for name in words), "each has its own draws"


def test_projections_that_are_computed_together_are_changed_alike(model: Model):
    lora = some_lora(model)
    together = replace(model, unet=low_precision_copy(model.unet, torch.float32))
    with applied_lora(model.unet, lora), applied_lora(together.unet, lora):
        torch.testing.assert_close(output(together), output(model))


@pytest.mark.parametrize("family", ["starter", "sdxl"])
def test_the_file_changes_the_model_as_the_run_did_and_brings_its_embedding(
    tmp_path: Path, family: str
):
    model = tiny_model(family)
    lora, draw = some_lora(model), torch.Generator().manual_seed(2)
    widths = {"clip_l": 768, "clip_g": 1280} if family == "sdxl" else {"clip_l": 128}
    vectors = {key: torch.randn(2, width, generator=draw) for key, width in widths.items()}
    embedding = Embedding("my-thing", vectors)
    path = tmp_path / "my-thing.safetensors"
    path.write_bytes(file_of(lora, [embedding], {"name": "my-thing"}))
    with applied_lora(model.unet, lora):
        wanted = output(model)
    again = lora_in(path, model.unet)
    assert again.keys() == lora.keys()
    assert all(torch.equal(each, again[name]) for name, each in lora.items())
    plain = output(model)
    with applied(model, [LoraCall("my-thing", 1, 1)], list_loras(tmp_path)) as result:
        assert result.warnings == () and result.in_text_encoders == ()
        torch.testing.assert_close(output(model), wanted, atol=1e-4, rtol=1e-4)
    assert torch.equal(output(model), plain)
    (found,) = formats.read_bundle(path, shared_reader())
    assert found.name == "my-thing"
    assert all(torch.equal(found.vectors[key], rows) for key, rows in vectors.items())


def test_diffusers_itself_reads_the_file_without_embeddings(tmp_path: Path):
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    model = tiny_model()
    lora = some_lora(model)
    path = tmp_path / "lora.safetensors"
    path.write_bytes(file_of(lora, [], {"name": "my-thing"}))
    with applied_lora(model.unet, lora):
        wanted = output(model)
    pipe = StableDiffusionPipeline(
        vae=model.vae, text_encoder=model.text_encoders[0].model, tokenizer=model.tokenizer,
        unet=model.unet, scheduler=DDIMScheduler(), safety_checker=None, feature_extractor=None,
        requires_safety_checker=False,
    )  # fmt: skip
    pipe.load_lora_weights(str(tmp_path), weight_name=path.name)
    torch.testing.assert_close(output(model), wanted, atol=1e-4, rtol=1e-4)


def test_with_a_lora_the_error_falls_further_than_with_the_vectors_alone(picture_files: Callable):
    files = picture_files(4)
    both = setup_of(tiny_model(seed=3), files)
    alone = setup_of(tiny_model(seed=3), files, replace(QUICK, lora_rank=0))
    learned, vectors = trained(both), trained(alone)
    eval_set = prepare_eval_set(both, 8)
    assert score(both, eval_set, learned.vectors, learned.lora).loss < (
        score(alone, eval_set, vectors.vectors).loss
    )
    assert score(both, eval_set, learned.vectors).loss != learned.evaluations[-1].score.loss
    best = next(each for each in learned.evaluations if each.step == learned.best_step)
    found = score(both, prepare_eval_set(both, 8), learned.best_vectors, learned.best_lora)
    assert found.loss == pytest.approx(best.score.loss, rel=1e-4), "what was kept is what was best"


@pytest.mark.parametrize("fault", ["another layer", "another width", "half of it", "no tensors"])
def test_of_a_file_that_changes_anything_else_nothing_is_taken(
    tmp_path: Path, model: Model, fault: str
):
    lora, path = some_lora(model), tmp_path / "theirs.safetensors"
    name = next(each for each in lora if ".lora_up." in each)
    if fault == "another layer":
        lora |= {f"{LORA}mid_block_ff.{end}": torch.ones(2, 2) for end in (_DOWN, _UP)}
    elif fault == "another width":
        lora[name] = torch.ones(1, 2)
    elif fault == "half of it":
        del lora[name]
    path.write_bytes(b"paper" if fault == "no tensors" else save(lora))
    with pytest.raises(AppError, match="theirs.safetensors"):
        lora_in(path, model.unet)


def test_the_strength_inside_a_file_is_in_the_weights(tmp_path: Path, model: Model):
    lora, path = some_lora(model), tmp_path / "half.safetensors"
    alphas = {f"{name.partition('.')[0]}.alpha": torch.tensor(1.0) for name in lora}
    path.write_bytes(save({**lora, **alphas}))
    for name, weights in lora_in(path, model.unet).items():
        torch.testing.assert_close(weights, lora[name] * (0.5 if _UP in name else 1))
