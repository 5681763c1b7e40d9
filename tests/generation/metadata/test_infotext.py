"""The parameters text is AUTOMATIC1111's, and a request survives the way there and back."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from webui import __version__
from webui.generation.metadata.infotext import (
    embedding_hashes,
    read_infotext,
    read_settings,
    with_pairs,
    write_infotext,
)
from webui.generation.request import EMPHASES, SAME_SAMPLER, SAME_SCHEDULE, GenerationRequest
from webui.generation.sampling.noise import RNG_SOURCES
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import UPSCALERS

OLD = Path(__file__).parent / "old_files" / "infotexts.json"
REQUEST = GenerationRequest(
    prompt="(marc_allante:1.2) a dog",
    negative_prompt="bad-hands-5",
    steps=25,
    sampler="Euler a",
    schedule_type="Karras",
    cfg_scale=6.5,
    width=640,
    height=512,
    seed=3,
)


def write(request: GenerationRequest, embeddings: dict[str, str] | None = None) -> str:
    return write_infotext(
        request, model_name="v1-5", model_hash="6ce0161689", embeddings=embeddings
    )


def test_the_text_has_automatic1111s_layout_and_order():
    second = {"hires_sampler": "Heun", "hires_prompt": "a cat", "hires_negative_prompt": "a, b"}
    request = replace(
        REQUEST, hires=True, subseed=4, subseed_strength=0.1, denoising_strength=0.4, clip_skip=2,
        hires_schedule_type="Beta", hires_cfg_scale=5.0, hires_scale=1.5, hires_steps=9,
        hires_upscaler="4x-UltraSharp", emphasis="No norm", eta=0.5, **second,
    )  # fmt: skip
    text = write_infotext(
        request,
        model_name="v1-5",
        model_hash="6ce0161689",
        vae=("kl-f8.safetensors", "c6a580b13a"),
        embeddings={"marc_allante": "c74b4e810b03", "bad-hands-5": "aa7651be154c"},
        loras={"ink": ("0123456789ab", "ba9876543210")},
    )
    assert text == (
        "(marc_allante:1.2) a dog\n"
        "Negative prompt: bad-hands-5\n"
        "Steps: 25, Sampler: Euler a, Schedule type: Karras, CFG scale: 6.5, Seed: 3, "
        "Size: 640x512, Model hash: 6ce0161689, Model: v1-5, VAE hash: c6a580b13a, "
        "VAE: kl-f8.safetensors, Variation seed: 4, Variation seed strength: 0.1, "
        "Denoising strength: 0.4, Clip skip: 2, Hires sampler: Heun, Hires prompt: a cat, "
        'Hires negative prompt: "a, b", Hires schedule type: Beta, Hires CFG Scale: 5, '
        "Hires upscale: 1.5, Hires steps: 9, Hires upscaler: 4x-UltraSharp, "
        "Lora hashes: ink: 0123456789ab, "
        'TI hashes: "marc_allante: c74b4e810b03, bad-hands-5: aa7651be154c", '
        f"Emphasis: No norm, Eta: 0.5, Version: Embeddings WebUI {__version__}, "
        'Hashes: {"embed:marc_allante": "c74b4e810b", "embed:bad-hands-5": "aa7651be15", '
        '"lora:ink": "ba9876543210", "vae": "c6a580b13a", "model": "6ce0161689"}'
    ).replace("ink: 0123456789ab", '"ink: 0123456789ab"')
    assert read_infotext(text)[0] == request


def test_the_hashes_of_the_embeddings_are_read_back():
    _, pairs = read_infotext(write(REQUEST, {"a": "c74b4e810b03", "b c": "aa7651be154c"}))
    assert embedding_hashes(pairs) == {"a": "c74b4e810b03", "b c": "aa7651be154c"}


def test_a_text_of_automatic1111_is_read():
    request, pairs = read_infotext(
        "a castle, (stone:1.3)\nover a lake\nNegative prompt: blurry,\nEasyNegative\n"
        "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 1234, Size: 512x768, "
        "Model hash: 6ce0161689, Model: v1-5-pruned, Clip skip: 2, Version: v1.5.1, "
        'TI hashes: "EasyNegative: c74b4e810b03"'
    )
    assert request.prompt == "a castle, (stone:1.3)\nover a lake"
    assert request.negative_prompt == "blurry,\nEasyNegative"
    assert (request.sampler, request.schedule_type) == ("DPM++ 2M", "Karras")
    assert (request.width, request.height, request.seed, request.clip_skip) == (512, 768, 1234, 2)
    assert pairs["Model"] == "v1-5-pruned"


def test_a_text_without_settings_is_all_prompt():
    request, pairs = read_infotext("a cat, size: big, colour: red, mood: calm")
    assert request == GenerationRequest(prompt="a cat, size: big, colour: red, mood: calm")
    assert pairs == {}


def test_what_cannot_be_taken_is_told_and_leaves_the_control_alone():
    _, pairs = read_infotext(
        "a cat\nSteps: 20, Sampler: DPM leaping, CFG scale: 7, Seed: 1125899906842624, "
        "Size: 513x512, Lag: 31337, Version: v1.6.0"
    )
    settings = read_settings(pairs)
    assert not {"sampler", "seed", "width", "height"} & set(settings.values)
    assert settings.values["clip_skip"] == 1
    told = " ".join(settings.refused)
    for word in ("DPM leaping", "Seed", "513x512", "Lag: 31337"):
        assert word in told
    assert "Version" not in told


def test_a_second_pass_and_a_variation_are_read():
    request, pairs = read_infotext(
        "a cat\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Size: 512x512, "
        "Variation seed: 5, Variation seed strength: 0.2, Denoising strength: 0.4, "
        "Hires upscale: 1.5, Hires steps: 8, Hires upscaler: Latent"
    )
    assert (request.subseed, request.subseed_strength) == (5, 0.2)
    assert request.hires and (request.hires_scale, request.hires_steps) == (1.5, 8)
    assert read_settings(pairs).refused == ()


def test_pairs_can_be_added_to_a_text():
    text = with_pairs(write(REQUEST), {"Training run": "a, b", "Training step": 100})
    request, pairs = read_infotext(text)
    assert request == REQUEST
    assert (pairs["Training run"], pairs["Training step"]) == ("a, b", "100")


@pytest.mark.parametrize(
    "line", ["a" * 100_000, "a:{" * 30_000, " " * 100_000, 'a:"\\",' * 20_000, "a b:" * 25_000]
)
def test_a_hostile_line_is_part_of_the_prompt(line: str):
    request, pairs = read_infotext(f"a cat\n{line}")
    assert request.prompt == f"a cat\n{line}".strip() and pairs == {}


def lines(**options: int) -> st.SearchStrategy[str]:
    """Prompts as people write them: text in lines, none of which starts the negative prompt."""
    characters = st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"))
    line = st.text(characters, **options).filter(lambda text: "Negative prompt:" not in text)
    return st.lists(line, max_size=3).map(lambda parts: "\n".join(parts).strip())


SIDES = st.integers(8, 256).map(lambda n: n * 8)
VARIATIONS = st.fixed_dictionaries(
    {
        "subseed": st.integers(0, 2**32 - 1),
        "subseed_strength": st.integers(1, 100).map(lambda n: n / 100),
    }
)
SECOND_PASSES = st.fixed_dictionaries(
    {
        "hires": st.just(True),
        "hires_upscaler": st.sampled_from([*UPSCALERS, "4x, my: own"]),
        "hires_sampler": st.sampled_from([SAME_SAMPLER, *SAMPLERS]),
        "hires_schedule_type": st.sampled_from([SAME_SCHEDULE, *SCHEDULE_TYPES]),
        "hires_cfg_scale": st.integers(0, 60).map(lambda n: n / 2),
        "hires_prompt": lines(max_size=20),
        "hires_negative_prompt": lines(max_size=20),
        "hires_steps": st.integers(0, 150),
        "denoising_strength": st.integers(0, 100).map(lambda n: n / 100),
    }
).flatmap(
    lambda common: st.one_of(
        st.builds(lambda n: common | {"hires_scale": n / 100}, st.integers(100, 400)),
        st.builds(lambda w, h: common | {"hires_width": w, "hires_height": h}, SIDES, SIDES),
    )
)


@given(
    st.builds(
        lambda variation, second_pass, **rest: GenerationRequest(
            **rest, **variation, **second_pass
        ),
        VARIATIONS | st.just({}),
        SECOND_PASSES | st.just({}),
        prompt=lines(max_size=40),
        negative_prompt=lines(max_size=30),
        sampler=st.sampled_from(list(SAMPLERS)),
        schedule_type=st.sampled_from(list(SCHEDULE_TYPES)),
        steps=st.integers(1, 150),
        cfg_scale=st.integers(2, 60).map(lambda n: n / 2),
        width=SIDES,
        height=SIDES,
        seed=st.integers(0, 2**32 - 1),
        clip_skip=st.integers(1, 12),
        eta=st.none() | st.integers(0, 100).map(lambda n: n / 100),
        emphasis=st.sampled_from(list(EMPHASES)),
        match_anywhere=st.booleans(),
        early_schedules=st.booleans(),
        old_timelines=st.booleans(),
        pad_prompts=st.booleans(),
        rng=st.sampled_from(list(RNG_SOURCES)),
        eta_seed_delta=st.integers(0, 2**32 - 1),
        churn=st.integers(0, 1000).map(lambda n: n / 10),
        noise_strength=st.integers(0, 110).map(lambda n: n / 100),
        leave_out_last_but_one=st.booleans(),
        full_noise=st.booleans(),
        half_alphas=st.booleans(),
    )
)
def test_a_request_survives_the_text(request: GenerationRequest):
    assert read_infotext(write(request, {"x, y: z": "c74b4e810b03"}))[0] == request


@given(st.text())
def test_any_text_is_read_as_prompts_and_settings_within_their_limits(text: str):
    request, pairs = read_infotext(text)
    prompts = GenerationRequest(prompt=request.prompt, negative_prompt=request.negative_prompt)
    assert request == replace(prompts, **read_settings(pairs).values)


@pytest.mark.parametrize("written", json.loads(OLD.read_text(encoding="utf-8")))
def test_what_version_0_1_0_wrote_is_read(written: dict):
    said = written["request"] | {"styles": tuple(written["request"]["styles"])}
    request, pairs = read_infotext(written["text"])
    late = said.pop("late_schedules")
    then = {"rng": "CPU", "pad_prompts": True, "early_schedules": not late}
    assert request == GenerationRequest(**said, **then)
    assert read_settings(pairs).refused == ()


@pytest.mark.parametrize(
    ("version", "then"),
    [
        ("v1.5.2", {"old_timelines": True, "half_alphas": True}),
        ("1.7.0", {"half_alphas": True}),
        ("v1.10.1", {}),
        ("f2.0.1v1.10.1-previous-635-gf5330788", {}),
        ("f0.0.17v1.8.0rc-latest-276-g29be1da7", {}),
        ("a5ed2fe", {}),
        ("Embeddings WebUI 0.1.0", {"rng": "CPU", "pad_prompts": True, "early_schedules": True}),
        ("Embeddings WebUI 0.2.0", {}),
    ],
)
def test_a_text_means_what_its_version_drew(version: str, then: dict):
    text = "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
    request, _ = read_infotext(f"{text}, Version: {version}")
    assert request == replace(read_infotext(text)[0], **then)
    assert request.rng == then.get("rng", "GPU")


def test_what_automatic1111_writes_of_noise_and_levels_is_read_and_written_again():
    text = (
        "a cat\nSteps: 20, Sampler: DDIM, Schedule type: Karras, CFG scale: 7, Seed: 1, "
        "Size: 512x512, Eta DDIM: 0.5, RNG: NV, ENSD: 31337, Sigma churn: 2.5, Sigma tmin: 0.1, "
        "Sigma tmax: 9, Sigma noise: 0.9, Discard penultimate sigma: True, "
        "SGM noise multiplier: True, Downcast alphas_cumprod: True, Pad conds: True, "
        "Seed resize from: 448x512, Version: v1.10.1"
    )
    request, pairs = read_infotext(text)
    assert read_settings(pairs).refused == ()
    assert (request.eta, request.rng, request.eta_seed_delta) == (0.5, "NV", 31337)
    assert (request.churn, request.churn_low, request.churn_high) == (2.5, 0.1, 9)
    assert request.noise_strength == 0.9 and request.leave_out_last_but_one
    assert request.full_noise and request.half_alphas and request.pad_prompts
    assert (request.resized_from_width, request.resized_from_height) == (448, 512)
    again = write(request)
    assert read_infotext(again)[0] == request
    assert {part for part in text.split(", ")[5:-1]} <= set(again.split("\n")[-1].split(", "))
