"""The loop: what moves, what stays, what is drawn, and what happens when it goes wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.conftest import tiny_model
from tests.waiting import META, Waits, on_meta
from webui.errors import AppError
from webui.models.model import Model
from webui.prompting.encoding import encode
from webui.training import trainer
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop, schedule_of
from webui.training.evaluation import prepare_eval_set, score_each
from webui.training.recipe import Recipe
from webui.training.runs.report import EvalResult
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup
from webui.training.trainer import (
    Ended,
    Evaluated,
    Pace,
    Progress,
    RolledBack,
    Stepped,
    begin,
    draw_batch,
    queue_step,
    settled,
    train,
    train_in_stretches,
)
from webui.training.updates.optimizer import optimizer_for
from webui.training.updates.update import VECTORS

QUICK = Recipe(
    steps=6,
    warmup_steps=1,
    batch_size=2,
    evaluate_every=3,
    evaluation_tuples=4,
    vectors=3,
    mixed_precision="fp32",
)

IN_THE_LOOP = {"kind": "negative", "guidance_scale": 4.0}


@pytest.fixture
def task_of(picture_files: Callable) -> Callable[..., TrainingSetup]:
    def make(model: Model, recipe: Recipe = QUICK, count: int = 5) -> TrainingSetup:
        pictures = read_pictures(picture_files(count))
        cut = cut_crops(recipe, model, pictures)
        moments = [encode_crop(model, square) for square in cut]
        return prepare_setup(model, recipe, "my-thing", "grey cat", pictures, cut, moments)

    return make


def run_through(
    task: TrainingSetup, progress: Progress | None = None
) -> tuple[list[Any], Progress]:
    progress = progress or begin(task)
    return list(train(task, progress)), progress


@contextmanager
def faulty_unet(model: Model, spoil: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """The real UNet, whose answers while learning are spoilt."""

    def hook(module: Any, inputs: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            output.sample = spoil(output.sample)

    handle = model.unet.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def test_events_come_step_by_step_with_evaluations_between(task_of: Callable, model: Model):
    events, progress = run_through(task_of(model))
    three = [Evaluated, Stepped, Stepped, Stepped]
    assert [type(event) for event in events] == [*three, *three, Evaluated, Ended]
    steps = [event for event in events if isinstance(event, Stepped)]
    assert [event.step for event in steps] == [1, 2, 3, 4, 5, 6]
    assert all(event.norm_ratio == pytest.approx(1, abs=1e-4) for event in steps)
    assert progress.best_step in (0, 3, 6) and progress.best_vectors["clip_l"].shape == (3, 32)


@pytest.mark.parametrize("optimizer", ["directional", "adamw"])
def test_no_weight_of_the_model_changes_by_a_bit(task_of: Callable, optimizer: str):
    model = tiny_model()
    parts = (model.unet, model.vae, model.text_encoders[0].model)
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
    words = len(model.tokenizer)
    run_through(task_of(model, replace(QUICK, optimizer=optimizer, learning_rate="0.01")))
    for part, kept in zip(parts, before, strict=True):
        assert all(torch.equal(value, kept[key]) for key, value in part.state_dict().items())
        assert not any(
            weight.requires_grad or weight.grad is not None for weight in part.parameters()
        )
    assert len(model.tokenizer) == words
    assert model.text_encoders[0].model.get_input_embeddings().weight.shape[0] == 49408


@torch.no_grad()
def test_the_model_draws_the_same_before_each_step_and_after(task_of: Callable, model: Model):
    line, latent = task_of(model).captions(["a photo of a cat"], [()]), torch.ones(1, 4, 4, 4)

    def drawn() -> tuple[torch.Tensor, ...]:
        hidden = encode(model, line).hidden
        return hidden, model.unet(latent, torch.tensor([500]), hidden).sample

    before = drawn()
    for _ in train(task := task_of(model), begin(task)):
        assert all(torch.equal(now, then) for now, then in zip(drawn(), before, strict=True))


def test_the_loss_of_the_steps_is_chance_and_that_on_fixed_inputs_is_not(
    task_of: Callable, model: Model
):
    task = task_of(
        model, replace(QUICK, learning_rate="1e-12", mixed_precision="fp32")
    )  # nothing is learned
    events, _ = run_through(task)
    losses = [event.loss for event in events if isinstance(event, Stepped)]
    fixed = [event.score.loss for event in events if isinstance(event, Evaluated)]
    assert max(losses) > 1.01 * min(losses)
    assert fixed == pytest.approx([fixed[0]] * 3, rel=1e-5)


@pytest.mark.parametrize("family", ["starter", "sdxl"])
def test_every_vector_moves_from_the_first_step(task_of: Callable, family: str):
    """Not the first alone, which is all that a prompt of the bare token would hold."""
    task = task_of(tiny_model(family))
    progress = first_step(task)
    for key, rows in progress.vectors.items():
        assert ((rows - task.start[key]).norm(dim=-1) > 0).all()


def first_step(task: TrainingSetup, progress: Progress | None = None) -> Progress:
    progress = progress or begin(task)
    events = train(task, progress)
    while progress.step < 1:
        next(events)
    return progress


def test_the_name_is_never_tokenized_while_learning(task_of: Callable, model: Model):
    """Some tokenizers split a name such as 1a1, or join it to its neighbours."""
    task = task_of(model)
    vectors, (placeholder,) = [], task.placeholders
    for name in ("my-thing", "1a1", "cat"):
        vectors.append(
            first_step(replace(task, placeholders=(replace(placeholder, name=name),))).vectors[
                "clip_l"
            ]
        )
    assert torch.equal(vectors[0], vectors[1]) and torch.equal(vectors[0], vectors[2])


@pytest.mark.parametrize(("batch", "accumulation"), [(1, 1), (4, 1), (2, 4)])
def test_a_step_is_as_long_as_the_rate_whatever_batch_and_accumulation(
    task_of: Callable, model: Model, batch: int, accumulation: int
):
    recipe = replace(QUICK, learning_rate="0.003", warmup_steps=0, lr_scheduler="constant")
    recipe = replace(
        recipe, batch_size=batch, gradient_accumulation_steps=accumulation, evaluate_every=6
    )
    adamw = task_of(model, replace(recipe, optimizer="adamw"))
    moved = first_step(adamw).vectors["clip_l"] - adamw.start["clip_l"]
    assert float(moved.abs().max()) == pytest.approx(0.003, rel=1e-3)
    task = task_of(model, recipe)
    turned = torch.cosine_similarity(
        point_of(first_step(task)).double(), task.start["clip_l"].double(), dim=-1
    ).acos()
    torch.testing.assert_close(turned, torch.full_like(turned, 0.003), rtol=1e-2, atol=0)


def point_of(progress: Progress) -> torch.Tensor:
    """Where the next gradient by the vectors is taken."""
    return progress.optimizer.point(*progress.learned[VECTORS])["clip_l"]


def test_what_is_told_of_a_step_is_a_mean_over_its_accumulation(task_of: Callable, model: Model):
    told = []
    for accumulation in (1, 8):
        task = task_of(model, replace(QUICK, steps=1, gradient_accumulation_steps=accumulation))
        told += [event for event in run_through(task)[0] if isinstance(event, Stepped)]
    one, eight = told
    assert eight.loss == pytest.approx(one.loss, rel=0.5)
    assert eight.gradient < 2 * one.gradient


def test_one_picture_is_told_of_in_many_sentences(task_of: Callable, model: Model):
    """A caption that is drawn once for each picture would be learned with it."""
    task = task_of(model)
    captions: dict[int, set[str]] = {}
    for step in range(1, 30):
        batch, lines = draw_batch(task, step, 0, 0)
        for square, line in zip(batch.crops.tolist(), lines, strict=True):
            captions.setdefault(square, set()).add(line)
    assert all(len(lines) > 5 for lines in captions.values())


@pytest.mark.parametrize("rate", ["1e-5", "1e-7"])
def test_a_rate_too_small_for_bfloat16_still_moves_vectors(task_of: Callable, rate: str):
    """Numbers of a vector are about 0.014, where bfloat16's next number is 6e-5 away."""
    half = replace(tiny_model(), dtype=torch.bfloat16)
    half.unet.to(torch.bfloat16)
    task = task_of(
        half,
        replace(
            QUICK, optimizer="adamw", learning_rate=rate, warmup_steps=0, lr_scheduler="constant"
        ),
    )
    moved = first_step(task).vectors["clip_l"] - task.start["clip_l"]
    assert float((moved != 0).float().mean()) > 0.9


