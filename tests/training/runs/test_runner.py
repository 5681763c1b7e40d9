"""A run carried out: its events, its files, and what a crash costs."""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.training.conftest import tiny_model
from webui.embeddings import formats
from webui.errors import AppError, Interrupted
from webui.job_state import JobState
from webui.models.model import Model
from webui.training.dataset import read_pictures
from webui.training.denoising import encode_crop
from webui.training.learned.step import LearnedStep, learned_step
from webui.training.recipe import Recipe
from webui.training.runs import leave_one_out, tracking
from webui.training.runs.report import Report
from webui.training.runs.run_folder import Run
from webui.training.runs.run_state import Curves, Order
from webui.training.runs.runner import (
    DRAWING,
    ENCODING,
    JUDGING,
    LEAVING_OUT,
    MEASURING,
    Outcome,
    carry_out,
    metadata_of,
)
from webui.training.setup import TrainingSetup, cut_crops, prepare_setup
from webui.training.trainer import begin

ROOT = Path(__file__).resolve().parents[3]
QUICK = Recipe(
    steps=24,
    batch_size=1,
    warmup_steps=2,
    evaluate_every=8,
    evaluation_tuples=2,
    preview_every=12,
    preview_prompts=("a [name]", "[name] in the snow"),
    mixed_precision="fp32",
)


class Witness:
    """A host that notes everything, and gives an order at a step if it is told to."""

    def __init__(self, run: Run, order: Order | None = None, at_step: int = 0) -> None:
        self.run, self.wanted, self.at_step = run, order, at_step
        self.statuses: list[tuple[JobState, str]] = []
        self.phases: list[tuple[str, int, int]] = []
        self.drawn: list[tuple[tuple[str, str], int | None]] = []
        self.step = 0

    @contextmanager
    def hold(self, who: str) -> Iterator[None]:
        if self.order() and who == "preparing images":
            raise Interrupted("Stopped while waiting.")
        yield

    def order(self) -> Order | None:
        return self.wanted if self.step >= self.at_step else None

    def set_status(self, state: JobState, message: str) -> None:
        self.statuses.append((state, message))

    def report_phase(self, phase: str, done: int, total: int) -> None:
        self.phases.append((phase, done, total))

    def log_event(self, event: Mapping[str, Any]) -> None:
        self.run.log_event(event)
        self.step = event.get("step", self.step)

    def report_speed(self, steps_per_s: float, eta_s: float) -> None:
        assert steps_per_s > 0 and eta_s >= 0

    def draw(
        self, prompts: list[tuple[str, str]], learned: LearnedStep | None, seed: int
    ) -> list[Image.Image]:
        self.drawn += [(prompt, learned.step if learned else None) for prompt in prompts]
        return [Image.new("RGB", (8, 8)) for _ in prompts]

    def compare(self, recipe: Recipe, pictures: object) -> None:
        return None


def only(learned: LearnedStep) -> torch.Tensor:
    """The vectors of the one name that was learned."""
    (embedding,) = learned.embeddings
    return embedding.vectors["clip_l"]


@pytest.fixture
def new_run(tmp_path: Path, picture_files: Callable, model: Model) -> Callable[..., Run]:
    def make(recipe: Recipe = QUICK) -> Run:
        return Run.create(
            tmp_path / "train",
            "my-thing",
            "cat",
            recipe,
            read_pictures(picture_files(5)),
            (model.name, model.short_hash),
        )

    return make


@pytest.mark.parametrize("installed", [False, True])
def test_numbers_for_tensorboard_are_written_where_it_is(
    tmp_path: Path,
    picture_files: Callable,
    model: Model,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,
):
    monkeypatch.setattr(tracking, "available", lambda: installed)
    recipe = replace(QUICK, steps=2, preview_every=0, tensorboard=True)
    model_of = (model.name, model.short_hash)
    run = Run.create(
        tmp_path / "train", "my-thing", "cat", recipe, read_pictures(picture_files(3)), model_of
    )
    assert carry_out(run, model, Witness(run)).state == "finished"
    assert bool(list((run.folder / "tensorboard").glob("events.*"))) == installed


