"""Requests become pictures: reproducible, in batches, with embeddings, stopped when asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.parts import Library
from webui.embeddings.embedding import Embedding, hash_vectors
from webui.errors import AppError, Interrupted
from webui.generation.engine import Picture, StepDone, generate
from webui.generation.infotext import read_infotext
from webui.generation.request import GenerationRequest
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner

REQUEST = GenerationRequest(
    prompt="a red heart", steps=4, width=64, height=64, cfg_scale=3, seed=5, sampler="DPM++ 2M"
)


def draw(model: Model, request: GenerationRequest, library: Library | None = None, **options):
    events = list(generate(model, request, library or Library(), Conditioner(), **options))
    return [event for event in events if isinstance(event, Picture)]


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def embedding(name: str, count: int = 2, seed: int = 0) -> Embedding:
    vectors = torch.randn(count, 128, generator=torch.Generator().manual_seed(seed))
    tensors = {"clip_l": vectors}
    return Embedding(name, tensors, content_hash=hash_vectors(tensors))


def test_each_step_is_told_and_then_the_picture_comes(tiny_model: Model):
    events = list(generate(tiny_model, REQUEST, Library(), Conditioner()))
    assert [(e.step, e.steps) for e in events[:-1]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(e.latents.shape == (1, 4, 8, 8) for e in events[:-1])
    assert events[-1].image.size == (64, 64)


def test_the_same_request_gives_the_same_picture(tiny_model: Model):
    first, second = (draw(tiny_model, REQUEST)[0].image for _ in range(2))
    assert (pixels(first) == pixels(second)).all()


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Euler a", "DPM++ 2M SDE", "Heun"])
def test_a_seed_gives_the_same_picture_in_a_batch_and_alone(tiny_model: Model, sampler: str):
    request = replace(REQUEST, sampler=sampler)
    batch = draw(tiny_model, replace(request, batch_size=3))
    alone = draw(tiny_model, replace(request, seed=7))[0]
    assert [picture.seed for picture in batch] == [5, 6, 7]
    assert abs(pixels(batch[2].image) - pixels(alone.image)).max() <= 2


def test_batch_count_goes_on_with_the_next_seeds(tiny_model: Model):
    pictures = draw(tiny_model, replace(REQUEST, batch_count=2, batch_size=2))
    assert [picture.seed for picture in pictures] == [5, 6, 7, 8]
    assert read_infotext(pictures[3].infotext)[0].seed == 8


def test_an_embedding_changes_the_picture_and_is_named_on_every_picture(tiny_model: Model):
    library = Library(embedding("my_thing"))
    plain = draw(tiny_model, replace(REQUEST, prompt="a my_thing"))[0]
    pictures = draw(tiny_model, replace(REQUEST, prompt="a my_thing", batch_size=2), library)
    assert (pixels(plain.image) != pixels(pictures[0].image)).any()
    for picture in pictures:
        assert [used.name for used in picture.used] == ["my_thing"]
        assert 'TI hashes: "my_thing: ' in picture.infotext
    assert plain.used == ()


def test_the_weight_and_the_negative_prompt_act(tiny_model: Model):
    library = Library(embedding("my_thing"))
    prompts = [
        ("a my_thing", ""),
        ("a (my_thing:1.4)", ""),
        ("a heart", "my_thing"),
        ("a heart", ""),
    ]
    drawn = [
        pixels(draw(tiny_model, replace(REQUEST, prompt=p, negative_prompt=n), library)[0].image)
        for p, n in prompts
    ]
    for one in range(4):
        for other in range(one):
            assert (drawn[one] != drawn[other]).any(), (prompts[one], prompts[other])


def test_a_changed_embedding_is_never_answered_from_the_memory(tiny_model: Model):
    conditioner, library = Conditioner(), Library(embedding("my_thing"))
    request = replace(REQUEST, prompt="my_thing")

    def picture() -> np.ndarray:
        events = list(generate(tiny_model, request, library, conditioner))
        return pixels(events[-1].image)

    before = picture()
    library.put(embedding("my_thing", seed=1))
    assert (before != picture()).any()


def test_a_schedule_acts_during_sampling(tiny_model: Model):
    library = Library(embedding("one"), embedding("two", seed=1))
    drawn = {
        prompt: pixels(draw(tiny_model, replace(REQUEST, prompt=prompt), library)[0].image)
        for prompt in ("one", "two", "[one:two:0.5]", "[one|two]", "one AND two")
    }
    for first in drawn:
        for second in drawn:
            assert first == second or (drawn[first] != drawn[second]).any(), (first, second)


def test_asking_to_stop_ends_it_after_the_current_step(tiny_model: Model):
    seen: list[StepDone] = []
    with pytest.raises(Interrupted):
        for event in generate(
            tiny_model, REQUEST, Library(), Conditioner(), stopped=lambda: len(seen) >= 2
        ):
            seen.append(event)
    assert len(seen) == 2


def test_a_picture_of_not_a_number_is_a_clear_error(tiny_model: Model):
    library = Library(embedding("my_thing"))
    library.put(
        Embedding("broken", {"clip_l": torch.full((1, 128), torch.nan)}, content_hash="nan")
    )
    with pytest.raises(AppError, match="not-a-number"):
        draw(tiny_model, replace(REQUEST, prompt="broken"), library)


def test_a_missing_lora_is_a_warning_and_not_a_failure(tiny_model: Model, tmp_path: Path):
    picture = draw(tiny_model, replace(REQUEST, prompt="a heart <lora:nope:0.8>"), loras=tmp_path)[
        0
    ]
    assert any("no LoRA “nope”" in warning for warning in picture.warnings)
