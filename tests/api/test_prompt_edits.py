"""The page's edits of prompts: by the file of a card, by the rules of the loaded model."""

from __future__ import annotations

from pathlib import Path

import httpx
import torch

from tests.api.conftest import Served
from webui.embeddings import formats
from webui.embeddings.embedding import Embedding


def put(folder: Path, name: str, width: int) -> str:
    path = folder / f"{name}.safetensors"
    formats.write(Embedding(name, {"clip_l": torch.ones(1, width)}), path, "safetensors")
    return str(path)


def edited(served: Served, **wish: object) -> dict[str, object]:
    body = {"start": 0, "end": 0, **wish}
    answer = httpx.post(f"{served.url}/prompt-edits", json=body, timeout=180, verify=False)
    return answer.json() if answer.status_code == 200 else {"status": answer.status_code}


def test_a_call_is_put_in_and_taken_out(served: Served):
    width = served.studio.models.get(60).widths["clip_l"]
    foo = put(served.embeddings, "foo", width)
    put(served.embeddings, "foo bar", width + 1)
    served.studio.library.refresh()
    once = edited(served, text="a cat", start=5, end=5, card=foo)
    assert once == {"text": "a cat, foo", "start": 10, "end": 10, "taken": False}
    assert edited(served, text="a cat, foo", card=foo)["text"] == "a cat"
    # the longer name does not fit the model, so the shorter one is what is called
    assert edited(served, text="foo bar", card=foo)["text"] == " bar"
    assert edited(served, text="a cat,foo", card=foo, anywhere=True)["text"] == "a cat"
    assert edited(served, text="<foo>", start=2, end=2, steps=1)["text"] == "(<foo>:1.1)"
    assert edited(served, text="", steps=1)["text"] == ""


def test_what_is_not_there_changes_nothing(served: Served):
    assert edited(served, text="foo", card="/etc/passwd") == {"status": 404}
    assert edited(served, text="x" * 50_000) == {"status": 422}
