"""The model that ships with the project: its layout, its size, and what it draws."""

import json
import socket
from pathlib import Path

import numpy as np
import pytest
import torch

from starter.captions import caption, truth
from starter.pictures import picture_at, scene_at
from starter.quality import generate, weighted_states
from starter.reader import load_reader, read
from starter.shipping import load_pipeline, size_bytes
from starter.text import settle_unused_rows, token_ids
from starter.vae import psnr_db

pytestmark = pytest.mark.slow

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "starter"
PROMPTS = {
    "a red circle on a blue background": {"shape": "circle", "colour": "red"},
    "a yellow star on a purple background": {"shape": "star", "colour": "yellow"},
    "a green square on a white background": {"shape": "square", "colour": "green"},
    "a pink heart on a black background": {"shape": "heart", "colour": "pink"},
    "an orange fish on a teal background": {"shape": "fish", "colour": "orange"},
    "a blue house on a yellow background": {"shape": "house", "colour": "blue"},
    "a white ring on a red background": {"shape": "ring", "colour": "white"},
    "a purple moon on a green background": {"shape": "moon", "colour": "purple"},
    "a brown arrow on a pink background": {"shape": "arrow", "colour": "brown"},
    "a black cross on an orange background": {"shape": "cross", "colour": "black"},
    "a teal flower on a gray background": {"shape": "flower", "colour": "teal"},
    "a red mushroom on a white background": {"shape": "mushroom", "colour": "red"},
}


@pytest.fixture(scope="module")
def pipeline():
    return load_pipeline(SHIPPED)


@pytest.fixture(scope="module")
def no_network():
    """Only sockets to this machine itself."""
    patch = pytest.MonkeyPatch()
    connect = socket.socket.connect

    def guarded(self, address):
        if self.family == socket.AF_UNIX or address[0] in ("127.0.0.1", "::1"):
            return connect(self, address)
        raise AssertionError(f"tried to reach {address}")

    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture(scope="module")
def dozen(no_network, pipeline) -> np.ndarray:
    return generate(pipeline, list(PROMPTS), seed=3, steps=20, batch=12)


def test_the_folder_has_stable_diffusions_layout_and_is_small() -> None:
    index = json.loads((SHIPPED / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert index["safety_checker"] == index["feature_extractor"] == [None, None]
    for part in ("unet", "vae"):
        assert (SHIPPED / part / "diffusion_pytorch_model.safetensors").exists()
    assert (SHIPPED / "text_encoder" / "model.safetensors").exists()
    assert size_bytes(SHIPPED) <= 40_000_000


def test_the_tokenizer_is_clips_own(pipeline) -> None:
    tokenizer = pipeline.tokenizer
    assert len(tokenizer) == 49408
    ids = token_ids(tokenizer, ["a photo of a cat"])[0, :7].tolist()
    assert ids == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_the_schedule_ends_in_pure_noise_and_predicts_velocity(pipeline) -> None:
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    assert pipeline.scheduler.config.timestep_spacing == "trailing"
    assert pipeline.scheduler.alphas_cumprod[-1] < 1e-6


def test_words_that_it_never_read_have_vectors_of_ordinary_length(pipeline) -> None:
    norms = pipeline.text_encoder.get_input_embeddings().weight.norm(dim=1)
    known = norms[token_ids(pipeline.tokenizer, ["a red circle on a blue background"])[0, 1:8]]
    assert 0.5 < norms.mean() / known.mean() < 2


def test_unused_rows_are_all_the_same_with_the_norm_of_used_ones() -> None:
    encoder = torch.nn.Module()
    table = torch.nn.Embedding(6, 4)
    encoder.get_input_embeddings = lambda: table
    used = torch.tensor([True, True, False, False, False, False])
    before = table.weight.detach().clone()
    settle_unused_rows(encoder, used)
    assert torch.equal(table.weight[:2], before[:2])
    expected = before[:2].norm(dim=1).mean()
    assert torch.allclose(table.weight[2:].norm(dim=1), expected.expand(4), rtol=1e-4)
    assert torch.equal(table.weight[2:], table.weight[2].expand(4, -1))


def test_scaled_latents_have_about_unit_spread(pipeline) -> None:
    from starter.vae import to_tensor

    pictures = np.stack([picture_at(77, index) for index in range(24)])
    with torch.no_grad():
        latents = pipeline.vae.encode(to_tensor(pictures)).latent_dist.mean
    assert 0.85 < (latents * pipeline.vae.config.scaling_factor).std() < 1.15


def test_the_autoencoder_keeps_held_out_pictures(pipeline) -> None:
    pictures = np.stack([picture_at(900_000, index, True) for index in range(24)])
    assert psnr_db(pipeline.vae, pictures) > 26


def test_the_reader_reads_what_the_world_draws() -> None:
    scenes = [scene_at(901_000, index, True) for index in range(60)]
    pictures = np.stack([picture_at(901_000, index, True) for index in range(60)])
    told = read(load_reader(), pictures)
    for name in ("shape", "colour", "ground", "style"):
        right = [seen[name] == truth(scene)[name] for seen, scene in zip(told, scenes, strict=True)]
        assert np.mean(right) > 0.85, name


def test_a_dozen_prompts_come_out_as_they_say_without_any_network(dozen) -> None:
    told = read(load_reader(), dozen)
    for name, least in (("colour", 9), ("shape", 8)):
        right = [
            seen[name] == said[name] for seen, said in zip(told, PROMPTS.values(), strict=True)
        ]
        assert sum(right) >= least, f"{name}: {told}"
    grounds = [prompt.split()[-2] for prompt in PROMPTS]
    right = [seen["ground colour"] == ground for seen, ground in zip(told, grounds, strict=True)]
    assert sum(right) >= 10


def test_equal_seeds_give_equal_pictures(pipeline) -> None:
    first = generate(pipeline, ["a red circle on a blue background"], seed=1, steps=3)
    again = generate(pipeline, ["a red circle on a blue background"], seed=1, steps=3)
    assert np.array_equal(first, again)


def test_a_weight_of_one_leaves_the_prompt_alone(pipeline) -> None:
    prompt = "a red circle on a blue background"
    with torch.no_grad():
        plain = pipeline.text_encoder(token_ids(pipeline.tokenizer, [prompt])).last_hidden_state
        same = weighted_states(pipeline, prompt, "red", 1.0)
        other = weighted_states(pipeline, prompt, "red", 1.4)
    assert torch.allclose(plain, same, atol=1e-6)
    assert not torch.allclose(plain[0, 3], other[0, 3], atol=1e-3)


def test_held_out_captions_only_use_words_that_training_used() -> None:
    def words(seed: int, count: int) -> set[str]:
        found: set[str] = set()
        for index in range(count):
            text = caption(scene_at(seed, index), np.random.default_rng((seed, index))).text
            found |= set(text.replace(",", "").split())
        return found

    assert words(900_000, 200) <= words(0, 3000)
