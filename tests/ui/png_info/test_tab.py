"""What the PNG Info tab shows of a text: hostile text stays text, and a model can be loaded."""

from __future__ import annotations

from webui.studio.studio import Studio
from webui.ui.png_info.tab import _show

TAIL = "Steps: 7, Sampler: Euler a, Seed: 3"
HOSTILE = "<img src=x onerror=alert(1)>"


def test_every_text_is_escaped(studio: Studio):
    text = f"<embedding:{HOSTILE[1:-1]}>\n{TAIL}, Model: {HOSTILE}, {HOSTILE}: 1, TI: {HOSTILE}"
    found, table, *_ = _show(studio, text)
    assert "missing" in found
    for html in (found, table):
        assert "<img" not in html and "&lt;img" in html


def test_a_model_that_is_here_but_not_in_use_can_be_loaded(studio: Studio):
    folder = studio.settings.models_dir / "v1-5"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    found, _, send, load = _show(studio, f"a cat\n{TAIL}, Model hash: 0123456789, Model: v1-5")
    assert "cannot be compared" in found
    assert load["visible"] and load["value"] == "Load v1-5" and send["interactive"]


def test_a_text_that_is_too_long_is_refused(studio: Studio):
    found, table, send, load = _show(studio, "a" * 200_000)
    assert "longer" in found and table == "" and not send["interactive"]


def test_an_empty_box_shows_nothing(studio: Studio):
    found, _, send, load = _show(studio, "")
    assert found == "" and not send["interactive"] and not load["visible"]
