"""Each construct of the prompt language shows its effect in pictures of the shipped model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.parts import Library
from webui.embeddings.embedding import Embedding
from webui.generation.engine import Picture, generate
from webui.generation.request import default_request
from webui.models.catalog import STARTER, find_checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner
from webui.settings import Settings

pytestmark = pytest.mark.slow

BLUE, YELLOW = "a red heart on a blue background", "a red heart on a yellow background"


@pytest.fixture(scope="module")
def starter() -> Model:
    checkpoint = find_checkpoint(Settings().models_dir, STARTER)
    return load(checkpoint, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def draw(starter: Model):
    """Draw a prompt with 12 steps of one seed; pictures are remembered."""
    words = ("heart", "star", "background")
    vocabulary = starter.text_encoders[0].model.get_input_embeddings().weight
    embeddings = []
    for word in words:
        (token,) = starter.tokenizer(word, add_special_tokens=False)["input_ids"]
        vectors = {"clip_l": vocabulary[token : token + 1].clone()}
        embeddings.append(Embedding(f"my_{word}", vectors))
    library, conditioner, drawn = Library(*embeddings), Conditioner(), {}

    def picture(prompt: str, negative: str = "", **changes: object) -> np.ndarray:
        request = default_request(
            starter.defaults, prompt=prompt, negative_prompt=negative, seed=4, steps=12
        )
        request = replace(request, **changes)
        if request not in drawn:
            drawn[request] = _only(generate(starter, request, library, conditioner))
        return drawn[request]

    return picture


def _only(events) -> np.ndarray:
    (picture,) = (event for event in events if isinstance(event, Picture))
    return np.asarray(picture.image.convert("RGB"), dtype=float)


def background(picture: np.ndarray) -> np.ndarray:
    rim = np.concatenate([picture[:8].reshape(-1, 3), picture[-8:].reshape(-1, 3)])
    return np.median(rim, axis=0)


def differs(one: np.ndarray, other: np.ndarray) -> bool:
    """Equal conditioning gives equal pixels; the mildest construct moves their mean by 0.05."""
    return bool(np.abs(one - other).mean() > 0.02)


def test_words_are_obeyed(draw):
    red, green, blue = background(draw(BLUE))
    assert blue > max(red, green) + 30
    red, green, blue = background(draw(YELLOW))
    assert min(red, green) > blue + 30


def test_an_embedding_of_a_words_vector_draws_what_the_word_draws(draw):
    for call in ("my_heart", "<my_heart>", "embedding:my_heart", "<embedding:my_heart:1>"):
        assert not differs(draw(BLUE), draw(BLUE.replace("heart", call))), call


def test_a_weight_acts_and_a_weight_of_one_does_not(draw):
    assert differs(draw(BLUE), draw("a (red:1.4) heart on a blue background"))
    assert not differs(draw(BLUE), draw("a (red:1.0) heart on a blue background"))
    assert differs(draw("a (red) heart on a blue background"), draw(BLUE))


@pytest.mark.parametrize("emphasis", ["No norm", "ComfyUI"])
def test_each_emphasis_acts_in_its_own_way(draw, emphasis: str):
    prompt = "a (red heart:1.8) on a (blue background:0.4)"
    assert differs(draw(prompt), draw(prompt, emphasis=emphasis))


def test_emphasis_can_be_ignored(draw):
    assert not differs(
        draw("a (red:1.5) heart on a blue background", emphasis="Ignore"), draw(BLUE)
    )


def test_a_schedule_switches_when_it_says(draw):
    assert not differs(draw("a red heart on a [blue:yellow:20] background"), draw(BLUE))
    late = background(draw("a red heart on a [blue:yellow:0.9] background"))
    early = background(draw("a red heart on a [blue:yellow:1] background"))
    assert late[2] > late[0], "most steps were blue"
    assert early[0] > early[2], "most steps were yellow"


def test_words_can_come_and_go(draw):
    assert differs(draw("a red heart[ on a blue background:0.5]"), draw("a red heart"))
    assert not differs(draw("a red heart[ on a blue background::0]"), draw("a red heart"))


def test_alternation_mixes(draw):
    mixed = draw("a red heart on a [blue|yellow] background")
    assert differs(mixed, draw(BLUE)) and differs(mixed, draw(YELLOW))


def test_and_adds_the_guidance_of_its_parts(draw):
    both = draw("a red heart AND a blue background")
    assert differs(both, draw("a red heart"))
    assert differs(both, draw("a red heart AND a blue background :2"))


def test_break_begins_a_new_chunk(draw):
    assert differs(draw("a red heart BREAK on a blue background"), draw(BLUE))


def test_the_negative_prompt_turns_away(draw):
    plain, turned = draw("a heart"), draw("a heart", negative="a red heart, a red background")
    assert (
        turned[..., 0].mean() - turned[..., 1:].mean()
        <= plain[..., 0].mean() - plain[..., 1:].mean()
    )


def test_comments_are_not_drawn(draw):
    assert not differs(draw(f"{BLUE}\n# a green star"), draw(BLUE))
