"""The queue of training runs: start, watch, pause, resume, stop, install, fail."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save

from tests.training.conftest import picture_files, tiny_model  # noqa: F401
from webui.embeddings.embedding import Embedding
from webui.errors import AppError, BadField, Interrupted
from webui.files import write_whole
from webui.models.model import Model
from webui.studio.gpu import GpuGate
from webui.studio.training.checkpoints import never
from webui.studio.training.installing import lora_taken
from webui.studio.training.runs import TrainingRuns
from webui.training import dataset
from webui.training.dataset import put_mask
from webui.training.learned.step import LearnedStep
from webui.training.recipe import Recipe
from webui.training.request import TrainingRequest
from webui.training.trials.drawable import OWN_PICTURES, PROMPTS
from webui.ui.train.masks import mask_of

QUICK = Recipe(
    steps=8,
    warmup_steps=2,
    batch_size=1,
    evaluate_every=4,
    evaluation_tuples=2,
    preview_every=4,
    preview_prompts=("a [name]",),
    mixed_precision="fp32",
)


@pytest.fixture(scope="module")
def model() -> Model:
    torch.set_num_threads(1)
    return tiny_model()


class House:
    """The parts around the runs, small and real."""

    def __init__(self, folder: Path, model: Model) -> None:
        self.folder, self.model = folder, model
        self.gate = GpuGate()
        self.others: dict[str, Embedding] = {}
        self.drawn: list[tuple[tuple[tuple[str, str], ...], int | None]] = []
        self.own_pictures: Callable[[Callable[[], bool]], object] = lambda given_up: None
        """Is called when the model is to draw pictures of its own, to compare others with."""
        self.shown: list[tuple[str, Path, bool]] = []
        self.runs = self.open()

    def open(self) -> TrainingRuns:
        return TrainingRuns(
            self.folder / "train",
            self.gate,
            lambda: self.model,
            self.draw,
            self.install,
            self.folder / "lora",
            lambda: [path.stem for path in (self.folder / "embeddings").glob("*")],
            lambda name, image, replaces: self.shown.append((name, image, replaces)),
            self.find,
        )

    def draw(
        self,
        model: Model,
        prompts: Sequence[tuple[str, str]],
        learned: LearnedStep | None,
        seed: int,
        given_up: Callable[[], bool] = never,
    ) -> list[Image.Image]:
        if prompts[0][0] in PROMPTS:
            self.own_pictures(given_up)
        with self.gate.hold("preview"):
            self.drawn.append((tuple(prompts), learned.step if learned else None))
            return [Image.new("RGB", (8, 8), (10 * seed, 0, 0)) for _ in prompts]

    def find(self, name: str) -> Embedding:
        if name not in self.others:
            raise AppError(f"There is no embedding {name}.")
        return self.others[name]

    def install(self, embedding: Embedding, metadata: dict[str, str], overwrite: bool) -> Path:
        self.metadata = metadata
        path = self.folder / "embeddings" / f"{embedding.name}.safetensors"
        if path.exists() and not overwrite:
            raise AppError(f"There is an embedding {embedding.name} already.")
        write_whole(path, save(dict(embedding.vectors), metadata))
        return path

    def wait(self, run_id: str, *states: str) -> None:
        assert self.runs.wait(run_id).state in states, self.runs.view(run_id)

    def wait_for_step(self, run_id: str, step: int) -> None:
        for view in self.runs.updates(run_id):
            if view.step >= step:
                return
        raise AssertionError(view)


@pytest.fixture
def house(tmp_path: Path, model: Model) -> Iterator[House]:
    house = House(tmp_path, model)
    yield house
    house.runs.close()


@pytest.fixture
def request_of(picture_files: Callable) -> Callable[..., TrainingRequest]:  # noqa: F811
    def make(name: str = "my-thing", recipe: Recipe = QUICK, count: int = 5) -> TrainingRequest:
        return TrainingRequest(name, picture_files(count), "grey cat", recipe)

    return make


def test_a_card_that_gets_no_image_is_no_failure_of_the_run(
    house: House, request_of: Callable, monkeypatch: pytest.MonkeyPatch
):
    def full(shown: tuple[str, Path, bool]) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(house, "shown", type("Full", (), {"append": staticmethod(full)}))
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished", "failed")
    view = house.runs.current()
    assert (view.state, view.problem) == ("finished", None)
    assert Path(view.file).is_file()


def test_a_run_trains_reports_and_installs_an_embedding(house: House, request_of: Callable):
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished", "failed")
    view = house.runs.current()
    assert (view.run_id, view.state, view.problem) == (run_id, "finished", None)
    assert (view.step, view.steps) == (8, 8)
    assert [step for step, _ in view.raw_losses] == list(range(1, 9))
    assert [step for step, _ in view.losses] == [0, 4, 8]
    assert view.checkpoints == (0, 4, 8)
    assert [(step, prompt) for step, prompt, _ in view.previews] == [
        (0, "a grey cat"),
        (4, "a my-thing"),
        (8, "a my-thing"),
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for _, _, path in view.previews)
    assert house.drawn == [
        ((("a grey cat", ""),), None),
        ((("a my-thing", ""),), 4),
        ((("a my-thing", ""),), 8),
        (tuple((prompt, "") for prompt in PROMPTS[:OWN_PICTURES]), None),
    ], "and what the images are compared with"
    assert view.report.step in view.checkpoints
    of_its_step = next(path for step, _, path in view.previews if step == view.report.step)
    assert house.shown == [("my-thing", of_its_step, False)], "its card's image"
    assert view.report.norm_ratio == pytest.approx(1.0, abs=1e-4)
    installed = load_file(view.file)
    assert installed["clip_l"].shape == (2, 32)
    assert house.metadata["trained_on"] == "tiny" and house.metadata["vectors"] == "2"
    assert json.loads(house.metadata["recipe"])["steps"] == 8
    assert "my-thing" in view.message
    assert view.file.stem == house.metadata["name"] == "my-thing", "what prompts will call"


def test_a_view_never_changes_and_its_version_grows(house: House, request_of: Callable):
    run_id = house.runs.start(request_of())
    first = house.runs.view(run_id)
    house.wait(run_id, "finished")
    last = house.runs.view(run_id)
    assert last.version > first.version and first.state != "finished"
    assert house.runs.view(run_id) is last


def test_speed_and_time_left_are_told_while_it_trains(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    view = house.runs.view(run_id)
    assert view.steps_per_s > 0 and view.eta_s > 0
    house.runs.stop(run_id, keep=False)
    house.wait(run_id, "stopped")
    assert house.runs.view(run_id).eta_s is None


def test_stop_and_keep_installs_the_best_so_far(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    house.runs.stop(run_id, keep=True)
    house.wait(run_id, "finished", "failed")
    view = house.runs.view(run_id)
    assert view.file.is_file() and view.step < 2000
    assert view.report.reason.endswith("the run was stopped.")


def test_stop_without_keeping_installs_nothing(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 2)
    house.runs.stop(run_id, keep=False)
    house.wait(run_id, "stopped")
    assert house.runs.view(run_id).file is None
    assert not (house.folder / "embeddings").exists()


def test_a_paused_run_can_still_be_kept(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    house.runs.pause(run_id)
    house.wait(run_id, "paused")
    house.runs.stop(run_id, keep=True)
    view = house.runs.view(run_id)
    assert view.state == "stopped" and view.file.is_file()


def test_pause_and_resume_give_the_same_file_as_a_run_without(house: House, request_of: Callable):
    whole = house.runs.start(request_of("whole-thing"))
    house.wait(whole, "finished")
    cut = house.runs.start(request_of("cut-thing"))
    house.wait_for_step(cut, 5)
    house.runs.pause(cut)
    house.wait(cut, "paused", "finished")
    house.runs.resume(cut)
    house.wait(cut, "finished")
    one, other = house.runs.view(whole), house.runs.view(cut)
    assert one.raw_losses == other.raw_losses
    assert torch.equal(load_file(one.file)["clip_l"], load_file(other.file)["clip_l"])


def test_closing_the_app_saves_the_run_and_the_next_start_offers_it(
    house: House, request_of: Callable
):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=300, preview_every=0)))
    house.wait_for_step(run_id, 5)
    house.runs.close()
    house.runs = house.open()
    view = house.runs.current()
    assert (view.run_id, view.state) == (run_id, "paused") and view.state.resumable
    assert view.step >= 5 and view.raw_losses
    house.runs.resume(run_id)
    house.wait_for_step(run_id, view.step + 1)


def paused(house: House, request: TrainingRequest, step: int = 5) -> str:
    """Start a run, and pause it after some steps."""
    run_id = house.runs.start(request)
    house.wait_for_step(run_id, step)
    house.runs.pause(run_id)
    house.wait(run_id, "paused")
    return run_id


def test_runs_cut_off_without_warning_are_all_there_and_can_be_resumed(
    house: House, request_of: Callable
):
    """A process killed in the middle of one run, with another in the queue, leaves these words."""
    first = paused(house, request_of("first-thing"))
    second = paused(house, request_of("second-thing"), 1)
    for run_id, word in ((first, "training"), (second, "queued")):
        (house.folder / "train" / run_id / "status.json").write_text(f'{{"state": "{word}"}}')
    house.runs = house.open()
    views = house.runs.runs()
    assert [view.run_id for view in views] == [second, first]
    assert all(view.state == "paused" and "closed during" in view.message for view in views)
    house.runs.resume(first)
    house.runs.resume(second)
    assert [house.runs.wait(run_id).state for run_id in (first, second)] == ["finished"] * 2


def test_a_run_that_another_program_trains_is_shown_and_left_alone(
    house: House, request_of: Callable
):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    other = house.open()
    view = other.view(run_id)
    assert view.state == "training" and "Another program works on the run" in view.message
    for act in (other.pause, other.resume, other.discard, lambda run_id: other.stop(run_id, True)):
        with pytest.raises(AppError, match="Another program works on"):
            act(run_id)
    house.runs.pause(run_id)
    house.wait(run_id, "paused")
    assert other.view(run_id).state == "paused"


def test_the_queue_tells_the_order_of_turns(house: House, request_of: Callable):
    ids = [
        house.runs.start(request_of(f"thing-{number}", replace(QUICK, steps=2000)))
        for number in range(3)
    ]
    house.wait_for_step(ids[0], 1)
    assert house.runs.queue() == tuple(ids[1:])
    for run_id in reversed(ids):
        house.runs.stop(run_id, keep=False)
    house.wait(ids[0], "stopped")
    assert house.runs.queue() == ()


def test_a_deleted_run_lies_in_the_trash_and_can_be_brought_back(
    house: House, request_of: Callable
):
    run_id = paused(house, request_of())
    version = house.runs.version()
    house.runs.discard(run_id)
    assert house.runs.runs() == [] and house.runs.current() is None
    assert (house.folder / ".trash" / "train" / run_id / "run.json").is_file()
    assert house.runs.version() != version
    with pytest.raises(AppError, match="no training run"):
        house.runs.discard(run_id)
    house.runs.restore(run_id)
    house.runs.resume(run_id)
    house.wait(run_id, "finished")


def test_a_run_that_goes_on_is_not_deleted(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 1)
    with pytest.raises(AppError, match="pause or cancel it first"):
        house.runs.discard(run_id)
    house.runs.stop(run_id, keep=False)


def test_the_best_step_of_any_run_can_be_installed(house: House, request_of: Callable):
    run_id = paused(house, request_of())
    (path,) = house.runs.install_best(run_id)
    kept = house.runs.view(run_id)
    assert path.is_file() and f"Step {kept.best} is installed" in kept.message
    house.runs.resume(run_id)
    house.wait(run_id, "finished")  # it replaces what it has installed itself
    (house.folder / "train" / run_id / "checkpoints").rename(house.folder / "gone")
    house.runs = house.open()
    with pytest.raises(AppError, match="nothing yet"):
        house.runs.install_best(run_id)


def test_runs_wait_for_each_other(house: House, request_of: Callable):
    first = house.runs.start(request_of("first-thing"))
    second = house.runs.start(request_of("second-thing"))
    assert house.runs.view(second).state == "queued"
    house.wait(first, "finished")
    house.wait(second, "finished")
    assert [item.run_id for item in house.runs.runs()] == [second, first]
    assert [item.state for item in house.runs.runs()] == ["finished", "finished"]


def test_a_waiting_run_can_be_taken_back(house: House, request_of: Callable):
    first = house.runs.start(request_of("first-thing", replace(QUICK, steps=2000)))
    second = house.runs.start(request_of("second-thing"))
    house.runs.stop(second, keep=False)
    assert house.runs.view(second).state == "stopped"
    house.runs.stop(first, keep=False)
    house.wait(first, "stopped")


def test_the_gate_is_free_between_steps(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 3)
    served = threading.Event()

    def generate() -> None:
        with house.gate.hold("an image"):
            served.set()

    threading.Thread(target=generate).start()
    assert served.wait(60)
    step = house.runs.view(run_id).step
    house.wait_for_step(run_id, step + 2)
    house.runs.stop(run_id, keep=False)
    house.wait(run_id, "stopped")


def test_all_problems_of_a_request_are_told_at_once(house: House, tmp_path: Path):
    bad = tmp_path / "paper.jpg"
    bad.write_bytes(b"%PDF-1.7")
    problems = house.runs.check(
        TrainingRequest("cat", (bad, bad), "  ", replace(QUICK, resolution=33))
    )
    assert [field for field, _ in problems] == ["name", "pictures", "initializer", "resolution"]
    told = dict(problems)
    assert "ordinary word" in told["name"]
    assert "paper.jpg is not an image" in told["pictures"]
    assert "2 images" in told["pictures"]
    with pytest.raises(BadField) as caught:
        house.runs.start(TrainingRequest("cat", (bad,), "", QUICK))
    assert caught.value.field == "name"
    assert house.runs.current() is None


def test_captions_and_advice_are_shown_before_a_run(house: House, request_of: Callable):
    request = request_of()
    shown = house.runs.captions(request)
    assert len(shown) == 10 and all("my-thing" in line for line in shown)
    write_whole(house.folder / "embeddings" / "my-thing-2.pt", b"")
    told = [finding.message for finding in house.runs.preflight(request)]
    assert any("my-thing-2" in message for message in told)


def test_an_installed_name_is_refused_unless_it_may_be_replaced(house: House, request_of: Callable):
    write_whole(house.folder / "embeddings" / "My-Thing.pt", b"")
    request = request_of()
    assert house.runs.check(request)[0][0] == "name"
    assert house.runs.check(replace(request, overwrite=True)) == []


def test_a_model_that_cannot_be_loaded_is_a_problem_of_the_model(
    house: House, request_of: Callable
):
    def broken() -> Model:
        raise AppError("No model could be loaded.")

    house.runs._model = broken
    assert house.runs.check(request_of()) == [("model", "No model could be loaded.")]


def test_another_model_stops_a_resumed_run_with_a_clear_message(house: House, request_of: Callable):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 2)
    house.runs.pause(run_id)
    house.wait(run_id, "paused")
    house.model = replace(house.model, name="other", short_hash="ffffffffff")
    house.runs.resume(run_id)
    house.wait(run_id, "failed")
    view = house.runs.view(run_id)
    assert "trains on tiny, but other is loaded" in view.problem and view.state.resumable


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (OSError(28, "No space left on device"), "disk is full"),
        (torch.OutOfMemoryError("CUDA out of memory"), "not enough memory"),
        (RuntimeError("boom"), "Unexpected error (RuntimeError)"),
    ],
)
def test_a_fault_ends_the_run_with_words_and_the_thread_lives_on(
    house: House,
    request_of: Callable,
    fault: Exception,
    told: str,
    caplog: pytest.LogCaptureFixture,
):
    def fail(*_: object) -> Path:
        raise fault

    installer = house.runs._installer
    install, installer._install = installer._install, fail
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=1, preview_every=0)))
    house.wait(run_id, "failed")
    assert told in house.runs.view(run_id).problem
    assert "Traceback" in caplog.text
    installer._install = install
    house.runs.resume(run_id)
    house.wait(run_id, "finished")


def test_any_kept_step_can_be_installed(house: House, request_of: Callable):
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished")
    (path,) = house.runs.install_step(run_id, 4)
    kept = house.folder / "train" / run_id / "checkpoints" / "step-000004.safetensors"
    assert torch.equal(load_file(path)["clip_l"], load_file(kept)["clip_l"])
    assert house.runs.view(run_id).message == "Step 4 is installed."
    with pytest.raises(AppError, match="Step 5"):
        house.runs.install_step(run_id, 5)


def test_a_step_that_was_installed_while_training_stays_when_the_run_is_cancelled(
    house: House, request_of: Callable
):
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    (path,) = house.runs.install_step(run_id, 4)
    assert house.runs.view(run_id).state == "training"
    house.runs.stop(run_id, keep=False)
    house.wait(run_id, "stopped")
    assert house.runs.view(run_id).file == path and path.is_file()


def test_a_kept_step_is_drawn_at_several_strengths_once(house: House, request_of: Callable):
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished")
    house.drawn.clear()
    drawn = house.runs.draw_strengths(run_id, 4)
    assert len(drawn) == 4
    assert house.drawn[0] == ((("a (my-thing:0.6)", ""),), 4)
    assert all(path.read_bytes().startswith(b"\x89PNG") for _, path in drawn)
    assert house.runs.draw_strengths(run_id, 4) == drawn and len(house.drawn) == 4
    assert house.runs.draw_previews(run_id, 4) == [house.runs.view(run_id).previews[1][2]]
    assert len(house.drawn) == 4, "the run drew them"
    with pytest.raises(AppError, match="was not kept"):
        house.runs.draw_strengths(run_id, 3)
    house.model = replace(house.model, short_hash="f" * 10)
    with pytest.raises(AppError, match="load it first"):
        house.runs.draw_strengths(run_id, 4)


def test_a_preview_that_fails_does_not_end_the_run(house: House, request_of: Callable):
    def fail(*_: object) -> list[Image.Image]:
        raise RuntimeError("no image today")

    house.runs._draw = fail
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished")
    assert house.runs.view(run_id).previews == ()


def test_a_comparison_that_fails_is_told_in_the_log_of_the_run_which_ends_all_the_same(
    house: House, request_of: Callable
):
    def fail(given_up: Callable[[], bool]) -> None:
        raise RuntimeError("no image today")

    house.own_pictures = fail
    run_id = house.runs.start(request_of())
    house.wait(run_id, "finished")
    view = house.runs.view(run_id)
    assert view.file.is_file() and view.report.verdict
    assert view.log[-1].endswith("not compared with the model's own: no image today")


@pytest.mark.parametrize(
    ("order", "state"), [("keep", "finished"), ("cancel", "stopped"), ("close", "paused")]
)
def test_an_order_breaks_the_comparison_and_nothing_is_lost(
    house: House, request_of: Callable, order: str, state: str
):
    compared = threading.Event()

    def forever(given_up: Callable[[], bool]) -> None:
        compared.set()
        while not given_up():
            time.sleep(0.01)
        raise Interrupted("Interrupted.")

    house.own_pictures = forever
    run_id = house.runs.start(request_of())
    assert compared.wait(60)
    if order == "close":
        house.runs.close()
        house.runs = house.open()
    else:
        house.runs.stop(run_id, keep=order == "keep")
    house.wait(run_id, state)
    view = house.runs.view(run_id)
    assert view.checkpoints == (0, 4, 8)
    assert (view.report is not None) == (view.file is not None) == (order == "keep")
    house.own_pictures = lambda given_up: None
    if order == "close":
        house.runs.resume(run_id)
        house.wait(run_id, "finished")
        assert house.runs.view(run_id).report.verdict
    elif order == "cancel":
        (path,) = house.runs.install_best(run_id)
        assert path.is_file()


def test_stop_and_keep_while_it_trains_still_compares(house: House, request_of: Callable):
    asked: list[bool] = []
    house.own_pictures = lambda given_up: asked.append(given_up())
    run_id = house.runs.start(request_of(recipe=replace(QUICK, steps=2000)))
    house.wait_for_step(run_id, 5)
    house.runs.stop(run_id, keep=True)
    house.wait(run_id, "finished")
    assert asked == [False]


def test_training_from_pictures_that_are_deleted_meanwhile_goes_on(
    house: House, request_of: Callable
):
    request = request_of()
    run_id = house.runs.start(request)
    for path in request.pictures:
        path.unlink()
    house.wait(run_id, "finished")


def test_unknown_runs_are_refused(house: House):
    with pytest.raises(AppError, match="no training run"):
        house.runs.view("../etc")


def test_a_name_that_is_taken_meanwhile_is_not_overwritten(house: House, request_of: Callable):
    run_id = house.runs.start(request_of())
    taken = house.folder / "embeddings" / "my-thing.safetensors"
    write_whole(taken, b"someone else's")
    house.wait(run_id, "failed")
    assert "already" in house.runs.view(run_id).problem
    assert taken.read_bytes() == b"someone else's"
    taken.unlink()
    house.runs.resume(run_id)
    house.wait(run_id, "finished")


def test_a_picture_is_decoded_and_hashed_once_on_its_way_to_the_latents(
    house: House, request_of: Callable, monkeypatch: pytest.MonkeyPatch
):
    work: Counter[str] = Counter()

    def counted(name: str, do: Callable) -> Callable:
        def doing(path: Path) -> Any:
            work[name] += 1
            return do(path)

        return doing

    monkeypatch.setattr(dataset, "open_picture", counted("decoded", dataset.open_picture))
    monkeypatch.setattr(dataset, "sha256", counted("hashed", dataset.sha256))
    request = request_of()
    house.runs.preflight(request)
    house.runs.captions(request)
    house.runs.check(request)
    house.wait(house.runs.start(request), "finished")
    assert work == {"decoded": 5, "hashed": 5}


def test_a_run_continues_from_an_embedding_even_when_that_is_gone(
    house: House, request_of: Callable
):
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(1))
    house.others["theirs"] = Embedding("theirs", {"clip_l": vectors})
    asked = request_of(recipe=replace(QUICK, continue_from="theirs", steps=400))
    run_id = house.runs.start(asked)
    house.wait_for_step(run_id, 2)
    house.runs.pause(run_id)
    house.wait(run_id, "paused")
    house.others.clear()
    start = load_file(house.folder / "train" / run_id / "checkpoints" / "step-000000.safetensors")
    similar = torch.cosine_similarity(start["clip_l"], vectors, dim=-1)
    assert torch.allclose(similar, torch.ones(3)), "as many vectors, in the same directions"
    assert house.drawn[0] == ((("a my-thing", ""),), 0), "step 0 shows what it continues from"
    assert house.runs.view(run_id).gains[0][1] != 0.0
    house.runs.resume(run_id)
    house.wait_for_step(run_id, 5)
    house.runs.stop(run_id, keep=True)
    house.wait(run_id, "finished")
    assert json.loads(house.metadata["recipe"])["continue_from"] == "theirs"


def test_what_a_run_cannot_continue_from_is_told_before_it(house: House, request_of: Callable):
    house.others["wide"] = Embedding("wide", {"clip_l": torch.ones(1, 768)})
    for name, told in (("wide", "768"), ("none", "no embedding none")):
        problems = house.runs.check(request_of(recipe=replace(QUICK, continue_from=name)))
        ((field, text),) = problems
        assert field == "continue_from" and told in text


def test_several_names_are_installed_together_and_another_step_of_one_of_them(
    house: House, request_of: Callable
):
    files = tuple(
        path.rename(path.with_name(f"{('my-cat', 'my-dog')[number % 2]} {number}.png"))
        for number, path in enumerate(request_of().pictures + request_of(count=7).pictures[5:])
    )
    asked = TrainingRequest("my-cat,my-dog", files, "cat, dog", QUICK)
    assert house.runs.check(asked) == []
    run_id = house.runs.start(asked)
    house.wait(run_id, "finished")
    view = house.runs.view(run_id)
    assert view.name == "my-cat, my-dog" and len(view.report.each) == 2
    assert [(each.name, each.step) for each in view.installed] == [
        ("my-cat", view.report.step),
        ("my-dog", view.report.step),
    ]
    assert [name for name, _, _ in house.shown] == ["my-cat", "my-dog"], "a card each"
    shown = {name: path for name, path, _ in house.shown}
    assert shown["my-cat"] != shown["my-dog"]
    (path,) = house.runs.install_step(run_id, 0, "my-dog")
    after = house.runs.view(run_id)
    assert path.stem == "my-dog" and "“my-dog”" in after.message
    assert [each.step for each in after.installed] == [view.report.step, 0]
    with pytest.raises(AppError, match="my-cat, my-dog"):
        house.runs.install_step(run_id, 0, "my-mug")
    strengths = house.runs.draw_strengths(run_id, 8)
    assert len(strengths) == 8 and strengths[4][0] == "my-dog × 0.6"


def test_what_keeps_several_names_from_being_learned_is_told(house: House, request_of: Callable):
    few = request_of().pictures
    files = tuple(
        path.rename(path.with_name(f"{'my-cat' if number < 3 else 'other'} {number}.png"))
        for number, path in enumerate(few)
    )
    problems = dict(house.runs.check(TrainingRequest("my-cat, my-dog", files, "cat", QUICK)))
    assert "shows none of the names" in problems["pictures"]
    assert "Of “my-dog”: There are no images" in problems["pictures"]
    wrong = TrainingRequest("my-cat, my-dog", files, "a, b, c", QUICK)
    assert "2 names and 3 initializers" in dict(house.runs.check(wrong))["initializer"]
    continued = replace(QUICK, continue_from="only-one")
    found = dict(house.runs.check(TrainingRequest("my-cat, my-dog", files, "cat", continued)))
    assert "learns 2 names" in found["continue_from"]


def test_a_lora_learned_beside_an_embedding_is_one_file_with_it_and_never_replaces_anothers(
    house: House, request_of: Callable
):
    recipe = replace(QUICK, lora_rank=2)
    run_id = house.runs.start(request_of(recipe=recipe))
    house.wait(run_id, "finished")
    view = house.runs.view(run_id)
    path = house.folder / "lora" / "my-thing.safetensors"
    assert Path(view.lora.path) == path and view.lora.step == view.report.step
    one, alone = load_file(path), load_file(house.folder / "train" / run_id / "lora.safetensors")
    assert torch.equal(one["bundle_emb.my-thing.string_to_param.*"], load_file(view.file)["clip_l"])
    assert alone.keys() < one.keys() and all("lora" in name for name in alone)
    house.runs.install_step(run_id, 4)
    assert house.runs.view(run_id).lora.step == 4 and path.is_file()
    (house.folder / "lora" / "sub").mkdir()
    theirs = house.folder / "lora" / "sub" / "My-Other.safetensors"
    theirs.write_bytes(b"theirs")
    assert house.runs.check(request_of("my-other", recipe)) == [("name", lora_taken("my-other"))]
    assert house.runs.check(request_of("my-other")) == [] and theirs.read_bytes() == b"theirs"


def test_a_mask_is_painted_beside_an_image_learned_with_and_taken_back(
    house: House, request_of: Callable
):
    trials, request = house.runs.trials, request_of()
    usual = [image.tobytes() for image, _ in trials.what_counts(request)]
    plain = trials.to_paint(request, 1)
    assert (plain.name, plain.mask) == (request.pictures[1].name, None)
    found = trials.to_paint(replace(request, recipe=replace(QUICK, find_thing=True)), 1)
    assert found.mask.size == found.image.size == (40, 40), "what the model finds can be mended"

    half = Image.new("RGBA", plain.image.size)
    half.paste((124, 58, 237, 150), (0, 0, 20, 40))
    content = mask_of({"layers": [half]})
    assert mask_of({"layers": [Image.new("RGBA", (4, 4))]}) is mask_of({"layers": []}) is None
    assert put_mask(plain.place, content) is None
    after = [image.tobytes() for image, _ in trials.what_counts(request)]
    assert [one == other for one, other in zip(usual, after, strict=True)].count(False) == 1
    assert trials.to_paint(request, 1).mask.tobytes() == (b"\xff" * 20 + b"\0" * 20) * 40
    run_id = house.runs.start(request)
    house.wait(run_id, "finished")
    (copy,) = (house.folder / "train" / run_id / "data").glob("*-masklabel.png")
    assert copy.read_bytes() == content
    assert put_mask(plain.place, None) == content and not plain.place.exists()
    assert [image.tobytes() for image, _ in trials.what_counts(request)] == usual


def test_what_counts_of_the_images_is_shown_before_a_run_and_learned_in_it(
    house: House, request_of: Callable
):
    usual, found = (
        house.runs.trials.what_counts(request_of(recipe=replace(QUICK, find_thing=find)))
        for find in (False, True)
    )
    assert [name for _, name in found] == [path.name for path in request_of().pictures]
    assert all(image.size == (32, 32) for image, _ in found)
    assert usual[0][0].tobytes() != found[0][0].tobytes()
    losses = []
    for find in (False, True):
        recipe = replace(QUICK, find_thing=find)
        run_id = house.runs.start(request_of(f"my-thing-{find}", recipe))
        house.wait(run_id, "finished")
        losses.append([loss for _, loss in house.runs.view(run_id).losses])
        phases = [phase.name for phase in house.runs.view(run_id).phases]
        assert ("Finding the thing" in phases) == find
    assert losses[0] != losses[1]
