"""The loss: targets, schedules, masks and conditioning."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.conftest import tiny_model
from webui.embeddings.embedding import Embedding
from webui.errors import AppError
from webui.models.model import Model
from webui.prompting.chunks import Insert, Words
from webui.prompting.encoding import Encoded, encode
from webui.prompting.tokens import tokens_of
from webui.training.captions import lay_out_caption
from webui.training.crops import Crop
from webui.training.denoising import (
    Batch,
    Guide,
    Latents,
    denoising_errors,
    encode_crop,
    gather_latents,
    generator_for,
    noised,
    schedule_of,
    snr_weights,
)


class Answering(torch.nn.Module):
    """A UNet that knows the answer, or says nothing at all."""

    def __init__(self, answer: torch.Tensor) -> None:
        super().__init__()
        self.answer, self.given = answer, {}

    def forward(self, noisy: torch.Tensor, t: torch.Tensor, hidden: torch.Tensor, **more: Any):
        self.given = {"noisy": noisy, "hidden": hidden, **more}

        class Output:
            sample = self.answer

        return Output


def batch_of(count: int = 2) -> Batch:
    draw = generator_for("test")
    shape = (count, 4, 4, 4)
    return Batch(
        torch.zeros(count, dtype=torch.int64),
        torch.randn(shape, generator=draw),
        torch.randn(shape, generator=draw),
        torch.tensor([10, 999][:count]),
    )


def latents_of(weight: torch.Tensor | None = None) -> Latents:
    mean = torch.randn(1, 4, 4, 4, generator=generator_for("mean"))
    ones = torch.ones(1, 1, 4, 4)
    return Latents(mean, torch.zeros_like(mean), ones if weight is None else weight, (0,))


NO_TEXT = Encoded(torch.zeros(2, 77, 32), None)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_the_target_is_what_the_model_was_trained_to_predict(model: Model, kind: str):
    config = {**model.scheduler_config, "prediction_type": kind, "rescale_betas_zero_snr": True}
    knowing = replace(model, scheduler_config=config)
    schedule, batch, latents = schedule_of(knowing), batch_of(), latents_of()
    kept = schedule.alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    latent = latents.mean[batch.crops]
    velocity = kept.sqrt() * batch.noise - (1 - kept).sqrt() * latent
    answer = batch.noise if kind == "epsilon" else velocity
    unet = Answering(answer)
    errors = denoising_errors(replace(knowing, unet=unet), schedule, latents, batch, NO_TEXT)
    torch.testing.assert_close(errors, torch.zeros(2), atol=1e-6, rtol=0)
    # The last step of a schedule of zero terminal SNR holds nothing of the picture.
    torch.testing.assert_close(unet.given["noisy"][1], batch.noise[1])


def test_an_unknown_target_is_refused(model: Model):
    other = replace(model, scheduler_config={**model.scheduler_config, "prediction_type": "sample"})
    with pytest.raises(AppError, match="predicts “sample”"):
        schedule_of(other)


def test_settings_of_other_schedulers_do_no_harm(model: Model):
    config = {**model.scheduler_config, "skip_prk_steps": True, "_class_name": "PNDMScheduler"}
    assert schedule_of(replace(model, scheduler_config=config)).config.beta_end == 0.012


def test_a_latent_is_drawn_anew_from_the_moments(model: Model):
    square = Crop(0, Image.new("RGB", (32, 32), (200, 30, 30)), None)
    mean, std = encode_crop(model, square)
    assert mean.shape == std.shape == (4, 4, 4) and (std > 0).all()
    latents = gather_latents([square], [(mean, std)], use_mask=True)
    unet = Answering(torch.zeros(2, 4, 4, 4))
    batch = replace(batch_of(), timesteps=torch.tensor([0, 0]))
    denoising_errors(replace(model, unet=unet), schedule_of(model), latents, batch, NO_TEXT)
    first, second = unet.given["noisy"]
    assert not torch.equal(first, second)


def half_masked(left: int, right: int) -> Crop:
    mask = Image.new("L", (32, 32), left)
    mask.paste(right, (16, 0, 32, 32))
    return Crop(0, Image.new("RGB", (32, 32)), mask)


def test_masked_parts_do_not_count(model: Model):
    moments = [(torch.zeros(4, 4, 4), torch.ones(4, 4, 4))]
    weight = torch.stack(gather_latents([half_masked(0, 255)], moments, use_mask=True).weight)
    assert (weight[..., :2] == 0).all() and (weight[..., 2:] == 2).all()
    batch, schedule = batch_of(), schedule_of(model)
    answer = batch.noise.clone()
    answer[..., :2] += 100  # all wrong where it does not count
    wrong = replace(model, unet=Answering(answer))
    assert denoising_errors(wrong, schedule, latents_of(weight), batch, NO_TEXT).max() < 1e-6


def test_an_even_mask_counts_everywhere_alike():
    moments = [(torch.zeros(4, 4, 4), torch.ones(4, 4, 4))]
    for alpha in (1, 128, 255):
        [weight] = gather_latents([half_masked(alpha, alpha)], moments, use_mask=True).weight
        torch.testing.assert_close(weight, torch.ones(1, 4, 4))
    [unused] = gather_latents([half_masked(0, 255)], moments, use_mask=False).weight
    assert (unused == 1).all()


def test_sdxl_is_told_height_and_width_of_what_it_is_shown():
    model = tiny_model("sdxl")
    latents = Latents(
        (torch.zeros(4, 2, 6),), (torch.zeros(4, 2, 6),), (torch.ones(1, 2, 6),), (0,)
    )
    shape = (1, 4, 2, 6)
    batch = Batch(torch.tensor([0]), torch.zeros(shape), torch.zeros(shape), torch.tensor([5]))
    unet = Answering(torch.zeros(shape))
    condition = Encoded(torch.zeros(1, 77, 80), torch.zeros(1, 16))
    denoising_errors(replace(model, unet=unet), schedule_of(model), latents, batch, condition)
    assert unet.given["added_cond_kwargs"]["time_ids"].tolist() == [[16, 48, 0, 0, 16, 48]]


def test_vectors_of_ordinary_words_condition_like_the_words(model: Model):
    words = tokens_of(model.tokenizer).of("grey cat")
    table = model.text_encoders[0].model.get_input_embeddings().weight
    vectors = Insert(Embedding("my-cat", {"clip_l": table[list(words)]}))
    with_vectors, with_words = (
        encode(model, [lay_out_caption(model.tokenizer, "a photo of a [name] here", name)]).hidden
        for name in (vectors, Words(words))
    )
    torch.testing.assert_close(with_vectors, with_words)


def test_gradients_reach_the_vectors_wherever_they_stand(model: Model):
    vectors = torch.randn(2, 32, requires_grad=True)
    name = Insert(Embedding("my-cat", {"clip_l": vectors}))
    chunk = lay_out_caption(model.tokenizer, "[name] beside [name]", name)
    hidden = encode(model, [chunk]).hidden
    [gradient] = torch.autograd.grad(hidden.square().sum(), [vectors])
    assert (gradient.abs().sum(dim=1) > 0).all()


def test_sdxl_is_given_both_encoders_the_pooled_text_and_the_sizes():
    model = tiny_model("sdxl")
    captions = encode(model, [lay_out_caption(model.tokenizer, "a cat", Words(()))] * 2)
    assert captions.hidden.shape == (2, 77, 80) and captions.pooled.shape == (2, 16)
    unet = Answering(torch.zeros(2, 4, 4, 4))
    denoising_errors(
        replace(model, unet=unet), schedule_of(model), latents_of(), batch_of(), captions
    )
    added = unet.given["added_cond_kwargs"]
    assert added["text_embeds"].shape == (2, 16)
    assert added["time_ids"].tolist() == [[32, 32, 0, 0, 32, 32]] * 2


def left_of(model: Model) -> torch.Tensor:
    """What is left of a picture's variance at each timestep."""
    return schedule_of(model).alphas_cumprod


