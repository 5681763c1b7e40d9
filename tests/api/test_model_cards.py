"""Checkpoints and LoRAs as cards, and a LoRA's call put into a prompt by its card."""

from __future__ import annotations

import io
import json

import httpx
from PIL import Image

from tests.api.conftest import Served
from webui.api.model_cards import NO_CALL


def get(served: Served, path: str, **query: str) -> httpx.Response:
    return httpx.get(f"{served.url}/{path}", params=query or None, timeout=180, verify=False)


def edited(served: Served, **wish: object) -> dict[str, object]:
    body = {"start": 0, "end": 0, **wish}
    answer = httpx.post(f"{served.url}/prompt-edits", json=body, timeout=180, verify=False)
    return answer.json() if answer.status_code == 200 else {"status": answer.status_code}


def test_models_are_cards_with_what_lies_beside_them(served: Served):
    models = served.studio.settings.models_dir
    (models / "lora" / "styles").mkdir(parents=True)
    for name in ("ink", "styles/ink", "styles/soft", "a:b"):
        (models / "lora" / f"{name}.safetensors").write_bytes(b"x" * 2000)
    (models / "lora" / "ink.json").write_text(
        json.dumps({"preferred weight": 0.7, "description": "pen"})
    )
    Image.new("RGB", (90, 60), "navy").save(models / "lora" / "ink.preview.png")
    Image.new("RGB", (60, 90), "navy").save(models / "zebra.png")
    cards = get(served, "model-cards").json()

    checkpoints = {card["name"]: card for card in cards["checkpoints"]}
    assert checkpoints["tiny"]["used"] and "In use" in checkpoints["tiny"]["badges"]
    assert not checkpoints["zebra"]["used"] and checkpoints["zebra"]["size_bytes"] > 1000
    small = get(served, checkpoints["zebra"]["thumbnail"])
    assert Image.open(io.BytesIO(small.content)).size == (60, 90)
    assert get(served, "model-thumbnails", card=str(models / "zebra.png")).status_code == 404

    loras = {f"{card['folder']}/{card['name']}": card for card in cards["loras"]}
    assert loras["/a:b"]["reason"] == NO_CALL
    assert loras["/ink"]["description"] == "pen" and loras["/ink"]["thumbnail"]
    assert loras["styles/ink"]["thumbnail"] is None

    ink, inner, soft = (loras[name]["key"] for name in ("/ink", "styles/ink", "styles/soft"))
    once = edited(served, text="a cat", start=2, end=2, lora=ink)
    assert once == {"text": "a cat <lora:ink:0.7>", "start": 2, "end": 2, "taken": False}
    assert edited(served, text="a cat <lora:Ink:1>", lora=ink)["text"] == "a cat"
    both = edited(served, text="a cat <lora:ink:1>", lora=inner)
    assert both["text"] == "a cat <lora:ink:1> <lora:styles/ink:1>"
    assert edited(served, text="<lora:styles/soft:2>", lora=soft)["text"] == ""
    for key in (loras["/a:b"]["key"], str(models / "zebra.png")):
        assert edited(served, text="a cat", lora=key) == {"status": 404}
