"""Families are told apart by the widths of their vectors."""

from __future__ import annotations

import pytest

from webui.models.families import FAMILIES, describe_widths, family_of_widths, incompatibility
from webui.models.parts import read_config
from webui.models.single_file import CONFIGS


@pytest.mark.parametrize("key", FAMILIES)
def test_each_family_is_found_by_its_widths(key):
    family = family_of_widths(dict(FAMILIES[key].widths))
    assert family is FAMILIES[key]


def test_other_widths_are_of_no_family():
    assert family_of_widths({"clip_l": 333}) is None
    assert family_of_widths({"clip_g": 1280}) is None


def test_widths_are_told_from_the_smaller_to_the_larger():
    assert describe_widths({"clip_g": 1280, "clip_l": 768}) == "768+1280"
    assert describe_widths({"clip_h": 1024}) == "1024"


def test_an_embedding_fits_the_models_it_has_vectors_for():
    sd1, sdxl = dict(FAMILIES["sd1"].widths), dict(FAMILIES["sdxl"].widths)
    assert incompatibility(sd1, sd1, "mine") is None
    assert incompatibility(sdxl, sdxl, "mine") is None
    assert incompatibility(sdxl, sd1, "mine") is None
    assert incompatibility(sd1, sdxl, "mine", first_encoder=True) is None


def test_a_misfit_says_what_it_is_and_what_the_model_takes():
    sd1, sdxl = dict(FAMILIES["sd1"].widths), dict(FAMILIES["sdxl"].widths)
    assert "Made for SD1 (768); “mine” needs 768+1280" in incompatibility(sd1, sdxl, "mine")
    half = incompatibility(sd1, {"clip_l": 128}, "mine", first_encoder=True)
    assert half == "Made for SDXL's first text encoder (768); “mine” needs 128."
    assert "width 333;" in incompatibility({"clip_l": 333}, sd1, "mine")


@pytest.mark.parametrize("key", ["sd1", "sd2", "sdxl"])
def test_the_shipped_configs_have_the_widths_of_their_family(key):
    family, folder = FAMILIES[key], CONFIGS / key
    texts = sorted(folder.glob("text_encoder*/config.json"))
    assert [read_config(path)["hidden_size"] for path in texts] == list(family.widths.values())
    context = read_config(folder / "unet" / "config.json")["cross_attention_dim"]
    assert context == sum(family.widths.values())
