"""Several cards are moved, deleted and restored, whatever the page sends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.embeddings.embedding_parts import put
from tests.parts import studio_without_model, wait_until
from webui.ui.embeddings.several import actions


def test_those_that_can_be_changed_are_and_the_others_are_told(tmp_path: Path):
    with studio_without_model(tmp_path) as studio:
        move, delete, restore = actions(studio)
        folder = studio.settings.embeddings_dirs[0]
        paths = [folder / f"{name}.pt" for name in ("one", "two", "three")]
        for path in paths:
            put(path)
        wait_until(lambda: len(studio.library.names()) == 3)
        keys = [str(path) for path in paths]
        told = move({"keys": [*keys[:2], "/etc/passwd"], "folder": " pond "})
        assert told["said"] == "Moved 2 embeddings to pond." and len(told["problems"]) == 1
        assert (folder / "pond" / "one.pt").is_file()
        told = move({"keys": [keys[2]], "folder": "../out"})
        assert told["said"] == "" and "three" in told["problems"][0]
        told = delete({"keys": [str(folder / "pond" / "one.pt"), keys[2]]})
        assert len(told["tokens"]) == 2 and list(studio.library.names()) == ["two"]
        told = restore({"tokens": [*told["tokens"], "../.."]})
        assert told["said"] == "Restored 2 embeddings." and len(told["problems"]) == 1
        assert len(studio.library.names()) == 3


@pytest.mark.parametrize("sent", [None, "x", [], {}, {"keys": 3}, {"keys": [None, {}]}])
def test_anything_else_changes_nothing(tmp_path: Path, sent: object):
    with studio_without_model(tmp_path) as studio:
        for action in actions(studio):
            told = action(sent)
            assert told["said"] == "" and told["problems"] == []