def test_a_run_passes_through_its_states_and_ends_with_a_report(new_run: Callable, model: Model):
    run = new_run()
    witness = Witness(run)
    outcome = carry_out(run, model, witness)
    assert outcome.state == "finished" and outcome.learned.step in run.checkpoints()
    assert outcome.report.verdict in ("learned", "not shown", "weak", "overfitted")
    states = [state for state, _ in witness.statuses]
    assert sorted(set(states), key=states.index) == ["preparing", "training", "finishing"]
    assert run.read_report()["step"] == outcome.learned.step
    prompts = [("a my-thing", ""), ("my-thing in the snow", "")]
    assert witness.drawn == [
        (("a cat", ""), None),
        (("cat in the snow", ""), None),
        *((prompt, step) for step in (12, 24) for prompt in prompts),
    ]


def test_what_comes_beside_the_steps_is_told_as_it_goes_the_first_preview_before_any_measuring(
    new_run: Callable, model: Model
):
    witness = Witness(new_run())
    carry_out(witness.run, model, witness)
    names = [name for name, _, _ in witness.phases]
    before = [ENCODING, DRAWING, MEASURING]
    assert list(dict.fromkeys(names)) == [*before, JUDGING]
    for name in (*before, JUDGING):
        done = [(at, of) for each, at, of in witness.phases if each == name]
        assert done[0][0] == 0 and done[-1][0] == done[-1][1], name
    assert witness.phases[:6] == [(ENCODING, number, 5) for number in range(6)]


@pytest.mark.parametrize("order_at", [None, 3])
def test_where_the_held_out_image_says_too_little_others_are_left_out_in_turn(
    new_run: Callable, model: Model, monkeypatch: pytest.MonkeyPatch, order_at: int | None
):
    monkeypatch.setattr(leave_one_out, "says_too_little", lambda found: True)
    run = new_run(replace(QUICK, steps=4, evaluate_every=4, preview_every=0, leave_one_out=2))
    witness = Witness(run)
    monkeypatch.setattr(witness, "order", lambda: "stop" if len(again()) == order_at else None)

    def again() -> list[tuple[str, int, int]]:
        return [phase for phase in witness.phases if phase[0] == LEAVING_OUT]

    outcome = carry_out(run, model, witness)
    assert outcome.state == "finished"
    assert outcome.report.step == 4
    told = [(LEAVING_OUT, step, 8) for step in (0, 1, 2, 3, 4, 4, 5, 6, 7, 8)]
    assert again() == (told[:order_at] if order_at else told)
    assert outcome.report.score.turns == (1 if order_at else 3)


def test_a_run_that_goes_on_says_so_and_draws_only_what_is_missing(new_run: Callable, model: Model):
    run = new_run()
    carry_out(run, model, Witness(run, "pause", at_step=13))
    witness = Witness(run)
    carry_out(run, model, witness)
    assert (JobState.TRAINING, "Going on at step 13.") in witness.statuses
    assert not any("measuring the initializer" in said for _, said in witness.statuses)
    assert [step for _, step in witness.drawn] == [24, 24]


def test_what_is_installed_is_the_best_step_not_the_last(new_run: Callable, model: Model):
    run = new_run()
    outcome = carry_out(run, model, Witness(run))
    gains, errors = {}, {}
    for event in run.events():
        if event["kind"] == "evaluation":
            gains[event["step"]] = event["gain"]
            errors[event["step"]] = event["error"]
    highest = max(gains.values())
    assert outcome.learned.step == max(at for at in gains if gains[at] >= highest - errors[at])
    kept = run.read_checkpoint(outcome.learned.step)
    assert torch.equal(only(outcome.learned), only(kept))
    if gains[outcome.learned.step] == highest:
        assert "measured best of 4 evaluations" in outcome.report.reason
    else:
        top = max(gains, key=gains.get)
        assert f"of the highest, {highest:.0%} at step {top};" in outcome.report.reason


