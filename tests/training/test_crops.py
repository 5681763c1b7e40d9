"""Squares cut from training pictures: where, how, and how many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from tests.training.picture_parts import BLUE, RED, as_picture, halves, scene
from webui.models.model import Model
from webui.training.crops import (
    PLAIN,
    Crop,
    before_plain,
    box_of,
    bucket_of,
    bucket_sizes,
    focus,
    make_crops,
)
from webui.training.denoising import encode_crop, generator_for
from webui.training.evaluation import prepare_eval_set
from webui.training.jobs.config import job_of
from webui.training.preflight import preflight
from webui.training.recipe import Recipe
from webui.training.setup import TrainingSetup, as_learned, cut_crops, prepare_setup
from webui.training.trainer import Stepped, begin, draw_crops, train


def test_the_short_side_is_scaled_and_the_middle_kept_never_squashed():
    disc = Image.new("RGB", (300, 100), (0, 0, 0))
    ImageDraw.Draw(disc).ellipse((110, 10, 190, 90), fill=(255, 255, 255))
    [square] = make_crops([as_picture(disc)], 64)
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
    left, right = make_crops(pictures, 16, positions=(0, 1))
    assert left.image.getpixel((2, 8)) == RED and right.image.getpixel((13, 8)) == BLUE
    tall = as_picture(halves(80, 40).rotate(90, expand=True))
    assert box_of(tall, 0.25) == (0, 10, 40, 50)
    assert box_of(tall, -1) == box_of(tall), "-1 is where most detail is"


def test_flip_is_off_unless_asked_for():
    picture = as_picture(halves(32, 32))
    assert len(make_crops([picture], 16)) == 1
    plain, mirrored = make_crops([picture], 16, flip=True)
    assert plain.image.getpixel((1, 8)) == mirrored.image.getpixel((14, 8)) == RED


def test_further_cuttings_differ_and_are_the_same_each_time():
    picture = as_picture(scene(1))
    one, other = (make_crops([picture], 32, crops=3, seed=7) for _ in range(2))
    assert len({square.image.tobytes() for square in one}) == 3
    assert [s.image.tobytes() for s in one] == [s.image.tobytes() for s in other]


RECIPE = Recipe(
    steps=6,
    warmup_steps=1,
    batch_size=2,
    evaluate_every=3,
    evaluation_tuples=4,
    vectors=2,
    mixed_precision="fp32",
    buckets=True,
)


def noise_scene(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def task_of(model: Model) -> Callable[..., TrainingSetup]:
    """Build a task of two wide pictures, one upright and two square ones, the last held out."""

    def make(recipe: Recipe = RECIPE) -> TrainingSetup:
        sizes = ((90, 30), (90, 32), (30, 90), (40, 40), (44, 40))
        pictures = [
            as_picture(noise_scene(*size, seed), f"{seed}") for seed, size in enumerate(sizes)
        ]
        cut = cut_crops(recipe, model, pictures)
        moments = [encode_crop(model, square) for square in cut]
        return prepare_setup(model, recipe, "my-thing", "grey cat", pictures, cut, moments)

    return make


@pytest.mark.parametrize(
    ("side", "step", "multiple"), [(512, 64, 64), (768, 64, 64), (1024, 32, 64), (128, 32, 32)]
)
def test_sizes_have_about_one_area_and_sides_the_model_can_halve(
    side: int, step: int, multiple: int
):
    sizes = bucket_sizes(side, step)
    assert (side, side) in sizes and len(sizes) == len(set(sizes)) >= 9
    for width, height in sizes:
        assert width % multiple == height % multiple == 0
        assert side // 2 <= min(width, height) and max(width, height) <= 2 * side
        assert 0.7 * side**2 <= width * height <= side**2
        assert (height, width) in sizes


@pytest.mark.parametrize(
    ("size", "bucket"),
    [
        ((3000, 2000), (640, 384)),
        ((2000, 3000), (384, 640)),
        ((1000, 1000), (512, 512)),
        ((1000, 1010), (512, 512)),
        ((9000, 100), (1024, 256)),
    ],
)
def test_a_picture_goes_to_the_size_of_the_nearest_shape(
    size: tuple[int, int], bucket: tuple[int, int]
):
    assert bucket_of(size, bucket_sizes(512, 64)) == bucket


def test_pictures_keep_their_shape_and_are_never_squashed():
    disc = Image.new("RGB", (300, 180), (0, 0, 0))
    ImageDraw.Draw(disc).ellipse((110, 50, 190, 130), fill=(255, 255, 255))
    [cut] = make_crops([as_picture(disc)], 128, buckets=bucket_sizes(128, 32))
    assert cut.image.size == (160, 96)
    white = np.asarray(cut.image.convert("L")) > 128
    across, down = white.any(axis=0).sum(), white.any(axis=1).sum()
    assert abs(int(across) - int(down)) <= 1 and 41 <= across <= 44


def test_what_is_cut_off_is_where_least_detail_is_or_where_it_is_asked_for():
    long = Image.new("RGB", (900, 100), (90, 90, 90))
    long.paste(noise_scene(90, 90), (800, 5))
    picture = as_picture(long)
    across, down = focus(picture, 4.0)
    assert across > 0.9 and down == 0.5
    assert box_of(picture, 0.0, 4.0) == (0, 0, 400, 100)
    assert focus(as_picture(noise_scene(400, 100)), 4.0) == (0.5, 0.5), "nothing is cut off"
    upright = as_picture(long.rotate(90, expand=True))
    assert box_of(upright, 1.0, 0.25) == (0, 500, 100, 900)


def test_further_cuttings_have_the_same_size():
    sizes = bucket_sizes(128, 32)
    cut = make_crops([as_picture(noise_scene(320, 200))], 128, crops=3, flip=True, buckets=sizes)
    assert {item.image.size for item in cut} == {(160, 96)} and len(cut) == 6


def test_advice_is_about_the_size_that_is_used():
    wide, small = (
        as_picture(noise_scene(1280, 768), "wide"),
        as_picture(noise_scene(300, 180, 1), "small"),
    )
    sizes = bucket_sizes(512, 64)
    told = {item.file: item.message for item in preflight([wide, small], 512, sizes)}
    assert "smaller than the 640×384 pixels" in told["small"]
    assert "longer than wide" not in told.get("wide", "")
    assert "smaller than" not in told.get("wide", "")


def test_each_batch_is_of_one_size_and_each_picture_seen_equally_often(task_of: Callable):
    task = task_of()
    assert task.buckets() == ((0, 1), (2,), (3,))
    lap = [draw_crops(task, number) for number in range(4)]
    assert all(len({task.latents.size(square) for square in batch}) == 1 for batch in lap)
    assert Counter(square for batch in lap for square in batch) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert lap == [draw_crops(task, number) for number in range(4)]
    other = replace(task, recipe=replace(task.recipe, seed=1))
    assert lap != [draw_crops(other, number) for number in range(4)]


def test_crops_are_drawn_in_rounds_over_all_of_them(task_of: Callable):
    task = task_of(replace(RECIPE, buckets=False))
    assert task.buckets() == ((0, 1, 2, 3),)
    order = torch.randperm(4, generator=generator_for(0, "order", 3)).tolist()
    assert [*draw_crops(task, 6), *draw_crops(task, 7)] == order


def test_a_run_on_buckets_learns_and_ends_with_the_same_bits_wherever_it_was_cut(
    task_of: Callable,
):
    task = task_of()
    whole = begin(task)
    events = list(train(task, whole))
    assert sum(isinstance(event, Stepped) for event in events) == 6
    assert not torch.equal(whole.vectors["clip_l"], task.start["clip_l"])
    first = begin(task)
    cut = train(task, first)
    for _ in range(4):
        next(cut)
    second = begin(task)
    second.take_up(first.snapshot())
    second.good, second.evaluations = first.good, list(first.evaluations)
    second.best_step, second.best_vectors = first.best_step, first.best_vectors
    list(train(task, second))
    assert torch.equal(second.vectors["clip_l"], whole.vectors["clip_l"])


def test_fixed_inputs_of_several_sizes_are_measured_each_as_alone(task_of: Callable):
    task = task_of()
    both = prepare_eval_set(task, 6)
    alone = prepare_eval_set(replace(task, recipe=replace(task.recipe, batch_size=1)), 6)
    torch.testing.assert_close(both.initializer, alone.initializer)
    assert (both.initializer > 0).all() and len(both.initializer) == 9


def test_buckets_are_asked_for_in_files_of_ours_and_of_kohyas_scripts():
    assert job_of({"buckets": True}, Path()).recipe_for("sd1").buckets
    kohya = {"token_string": "mug-1", "enable_bucket": True, "max_bucket_reso": 1024}
    job = job_of(kohya, Path())
    assert job.recipe_for("sd1").buckets
    assert any("max_bucket_reso: buckets have at most" in note for note in job.notes)
    assert not job_of({**kohya, "enable_bucket": "false"}, Path()).recipe_for("sd1").buckets


def test_a_plain_colour_that_is_not_the_things_takes_the_place_of_what_a_mask_leaves_out():
    mask = Image.new("L", (32, 32))
    mask.paste(255, (0, 0, 16, 32))
    cut = [Crop(picture, halves(32, 32), mask) for picture in range(5)]
    plain = before_plain(cut)
    behind = [each.image.getpixel((30, 3)) for each in plain]
    assert len(set(behind)) == 5 and {*behind} <= {*PLAIN}
    assert PLAIN[0] not in behind  # the thing is red, too
    assert all(each.image.getpixel((3, 3)) == RED and each.mask is None for each in plain)
    assert before_plain([*cut, *cut])[7].image.tobytes() == plain[2].image.tobytes()


def test_without_a_mask_or_with_one_that_leaves_nothing_a_crop_stays_as_it_is():
    whole = Crop(0, halves(8, 8), None)
    empty = Crop(1, halves(8, 8), Image.new("L", (8, 8)))
    assert before_plain([whole, empty]) == [whole, empty]


def test_what_is_learned_of_cut_outs_is_as_the_recipe_has_it():
    mask = Image.new("L", (8, 8))
    mask.paste(255, (0, 4, 8, 8))
    cut = [Crop(0, halves(8, 8), mask)]
    assert as_learned(Recipe(), cut) == cut
    assert as_learned(Recipe(background="plain", use_mask=False), cut) == cut
    (plain,) = as_learned(Recipe(background="plain"), cut)
    assert plain.mask is None and plain.image.getpixel((0, 0)) in PLAIN
