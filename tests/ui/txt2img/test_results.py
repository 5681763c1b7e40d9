"""What the page is asked to show again is looked at: only pictures of the tab are shown."""

from __future__ import annotations

import pytest

from webui.errors import AppError
from webui.studio.studio import Studio
from webui.ui.txt2img.results import _files


@pytest.mark.parametrize(
    "name",
    [".cache/embeddings.sqlite", "txt2img/../.cache/embeddings.sqlite", "train/run/state.pt",
     "txt2img/a.txt", "../app.py", "/etc/passwd", "txt2img//etc/passwd.png"],
)  # fmt: skip
def test_a_page_cannot_ask_for_other_files(studio: Studio, name: str):
    with pytest.raises(AppError):
        _files([{"name": name, "caption": "", "infotext": ""}], studio)


def test_a_picture_of_the_tab_is_shown(studio: Studio):
    [(path, caption)] = _files([{"name": "txt2img/2026/a.png", "caption": "seed 1"}], studio)
    assert path.endswith("txt2img/2026/a.png") and caption == "seed 1"
