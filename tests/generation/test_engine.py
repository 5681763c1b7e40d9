"""Requests become pictures: reproducible, in batches, with embeddings, stopped when asked."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import save_file

from tests.generation.sampling import published
from tests.generation.test_esrgan import compact_network
from tests.generation.test_loras import write_lora
from tests.parts import Library
from webui.embeddings.embedding import Embedding
from webui.errors import AppError, Interrupted
from webui.files import sha256
from webui.generation.engine import Picture, StepDone, generate
from webui.generation.metadata.infotext import read_infotext
from webui.generation.preview import encode
from webui.generation.request import GenerationRequest
from webui.generation.sampling.noise import stream
from webui.generation.sampling.samplers import SAMPLERS
from webui.models.hashes import lora_hashes
from webui.models.loader import decode_in
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner

REQUEST = GenerationRequest(
    prompt="a red heart", steps=4, width=64, height=64, cfg_scale=3, seed=5, sampler="DPM++ 2M"
)


def draw(model: Model, request: GenerationRequest, library: Library | None = None, **options):
    events = list(generate(model, request, library or Library(), Conditioner(), **options))
    return [event for event in events if isinstance(event, Picture)]


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image, dtype=np.int16)


def embedding(name: str, count: int = 2, seed: int = 0) -> Embedding:
    vectors = torch.randn(count, 128, generator=torch.Generator().manual_seed(seed))
    tensors = {"clip_l": vectors}
    return Embedding(name, tensors)


def test_each_step_is_told_and_then_the_picture_comes(tiny_model: Model):
    events = list(generate(tiny_model, REQUEST, Library(), Conditioner()))
    assert [(e.step, e.steps) for e in events[:-1]] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(e.latents.shape == (1, 4, 8, 8) for e in events[:-1])
    assert events[-1].image.size == (64, 64)


def test_the_same_request_gives_the_same_picture(tiny_model: Model):
    first, second = (draw(tiny_model, REQUEST)[0].image for _ in range(2))
    assert (pixels(first) == pixels(second)).all()


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_gives_the_same_picture_in_a_batch_and_alone(tiny_model: Model, sampler: str):
    request = replace(REQUEST, sampler=sampler, steps=20 if sampler == "Restart" else 4)
    batch = draw(tiny_model, replace(request, batch_size=3))
    alone = draw(tiny_model, replace(request, seed=7))[0]
    assert [picture.request.seed for picture in batch] == [5, 6, 7]
    assert abs(pixels(batch[2].image) - pixels(alone.image)).max() <= 2


def test_batch_count_goes_on_with_the_next_seeds(tiny_model: Model):
    pictures = draw(tiny_model, replace(REQUEST, batch_count=2, batch_size=2))
    assert [picture.request.seed for picture in pictures] == [5, 6, 7, 8]
    assert read_infotext(pictures[3].infotext)[0].seed == 8


@pytest.mark.parametrize("schedule", ["Automatic", "Karras"])
def test_a_picture_is_the_one_that_diffusers_draws_from_the_same_noise_over_the_same_levels(
    tiny_model: Model, schedule: str
):
    request = replace(REQUEST, sampler="Euler", schedule_type=schedule, negative_prompt="blurry")
    config = dict(tiny_model.scheduler_config)
    levels = published.levels("Uniform" if schedule == "Automatic" else schedule, request.steps)
    pipe = StableDiffusionPipeline(
        vae=tiny_model.vae,
        text_encoder=tiny_model.text_encoders[0].model,
        tokenizer=tiny_model.tokenizer,
        unet=tiny_model.unet,
        scheduler=EulerDiscreteScheduler(**config | {"timestep_spacing": "linspace"}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    [theirs] = pipe(
        request.prompt,
        negative_prompt=request.negative_prompt,
        sigmas=levels,
        guidance_scale=request.cfg_scale,
        width=64,
        height=64,
        latents=stream("NV", request.seed).normal((1, 4, 8, 8)),
    ).images
    assert abs(pixels(draw(tiny_model, request)[0].image) - pixels(theirs)).max() <= 2
    for change in ({"rng": "CPU"}, {"schedule_type": "Exponential"}, {"steps": 5}):
        other = draw(tiny_model, replace(request, **change))[0]
        assert abs(pixels(other.image) - pixels(theirs)).max() > 2, change


def test_an_embedding_changes_the_picture_and_is_named_on_every_picture(tiny_model: Model):
    library = Library(embedding("my_thing"))
    plain = draw(tiny_model, replace(REQUEST, prompt="a my_thing"))[0]
    pictures = draw(tiny_model, replace(REQUEST, prompt="a my_thing", batch_size=2), library)
    assert (pixels(plain.image) != pixels(pictures[0].image)).any()
    for picture in pictures:
        assert [used.name for used in picture.used] == ["my_thing"]
        assert 'TI hashes: "my_thing: ' in picture.infotext
    assert plain.used == ()


def test_the_weight_and_the_negative_prompt_act(tiny_model: Model):
    library = Library(embedding("my_thing"))
    prompts = [
        ("a my_thing", ""),
        ("a (my_thing:1.4)", ""),
        ("a heart", "my_thing"),
        ("a heart", ""),
    ]
    drawn = [
        pixels(draw(tiny_model, replace(REQUEST, prompt=p, negative_prompt=n), library)[0].image)
        for p, n in prompts
    ]
    for one in range(4):
        for other in range(one):
            assert (drawn[one] != drawn[other]).any(), (prompts[one], prompts[other])


def test_a_changed_embedding_is_never_answered_from_the_memory(tiny_model: Model):
    conditioner, library = Conditioner(), Library(embedding("my_thing"))
    request = replace(REQUEST, prompt="my_thing")

    def picture() -> np.ndarray:
        events = list(generate(tiny_model, request, library, conditioner))
        return pixels(events[-1].image)

    before = picture()
    library.put(embedding("my_thing", seed=1))
    assert (before != picture()).any()


def test_a_sampler_that_finds_its_own_steps_tells_how_far_it_has_come(tiny_model: Model):
    request = replace(
        REQUEST, sampler="DPM adaptive", batch_size=2, hires=True, hires_scale=1.5, hires_steps=3
    )
    events = list(generate(tiny_model, request, Library(), Conditioner()))
    told = [(event.step, event.latents.shape) for event in events[:-2]]
    steps = [step for step, _ in told]
    assert steps == sorted(set(steps)) and steps[-1] == 7 and 4 in steps
    assert {shape for _, shape in told} == {(2, 4, 8, 8), (2, 4, 12, 12)}


def test_a_schedule_acts_during_sampling(tiny_model: Model):
    library = Library(embedding("one"), embedding("two", seed=1))
    drawn = {
        prompt: pixels(draw(tiny_model, replace(REQUEST, prompt=prompt), library)[0].image)
        for prompt in ("one", "two", "[one:two:0.5]", "[one|two]", "one AND two")
    }
    for first in drawn:
        for second in drawn:
            assert first == second or (drawn[first] != drawn[second]).any(), (first, second)


def test_asking_to_stop_ends_it_after_the_current_step(tiny_model: Model):
    seen: list[StepDone | Picture] = []
    asked = replace(REQUEST, batch_size=2)
    with pytest.raises(Interrupted):
        for event in generate(
            tiny_model, asked, Library(), Conditioner(), stopped=lambda: len(seen) >= 2
        ):
            seen.append(event)
    assert [type(event) for event in seen] == [StepDone, StepDone, Picture, Picture]
    partial, finished = seen[2], draw(tiny_model, asked)[0]
    assert partial.infotext == finished.infotext
    assert (pixels(partial.image) != pixels(finished.image)).any()


def test_pictures_that_were_not_begun_are_not_kept(tiny_model: Model):
    """DPM adaptive draws one picture of a batch after the other."""
    seen: list[StepDone | Picture] = []
    asked = replace(REQUEST, sampler="DPM adaptive", steps=20, batch_size=2)
    with pytest.raises(Interrupted):
        for event in generate(
            tiny_model, asked, Library(), Conditioner(), stopped=lambda: len(seen) >= 3
        ):
            seen.append(event)
    assert [event.request.seed for event in seen if isinstance(event, Picture)] == [REQUEST.seed]


def test_a_stop_before_the_first_step_leaves_nothing(tiny_model: Model):
    with pytest.raises(Interrupted):
        next(generate(tiny_model, REQUEST, Library(), Conditioner(), stopped=lambda: True))


def test_a_variation_lies_between_the_two_seeds(tiny_model: Model):
    first, second = (draw(tiny_model, replace(REQUEST, seed=s))[0].image for s in (5, 9))
    varied = {
        strength: draw(tiny_model, replace(REQUEST, subseed=9, subseed_strength=strength))[0]
        for strength in (0, 0.3, 1)
    }
    assert (pixels(varied[0].image) == pixels(first)).all()
    assert abs(pixels(varied[1].image) - pixels(second)).max() <= 2
    assert (pixels(varied[0.3].image) != pixels(first)).any()
    assert "Variation seed: 9, Variation seed strength: 0.3" in varied[0.3].infotext


def test_a_varied_picture_is_the_same_in_a_batch_and_alone(tiny_model: Model):
    request = replace(REQUEST, subseed=9, subseed_strength=0.4)
    batch = draw(tiny_model, replace(request, batch_size=2, batch_count=2))
    alone = draw(tiny_model, replace(request, subseed=12))[0]
    assert [picture.request.seed for picture in batch] == [5, 5, 5, 5]
    assert abs(pixels(batch[3].image) - pixels(alone.image)).max() <= 2
    assert read_infotext(batch[3].infotext)[0].subseed == 12


def test_a_skipped_batch_is_given_up_and_the_next_goes_on(tiny_model: Model):
    asked = iter([False, False, True])
    events = list(
        generate(
            tiny_model,
            replace(REQUEST, batch_count=3),
            Library(),
            Conditioner(),
            skipped=lambda: next(asked, False),
        )
    )
    assert [event.request.seed for event in events if isinstance(event, Picture)] == [6, 7]
    steps = [event.step for event in events if isinstance(event, StepDone)]
    assert steps == [1, 2, 5, 6, 7, 8, 9, 10, 11, 12]


@pytest.mark.parametrize(
    ("upscaler", "sampler"),
    [("Latent", name) for name in ("DPM++ 2M", "Heun", "DDIM", "DPM2", "DPM fast")]
    + [("Lanczos", "DPM++ 2M")],
)
def test_hires_fix_draws_the_picture_over_at_the_new_size(
    tiny_model: Model, upscaler: str, sampler: str
):
    request = replace(
        REQUEST, sampler=sampler, hires=True, hires_upscaler=upscaler, hires_scale=1.5,
        hires_steps=3, denoising_strength=0.6,
    )  # fmt: skip
    events = list(generate(tiny_model, request, Library(), Conditioner()))
    told = [(e.step, e.steps, tuple(e.latents.shape)) for e in events[:-1]]
    small, large = (1, 4, 8, 8), (1, 4, 12, 12)
    # DDIM's timesteps are one more than its steps are
    steps = (1, 2, 4, 7) if sampler == "DDIM" else range(1, 8)
    assert told == [(n, 7, small if n <= 4 else large) for n in steps]
    assert events[-1].image.size == (96, 96)
    assert read_infotext(events[-1].infotext)[0] == replace(request, subseed=-1)


def test_hires_fix_covers_other_proportions_and_can_only_enlarge(tiny_model: Model):
    request = replace(REQUEST, hires=True, hires_width=128, hires_height=96)
    picture = draw(tiny_model, replace(request, denoising_strength=0.0))[0]
    assert picture.image.size == (128, 96)
    assert "Hires resize: 128x96" in picture.infotext


def test_the_second_pass_has_settings_of_its_own(tiny_model: Model):
    """What they are is seen in the picture: as if the whole request had been drawn with them."""
    library = Library(embedding("one"))
    request = replace(REQUEST, hires=True, hires_scale=1.5, steps=2, denoising_strength=0.6)

    def second(**changes) -> Picture:
        return draw(tiny_model, replace(request, **changes), library)[0]

    plain = second()
    same = second(
        hires_sampler=REQUEST.sampler,
        hires_schedule_type="Automatic",
        hires_cfg_scale=3.0,
        hires_prompt=REQUEST.prompt,
    )
    assert (pixels(same.image) == pixels(plain.image)).all()
    for changes in (
        {"hires_sampler": "Heun"},
        {"hires_schedule_type": "Exponential"},
        {"hires_cfg_scale": 9.0},
        {"hires_prompt": "one"},
        {"hires_negative_prompt": "one"},
    ):
        other = second(**changes)
        assert (pixels(other.image) != pixels(plain.image)).any(), changes
        assert read_infotext(other.infotext)[0] == replace(request, subseed=-1, **changes)
    assert [used.name for used in second(hires_prompt="one").used] == ["one"]


def test_a_lora_of_the_hires_prompt_acts_in_the_second_pass_alone(
    tiny_model: Model, tmp_path: Path
):
    files = write_lora(tiny_model, tmp_path)
    request = replace(REQUEST, hires=True, hires_scale=1.0, steps=2)

    def drawn(**changes) -> np.ndarray:
        return pixels(draw(tiny_model, replace(request, **changes), loras=files)[0].image)

    lora = "a red heart <lora:My_Style:1>"
    plain, both = drawn(), drawn(prompt=lora)
    second, first = drawn(hires_prompt=lora), drawn(prompt=lora, hires_prompt=REQUEST.prompt)
    assert len({picture.tobytes() for picture in (plain, both, first, second)}) == 4
    [picture] = draw(tiny_model, replace(request, hires_prompt=lora), loras=files)
    file = files / "styles" / "My_Style.safetensors"
    of_weights, of_file = lora_hashes(file)
    assert of_file == sha256(file)[:10]
    assert f'Lora hashes: "My_Style: {of_weights}"' in picture.infotext
    assert f'"lora:My_Style": "{of_file}"' in picture.infotext


def test_an_upscaler_is_read_before_anything_is_drawn_and_stops_between_squares(
    tiny_model: Model, tmp_path: Path
):
    request = replace(REQUEST, hires=True, hires_upscaler="net", steps=1)
    broken = tmp_path / "net.pth"
    broken.write_bytes(b"no network")
    with pytest.raises(AppError, match="net.pth could not be loaded"):
        next(generate(tiny_model, request, Library(), Conditioner(), upscalers={"net": broken}))
    save_file(compact_network(), tmp_path / "net.safetensors")
    files = {"net": tmp_path / "net.safetensors"}
    kept = []
    with pytest.raises(Interrupted):
        for event in generate(
            tiny_model, request, Library(), Conditioner(), upscalers=files,
            stopped=lambda: bool(kept),
        ):  # fmt: skip
            kept.append(event)
    assert kept[-1].image.size == (64, 64), "the first pass is kept"


def test_schedules_switch_one_step_later_unless_asked_not_to(tiny_model: Model):
    library = Library(embedding("one"), embedding("two", seed=1))
    request = replace(REQUEST, prompt="[one:two:2]")
    usual = draw(tiny_model, request, library)[0]
    early = replace(request, early_schedules=True)
    shifted = draw(tiny_model, replace(early, prompt="[one:two:3]"), library)[0]
    assert (pixels(usual.image) == pixels(shifted.image)).all()
    assert (pixels(usual.image) != pixels(draw(tiny_model, early, library)[0].image)).any()


def test_schedules_count_the_calls_of_samplers_that_take_two_a_step(tiny_model: Model):
    library = Library(embedding("one"), embedding("two", seed=1))
    request = replace(REQUEST, sampler="Heun", early_schedules=True)
    drawn = [
        pixels(draw(tiny_model, replace(request, prompt=prompt), library)[0].image)
        for prompt in ("[one:two:0.5]", "[one:two:4]", "[one:two:2]")
    ]
    assert (drawn[0] == drawn[1]).all() and (drawn[0] != drawn[2]).any()


def test_a_second_pass_goes_on_where_the_schedules_of_the_first_ended(tiny_model: Model):
    library = Library(embedding("one"), embedding("two", seed=1))
    request = replace(REQUEST, hires=True, hires_scale=1.5, denoising_strength=0.6)

    def drawn(prompt: str, **changes: object) -> np.ndarray:
        asked = replace(request, prompt=prompt, **changes)
        return pixels(draw(tiny_model, asked, library)[0].image)

    assert (drawn("[one:two:1.5]") == drawn("[one:two:6]")).all()
    assert (drawn("[one:two:0.5]") != drawn("[one:two:0.5]", old_timelines=True)).any()
    assert (drawn("[one:two:0.99]") != drawn("[one:two:1.5]")).any()


def test_prompts_of_other_lengths_can_be_made_equally_long(tiny_model: Model):
    long = replace(REQUEST, prompt="a red heart " * 40, negative_prompt="blurry")
    apart, padded = (
        pixels(draw(tiny_model, replace(long, pad_prompts=pad))[0].image) for pad in (False, True)
    )
    assert (apart != padded).any() and abs(apart - padded).mean() < 40


@pytest.mark.parametrize(
    "changes",
    [
        {"rng": "CPU"},
        {"eta_seed_delta": 31337},
        {"noise_strength": 0.5},
        {"leave_out_last_but_one": True},
        {"full_noise": True},
        {"half_alphas": True},
        {"resized_from_width": 48, "resized_from_height": 96},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_a_request_says_of_noise_and_levels_acts(tiny_model: Model, changes: dict):
    request = replace(REQUEST, sampler="DPM++ 2S a")
    one, other = (draw(tiny_model, each)[0] for each in (request, replace(request, **changes)))
    assert (pixels(one.image) != pixels(other.image)).any()
    again = read_infotext(other.infotext)[0]
    assert (pixels(draw(tiny_model, again)[0].image) == pixels(other.image)).all()


def test_a_vae_that_overflows_in_half_precision_goes_on_in_float32(
    tiny_model: Model, caplog: pytest.LogCaptureFixture
):
    vae = deepcopy(tiny_model.vae)
    with torch.no_grad():
        for layer in (vae.decoder.conv_in, vae.encoder.conv_in):
            layer.weight *= 2e5
    picture = draw(replace(tiny_model, vae=vae), REQUEST)[0]
    halved = replace(tiny_model, vae=deepcopy(vae).half())
    assert abs(pixels(draw(halved, REQUEST)[0].image) - pixels(picture.image)).max() <= 8
    assert halved.vae.dtype == halved.decoder_dtype == torch.float32
    assert "goes on in float32" in caplog.text


def test_pictures_decoded_in_bfloat16_differ_little_and_what_is_encoded_not_at_all(
    tiny_model: Model,
):
    quick = replace(tiny_model, vae=deepcopy(tiny_model.vae))
    decode_in(quick, torch.bfloat16)
    one, other = (draw(model, REQUEST)[0].image for model in (tiny_model, quick))
    difference = abs(pixels(one) - pixels(other))
    assert 0 < difference.max() <= 4 and difference.mean() < 1
    assert torch.equal(encode(tiny_model, [one]), encode(quick, [one]))


def test_a_picture_of_not_a_number_is_a_clear_error(tiny_model: Model):
    library = Library(embedding("my_thing"))
    library.put(Embedding("broken", {"clip_l": torch.full((1, 128), torch.nan)}))
    with pytest.raises(AppError, match="not-a-number"):
        draw(tiny_model, replace(REQUEST, prompt="broken"), library)


def test_a_missing_lora_is_a_warning_and_not_a_failure(tiny_model: Model, tmp_path: Path):
    picture = draw(tiny_model, replace(REQUEST, prompt="a heart <lora:nope:0.8>"), loras=tmp_path)[
        0
    ]
    assert any("no LoRA “nope”" in warning for warning in picture.warnings)


def test_an_embedding_that_a_lora_brings_along_can_be_called_in_both_prompts(
    tiny_model: Model, tmp_path: Path
):
    save_file({"bundle_emb.inky.clip_l": torch.randn(2, 128)}, tmp_path / "ink.safetensors")
    request = replace(REQUEST, prompt="a inky <lora:ink:1>", negative_prompt="(inky:1.2)")
    [picture] = draw(tiny_model, request, loras=tmp_path)
    assert [used.name for used in picture.used] == ["inky"]
    [without] = draw(tiny_model, replace(request, prompt="a inky"), loras=tmp_path)
    assert without.used == () and without.image != picture.image
