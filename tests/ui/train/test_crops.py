"""Crops are shown in the shape they will have."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from webui.training.dataset import read_picture
from webui.ui.train.crops import crops_of, movable, shape_in


def test_crops_are_shown_in_the_shape_they_will_have(tmp_path: Path):
    path = tmp_path / "wide.png"
    Image.effect_noise((300, 100), 50).convert("RGB").save(path)
    pictures = {0: read_picture(path)}
    square, wide = (lambda picture: 1.0), (lambda picture: 3.0)
    assert crops_of(pictures, [], square)["value"][0][0].size == (256, 256)
    assert movable(pictures, square) == [("wide.png", 0)]
    assert crops_of(pictures, [], wide)["value"][0][0].size == (256, 85)
    assert not movable(pictures, wide)


def test_without_a_model_crops_are_squares(studio):
    assert shape_in(studio, True)(None) == 1.0
