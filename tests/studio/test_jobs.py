"""What a job tells of itself while it is drawn, and when it wants to be seen."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from webui.generation.preview import Previewer
from webui.generation.request import GenerationRequest
from webui.job_state import JobState
from webui.studio.studio import Studio

REQUEST = GenerationRequest(prompt="a red heart", steps=60, width=64, height=64, seed=1)


def test_one_slow_preview_does_not_keep_the_next_job_in_the_dark(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
):
    shown = Previewer.__call__
    slow_s = [1.0]

    def slow_once(previewer: Previewer, latents: object) -> object:
        began = time.perf_counter()
        picture = shown(previewer, latents)
        if slow_s:
            time.sleep(slow_s.pop())
        previewer._took_s = time.perf_counter() - began
        return picture

    monkeypatch.setattr(Previewer, "__call__", slow_once)
    monkeypatch.setattr("webui.studio.jobs.PREVIEW_EVERY_S", 0.0)
    for _ in range(2):
        job = studio.generating.start(replace(REQUEST))
        assert any(view.preview is not None for view in job.updates(0.001))
        job.wait()


@pytest.mark.parametrize(("took_s", "rest_s"), [(0.01, 0.5), (0.1, 2.0), (3.0, 12.0)])
def test_previews_rest_at_most_two_seconds_unless_they_are_slow(
    tiny_model, took_s: float, rest_s: float
):
    previewer = Previewer(tiny_model)
    previewer._took_s = took_s
    assert previewer.rest_s == pytest.approx(rest_s)


def test_what_is_waited_for_is_told_without_looking_again_and_again(studio: Studio):
    job = studio.generating.start(replace(REQUEST, steps=2))
    assert job.wait().state is JobState.FINISHED
    assert list(job.updates()) == [job.view]
