"""Texts of other programs, written by hand to their formats: read, drawn, written, read again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tests.parts import Library
from webui.generation.engine import Picture, generate
from webui.generation.metadata.infotext import read_infotext, read_settings
from webui.generation.request import GenerationRequest
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner


@dataclass(frozen=True)
class Written:
    """A text and what it means."""

    settings: str
    means: dict[str, Any]


FIRST = {"steps": 2, "sampler": "DPM++ 2M", "cfg_scale": 6.5, "seed": 7}
SIZE = {"width": 64, "height": 96}
SECOND = {"hires": True, "denoising_strength": 0.45, "hires_scale": 1.5, "hires_steps": 3}
TEXTS = {
    "A1111 1.5": Written(
        "Steps: 2, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 7, Size: 64x96, Model hash: "
        "6ce0161689, Model: v1-5-pruned, VAE hash: c6a580b13a, VAE: kl-f8.ckpt, Denoising "
        "strength: 0.45, Clip skip: 2, Hires upscale: 1.5, Hires steps: 3, Hires upscaler: "
        'Latent (nearest-exact), TI hashes: "EasyNegative: c74b4e810b03", Version: v1.5.2',
        FIRST | SIZE | SECOND | {"schedule_type": "Karras", "clip_skip": 2,
         "hires_upscaler": "Latent (nearest-exact)", "old_timelines": True, "half_alphas": True},
    ),
    "A1111 1.6, another sampler in the second pass": Written(
        "Steps: 2, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 7, Size: 64x96, Model hash: "
        "6ce0161689, Model: v1-5-pruned, Denoising strength: 0.45, Hires sampler: DPM++ SDE "
        'Karras, Hires prompt: "a castle, at night", Hires negative prompt: fog, Hires resize: '
        "96x0, Hires steps: 3, Hires upscaler: Lanczos, Version: v1.6.0",
        FIRST | SIZE | {"hires": True, "denoising_strength": 0.45, "hires_steps": 3,
         "schedule_type": "Karras", "hires_sampler": "DPM++ SDE", "hires_schedule_type": "Karras",
         "hires_prompt": "a castle, at night", "hires_negative_prompt": "fog",
         "hires_width": 96, "hires_upscaler": "Lanczos", "half_alphas": True},
    ),
    "A1111 1.8": Written(
        "Steps: 2, Sampler: Euler a, CFG scale: 6.5, Seed: 7, Size: 64x96, Model hash: 6ce0161689, "
        "Model: v1-5-pruned, Variation seed: 12, Variation seed strength: 0.3, Emphasis: No norm, "
        'Lora hashes: "ink: 0123456789ab, paper: 0123456789ab", Version: v1.8.0-RC',
        FIRST | SIZE | {"sampler": "Euler a", "subseed": 12, "subseed_strength": 0.3,
         "emphasis": "No norm"},
    ),
    "A1111 1.10, with a Civitai extension": Written(
        "Steps: 2, Sampler: DPM++ 2M, Schedule type: Exponential, CFG scale: 6.5, Seed: 7, Size: "
        "64x96, Model hash: 6ce0161689, Model: v1-5-pruned, Denoising strength: 0.45, Clip skip: "
        "2, Hires sampler: Euler, Hires schedule type: Karras, Hires upscale: 1.5, Hires steps: "
        "3, Hires upscaler: Latent, Version: v1.10.1, Hashes: "
        '{"model": "6ce0161689", "embed:EasyNegative": "c74b4e810b"}',
        FIRST | SIZE | SECOND | {"schedule_type": "Exponential", "clip_skip": 2,
         "hires_sampler": "Euler", "hires_schedule_type": "Karras"},
    ),
    "A1111 1.10, with all that is unusual": Written(
        "Steps: 2, Sampler: Euler a, Schedule type: Exponential, CFG scale: 6.5, Seed: 7, Size: "
        "64x96, Model hash: 6ce0161689, Model: v1-5-pruned, Variation seed: 12, Variation seed "
        "strength: 0.3, Seed resize from: 64x64, Denoising strength: 0.45, Clip skip: 2, ENSD: "
        '31337, RNG: CPU, Hires prompt: "a castle, at night", Hires upscale: 1.5, Hires steps: '
        "3, Hires upscaler: Latent, Emphasis: No norm, Eta: 0.5, Version: v1.10.1",
        FIRST | SIZE | SECOND | {"sampler": "Euler a", "schedule_type": "Exponential",
         "clip_skip": 2, "subseed": 12, "subseed_strength": 0.3, "resized_from_width": 64,
         "resized_from_height": 64, "eta_seed_delta": 31337, "rng": "CPU",
         "emphasis": "No norm", "eta": 0.5, "hires_prompt": "a castle, at night"},
    ),
    "A1111 of 2022": Written(
        "Steps: 2, Sampler: Euler a, CFG scale: 6.5, Seed: 7, Size: 96x144, Model hash: 7460a6fa, "
        "Denoising strength: 0.45, First pass size: 64x96",
        FIRST | SIZE | {"sampler": "Euler a", "hires": True, "denoising_strength": 0.45,
         "hires_width": 96, "hires_height": 144},
    ),
    "Forge": Written(
        "Steps: 2, Sampler: DPM++ 2M SDE, Schedule type: SGM Uniform, CFG scale: 6.5, Seed: 7, "
        "Size: 64x96, Model hash: 6ce0161689, Model: v1-5-pruned, Denoising strength: 0.45, Hires "
        "Module 1: Use same choices, Hires CFG Scale: 5, Hires upscale: 1.5, Hires steps: 3, "
        "Hires upscaler: Latent (antialiased), TI: EasyNegative, Version: "
        "f2.0.1v1.10.1-previous-665-gae278f79",
        FIRST | SIZE | SECOND | {"sampler": "DPM++ 2M SDE", "schedule_type": "SGM Uniform",
         "hires_cfg_scale": 5.0, "hires_upscaler": "Latent (antialiased)"},
    ),
    "SD.Next": Written(
        "Steps: 2, Size: 64x96, Sampler: DPM++ 2M, Seed: 7, CFG scale: 6.5, Clip skip: 2, App: "
        "SD.Next, Version: 0c7038e, Pipeline: StableDiffusionPipeline, Operations: hires; "
        "txt2img, Model: v1-5-pruned, Model hash: 6ce0161689, Variation seed: 12, Variation "
        "strength: 0.3, Refine: True, HiRes mode: 1, Hires upscaler: Latent Bicubic, Hires scale: "
        "1.5, Hires size: 96x144, Hires force: False, Hires steps: 3, Hires strength: 0.45, Hires "
        "sampler: Default, Hires CFG scale: 6, Embeddings: EasyNegative, Sampler sigma: karras",
        FIRST | SIZE | SECOND | {"clip_skip": 2, "subseed": 12, "subseed_strength": 0.3,
         "schedule_type": "Karras", "hires_upscaler": "Latent (bicubic)", "hires_cfg_scale": 6.0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("program", TEXTS)
def test_a_text_means_what_it_meant_and_survives_drawing(tiny_model: Model, program: str):
    written = TEXTS[program]
    text = f"a castle, (stone:1.2)\nNegative prompt: blurry\n{written.settings}"
    request, pairs = read_infotext(text)
    prompts = {"prompt": "a castle, (stone:1.2)", "negative_prompt": "blurry"}
    assert request == GenerationRequest(**prompts, **written.means)
    assert read_settings(pairs).refused == ()
    events = list(generate(tiny_model, request, Library(), Conditioner()))
    [picture] = [event for event in events if isinstance(event, Picture)]
    assert read_infotext(picture.infotext)[0] == request
    if program.startswith("A1111 1.10"):
        again = read_infotext(picture.infotext)[1]
        of_files = {"Model hash", "Model", "Version", "Hashes"}
        assert [pair for pair in pairs.items() if pair[0] not in of_files] == [
            pair for pair in again.items() if pair[0] not in of_files
        ], "in the same order, too"
