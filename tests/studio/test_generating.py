"""Generations are jobs: watched by anyone, stopped by request, one at a time on the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from webui.embeddings.embedding import Embedding
from webui.errors import BadField
from webui.generation.engine import ModelUsed
from webui.generation.outputs import read_parameters, save_picture
from webui.generation.request import GenerationRequest, default_request
from webui.generation.styles import Style
from webui.studio.jobs import GenerationJob
from webui.studio.studio import Studio
from webui.training.learned.step import LearnedStep

REQUEST = GenerationRequest(prompt="a red heart", steps=3, width=64, height=64, seed=1)


def wait(job: GenerationJob) -> GenerationJob:
    job.wait()
    return job


def test_a_job_ends_with_its_pictures_saved_and_their_parameters_inside(studio: Studio):
    view = wait(studio.generating.start(replace(REQUEST, batch_size=2))).view
    assert view.state == "finished" and view.step == view.steps == 3
    assert [picture.seed for picture in view.pictures] == [1, 2]
    for picture in view.pictures:
        assert read_parameters(picture.path) == picture.infotext
        assert picture.path.name.endswith(f"-{picture.seed}.png")


def test_files_are_numbered_on_within_a_day(studio: Studio):
    numbers = [
        wait(studio.generating.start(REQUEST)).view.pictures[0].path.name[:5] for _ in range(2)
    ]
    assert numbers == ["00000", "00001"]


def test_a_bad_request_never_becomes_a_job(studio: Studio):
    with pytest.raises(BadField) as caught:
        studio.generating.start(replace(REQUEST, width=7))
    assert caught.value.field == "width"


def test_an_upscaler_that_is_not_there_is_refused_at_its_field(studio: Studio):
    with pytest.raises(BadField, match="there is no “4x-Ultra”. Put its file into") as caught:
        studio.generating.start(replace(REQUEST, hires=True, hires_upscaler="4x-Ultra"))
    assert caught.value.field == "hires_upscaler"


def test_a_stopped_job_says_so_and_keeps_what_was_finished(studio: Studio):
    job = studio.generating.start(replace(REQUEST, batch_count=50))
    for view in job.updates():
        if view.pictures:
            job.stop()
    assert job.view.state == "stopped"
    assert 1 <= len(job.view.pictures) < 50
    assert job.view.pictures[0].path.is_file()


def test_the_picture_that_was_being_drawn_is_kept_as_far_as_it_has_got(studio: Studio):
    job = studio.generating.start(replace(REQUEST, steps=150, batch_size=2))
    for view in job.updates():
        if view.step >= 3:
            job.stop()
    assert job.view.state == "stopped" and job.view.step < 150
    first, second = job.view.pictures
    assert (first.seed, second.seed) == (1, 2)
    assert read_parameters(first.path) == first.infotext
    assert "Steps: 150" in first.infotext and "Seed: 1" in first.infotext


def test_jobs_of_one_page_are_drawn_one_after_the_other(studio: Studio):
    with studio.gate.hold("the test"):
        first = studio.generating.start(REQUEST)
        second = studio.generating.start(replace(REQUEST, seed=2), after=first.id)
        third = studio.generating.start(replace(REQUEST, seed=3), after=first.id)
        assert studio.generating.current(first.id) is first
        studio.generating.stop(second.id)
        assert second.wait().state == "stopped"
    third.wait()
    assert first.view.ended and studio.generating.current(first.id) is third
    assert [job.view.state for job in (first, third)] == ["finished", "finished"]
    fourth = studio.generating.start(REQUEST, after=first.id)
    assert third.next is None, "what has ended keeps nobody waiting"
    fourth.wait()


def test_a_saved_picture_carries_what_it_was_made_of(studio: Studio):
    asked = replace(REQUEST, batch_size=2, subseed_strength=0.5, subseed=7)
    pictures = studio.generating.start(asked).wait().pictures
    alone = replace(asked, batch_size=1)
    assert [picture.request for picture in pictures] == [alone, replace(alone, subseed=8)]
    model = studio.models.get()
    assert pictures[0].model == ModelUsed("tiny", model.short_hash, None)


def test_a_job_that_waits_for_the_device_can_be_stopped(studio: Studio):
    with studio.gate.hold("the test"):
        job = studio.generating.start(REQUEST)
        updates = job.updates(patience_s=0.05)
        while next(updates).waiting_for != "the test":
            pass
        studio.generating.stop(job.id)
        assert wait(job).view.state == "stopped"


def test_stopping_one_job_leaves_the_other_alone(studio: Studio):
    with studio.gate.hold("the test"):
        first, second = studio.generating.start(REQUEST), studio.generating.start(REQUEST)
        studio.generating.stop(first.id)
        assert wait(first).view.state == "stopped"
    assert wait(second).view.state == "finished"


def test_an_unforeseen_error_is_told_in_a_sentence_and_the_gate_is_free_again(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webui.studio.jobs.save_picture", fail)
    view = wait(studio.generating.start(REQUEST)).view
    assert view.state == "failed" and "disk is full" in view.problem
    assert studio.gate.owner is None


def test_a_picture_is_saved_while_the_next_is_drawn(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    def save(*given: Any) -> Path:
        meanwhile.append(drawing.wait(20))
        return save_picture(*given)

    drawing, meanwhile = Event(), list[bool]()
    monkeypatch.setattr("webui.studio.jobs.save_picture", save)
    job = studio.generating.start(replace(REQUEST, batch_count=2))
    for view in job.updates():
        if view.step > REQUEST.steps:  # of the second picture
            drawing.set()
    assert view.state == "finished" and len(view.pictures) == 2
    assert meanwhile == [True, True]


def test_a_job_whose_pictures_cannot_be_saved_draws_no_further_ones(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("webui.studio.jobs.save_picture", fail)
    view = wait(studio.generating.start(replace(REQUEST, batch_count=9))).view
    assert view.state == "failed" and "disk is full" in view.problem
    assert view.step <= 2 * REQUEST.steps


def test_an_embedding_in_training_can_be_drawn_before_it_is_a_file(studio: Studio):
    vectors = {"clip_l": torch.randn(2, 128)}
    draft = LearnedStep(1, (Embedding("draft", vectors),))
    asked = [("a draft", ""), ("a house", "draft")]
    model = studio.models.get()
    plain, drafted = (studio.drawing.images(model, asked, each, 3) for each in (None, draft))
    assert all(one.tobytes() != other.tobytes() for one, other in zip(plain, drafted, strict=True))
    assert "draft" not in studio.library.names()


def test_the_defaults_of_the_checkpoint_make_the_request():
    request = default_request({"width": 128, "steps": 9, "example_prompts": ["x"]}, prompt="a")
    assert (request.width, request.height, request.steps, request.prompt) == (128, 512, 9, "a")


def test_skipping_gives_up_one_batch_and_the_rest_goes_on(studio: Studio):
    job = studio.generating.start(replace(REQUEST, steps=20, batch_count=3))
    for view in job.updates():
        if view.step == 21 and not view.skipped:
            studio.generating.skip(job.id)
    view = job.view
    assert view.state == "finished" and view.skipped == 1
    assert [picture.seed for picture in view.pictures] == [1, 3]


def test_a_job_that_only_waits_has_nothing_to_skip(studio: Studio):
    with studio.gate.hold("the test"):
        job = studio.generating.start(REQUEST)
        studio.generating.skip()
    assert wait(job).view.skipped == 0 and len(job.view.pictures) == 1


def test_styles_are_written_out_in_the_picture(studio: Studio):
    studio.styles.save(Style("loud", "very {prompt}, neon", "quiet"))
    (picture,) = wait(studio.generating.start(replace(REQUEST, styles=("loud",)))).view.pictures
    assert picture.infotext.startswith("very a red heart, neon\nNegative prompt: quiet\n")
    with pytest.raises(BadField) as caught:
        studio.generating.start(replace(REQUEST, styles=("soft",)))
    assert caught.value.field == "styles"


def test_several_pictures_are_also_saved_as_a_grid(studio: Studio):
    view = wait(studio.generating.start(replace(REQUEST, batch_size=2, save_grid=True))).view
    assert view.grid.path.name == "grid-0000.png"
    assert read_parameters(view.grid.path) == view.pictures[0].infotext
    alone = wait(studio.generating.start(replace(REQUEST, save_grid=True))).view
    assert alone.grid is None and alone.pictures[0].path.name.startswith("00002-")


def test_a_request_may_say_what_its_files_are_called(studio: Studio):
    request = replace(REQUEST, file_pattern="[steps]-[prompt_words]", folder_pattern="mine/[width]")
    (picture,) = wait(studio.generating.start(request)).view.pictures
    assert picture.path.parent == studio.generating.folder / "mine" / str(REQUEST.width)
    assert f"-{REQUEST.steps}-" in picture.path.name
    with pytest.raises(BadField, match="no placeholder .sead.") as caught:
        studio.generating.start(replace(REQUEST, folder_pattern="[sead]"))
    assert caught.value.field == "folder_pattern"


def test_copies_lie_beside_a_picture_where_they_are_wished_for(studio: Studio):
    (picture,) = wait(studio.generating.start(replace(REQUEST, save_jpg=True))).view.pictures
    beside = sorted(path.suffix for path in picture.path.parent.glob(f"{picture.path.stem}.*"))
    assert beside == [".jpg", ".png"]
    (picture,) = wait(studio.generating.start(replace(REQUEST, save_txt=True))).view.pictures
    assert picture.path.with_suffix(".txt").read_text(encoding="utf-8") == picture.infotext


def test_the_progress_counts_both_passes(studio: Studio):
    request = replace(REQUEST, hires=True, hires_scale=1.5, hires_steps=2, batch_count=2)
    view = wait(studio.generating.start(request)).view
    assert view.step == view.steps == 10


def test_ended_jobs_are_remembered_for_pages_that_come_back(studio: Studio):
    job = wait(studio.generating.start(REQUEST))
    wait(studio.generating.start(REQUEST))
    assert studio.generating.job(job.id) is job
    assert studio.generating.job("unknown") is None
    assert studio.generating.running() == []
