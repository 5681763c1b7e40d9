"""File names follow AUTOMATIC1111's patterns, and no text in them leads out of the folder."""

from __future__ import annotations

import re
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from webui.errors import AppError
from webui.generation.file_names import NamedPicture, Naming, apply
from webui.generation.request import GenerationRequest

REQUEST = GenerationRequest(
    "a (red:1.2) heart, on a/hill", "blurry", seed=7, steps=9, cfg_scale=4.5, sampler="Euler a",
    clip_skip=2,
)  # fmt: skip
ASKED = GenerationRequest("a heart", seed=5, batch_size=2, batch_count=2, styles=("ink", "soft"))
PICTURE = NamedPicture(
    Image.new("RGB", (64, 96)), REQUEST, "sd/v1-5", "6ce0161689", "kl-f8.safetensors", ASKED,
    "a heart", 2, datetime(2024, 5, 6, 7, 8, 9),
)  # fmt: skip
ALONE = NamedPicture(PICTURE.image, REQUEST)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("[seed]", "7"),
        ("[Seed]-[prompt_spaces]", "7-a (red_1.2) heart, on a_hill"),
        ("[prompt]", "a_(red_1.2)_heart,_on_a_hill"),
        ("[prompt_words]", "a red 1 2 heart on a hill"),
        ("[prompt_no_styles]", "a heart"),
        ("[styles]", "ink, soft"),
        ("[steps] [cfg] [width]x[height]", "9 4.5 64x96"),
        ("[sampler], [scheduler], [sampler_scheduler]", "Euler a, Uniform, Euler a Uniform"),
        ("[model_name]-[model_hash]-[vae_filename]", "sd_v1-5-6ce0161689-kl-f8"),
        ("[seed_first]-[seed_last]", "5-8"),
        ("[batch_number] of [batch_size]: [generation_number]", "1 of 2: 3"),
        ("[job_timestamp]", "20240506070809"),
        ("[clip_skip][none]", "2"),
        ("[hasprompt<heart><star|nostar>]", "heartnostar"),
        ("[unknown]-[seed]", "[unknown]-7"),
    ],
)
def test_placeholders_say_what_they_say_there(pattern: str, name: str):
    assert apply(pattern, PICTURE) == name


def test_what_has_nothing_to_say_goes_with_the_text_before_it():
    assert apply("[seed]-batch[batch_number]-d[denoising]-[steps]", ALONE) == "7-9"


def test_times_have_patterns_and_zones():
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", apply("[date]", ALONE))
    assert re.fullmatch(r"\d{14}", apply("[datetime]", ALONE))
    assert re.fullmatch(r"\d{4}_\d\d", apply("[datetime<%Y_%H>]", ALONE))
    assert apply("[datetime<%Z><UTC>]", ALONE) == "UTC"
    assert re.fullmatch(r"\d{4}", apply("[datetime<%Y><No/Where>]", ALONE))


def test_hashes_have_lengths():
    whole = apply("[prompt_hash<64>]", ALONE)
    assert apply("[prompt_hash]", ALONE) == whole[:8]
    assert len(apply("[image_hash]", ALONE)) == 64
    assert apply("[full_prompt_hash<4>]", ALONE) != apply("[negative_prompt_hash<4>]", ALONE)


def test_folders_stay_below_the_one_they_are_in():
    def folder(pattern: str) -> str:
        return str(Naming(folder_pattern=pattern).folder(PICTURE))

    assert folder("[model_name]/[seed]") == "sd_v1-5/7"
    assert folder("") == "."
    assert folder("../../[seed]") == "7" and folder("/etc/\\..\\con") == "etc/_con"


@given(st.text(), st.text())
def test_no_prompt_and_no_pattern_makes_a_name_that_leads_elsewhere(prompt: str, pattern: str):
    naming = Naming(f"[prompt_spaces]{pattern}", f"[prompt]/{pattern}/[prompt_words]")
    picture = NamedPicture(ALONE.image, GenerationRequest(prompt))
    decoration, folder = naming.decoration(picture), naming.folder(picture)
    assert not re.search(r'[\x00-\x1f/\\\\<>:"|?*]', decoration)
    assert len(decoration.encode()) <= 201
    assert not folder.is_absolute() and ".." not in folder.parts
    assert all(len(part.encode()) <= 201 for part in folder.parts)


def test_a_pattern_with_an_unknown_placeholder_is_refused():
    Naming("[seed]-[Prompt_Spaces]", "[datetime<%Y>]").check()
    with pytest.raises(AppError, match=r"no placeholder \[sead\]"):
        Naming("[sead]").check()
