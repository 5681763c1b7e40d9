"""What the page is asked to show again is looked at: only pictures of the tab are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.errors import AppError
from webui.generation.request import GenerationRequest
from webui.job_state import JobState
from webui.studio.jobs import GenerationJob
from webui.studio.models_in_use import ModelChoice
from webui.studio.studio import Studio
from webui.ui.txt2img.results import files, progress_of


@pytest.mark.parametrize(
    "name",
    [".cache/embeddings.sqlite", "txt2img/../.cache/embeddings.sqlite", "train/run/state.pt",
     "txt2img/a.txt", "../app.py", "/etc/passwd", "txt2img//etc/passwd.png"],
)  # fmt: skip
def test_a_page_cannot_ask_for_otherfiles(studio: Studio, name: str):
    with pytest.raises(AppError):
        files([{"name": name, "caption": "", "infotext": ""}], studio)


def test_a_picture_of_the_tab_is_shown(studio: Studio):
    [(path, caption)] = files([{"name": "txt2img/2026/a.png", "caption": "seed 1"}], studio)
    assert path.endswith("txt2img/2026/a.png") and caption == "seed 1"


def test_several_pictures_are_counted(studio: Studio):
    entries = [{"name": f"txt2img/{name}.png", "caption": "seed 1"} for name in "ab"]
    assert [caption for _, caption in files(entries, studio)] == [
        "1 of 2 · seed 1",
        "2 of 2 · seed 1",
    ]


def test_the_line_says_which_image_or_cell_is_being_drawn(studio: Studio):
    request = GenerationRequest(prompt="a", batch_count=3, batch_size=2)
    job = GenerationJob(request, Path("unused"), ModelChoice("tiny", ""))
    job.publish(state=JobState.DRAWING, step=4, steps=60, eta_s=None)
    assert "Images 1–2 of 6 · Step 4 of 60" in progress_of(job, job.view, studio)
    job.publish(is_plot=True, cell=3, cells=9)
    assert "Cell 3 of 9 · Step 4 of 60" in progress_of(job, job.view, studio)
