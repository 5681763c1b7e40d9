"""Small real parts that many tests share: a tiny checkpoint on the disk, folders, settings."""

from __future__ import annotations

import gc
import json
import os
import shutil
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import hypothesis
import pytest

os.environ |= {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
if workers := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    # Threads of several processes that wait for each other on the same cores make a training step
    # a hundred times slower; the apps that the browser tests start inherit this.
    os.environ["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 1) // workers))

# A machine that is busy is no failure; speed is measured in bench/.
hypothesis.settings.register_profile("patient", deadline=None)
hypothesis.settings.load_profile("patient")

# Full passes over the half a million objects that the imports make were a tenth of the tests' time.
gc.set_threshold(10_000)


def pytest_collection_finish() -> None:
    """Leave what the imports made out of every later pass; pytest makes five at the end."""
    gc.freeze()


ROOT = Path(__file__).resolve().parent.parent
TOKENIZER = ROOT / "models" / "starter" / "tokenizer"
TINY_SIZE = 64
"""Side of the tiny model's pictures in pixels; its latents are 8×8."""


@pytest.fixture(autouse=True)
def _one_thread(request: pytest.FixtureRequest) -> Iterator[None]:
    """Networks this small are slower on several threads than on one; those of slow tests are not.

    Tests that do without torch are not made to import it.
    """
    torch = sys.modules.get("torch")
    if torch is None or request.node.get_closest_marker("slow"):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_tiny_checkpoint(folder: Path, width: int = 128, seed: int = 0) -> Path:
    """Write a random Stable Diffusion of a few hundred thousand weights as a diffusers folder.

    ``width`` is that of the text encoder: 128 makes it one of the starter family, 768 of SD1.
    """
    shutil.copytree(TOKENIZER, folder / "tokenizer")
    for name, part in _tiny_parts(width, seed).items():
        part.save_pretrained(folder / name)
    (folder / "scheduler").mkdir()
    scheduler = {
        "num_train_timesteps": 1000,
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "prediction_type": "epsilon",
    }
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    (folder / "defaults.json").write_text(
        json.dumps({"width": TINY_SIZE, "height": TINY_SIZE, "steps": 4, "cfg_scale": 3})
    )
    return folder


@lru_cache
def _tiny_parts(width: int, seed: int) -> dict[str, Any]:
    """The networks of a tiny checkpoint by their folders; nothing changes them."""
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    text = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=49406,
        eos_token_id=49407,
    )
    return {
        "text_encoder": CLIPTextModel(text),
        "unet": UNet2DConditionModel(
            sample_size=8,
            cross_attention_dim=width,
            block_out_channels=(16, 32),
            layers_per_block=1,
            norm_num_groups=8,
            attention_head_dim=8,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        "vae": AutoencoderKL(
            block_out_channels=(8, 8, 16, 16),
            norm_num_groups=8,
            latent_channels=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
    }


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that holds one tiny random checkpoint called "tiny"."""
    models = tmp_path_factory.mktemp("models")
    write_tiny_checkpoint(models / "tiny")
    return models


@pytest.fixture(scope="session")
def tiny_model(tiny_checkpoint: Path):
    """The tiny checkpoint, loaded on the CPU."""
    import torch

    from webui.models.catalog import find_checkpoint
    from webui.models.loader import load

    checkpoint = find_checkpoint(tiny_checkpoint, "tiny")
    return load(checkpoint, torch.device("cpu"), torch.float32)
