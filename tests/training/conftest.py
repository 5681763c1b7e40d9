"""Small real parts for training: a random model of every family, and odd pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from webui.models.model import Model, TextEncoder
from webui.models.parts import read_tokenizer
from webui.settings import ROOT

SIDE = 32
TOKENIZER = ROOT / "models" / "starter" / "tokenizer"


def tiny_model(family: str = "starter", prediction_type: str = "epsilon", seed: int = 0) -> Model:
    """Return a model with random weights: the shape of its family, a few thousand numbers."""
    from diffusers import AutoencoderKL, UNet2DConditionModel

    torch.manual_seed(seed)
    sdxl = family == "sdxl"
    encoders = (
        (tiny_encoder("clip_l", 32), tiny_encoder("clip_g", 48, projection=16))
        if sdxl
        else (tiny_encoder("clip_h" if family == "sd2" else "clip_l", 32),)
    )
    extra = (
        {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 8,
            "projection_class_embeddings_input_dim": 16 + 6 * 8,
        }
        if sdxl
        else {}
    )
    unet = UNet2DConditionModel(
        sample_size=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=80 if sdxl else 32,
        attention_head_dim=4,
        norm_num_groups=8,
        **extra,
    )
    vae = AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=4,
        sample_size=SIDE,
    )
    for part in (unet, vae):
        part.eval().requires_grad_(False)
    return Model(
        name="tiny",
        path=Path("tiny"),
        short_hash=f"{seed:010d}",
        family=family,
        tokenizer=read_tokenizer(TOKENIZER, "tiny"),
        text_encoders=encoders,
        unet=unet,
        vae=vae,
        scheduler_config={
            "num_train_timesteps": 1000,
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "prediction_type": prediction_type,
            "rescale_betas_zero_snr": prediction_type == "v_prediction",
        },
        device=torch.device("cpu"),
        dtype=torch.float32,
        defaults={"width": SIDE, "height": SIDE},
    )


def tiny_encoder(key: str, width: int, projection: int = 0) -> TextEncoder:
    """Return a text encoder of two layers with the vocabulary of CLIP."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        projection_dim=projection or width,
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407,
    )
    model = (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)
    model.eval().requires_grad_(False)
    if projection:
        return TextEncoder(key, model, skipped_layers=1, final_norm=False)
    return TextEncoder(key, model)


@pytest.fixture(scope="session", autouse=True)
def _few_threads() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def model() -> Model:
    """The small model of the usual shape; tests do not change it."""
    return tiny_model()


@pytest.fixture
def picture_files(tmp_path: Path) -> Callable[[int], tuple[Path, ...]]:
    """Write so many different small pictures and return their paths."""

    def write(count: int, side: int = 40) -> tuple[Path, ...]:
        folder = tmp_path / "pictures"
        folder.mkdir(exist_ok=True)
        paths = []
        for index in range(count):
            noise = np.random.default_rng(index).integers(0, 256, (5, 5, 3), dtype=np.uint8)
            path = folder / f"{index:03d} thing.png"
            Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC).save(path)
            paths.append(path)
        return tuple(paths)

    return write