def test_min_snr_weighs_little_noise_less(model: Model):
    little, much = snr_weights(left_of(model)[[0, 900]], 5.0, velocity=False)
    assert little < 0.01 and float(much) == pytest.approx(1.0)
    config = {**model.scheduler_config, "prediction_type": "v_prediction"}
    ends = left_of(replace(model, scheduler_config={**config, "rescale_betas_zero_snr": True}))
    for velocity in (True, False):
        assert torch.isfinite(snr_weights(ends[[999]], 5.0, velocity)).all()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_guidance_leads_from_what_is_learned_to_the_prompts(model: Model, kind: str):
    """Without any of it the error is the embedding's, at scale 1 the prompts', whoever learns."""
    config = {**model.scheduler_config, "prediction_type": kind}
    knowing = replace(model, scheduler_config=config)
    schedule, latents, batch = schedule_of(knowing), latents_of(), batch_of()
    draw = generator_for("states")
    learned = torch.randn(2, 77, 32, generator=draw).requires_grad_()
    prompts = torch.randn(2, 77, 32, generator=draw).requires_grad_()

    def errors(hidden: torch.Tensor, scale: float | None = None) -> torch.Tensor:
        guide = None if scale is None else Guide(Encoded(prompts, None), scale)
        return denoising_errors(
            knowing, schedule, latents, batch, Encoded(hidden, None), guide=guide
        )

    torch.testing.assert_close(errors(learned, 0.0), errors(learned))
    torch.testing.assert_close(errors(learned, 1.0), errors(prompts))
    torch.testing.assert_close(errors(prompts, 4.0), errors(prompts))
    given = noised(knowing, schedule, latents, batch)
    with torch.no_grad():
        own, said = (
            model.unet(given.noisy, given.timesteps, hidden).sample for hidden in (learned, prompts)
        )
        by_hand = ((own + 4 * (said - own) - given.target) ** 2).mean((1, 2, 3))
    torch.testing.assert_close(errors(learned, 4.0), by_hand)
    (moved,) = torch.autograd.grad(errors(learned, 1.0).sum(), learned)
    assert moved.abs().max() < 1e-9
    by_both = torch.autograd.grad(errors(learned, 4.0).sum(), [learned, prompts], allow_unused=True)
    assert by_both[0].abs().max() > 0 and by_both[1] is None
