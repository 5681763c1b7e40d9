"""The parts that prompts are tested with: a tiny model of every family, a shelf of embeddings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from transformers import CLIPTokenizer

from tests.prompting.prompt_parts import Shelf, model_of, random_encoder
from webui.models.model import Model
from webui.settings import ROOT


@pytest.fixture(autouse=True, scope="package")
def one_thread() -> Iterator[None]:
    """Small models are slower with more threads than one, much slower on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer.from_pretrained(ROOT / "models" / "starter" / "tokenizer")


@pytest.fixture(scope="session")
def sd1(tokenizer: CLIPTokenizer) -> Model:
    return model_of("sd1", tokenizer, (random_encoder("clip_l", 16, seed=1),))


@pytest.fixture(scope="session")
def sd2(tokenizer: CLIPTokenizer) -> Model:
    return model_of("sd2", tokenizer, (random_encoder("clip_h", 24, seed=2),))


@pytest.fixture(scope="session")
def sdxl(tokenizer: CLIPTokenizer) -> Model:
    first = replace(random_encoder("clip_l", 16, seed=3), skipped_layers=1, final_norm=False)
    second = random_encoder("clip_g", 20, seed=4, projection=12)
    return model_of("sdxl", tokenizer, (first, replace(second, final_norm=False)))


@pytest.fixture
def shelf() -> Shelf:
    """Embeddings for the tiny SD1 model (16 wide), as many as the tests call by name."""
    shelf = Shelf()
    generator = torch.Generator().manual_seed(5)
    for name, count in (("easynegative", 4), ("bad", 1), ("bad-hands-5", 2), ("Marc_Allante", 3),
                        ("full", 75), ("v1", 1)):  # fmt: skip
        shelf.put(name, {"clip_l": torch.randn(count, 16, generator=generator)})
    return shelf
