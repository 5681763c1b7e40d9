"""What the panel shows of a download, and to whom it is there."""

from __future__ import annotations

from dataclasses import replace

from webui.studio.downloads import DownloadState
from webui.studio.studio import Studio
from webui.ui import page
from webui.ui.models_panel import _show
from webui.ui.polling import Poll

BEGUN = DownloadState(1, "someone/thing", running=True)


def shown(state: DownloadState) -> tuple[str, bool, bool, bool]:
    """What is said, and whether one can download, cancel and load."""
    said, start, cancel, load = _show(state)
    return said, start["interactive"], cancel["visible"], load["visible"]


def test_the_panel_says_how_the_download_stands():
    assert shown(DownloadState()) == ("", True, False, False)
    said, *buttons = shown(BEGUN)
    assert "Asking Hugging Face about someone/thing" in said and buttons == [False, True, False]
    said, *_ = shown(replace(BEGUN, done_bytes=1_300_000_000, total_bytes=2_600_000_000))
    assert "1.3 GB of 2.6 GB" in said and 'aria-valuenow="50"' in said
    said, *buttons = shown(replace(BEGUN, running=False, name="thing"))
    assert "thing is in the models folder" in said and buttons == [True, False, True]
    said, *buttons = shown(replace(BEGUN, running=False, cancelled=True))
    assert "goes on" in said and buttons == [True, False, False]


def test_what_a_server_says_is_never_markup():
    said, *_ = shown(replace(BEGUN, running=False, problem="<img src=x onerror=alert(1)>"))
    assert "<img" not in said and "&lt;img" in said


def has_panel(studio: Studio) -> bool:
    ids = {c["props"].get("elem_id") for c in page.build(studio, Poll()).config["components"]}
    return "get-model" in ids


def test_strangers_in_the_network_cannot_fill_the_disk(studio: Studio):
    assert has_panel(studio)
    studio.settings = replace(studio.settings, host="0.0.0.0")
    assert not has_panel(studio)
    studio.settings = replace(studio.settings, auth=("me", "secret"))
    assert has_panel(studio)
