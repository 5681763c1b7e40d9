"""Previews and notes are found where A1111 keeps them, and nothing in them does harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from webui.embeddings.sidecars import Notes, find_preview, read_notes, role_of, save_notes
from webui.errors import AppError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cat.pt", ("cat", "vectors")),
        ("cat.v2.SafeTensors", ("cat.v2", "vectors")),
        ("cat.png", ("cat", "picture")),
        ("cat.preview.png", ("cat", "preview")),
        ("cat.thumb.jpg", ("cat", "preview")),
        ("cat.description.txt", ("cat", "notes")),
        ("cat.json", ("cat", "notes")),
        ("cat.civitai.info", ("cat", "notes")),
        ("cat.v2.cm-info.json", ("cat.v2", "notes")),
        ("cat.info", None),
        ("cat.md", None),
        (".cat.pt", None),
        ("cat.pt.tmp", None),
        (".cat.pt.x1.tmp", None),
        ("cat.pt.part", None),
    ],
)
def test_each_file_has_its_part(name: str, expected):
    assert role_of(name) == expected


CIVITAI_INFO = {
    "id": 9208, "modelId": 7808, "name": "easynegative", "baseModel": "SD 1.5",
    "trainedWords": ["easynegative", 5, ""], "model": {"name": "EasyNegative", "nsfw": False},
    "files": [{"name": "easynegative.safetensors", "hashes": {"AutoV2": "C74B4E810B"}}],
    "images": [{"url": "https://image.civitai.com/a.jpeg"}],
}  # fmt: skip
CM_INFO = {
    "ModelId": 7808, "ModelName": "EasyNegative", "ModelDescription": "<p>text</p>", "Nsfw": False,
    "Tags": ["anime"], "ModelType": "TextualInversion", "VersionId": 9208,
    "VersionName": "easynegative", "BaseModel": "SD 1.5", "TrainedWords": ["easynegative"],
    "Hashes": {"SHA256": "C74B4E810B030F6B75FDE959E2DB678C"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"), [("cat.civitai.info", CIVITAI_INFO), ("cat.cm-info.json", CM_INFO)]
)
def test_what_civitai_says_is_read_from_the_files_of_other_programs(
    tmp_path: Path, name: str, content: dict
):
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    said = read_notes(tmp_path, "cat", [name]).published
    assert (said.name, said.words) == ("EasyNegative easynegative", ("easynegative",))
    assert said.base_model == "SD 1.5"
    assert said.link == "https://civitai.com/models/7808?modelVersionId=9208"


@pytest.mark.parametrize(
    "content", ["", "[]", '{"id": "x", "modelId": -1, "trainedWords": {"a": 1}, "model": 3}', "{"]
)
def test_a_file_of_civitai_that_says_nothing_counts_as_none(tmp_path: Path, content: str):
    (tmp_path / "cat.civitai.info").write_text(content)
    assert read_notes(tmp_path, "cat", ["cat.civitai.info"]) == Notes()


def test_the_preview_is_looked_for_in_the_order_of_a1111():
    files = {"cat.preview.png", "cat.jpg", "cat.webp"}
    assert find_preview("cat", files) == "cat.preview.png"
    assert find_preview("cat", files | {"cat.PNG"}) == "cat.PNG"
    assert find_preview("cat", {"cat.webp", "cat.jpg"}) == "cat.jpg"
    assert find_preview("cat", {"cat.pt", "cat.json"}) is None


def test_a_description_may_stand_in_three_places(tmp_path: Path):
    names = ["cat.txt", "cat.description.txt", "cat.json"]
    (tmp_path / "cat.txt").write_text("from txt\n")
    assert read_notes(tmp_path, "cat", names).description == "from txt"
    (tmp_path / "cat.description.txt").write_bytes("\ufefffrom longer näme".encode())
    assert read_notes(tmp_path, "cat", names).description == "from longer näme"
    (tmp_path / "cat.json").write_text('{"description": "from json"}')
    assert read_notes(tmp_path, "cat", names).description == "from json"


@pytest.mark.parametrize(
    "content",
    [
        "not json",
        "[1, 2]",
        "[" * 100_000,
        '{"description": 5, "notes": null, "preferred weight": "heavy", "tags": "x", "side": []}',
        '{"preferred weight": 1e999, "explicit only": "yes", "tags": {"a": 1}}',
        '{"preferred weight": 0, "side": "<script>"}',
    ],
)
def test_nonsense_in_a_sidecar_counts_as_nothing(tmp_path: Path, content: str):
    (tmp_path / "cat.json").write_text(content)
    assert read_notes(tmp_path, "cat", ["cat.json"]) == Notes()


def test_a_huge_or_missing_sidecar_does_no_harm(tmp_path: Path):
    with open(tmp_path / "cat.txt", "wb") as file:
        file.truncate(3 << 30)
    assert len(read_notes(tmp_path, "cat", ["cat.txt", "cat.json"]).description) <= 1 << 20


def test_saving_keeps_what_other_programs_wrote(tmp_path: Path):
    (tmp_path / "cat.json").write_text('{"activation text": "x", "notes": "old"}')
    notes = Notes("d", "n", -0.5, "positive", True, ("a", "b"))
    save_notes(tmp_path, "cat", notes)
    assert read_notes(tmp_path, "cat", ["cat.json"]) == notes
    assert json.loads((tmp_path / "cat.json").read_text())["activation text"] == "x"


@pytest.mark.parametrize("notes", [Notes(side="left"), Notes(preferred_weight=float("nan"))])
def test_notes_that_make_no_sense_are_refused(tmp_path: Path, notes: Notes):
    with pytest.raises(AppError):
        save_notes(tmp_path, "cat", notes)
