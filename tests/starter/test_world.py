"""The little world draws what its scenes say, and keeps its secrets out of training."""

import numpy as np
import pytest

from starter.captions import ATTRIBUTES, caption, labels, truth
from starter.concepts import CONCEPTS, EXCLUDED_LOOKS, held_out_pictures
from starter.concepts import training_pictures as concept_pictures
from starter.drawing import draw
from starter.pictures import open_pictures, picture_at, scene_at
from starter.world import (
    COLOURS,
    COUNTS,
    FILLS,
    POSITIONS,
    SHAPES,
    SIDE,
    STYLES,
    USUAL_COLOURS,
    Ground,
    Scene,
    Thing,
    goes_without_saying,
    is_unseen,
    look,
    random_scene,
    usual_ground,
)


def test_the_world_is_as_wide_as_promised() -> None:
    assert len(SHAPES) >= 19 and len(COLOURS) >= 12
    assert len(FILLS) >= 4 and len(STYLES) >= 5


@pytest.mark.parametrize("shape", SHAPES)
def test_a_plain_thing_has_its_colour_in_it_and_the_ground_around_it(shape: str) -> None:
    scene = Scene((Thing(shape, "red", size="large"),), Ground("plain", "blue"))
    picture = np.asarray(draw(scene, np.random.default_rng(0)), np.float32)
    corner = picture[:6, :6].mean((0, 1))
    assert np.abs(corner - COLOURS["blue"]).max() < 12
    reds = np.abs(picture - COLOURS["red"]).max(-1) < 20
    assert 0.05 < reds.mean() < 0.6


def _red_centre(scene: Scene) -> tuple[float, float]:
    picture = np.asarray(draw(scene, np.random.default_rng(0)), np.float32)
    rows, columns = np.nonzero(np.abs(picture - COLOURS["red"]).max(-1) < 20)
    return columns.mean() / SIDE, rows.mean() / SIDE


@pytest.mark.parametrize("position", POSITIONS)
def test_a_thing_stands_where_the_scene_says(position: str) -> None:
    scene = Scene((Thing("circle", "red", size="small"),), position=position)
    x, y = _red_centre(scene)
    goal = {"left": (0.28, 0.5), "right": (0.72, 0.5), "top": (0.5, 0.28), "bottom": (0.5, 0.72)}
    assert np.allclose((x, y), goal.get(position, (0.5, 0.5)), atol=0.05)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("count", COUNTS)
def test_as_many_things_are_seen_as_the_scene_counts(shape: str, count: str) -> None:
    scene = Scene((Thing(shape, "red"),), Ground("plain", "white"), count=count)
    picture = np.asarray(draw(scene, np.random.default_rng(0)), np.float32)
    columns = (np.abs(picture - COLOURS["white"]).max(-1) > 60).any(axis=0)
    parts = int((np.diff(columns.astype(int), prepend=0) == 1).sum())
    assert parts == 1 + COUNTS.index(count)


def test_only_what_goes_without_saying_is_left_out_of_a_prompt() -> None:
    rng = np.random.default_rng(4)
    silent = 0
    for _ in range(1500):
        scene = random_scene(rng)
        said = caption(scene, rng).said
        if said["shape"] and not said["ground"]:
            silent += 1
            assert scene.ground == usual_ground(scene.things[0].colour, scene.style)
        if said["shape"] and not said["colour"]:
            assert scene.things[0].colour == USUAL_COLOURS[scene.things[0].shape]
    assert silent > 60


def test_a_spoilt_picture_never_goes_with_a_prompt_that_leaves_the_background_out() -> None:
    thing = Thing("star", "red")
    clear = Scene((thing,), usual_ground("red", "none"))
    assert goes_without_saying(clear)
    assert not goes_without_saying(Scene((thing,), clear.ground, hazy=True))


def test_equal_seeds_draw_equal_pictures() -> None:
    assert np.array_equal(picture_at(3, 14), picture_at(3, 14))
    assert not np.array_equal(picture_at(3, 14), picture_at(3, 15))


def test_every_random_scene_can_be_drawn_told_and_labelled() -> None:
    rng = np.random.default_rng(1)
    for _ in range(150):
        scene = random_scene(rng)
        assert draw(scene, rng).size == (SIDE, SIDE)
        told = caption(scene, rng)
        assert told.text and len(labels(told.said)) == len(ATTRIBUTES)
        assert all(not said or said == truth(scene)[name] for name, said in told.said.items())


def test_captions_name_what_they_claim_to_say() -> None:
    rng = np.random.default_rng(2)
    scene = Scene((Thing("star", "yellow", "striped", "red"),), Ground("plain", "green"), "neon")
    told = [caption(scene, rng) for _ in range(60)]
    assert len({one.text for one in told}) > 20
    for one in told:
        assert ("star" in one.text) == bool(one.said["shape"])
        assert ("yellow" in one.text) == bool(one.said["colour"])
        assert ("green background" in one.text) == bool(one.said["ground colour"])
        assert "neon" in one.text


def test_training_never_shows_what_is_held_out() -> None:
    for index in range(2000):
        for thing in scene_at(0, index).things:
            assert not is_unseen(thing)
            assert look(thing) not in EXCLUDED_LOOKS


def test_training_pictures_are_drawn_once_and_then_read_from_disk(tmp_path) -> None:
    path = tmp_path / "pictures.npy"
    first = np.array(open_pictures(path, 5, 3, workers=1))
    stamp = path.stat().st_mtime_ns
    again = open_pictures(path, 5, 3, workers=1)
    assert np.array_equal(first, again) and path.stat().st_mtime_ns == stamp
    assert np.array_equal(first[2], picture_at(5, 2))


def test_concepts_come_with_five_pictures_and_others_held_out() -> None:
    kinds = [concept.kind for concept in CONCEPTS]
    assert kinds.count("object") >= 6 and kinds.count("style") >= 2 and "fault" in kinds
    for concept in CONCEPTS:
        given = [np.asarray(picture) for picture, _ in concept_pictures(concept)]
        kept = [np.asarray(picture) for picture, _ in held_out_pictures(concept, 3)]
        assert len(given) == 5
        assert not any(np.array_equal(one, other) for one in given for other in kept)


def test_object_concepts_differ_from_picture_to_picture_only_in_their_surroundings() -> None:
    for concept in CONCEPTS:
        if concept.thing:
            scenes = [scene for _, scene in concept_pictures(concept)]
            assert {look(scene.things[0]) for scene in scenes} == {look(concept.thing)}
            assert len({scene.ground.colour for scene in scenes}) > 2