def test_vectors_start_at_the_initializers_tokens_over_and_over(task_of: Callable, model: Model):
    task = task_of(model, replace(QUICK, optimizer="adamw", learning_rate="0.001"))
    table = model.text_encoders[0].model.get_input_embeddings().weight
    ((grey, cat),) = task.initializers
    assert torch.equal(task.start["clip_l"], table[[grey, cat, grey]])
    held = task_of(model)
    torch.testing.assert_close(
        held.start["clip_l"].norm(dim=-1), torch.full((3,), held.norms["clip_l"])
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_vectors_stay_in_full_precision_beside_a_half_unet(
    task_of: Callable, model: Model, dtype: torch.dtype
):
    half = replace(tiny_model(), dtype=dtype)
    half.unet.to(dtype)
    task, full = task_of(half), task_of(model)
    vectors = begin(task).vectors["clip_l"]
    assert vectors.dtype == torch.float32
    events, progress = run_through(task)
    wanted = [event.gradient for event in run_through(full)[0] if isinstance(event, Stepped)]
    found = [event.gradient for event in events if isinstance(event, Stepped)]
    assert found == pytest.approx(wanted, rel=0.1)  # float16's loss was scaled, and back
    assert torch.isfinite(progress.vectors["clip_l"]).all()


def quiet_model(share: float) -> Model:
    """A model that hardly listens to the text, so that gradients by it are small."""
    model = tiny_model()
    with torch.no_grad():
        for name, weight in model.unet.named_parameters():
            if "attn2.to_out" in name:
                weight *= share
    return model


def stored_or_computed(how: str, model: Model, recipe: Recipe = QUICK) -> tuple[Model, Recipe]:
    """Return the model and recipe of a run in float16: of a UNet stored so, or computed so."""
    if how == "computed":
        return model, replace(recipe, mixed_precision="fp16")
    model = replace(model, dtype=torch.float16)
    model.unet.to(torch.float16)
    return model, recipe


@pytest.mark.parametrize("how", ["stored", "computed"])
def test_gradients_too_small_for_float16_are_not_lost(task_of: Callable, how: str):
    lone = replace(QUICK, steps=1)
    [full] = [e for e in run_through(task_of(quiet_model(1e-4), lone))[0] if isinstance(e, Stepped)]
    task = task_of(*stored_or_computed(how, quiet_model(1e-4), lone))
    [half] = [event for event in run_through(task)[0] if isinstance(event, Stepped)]
    assert half.gradient == pytest.approx(full.gradient, rel=0.2)
    unscaled = begin(task)
    unscaled.loss_scale = 1.0
    [lost] = [event for event in run_through(task, unscaled)[0] if isinstance(event, Stepped)]
    assert lost.gradient < 0.5 * full.gradient, "what scaling is for"


@pytest.mark.parametrize("how", ["stored", "computed"])
def test_a_loss_scale_that_overflows_is_halved_and_costs_no_step(
    task_of: Callable, model: Model, how: str
):
    wanted = [event for event in run_through(task_of(model))[0] if isinstance(event, Stepped)]
    task = task_of(*stored_or_computed(how, tiny_model()))
    progress = begin(task)
    progress.loss_scale = 2.0**40
    events, _ = run_through(task, progress)
    found = [event for event in events if isinstance(event, Stepped)]
    assert not any(isinstance(event, RolledBack) for event in events)
    assert 1 < progress.loss_scale < 2.0**40
    assert [event.rate for event in found] == [event.rate for event in wanted]
    assert [event.gradient for event in found] == pytest.approx(
        [event.gradient for event in wanted], rel=0.1
    )


@pytest.mark.parametrize(
    ("changes", "cuts"),  # after an evaluation, a step, the next evaluation, the last step
    [({}, (1, 2, 5, 8)), ({"optimizer": "adamw"}, (2, 5)), (IN_THE_LOOP, (2,))],
    ids=["directional", "adamw", "guided"],
)
def test_a_run_cut_at_any_event_ends_with_the_same_bits(
    task_of: Callable, model: Model, changes: dict[str, Any], cuts: tuple[int, ...]
):
    task = task_of(model, replace(QUICK, learning_rate="0.01", **changes))
    whole, expected = run_through(task)
    for cut in cuts:
        first = begin(task)
        events = train(task, first)
        for _ in range(cut):
            next(events)
        second = begin(task)
        second.take_up(first.snapshot())
        second.good, second.evaluations = first.good, list(first.evaluations)
        second.best_step, second.best_vectors = first.best_step, first.best_vectors
        rest, found = run_through(task, second)
        assert whole[cut:] == rest
        assert torch.equal(found.vectors["clip_l"], expected.vectors["clip_l"])
        assert found.best_step == expected.best_step


def test_with_guidance_in_the_loop_the_gain_is_that_of_guided_predictions(
    task_of: Callable, model: Model
):
    recipe = replace(QUICK, **IN_THE_LOOP, steps=30, evaluate_every=10, learning_rate="0.1")
    task = task_of(model, recipe)
    prompts = task.guide(task.training_crops)
    assert prompts and prompts.scale == 4 and len(prompts.prompts.hidden) == 4
    events, progress = run_through(task)
    scores = [event.score for event in events if isinstance(event, Evaluated)]
    assert scores[-1].gain > scores[0].gain and scores[-1].held_out is not None
    plain = replace(task, recipe=replace(recipe, guidance_scale=0.0))
    assert plain.guide(task.training_crops) is None
    _, other = run_through(plain)
    assert not torch.equal(progress.vectors["clip_l"], other.vectors["clip_l"])


def test_gradient_checkpointing_changes_nothing_but_memory(task_of: Callable, model: Model):
    plain = run_through(task_of(model))[1]
    kept = run_through(task_of(model, replace(QUICK, gradient_checkpointing=True)))[1]
    torch.testing.assert_close(plain.vectors["clip_l"], kept.vectors["clip_l"])
    assert not model.unet.training and not model.unet.is_gradient_checkpointing


def test_gradient_checkpointing_really_keeps_less(task_of: Callable, model: Model):
    kept: dict[bool, int] = {}
    for wanted in (False, True):
        sizes: list[int] = []

        def note(tensor: torch.Tensor, sizes: list[int] = sizes) -> torch.Tensor:
            sizes.append(tensor.numel())
            return tensor

        recipe = replace(QUICK, steps=1, evaluate_every=1, gradient_checkpointing=wanted)
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            events = train(task_of(model, recipe), begin(task_of(model, recipe)))
            next(events)  # the evaluation before the first step
            sizes.clear()
            next(events)
        kept[wanted] = sum(sizes)
    assert kept[True] < 0.9 * kept[False], "diffusers checkpoints only in training mode"


def test_accumulation_is_the_same_as_a_larger_batch_of_the_same_draws(
    task_of: Callable, model: Model
):
    once = task_of(model, replace(QUICK, batch_size=4))
    twice = task_of(model, replace(QUICK, batch_size=2, gradient_accumulation_steps=2))
    together = draw_batch(once, 1, 0, 0)[0]
    parts = [draw_batch(twice, 1, turn, 0)[0] for turn in range(2)]
    assert torch.equal(together.crops, torch.cat([part.crops for part in parts]))
    quarters = sorted(int(t) // 250 for part in parts for t in part.timesteps)
    assert quarters == [0, 1, 2, 3] == sorted(int(t) // 250 for t in together.timesteps)


def test_a_noise_offset_shifts_each_channel_of_the_noise_as_a_whole(
    task_of: Callable, model: Model
):
    plain, _ = draw_batch(task_of(model, QUICK), 1, 0, 0)
    shifted, _ = draw_batch(task_of(model, replace(QUICK, noise_offset=0.5)), 1, 0, 0)
    shift = shifted.noise - plain.noise
    assert torch.allclose(shift, shift[..., :1, :1].expand_as(shift), atol=1e-6)
    assert shift.abs().amax() > 0.1 and len(shift[..., 0, 0].unique()) > 1
    assert torch.equal(shifted.latent_noise, plain.latent_noise)


def test_captions_latents_and_noise_are_drawn_anew_for_each_sample(task_of: Callable, model: Model):
    task = task_of(model, replace(QUICK, batch_size=8))
    first, lines = draw_batch(task, 1, 0, 0)
    second, _ = draw_batch(task, 2, 0, 0)
    assert len(set(lines)) > 2
    assert not torch.equal(first.latent_noise, second.latent_noise)
    assert not torch.equal(first.noise[0], first.noise[1])
    again, same_lines = draw_batch(task, 1, 0, 0)
    assert torch.equal(first.noise, again.noise) and lines == same_lines


def test_every_picture_but_the_held_out_one_is_seen_in_each_round(task_of: Callable, model: Model):
    task = task_of(model, replace(QUICK, batch_size=4))
    assert task.training_crops == (0, 1, 2, 3)
    assert sorted(draw_batch(task, 3, 0, 0)[0].crops.tolist()) == [0, 1, 2, 3]
    assert task_of(model, count=4).training_crops == (0, 1, 2, 3)
    all_five = task_of(model, replace(QUICK, hold_out=False))
    assert all_five.training_crops == (0, 1, 2, 3, 4)


def test_after_a_number_that_is_none_it_goes_back_and_on_at_half_the_rate(
    task_of: Callable, model: Model
):
    task = task_of(model)
    calls = []

    def spoil(sample: torch.Tensor) -> torch.Tensor:
        calls.append(0)
        return sample * float("nan") if len(calls) == 5 else sample

    with faulty_unet(task.model, spoil):
        events, progress = run_through(task)
    [back] = [event for event in events if isinstance(event, RolledBack)]
    assert (back.step, back.to_step, back.rate_scale) == (5, 3, 0.5)
    assert isinstance(events[-1], Ended) and progress.step == 6
    assert torch.isfinite(progress.vectors["clip_l"]).all()


def test_a_model_that_never_gives_numbers_ends_the_run_in_words(task_of: Callable, model: Model):
    with faulty_unet(model, lambda sample: sample * float("inf")):
        with pytest.raises(AppError, match="lower rate, or full precision"):
            run_through(task_of(model))


def test_sdxl_trains_vectors_for_both_encoders(task_of: Callable):
    model = tiny_model("sdxl")
    events, progress = run_through(task_of(model))
    assert {key: tuple(rows.shape) for key, rows in progress.vectors.items()} == {
        "clip_l": (3, 32),
        "clip_g": (3, 48),
    }
    start = begin(task_of(model)).vectors
    assert all(not torch.equal(start[key], rows) for key, rows in progress.vectors.items())


def test_sd2_trains_with_velocity(task_of: Callable):
    events, progress = run_through(task_of(tiny_model("sd2", "v_prediction")))
    assert isinstance(events[-1], Ended) and "clip_h" in progress.vectors


def test_it_ends_early_once_the_evaluations_no_longer_move():
    def at(step: int, loss: float) -> Evaluated:
        score = EvalResult(loss, 0.0, 0.0, None, 0.0, (0.0, 0.0, 0.0))
        return Evaluated(step, score, 1.0, False)

    falling = [at(step, 1 - step / 1000) for step in range(0, 700, 25)]
    flat = falling[:14] + [at(step, 0.6) for step in range(350, 700, 25)]
    assert not settled(falling, 25)
    assert settled(flat, 25)
    assert not settled(flat[:5], 25)


def test_vectors_learn_what_the_pictures_share(task_of: Callable):
    """On a model that answers the text strongly, the error on fixed inputs falls."""
    model = tiny_model(seed=3)
    with torch.no_grad():
        for name, weight in model.unet.named_parameters():
            if "attn2.to_out" in name:
                weight *= 30
    recipe = replace(
        QUICK, steps=40, batch_size=4, learning_rate="0.1", evaluate_every=20, evaluation_tuples=8
    )
    events, _ = run_through(task_of(model, recipe))
    losses = [event.score.loss for event in events if isinstance(event, Evaluated)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("family", "optimizer"), [("starter", "directional"), ("sdxl", "adamw")])
def test_a_training_step_does_not_wait(task_of: Callable, family: str, optimizer: str):
    recipe = Recipe(
        optimizer=optimizer, batch_size=2, gradient_accumulation_steps=2, vectors=2,
        min_snr_gamma=5.0, max_grad_norm=1.0, noise_offset=0.1, mixed_precision="fp32",
        evaluation_tuples=2,
    )  # fmt: skip
    setup = there(task_of(tiny_model(family), recipe))
    vectors = dict(setup.start)
    progress = Progress(0, vectors, optimizer_for(optimizer, vectors, 0.1, recipe.max_grad_norm))
    with Waits() as waits:
        queue_step(setup, progress)
    assert not waits.found
    assert progress.step == 1


def there(setup: TrainingSetup) -> TrainingSetup:
    """The same setup on the meta device."""
    latents, model = setup.latents, on_meta(setup.model)
    return replace(
        setup,
        model=model,
        schedule=schedule_of(model),
        latents=replace(
            latents,
            mean=[each.to(META) for each in latents.mean],
            std=[each.to(META) for each in latents.std],
            weight=[each.to(META) for each in latents.weight],
        ),
        start={key: rows.to(META) for key, rows in setup.start.items()},
    )


def test_steps_read_many_at_a_time_are_the_same_to_the_bit(task_of: Callable, model: Model):
    recipe = replace(QUICK, steps=12, evaluate_every=6, preview_every=5)
    whole, expected = run_through(task_of(model, recipe))
    task = task_of(model, recipe)
    progress = begin(task)
    stretches = list(train_in_stretches(task, progress, Pace(4, 4)))
    assert [event for events in stretches for event in events] == whole
    assert torch.equal(progress.vectors["clip_l"], expected.vectors["clip_l"])
    longest = [len(events) for events in stretches if isinstance(events[0], Stepped)]
    assert longest[:3] == [4, 1, 1], "an evaluation and a preview end a stretch"


def test_a_step_that_went_wrong_is_noticed_later_and_nothing_is_lost(
    task_of: Callable, model: Model
):
    def gone_through(pace: Pace) -> tuple[list[Any], Progress]:
        task = task_of(model)
        progress, calls = begin(task), []

        def spoil(sample: torch.Tensor) -> torch.Tensor:
            calls.append(0)
            return (
                sample * float("nan") if progress.step == 4 and not progress.roll_backs else sample
            )

        with faulty_unet(task.model, spoil):
            stretches = list(train_in_stretches(task, progress, pace))
        return [event for events in stretches for event in events], progress

    each, expected = gone_through(Pace(1))
    later, found = gone_through(Pace(8, 8))
    assert later == each and any(isinstance(event, RolledBack) for event in each)
    assert torch.equal(found.vectors["clip_l"], expected.vectors["clip_l"])


def test_a_stretch_grows_to_what_its_time_allows():
    pace = Pace(16)
    for _ in range(6):
        pace.took(0.01 * pace.steps, pace.steps)
    assert pace.steps == 16
    pace.took(16.0, 16)
    assert pace.steps == 1
    lone = Pace(1)
    lone.took(0.001, 1)
    assert lone.steps == 1


@pytest.fixture
def two_names(tmp_path: Path, picture_files: Callable) -> tuple[Path, ...]:
    """Six images of a cat and five of a dog, each in a folder of its name."""
    found = []
    for number, path in enumerate(picture_files(11)):
        copy = tmp_path / ("my-cat" if number < 6 else "my-dog") / path.name
        copy.parent.mkdir(exist_ok=True)
        found.append(path.rename(copy))
    return tuple(found)


def both_of(model: Model, files: tuple[Path, ...], recipe: Recipe) -> TrainingSetup:
    pictures = read_pictures(files, names=("my-cat", "my-dog"))
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, square) for square in cut]
    return prepare_setup(model, recipe, "my-cat, my-dog", "cat, dog", pictures, cut, moments)


def test_several_names_are_learned_at_once_each_from_its_images(
    two_names: tuple[Path, ...], model: Model
):
    task = both_of(model, two_names, replace(QUICK, batch_size=4))
    events, progress = run_through(task)
    assert [len(rows["clip_l"]) for rows in task.by_name(progress.vectors).values()] == [3, 3]
    assert not torch.equal(progress.vectors["clip_l"], task.start["clip_l"])
    held = {task.pictures[index].path.parent.name for index in (5, 10)}
    assert held == {"my-cat", "my-dog"} and set(task.training_crops) == {*range(5), *range(6, 10)}
    for step in range(1, 10):
        batch, lines = draw_batch(task, step, 0, 0)
        shown = [task.concept_of(crop) for crop in batch.crops.tolist()]
        assert {*shown} == {0, 1}, "each name is in each batch"
        assert ["[name 2]" in line for line in lines] == [bool(concept) for concept in shown]
    _, each = score_each(task, prepare_eval_set(task, 8), progress.vectors)
    assert len(each) == 2 and all(found.held_out is not None for found in each)
    assert each[0].loss != each[1].loss


def test_of_each_name_the_vectors_of_its_own_best_step_are_kept(
    two_names: tuple[Path, ...], model: Model, monkeypatch: pytest.MonkeyPatch
):
    task = both_of(model, two_names, replace(QUICK, steps=6, evaluate_every=2))
    gains = iter([(0.0, 0.0), (0.5, 0.1), (0.2, 0.3), (0.1, 0.2)])

    def told(*_: object) -> tuple[EvalResult, tuple[EvalResult, ...]]:
        own = next(gains)
        together, *each = (
            EvalResult(1 - gain, gain, 0.01, None, gain, (gain,) * 3) for gain in (sum(own), *own)
        )
        return together, tuple(each)

    monkeypatch.setattr(trainer, "score_each", told)
    progress, seen = begin(task), {}
    for event in train(task, progress):
        if isinstance(event, Evaluated):
            seen[event.step] = {key: rows.clone() for key, rows in progress.vectors.items()}
    assert (progress.kept, progress.best_step) == ((2, 4), 2)
    cat, dog = task.placeholders
    best = progress.best_vectors
    assert torch.equal(cat.rows(best)["clip_l"], cat.rows(seen[2])["clip_l"])
    assert torch.equal(dog.rows(best)["clip_l"], dog.rows(seen[4])["clip_l"])


def test_an_image_of_one_name_moves_the_vectors_of_that_name_alone(
    two_names: tuple[Path, ...], model: Model
):
    task = both_of(model, two_names, replace(QUICK, batch_size=1, prior_weight=0.0))
    (crop,) = draw_batch(task, 1, 0, 0)[0].crops.tolist()
    moved = task.by_name(first_step(task).vectors)
    start = task.by_name(task.start)
    for number, name in enumerate(("my-cat", "my-dog")):
        same = torch.allclose(moved[name]["clip_l"], start[name]["clip_l"], atol=1e-6)
        assert same == (number != task.concept_of(crop))