def test_a_run_paused_by_another_version_says_so_and_its_steps_stay(
    new_run: Callable, model: Model
):
    run = new_run()
    assert carry_out(run, model, Witness(run, "pause", at_step=13)).state == "paused"
    state = run.read_state()
    torch.save({**state, "format": 1}, run.folder / "state.pt")
    with pytest.raises(AppError, match="another version"):
        carry_out(run, model, Witness(run))
    assert only(run.read_checkpoint(run.checkpoints()[-1])).isfinite().all()


def test_what_was_best_is_forgotten_with_the_steps_that_are_gone_back_over():
    curves = Curves()
    for step, best in ((0, True), (25, True), (50, False)):
        curves.apply({"kind": "evaluation", "step": step, "loss": 1, "gain": 0, "best": best})
    assert curves.best == [0, 25]
    curves.apply({"kind": "rolled_back", "step": 50, "to_step": 0, "reason": "NaN"})
    assert curves.best == [0]


@pytest.mark.parametrize(
    "changed", [{}, {"optimizer": "adamw"}, {"lora_rank": 2, "lora_learning_rate": 0.01}]
)
def test_a_paused_run_goes_on_with_the_same_bits_and_the_same_curves(
    new_run: Callable, model: Model, changed: dict[str, Any]
):
    """AdamW's moments come back from the disk too: without them it would go another way."""
    recipe = replace(QUICK, learning_rate="0.01", **changed)
    whole, cut = new_run(recipe), new_run(recipe)
    expected = carry_out(whole, model, Witness(whole))
    assert carry_out(cut, model, Witness(cut, "pause", at_step=13)).state == "paused"
    found = carry_out(cut, model, Witness(cut))
    assert torch.equal(only(expected.learned), only(found.learned))
    assert bool(expected.learned.lora) == bool(recipe.lora_rank)
    for name, weights in expected.learned.lora.items():
        assert torch.equal(weights, found.learned.lora[name]), name
        assert torch.equal(weights, whole.read_checkpoint(found.learned.step).lora[name])
    one, other = Curves(whole.events()), Curves(cut.events())
    assert (one.raw, one.losses, one.gains) == (other.raw, other.losses, other.gains)
    assert one.best == other.best and one.best[-1] == found.learned.step
    assert [item[:2] for item in one.previews] == [item[:2] for item in other.previews]


def test_previews_of_a_fault_have_it_in_the_negative_prompt(new_run: Callable, model: Model):
    run = new_run(replace(QUICK, kind="negative", preview_prompts=("a house", "a [name]")))
    witness = Witness(run)
    carry_out(run, model, witness)
    assert witness.drawn[:2] == [(("a house", ""), None), (("a cat", ""), None)]
    assert witness.drawn[2:4] == [(("a house", "my-thing"), 12), (("a my-thing", ""), 12)]
    told = [prompt for _, prompt, _ in Curves(run.events()).previews]
    assert told[2] == "a house (negative prompt: my-thing)"


