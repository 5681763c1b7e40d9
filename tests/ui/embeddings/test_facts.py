"""What is known of an embedding is shown as text, whoever wrote it."""

from __future__ import annotations

from pathlib import Path

from tests.embeddings.embedding_parts import put
from tests.parts import studio_without_model, wait_until
from webui.ui.embeddings.facts import about


def test_what_civitai_says_is_shown_as_text_and_its_link_leads_nowhere(tmp_path: Path):
    with studio_without_model(tmp_path) as studio:
        folder = studio.settings.embeddings_dirs[0]
        (folder / "easy.cm-info.json").write_text(
            '{"ModelId": 7, "ModelName": "<b>Easy</b>", "TrainedWords": ["mjau"]}'
        )
        put(folder / "easy.pt")
        wait_until(lambda: studio.library.card("easy") is not None)
        shown = about(studio, studio.library.card("easy"))
    assert "&lt;b&gt;Easy&lt;/b&gt;" in shown and "mjau" in shown
    assert "https://civitai.com/models/7" in shown and "<a" not in shown
