"""The saved pictures say which embeddings they were made with, also after a renaming."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from PIL import Image

from webui.generation.metadata.infotext import write_infotext
from webui.generation.outputs import save_picture
from webui.generation.request import GenerationRequest
from webui.studio.picture_history import PictureHistory


def picture(folder: Path, seed: int, embeddings: dict[str, str]) -> Path:
    """A saved picture that says it was made with these embeddings."""
    request = replace(GenerationRequest(prompt="a cat"), seed=seed)
    text = write_infotext(request, model_name="m", model_hash="0", embeddings=embeddings)
    return save_picture(Image.new("RGB", (8, 8)), text, folder / "2024-05-06", str(seed))


def test_pictures_are_found_by_name_and_by_hash(tmp_path: Path):
    first = picture(tmp_path, 1, {"Toad": "aaaaaaaaaaaa"})
    second = picture(tmp_path, 2, {"toad": "bbbbbbbbbbbb", "fish": "cccccccccccc"})
    picture(tmp_path, 3, {})
    history = PictureHistory(tmp_path)
    history.look()
    assert set(history.made_with("TOAD", "")) == {first, second}
    assert history.made_with("renamed", "cccccccccccc") == [second]
    assert history.uses("toad", "cccccccccccc") == 2
    assert history.uses("nothing", "") == 0


def test_what_comes_and_goes_is_noticed_and_nothing_else_changes_the_version(tmp_path: Path):
    history = PictureHistory(tmp_path)
    history.look()
    before = history.version
    path = picture(tmp_path, 1, {"toad": "aaaaaaaaaaaa"})
    history.look()
    assert history.version == before + 1
    assert history.newest() == path
    history.look()
    assert history.version == before + 1
    path.unlink()
    history.look()
    assert history.uses("toad", "aaaaaaaaaaaa") == 0
    assert history.newest() is None


def test_files_that_are_no_pictures_and_links_do_no_harm(tmp_path: Path):
    folder, outside = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    picture(outside, 1, {"toad": "aaaaaaaaaaaa"})
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    (folder / "link").symlink_to(outside)
    history = PictureHistory(folder)
    history.look()
    assert history.uses("toad", "aaaaaaaaaaaa") == 0