def test_a_run_that_overflows_for_good_leaves_its_last_good_step(new_run: Callable, model: Model):
    """As Stable Diffusion 2.1's attention in float16: from some step on there are no numbers."""
    run = new_run()
    steps = []

    def spoil(module: Any, inputs: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            steps.append(0)
            output.sample = output.sample * (float("nan") if len(steps) > 10 else 1)

    handle = model.unet.register_forward_hook(spoil)
    try:
        with pytest.raises(AppError, match="lower rate, or full precision"):
            carry_out(run, model, Witness(run))
    finally:
        handle.remove()
    assert run.checkpoints() == (0, 8)
    assert torch.isfinite(only(run.read_checkpoint(8))).all()
    assert run.read_state()["best_step"] in (0, 8), "it can be kept, or resumed"


def test_a_state_that_cannot_be_written_leaves_the_one_before(
    new_run: Callable, model: Model, monkeypatch: pytest.MonkeyPatch
):
    run = new_run()
    carry_out(run, model, Witness(run, "pause", at_step=9))
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    progress = begin(prepare_task_of(run, model))
    for write in (
        lambda: run.save_progress(progress, 1.0),
        lambda: run.save_checkpoint(8, {"my-thing": progress.vectors}),
        lambda: run.save_preview(0, 0, Image.new("RGB", (8, 8))),
        lambda: run.save_report({}),
    ):
        with pytest.raises(OSError, match="No space"):
            write()
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def prepare_task_of(run: Run, model: Model) -> TrainingSetup:
    pictures, recipe = run.pictures(), run.record().recipe
    cut = cut_crops(recipe, model, pictures)
    moments = [encode_crop(model, square) for square in cut]
    return prepare_setup(model, recipe, "my-thing", "cat", pictures, cut, moments)


def test_an_sdxl_file_has_the_keys_of_both_encoders_and_diffusers_loads_it(
    tmp_path: Path, picture_files: Callable
):
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline
    from safetensors.torch import load_file

    model = tiny_model("sdxl")
    recipe = replace(QUICK, steps=1, evaluate_every=1, preview_every=0, vectors=2)
    model_of = (model.name, model.short_hash)
    run = Run.create(
        tmp_path / "train", "zzthing", "cat", recipe, read_pictures(picture_files(3)), model_of
    )
    outcome = carry_out(run, model, Witness(run))
    (embedding,) = outcome.learned.embeddings
    path = tmp_path / "zzthing.safetensors"
    formats.write(embedding, path, "safetensors", metadata_of(run.record(), embedding))
    found = load_file(path)
    assert {key: tuple(rows.shape) for key, rows in found.items()} == {
        "clip_l": (2, 32),
        "clip_g": (2, 48),
    }
    first, second = model.text_encoders
    pipeline = StableDiffusionXLPipeline(
        model.vae,
        first.model,
        second.model,
        model.tokenizer,
        copy.deepcopy(model.tokenizer),
        model.unet,
        DDIMScheduler(),
        add_watermarker=False,
    )
    for key, encoder, tokenizer in (
        ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
        ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        pipeline.load_textual_inversion(
            found[key], token="zzthing", text_encoder=encoder, tokenizer=tokenizer
        )
        ids = tokenizer.convert_tokens_to_ids(["zzthing", "zzthing_1"])
        assert torch.equal(encoder.get_input_embeddings().weight[ids], found[key])


def test_an_order_while_pictures_are_prepared_is_followed(new_run: Callable, model: Model):
    run = new_run()
    assert carry_out(run, model, Witness(run, "pause")).state == "paused"
    assert carry_out(run, model, Witness(run, "discard")) == Outcome(JobState.STOPPED)


def test_a_stopped_run_can_keep_the_best_so_far(new_run: Callable, model: Model):
    run = new_run()
    outcome = carry_out(run, model, Witness(run, "keep", at_step=11))
    assert outcome.state == "finished" and outcome.learned.step in (0, 8)
    assert "was stopped" in outcome.report.reason


def test_nothing_is_saved_for_a_model_the_run_was_not_made_for(new_run: Callable, model: Model):
    run = new_run()
    with pytest.raises(AppError, match="trains on tiny, but other is loaded"):
        carry_out(run, replace(model, name="other", short_hash="f" * 10), Witness(run))


def test_the_file_tells_what_it_is_and_holds_no_times(new_run: Callable, model: Model):
    run = new_run()
    record = run.record()
    vectors = {record.name: {"clip_l": torch.ones(2, 32)}}
    (embedding,) = learned_step(20, vectors, {}, record.model).embeddings
    metadata = metadata_of(record, embedding)
    assert (embedding.name, len(embedding), embedding.step) == ("my-thing", 2, 20)
    assert metadata["trained_on"] == "tiny" and metadata["trained_on_hash"] == model.short_hash
    assert metadata["step"] == "20" and metadata["initializer"] == "cat"
    assert all(isinstance(value, str) for value in metadata.values())
    assert record.created not in str(metadata)


def test_with_transparent_pictures_and_text_files_it_trains(
    tmp_path: Path, picture_files: Callable, model: Model
):
    paths = picture_files(3)
    cut_out = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    cut_out.paste((0, 0, 255, 255), (10, 10, 30, 30))
    cut_out.save(paths[0])
    for path in paths:
        path.with_suffix(".txt").write_text("[name] at home")
    recipe = replace(QUICK, steps=3, evaluate_every=3, preview_every=0, caption_mode="files")
    run = Run.create(
        tmp_path / "train",
        "my-thing",
        "cat",
        recipe,
        read_pictures(paths),
        (model.name, model.short_hash),
    )
    assert carry_out(run, model, Witness(run)).report.score.held_out is None


@pytest.mark.slow
def test_after_kill_9_it_goes_on_to_the_same_bits(new_run: Callable, model: Model):
    whole, killed = new_run(), new_run()
    expected = carry_out(whole, model, Witness(whole))
    process = subprocess.Popen(
        [sys.executable, __file__, str(killed.folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        deadline = time.monotonic() + 180
        while sum(event["kind"] == "step" for event in killed.events()) < 12:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not killed.read_report()
    found = carry_out(killed, model, Witness(killed))
    resumed = [event for event in killed.events() if event["kind"] == "resumed"]
    assert resumed and resumed[0]["to_step"] >= 8
    assert torch.equal(only(expected.learned), only(found.learned))
    assert Curves(whole.events()).raw == Curves(killed.events()).raw


if __name__ == "__main__":
    torch.set_num_threads(1)
    doomed = Run(Path(sys.argv[1]))

    class Slow(Witness):
        """Leaves time to be killed between two steps."""

        def log_event(self, event: Mapping[str, Any]) -> None:
            super().log_event(event)
            time.sleep(0.02)

    carry_out(doomed, tiny_model(), Slow(doomed))


@pytest.fixture
def two_names(tmp_path: Path, picture_files: Callable, model: Model) -> Callable[[Recipe], Run]:
    def make(recipe: Recipe) -> Run:
        files = []
        for number, path in enumerate(picture_files(7)):
            copy = tmp_path / f"{number % 2}_{('my-cat', 'my-dog')[number % 2]} pet" / path.name
            copy.parent.mkdir(exist_ok=True)
            files.append(path.replace(copy))
        return Run.create(
            tmp_path / "train",
            "my-cat, my-dog",
            "cat, dog",
            recipe,
            read_pictures(files, names=("my-cat", "my-dog")),
            (model.name, model.short_hash),
        )

    return make


def test_a_run_of_several_names_has_files_verdicts_and_previews_of_each_and_resumes_to_the_bit(
    two_names: Callable, model: Model
):
    whole, cut = two_names(QUICK), two_names(QUICK)
    witness = Witness(whole)
    expected = carry_out(whole, model, witness)
    assert [each.name for each in expected.learned.embeddings] == ["my-cat", "my-dog"]
    assert [each.name for each in expected.report.each] == ["my-cat", "my-dog"]
    assert Report.from_dict(whole.read_report()) == expected.report
    asked = [prompt for (prompt, _), _ in witness.drawn]
    assert asked[:2] == ["a cat", "a dog"] and asked[4:6] == ["a my-cat", "a my-dog"]
    counts = [metadata_of(whole.record(), each) for each in expected.learned.embeddings]
    assert [(each["pictures"], each["initializer"]) for each in counts] == [
        ("4", "cat"),
        ("3", "dog"),
    ]
    assert [picture.concept for picture in whole.pictures()] == [0, 1, 0, 1, 0, 1, 0]

    assert carry_out(cut, model, Witness(cut, "pause", at_step=13)).state == "paused"
    found = carry_out(cut, model, Witness(cut))
    for one, other in zip(expected.learned.embeddings, found.learned.embeddings, strict=True):
        assert one.content_hash == other.content_hash
    for number, one in enumerate(expected.learned.embeddings):
        kept = whole.read_checkpoint(one.step).embeddings[number]
        assert kept.content_hash == one.content_hash, "each from the step that its file tells"
        assert expected.report.each[number].step == one.step
    assert len({each.content_hash for each in expected.learned.embeddings}) == 2
