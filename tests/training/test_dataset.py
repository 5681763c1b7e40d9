"""Reading training pictures of any kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.picture_parts import BLUE, RED, halves, scene
from webui.errors import AppError
from webui.training import dataset
from webui.training.dataset import (
    PictureCache,
    find_pictures,
    held_out_count,
    pair_captions,
    read_picture,
    read_pictures,
)


def test_a_sideways_photograph_is_turned_upright(tmp_path: Path):
    path = tmp_path / "phone.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees
    halves(80, 40).save(path, exif=exif)
    image = read_picture(path).image
    assert image.size == (40, 80)
    assert image.getpixel((20, 5))[0] > 150 and image.getpixel((20, 75))[2] > 150


def test_transparency_becomes_a_mask_and_hides_the_colour_below_it(tmp_path: Path):
    path = tmp_path / "cut-out.png"
    image = Image.new("RGBA", (40, 40), (0, 255, 0, 0))
    image.paste((*RED, 255), (10, 10, 30, 30))
    image.save(path)
    picture = read_picture(path)
    assert picture.image.getpixel((0, 0)) == (128, 128, 128)
    assert picture.image.getpixel((20, 20)) == RED
    assert picture.mask.getpixel((0, 0)) == 0 and picture.mask.getpixel((20, 20)) == 255


def test_the_mask_that_onetrainer_keeps_beside_a_picture_says_what_is_learned(tmp_path: Path):
    alpha = Image.new("RGBA", (40, 40), (*RED, 255))
    alpha.paste((0, 0, 0, 0), (0, 0, 40, 10))
    alpha.save(tmp_path / "mug.png")
    plain = read_picture(tmp_path / "mug.png")
    half = Image.new("L", (20, 20), 0)
    half.paste(255, (0, 0, 10, 20))
    half.save(tmp_path / "mug-masklabel.png")
    picture = read_picture(tmp_path / "mug.png")
    assert picture.mask.size == (40, 40)
    assert [picture.mask.getpixel(at) for at in ((5, 30), (35, 30), (5, 2))] == [255, 0, 0]
    assert picture.sha256 != plain.sha256
    assert find_pictures(tmp_path) == ([tmp_path / "mug.png"], [])
    (tmp_path / "lonely-masklabel.png").write_bytes(b"")
    assert find_pictures(tmp_path)[1] == [tmp_path / "lonely-masklabel.png"]
    Image.new("L", (40, 40), 0).save(tmp_path / "mug-masklabel.png")
    with pytest.raises(AppError, match="mug-masklabel.png is black"):
        read_picture(tmp_path / "mug.png")


def test_uploaded_masks_find_their_pictures_and_follow_them_into_the_cache(tmp_path: Path):
    files = [tmp_path / "a" / "mug.jpg", tmp_path / "b" / "mug-masklabel.png"]
    for file, image in zip(files, (scene(1), Image.new("L", (8, 8), 255)), strict=True):
        file.parent.mkdir()
        image.save(file)
    [found], unused = pair_captions(files)
    assert found == (files[0], None, files[1]) and unused == []
    cache = PictureCache()
    first = cache.read(*found)
    assert first.mask is not None and cache.read(*found).image is first.image
    Image.new("L", (8, 8), 100).save(files[1])
    assert cache.read(*found).mask.getpixel((0, 0)) == 100


def test_an_opaque_alpha_channel_is_no_mask(tmp_path: Path):
    path = tmp_path / "opaque.png"
    Image.new("RGBA", (8, 8), (*RED, 255)).save(path)
    assert read_picture(path).mask is None


def test_a_fully_transparent_picture_is_refused(tmp_path: Path):
    path = tmp_path / "nothing.png"
    Image.new("RGBA", (8, 8), (*RED, 0)).save(path)
    with pytest.raises(AppError, match="nothing.png is fully transparent"):
        read_picture(path)


@pytest.mark.parametrize("mode", ["L", "P", "CMYK", "LA", "YCbCr"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str):
    path = tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png")
    halves(16, 16).convert(mode).save(path)
    image = read_picture(path).image
    assert image.mode == "RGB"
    assert image.getpixel((2, 8)) != image.getpixel((14, 8))


def test_sixteen_bits_a_channel_are_scaled_not_cut_off(tmp_path: Path):
    path = tmp_path / "deep.png"
    ramp = np.linspace(0, 65535, 64, dtype=np.uint16)[None].repeat(8, axis=0)
    Image.fromarray(ramp).save(path)
    values = np.asarray(read_picture(path).image)[0, :, 0]
    assert values[0] == 0 and values[-1] == 255 and 120 <= values[32] <= 136


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path):
    path = tmp_path / "moving.gif"
    first, second = Image.new("RGB", (8, 8), RED), Image.new("RGB", (8, 8), BLUE)
    first.save(path, save_all=True, append_images=[second])
    assert read_picture(path).image.getpixel((4, 4))[0] > 150


@pytest.mark.parametrize("content", [b"%PDF-1.7 paper", b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_what_is_no_picture_is_refused_by_name(tmp_path: Path, content: bytes):
    path = tmp_path / "paper.jpg"
    path.write_bytes(content)
    with pytest.raises(AppError, match="paper.jpg"):
        read_picture(path)


def test_every_bad_file_and_a_wrong_number_are_told_at_once(
    tmp_path: Path, picture_files: Callable
):
    good = picture_files(1)
    bad = []
    for name in ("one.jpg", "two.jpg"):
        bad.append(tmp_path / name)
        bad[-1].write_bytes(b"no image")
    with pytest.raises(AppError) as caught:
        read_pictures([*good, bad[0]])
    assert "one.jpg" in str(caught.value) and "There are 2 images" in str(caught.value)
    with pytest.raises(AppError) as caught:
        read_pictures([*good, *bad])
    assert "one.jpg" in str(caught.value) and "two.jpg" in str(caught.value)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_fewer_than_three_pictures_are_refused(picture_files: Callable, count: int):
    with pytest.raises(AppError, match="at least 3"):
        read_pictures(picture_files(count))


def test_more_than_a_thousand_pictures_are_refused_before_any_is_read():
    with pytest.raises(AppError, match="There are 1001 images; training takes at most 1000"):
        read_pictures([Path(f"{number}.png") for number in range(1001)])


def test_many_pictures_are_taken_and_scaled_down_to_what_memory_holds(
    picture_files: Callable, monkeypatch: pytest.MonkeyPatch
):
    files = picture_files(20)
    side = read_picture(files[0]).image.width
    assert {picture.image.width for picture in read_pictures(files)} == {side}
    monkeypatch.setattr(dataset, "MAX_PIXELS_IN_ALL", 20 * side * side // 4)
    assert {picture.image.width for picture in read_pictures(files)} == {side // 2}


@pytest.mark.parametrize(("count", "held"), [(3, 0), (5, 1), (15, 1), (20, 2), (100, 10)])
def test_of_many_pictures_one_in_ten_is_held_out(count: int, held: int):
    assert held_out_count(count) == held


def test_the_text_beside_a_picture_is_its_caption_else_its_name(tmp_path: Path):
    for name in ("001.png", "02 - my cat.png"):
        halves(8, 8).save(tmp_path / name)
    (tmp_path / "001.txt").write_text("\ufeffa cat\n on a mat ", encoding="utf-8")
    first, second = (read_picture(path) for path in sorted(tmp_path.glob("*.png")))
    assert (first.text, first.has_text_file) == ("a cat on a mat", True)
    assert (second.text, second.has_text_file) == ("my cat", False)


def test_files_of_a_folder_that_are_skipped_are_listed(tmp_path: Path):
    for name in ("b.png", "a.JPG", "a.txt", "notes.txt", "paper.pdf"):
        (tmp_path / name).write_bytes(b"x")
    pictures, skipped = find_pictures(tmp_path)
    assert [path.name for path in pictures] == ["a.JPG", "b.png"]
    assert [path.name for path in skipped] == ["notes.txt", "paper.pdf"]


def test_folders_as_kohyas_scripts_have_them_are_read(tmp_path: Path):
    for inner in ("10_mug", "5_mug side", "other"):
        (tmp_path / inner).mkdir()
        scene(1).save(tmp_path / inner / "a.png")
    assert [path.parent.name for path in find_pictures(tmp_path)[0]] == ["10_mug", "5_mug side"]
    scene(2).save(tmp_path / "b.png")
    assert find_pictures(tmp_path)[0] == [tmp_path / "b.png"]


def test_pictures_that_are_large_together_are_refused_before_they_are_decoded(
    picture_files: Callable, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(dataset, "MAX_PIXELS_IN_ALL", 1000)
    monkeypatch.setattr(dataset, "MAX_PIXELS_EACH", 200)
    with pytest.raises(AppError, match="million pixels"):
        read_pictures(picture_files(5))


def test_captions_among_the_files_belong_to_the_pictures_of_their_names(
    tmp_path: Path, picture_files: Callable
):
    pictures = picture_files(3)
    elsewhere = [tmp_path / name / f"{name}.txt" for name in ("000 thing", "001 thing", "other")]
    for path in elsewhere:
        path.parent.mkdir()
        path.write_text(f"a caption of {path.stem}")
    read = read_pictures([elsewhere[0], *pictures, *elsewhere[1:]])
    assert [picture.path for picture in read] == list(pictures)
    assert [picture.text for picture in read] == [
        "a caption of 000 thing",
        "a caption of 001 thing",
        "thing",
    ]
    assert pair_captions([*pictures, *elsewhere])[1] == [elsewhere[2]]


def test_a_picture_is_read_again_when_its_file_or_its_text_has_changed(tmp_path: Path):
    path, cache = tmp_path / "a.png", PictureCache()
    halves(8, 8).save(path)
    first = cache.read(path)
    assert cache.read(path).image is first.image
    path.with_suffix(".txt").write_text("a cat")
    assert cache.read(path).text == "a cat" and cache.read(path).image is first.image
    halves(16, 16).save(path)
    assert cache.read(path).image.size == (16, 16)


def test_pictures_beyond_the_budget_are_let_go(tmp_path: Path):
    cache = PictureCache(budget_bytes=2 * 3 * 8 * 8)
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        halves(8, 8).save(path)
    images = [cache.read(path).image for path in paths]
    assert cache.read(paths[2]).image is images[2]
    assert cache.read(paths[0]).image is not images[0]
