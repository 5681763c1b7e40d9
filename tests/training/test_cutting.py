"""Squares cut from training pictures: where, how, and how many."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tests.training.picture_parts import BLUE, RED, as_picture, halves, scene
from webui.training.cutting import box_of, focus, squares


def test_the_short_side_is_scaled_and_the_middle_kept_never_squashed():
    disc = Image.new("RGB", (300, 100), (0, 0, 0))
    ImageDraw.Draw(disc).ellipse((110, 10, 190, 90), fill=(255, 255, 255))
    [square] = squares([as_picture(disc)], 64)
    white = np.asarray(square.image.convert("L")) > 128
    across, down = white.any(axis=0).sum(), white.any(axis=1).sum()
    assert square.image.size == (64, 64) and abs(int(across) - int(down)) <= 1
    assert 49 <= across <= 53


@pytest.mark.parametrize("upright", [False, True])
def test_the_square_is_cut_where_the_picture_has_most_detail(upright: bool):
    image = Image.new("RGB", (300, 100), (90, 90, 90))
    image.paste(scene(1, 70), (220, 15))
    picture = as_picture(image.rotate(90, expand=True) if upright else image)
    across, down = focus(picture)
    assert (down < 0.1 and across == 0.5) if upright else (across > 0.9 and down == 0.5)
    assert focus(as_picture(Image.new("RGB", (300, 100)))) == pytest.approx((0.5, 0.5), abs=0.01)


def test_the_square_can_be_moved_along_the_long_side():
    pictures = [as_picture(halves(80, 40), "a"), as_picture(halves(80, 40), "b")]
    left, right = squares(pictures, 16, places=(0, 1))
    assert left.image.getpixel((2, 8)) == RED and right.image.getpixel((13, 8)) == BLUE
    tall = as_picture(halves(80, 40).rotate(90, expand=True))
    assert box_of(tall, 0.25) == (0, 10, 40, 50)
    assert box_of(tall, -1) == box_of(tall), "-1 is where most detail is"


def test_flip_is_off_unless_asked_for():
    picture = as_picture(halves(32, 32))
    assert len(squares([picture], 16)) == 1
    plain, mirrored = squares([picture], 16, flip=True)
    assert plain.image.getpixel((1, 8)) == mirrored.image.getpixel((14, 8)) == RED


def test_further_cuttings_differ_and_are_the_same_each_time():
    picture = as_picture(scene(1))
    one, other = (squares([picture], 32, crops=3, seed=7) for _ in range(2))
    assert len({square.image.tobytes() for square in one}) == 3
    assert [s.image.tobytes() for s in one] == [s.image.tobytes() for s in other]
