"""What counts as right in a picture, and what the lessons in prompt weights are made of."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from starter.captions import ATTRIBUTES, truth
from starter.drawing import draw
from starter.emphasis import weight_lessons
from starter.pictures import scene_at
from starter.quality import GOALS, Figures, is_pale, marks, missed, score
from starter.reader import _moved
from starter.vae import build_vae
from starter.world import STYLES, Ground, Scene, Thing, random_scene, usual_ground

TOKENIZER = Path(__file__).resolve().parents[2] / "models" / "starter" / "tokenizer"


def told(fill: str, colour: str, accent: str) -> dict[str, str]:
    return truth(Scene((Thing("heart", colour, fill, accent),), Ground("plain", "blue")))


@pytest.mark.parametrize("fill", ["striped", "dotted", "checkered"])
def test_which_of_two_colours_comes_first_is_part_of_what_was_said(fill: str) -> None:
    found = marks(told(fill, "red", "white"), told(fill, "white", "red"))
    assert not found["colour"] and not found["accent"] and found["fill"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("fill", ["striped", "dotted", "checkered"])
def test_a_picture_shows_which_colour_comes_first(fill: str, style: str) -> None:
    """Only the blocks of checkered pixel art are as many of either colour."""
    thing = Thing("square", "red", fill, "green", "large")
    picture = draw(Scene((thing,), Ground("plain", "black"), style), np.random.default_rng(0))
    red, green, _ = np.moveaxis(np.asarray(picture, int), -1, 0)
    first, second = (red > green + 25).sum(), (green > red + 25).sum()
    even = (fill, style) == ("checkered", "pixel art")
    assert second > 200 and (first > 1.5 * second or even)


def test_what_was_not_said_is_not_marked() -> None:
    silent = dict.fromkeys(ATTRIBUTES, "") | {"shape": "heart", "style": "none"}
    assert marks(silent, told("plain", "red", "")) == {"shape": True, "style": True}
    assert score([silent], [told("plain", "red", "")]) == {"shape": 1.0, "style": 1.0}


def test_both_asks_for_each_object_in_its_place() -> None:
    pair = Thing("heart", "red"), Thing("star", "green")
    left, right = truth(Scene(pair, relation="beside")), truth(Scene(pair[::-1], relation="beside"))
    assert marks(left, left)["both"] and not marks(left, right)["both"]


def test_a_hazy_picture_is_pale_and_a_clear_one_is_not() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        scene = random_scene(rng)
        thing = replace(scene.things[0], fill="plain", accent="")
        ground = usual_ground(thing.colour, scene.style)
        clear = Scene((thing,), ground, scene.style)
        if ground.colour != thing.colour:
            assert not is_pale(np.asarray(draw(clear, rng)))
            assert is_pale(np.asarray(draw(replace(clear, hazy=True), rng)))


def test_weights_are_taught_on_the_colour_word_alone() -> None:
    tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER)
    torch.manual_seed(0)
    lessons = weight_lessons(build_vae(), tokenizer, seed=0, pictures=60, count=8)
    assert len(lessons.rows) == 8 and lessons.dull.shape == (8, 4, 32, 32)
    for row, ids, named in zip(lessons.rows, lessons.ids, lessons.named, strict=True):
        thing = scene_at(0, int(row)).things[0]
        assert tokenizer.decode(ids[named]) == thing.colour
        assert thing.fill == "plain" and thing.colour != "gray"
    places, weights = lessons.draw(np.random.default_rng(0), 100)
    assert set(places.tolist()) <= set(range(8))
    assert 0.4 <= weights.min() < 0.6 and 1.3 < weights.max() <= 1.5


def test_a_picture_moves_and_mirrors_without_tearing() -> None:
    picture = torch.zeros(2, 3, 128, 128)
    picture[..., 60:68, 20:28] = 1
    moved = _moved(picture, np.array([False, True]), np.random.default_rng(0))
    assert moved.shape == picture.shape and moved.sum() == picture.sum()
    left, right = (one.sum(dim=(0, 1)).argmax().item() for one in moved)
    assert abs(left - 20) <= 6 and abs(right - 100) <= 6


def test_goals_that_are_missed_are_told_with_both_numbers():
    reached = {name: goal / 100 for name, goal in GOALS.items() if name != "both"}
    figures = Figures(
        prompts=100, psnr_db=33.0, picture_s=3.0, reader={}, weights_act=0.9, pale=0.02,
        scores={"seen": reached, "unseen": {"shape": 0.87}, "pairs": {"both": 0.8}},
        pictures=np.zeros((1, 1, 1, 3), np.uint8),
    )  # fmt: skip
    assert missed(figures) == []
    scores = {
        "seen": reached | {"accent": 0.7}, "unseen": {"shape": 0.86}, "pairs": {"both": 0.795}
    }  # fmt: skip
    worse = replace(figures, psnr_db=31.96, picture_s=3.2, pale=0.05, scores=scores)
    assert missed(worse) == [
        "accent 70.0 of 85 %", "both 79.5 of 80 %",
        "shape of unseen combinations 9.0 points behind, at most 8",
        "autoencoder 32.0 dB, at least 33", "pale pictures 5.0 %, at most 2",
        "one picture 3.2 s, at most 3",
    ]  # fmt: skip
