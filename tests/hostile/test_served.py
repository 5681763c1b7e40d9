"""Hostile files met by the app as it is served: page, API and training answer, and go on."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from tests.api.conftest import Served, serve
from tests.hostile.builders import EMBEDDINGS, PICTURES
from webui.settings import ROOT, Settings

pytestmark = pytest.mark.slow
LONGEST_S = 30
"""For an answer, on a machine with other work."""
MOST_BYTES = 1500 << 20
"""So much more in the app and its readers together, than before they met the files, is growth."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Served]:
    """The app with every hostile file in its folders from the start."""
    place = tmp_path_factory.mktemp("hostile")
    embeddings = place / "embeddings"
    embeddings.mkdir()
    shutil.copyfile(
        ROOT / "embeddings" / "toadstool.safetensors", embeddings / "honest.safetensors"
    )
    shutil.copytree(tiny_checkpoint, place / "models")
    (place / "models" / "lora").mkdir(exist_ok=True)
    for name, build in EMBEDDINGS.items():
        data = build()
        (embeddings / name).write_bytes(data)
        (place / "models" / f"x-{name}").with_suffix(".ckpt").write_bytes(data)
        (place / "models" / "lora" / f"{name}.safetensors").write_bytes(data)
    for name, build in PICTURES.items():
        (embeddings / f"honest.{name}").write_bytes(build())
    shutil.copyfile(embeddings / "honest.large.png", embeddings / "honest.preview.png")
    settings = Settings(
        models_dir=place / "models",
        embeddings_dirs=(embeddings,),
        outputs_dir=place / "outputs",
        styles_file=place / "styles.csv",
        device="cpu",
        precision="fp32",
    )
    yield from serve(settings)


@pytest.fixture(scope="module")
def asked(held_before: int, served: Served) -> Callable[..., httpx.Response]:
    """Ask the app; it may take neither long nor much memory."""

    def ask(path: str, **options: object) -> httpx.Response:
        begun = time.monotonic()
        answer = httpx.request(url=served.url + path, timeout=LONGEST_S, **options)
        assert time.monotonic() - begun < LONGEST_S
        assert held_bytes() - held_before < MOST_BYTES
        return answer

    return ask


@pytest.fixture(scope="module")
def held_before() -> int:
    return held_bytes()


def held_bytes() -> int:
    """Return the memory of the app, which is the tests' own process here, and of its readers."""
    app = psutil.Process()
    readers = [one for one in app.children() if "webui.reader_process" in " ".join(one.cmdline())]
    return sum(one.memory_info().rss for one in (app, *readers))


def test_the_page_has_a_card_for_each_file_and_the_reason_on_it(served: Served, asked: Callable):
    deadline = time.monotonic() + 180
    wanted = {name for name in EMBEDDINGS if not name.endswith(".png")}
    while True:
        cards = asked("/cards", method="GET")
        assert cards.status_code == 200
        found = {card.path.name: card for card in served.studio.library.snapshot().cards}
        if wanted <= found.keys() or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    assert wanted <= found.keys()
    assert all(found[name].problem for name in wanted)
    assert found["honest.safetensors"].usable
    assert asked("/", method="GET").status_code == 200


def test_the_api_lists_and_draws_with_what_is_honest(served: Served, asked: Callable):
    listed = asked("/sdapi/v1/embeddings", method="GET").json()
    assert "honest" in listed["loaded"]
    body = {"prompt": "honest <lora:doubling.pt:1>", "steps": 1, "width": 64, "height": 64}
    assert asked("/sdapi/v1/txt2img", method="POST", json=body).status_code == 200
    body = {"sd_model_checkpoint": "x-nested-key"}
    assert asked("/sdapi/v1/options", method="POST", json=body).status_code == 422


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_looked_into_or_refused(served: Served, asked: Callable, name: str):
    text = base64.b64encode(PICTURES[name]()).decode()
    answer = asked("/sdapi/v1/png-info", method="POST", json={"image": text})
    assert answer.status_code in (200, 422)
    body = {"embedding_name": "x", "init_text": "star", "pictures": [text] * 3, "wait": False}
    answer = asked("/sdapi/v1/train/embedding", method="POST", json=body)
    assert answer.status_code in (413, 422)
    key = next(card.key for card in served.studio.library.snapshot().cards if card.usable)
    answer = asked("/thumbnails", method="GET", params={"card": key})
    assert answer.status_code in (200, 404)
