"""What is said about training pictures before a run."""

from __future__ import annotations

from PIL import Image, ImageFilter

from tests.training.picture_parts import RED, as_picture, scene
from webui.training.preflight import Finding, preflight


def test_good_pictures_raise_no_findings():
    assert preflight([as_picture(scene(seed), f"{seed}.png") for seed in range(4)], 64) == []


def test_poor_pictures_are_named_with_the_reason():
    sharp = scene(1, 256)
    pictures = [
        as_picture(sharp, "sharp.png"),
        as_picture(sharp.resize((250, 250)), "again.png"),
        as_picture(scene(2, 40), "tiny.png"),
        as_picture(scene(3, 256).filter(ImageFilter.GaussianBlur(9)), "soft.png"),
        as_picture(Image.new("RGB", (256, 256), RED), "plain.png"),
        as_picture(scene(4, 256).resize((900, 256)), "long.png"),
    ]
    told = {finding.file: finding.message for finding in preflight(pictures, 128)}
    assert "nearly the same as “sharp.png”" in told["again.png"]
    assert "smaller than the 128 pixels" in told["tiny.png"]
    assert "blurred" in told["soft.png"]
    assert "plain colour" in told["plain.png"]
    assert "only a square" in told["long.png"]
    assert "sharp.png" not in told


def test_one_background_in_all_pictures_is_advised_against():
    pictures = []
    for seed in range(3):
        image = Image.new("RGB", (128, 128), RED)
        image.paste(scene(seed, 60), (34, 34))
        pictures.append(as_picture(image, f"{seed}.png"))
    assert any("same background" in finding.message for finding in preflight(pictures, 64))


def test_only_a_wrong_number_of_pictures_stops():
    findings = preflight([as_picture(scene(1))], 64)
    assert findings[0] == Finding(
        True, None, "There is 1 image; training takes at least 3. Add more."
    )
    assert not any(finding.stops for finding in findings[1:])
