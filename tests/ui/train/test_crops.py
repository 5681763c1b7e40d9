"""Crops are shown on their images, in the shape they will have."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest
from PIL import Image

from webui.training.crops import box_of
from webui.training.dataset import read_picture
from webui.ui.train.crops import crops_of, shape_in


def test_crops_are_shown_on_the_image_in_the_shape_they_will_have(tmp_path: Path):
    path = tmp_path / "wide.png"
    Image.effect_noise((300, 100), 50).convert("RGB").save(path)
    pictures = {2: read_picture(path)}
    (square,) = crops_of(pictures, lambda picture: 1.0)
    (whole,) = crops_of(pictures, lambda picture: 3.0)
    assert (square["index"], square["name"]) == (2, "wide.png")
    assert (square["width"], square["height"]) == (pytest.approx(1 / 3), 1.0)
    assert square["left"] == pytest.approx(box_of(pictures[2])[0] / 300)
    assert (whole["left"], whole["top"], whole["width"], whole["height"]) == (0, 0, 1, 1)
    data = base64.b64decode(square["image"].partition(",")[2])
    assert Image.open(io.BytesIO(data)).size == (300, 100)


def test_without_a_model_crops_are_squares(studio):
    assert shape_in(studio, True)(None) == 1.0
