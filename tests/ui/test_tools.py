"""Programs draw, list, train and score over the page's API, and language models over MCP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client
from PIL import Image

from tests.conftest import write_tiny_checkpoint
from tests.parts import free_port, in_a_loop
from webui.api.sdapi.pictures import png_text
from webui.bootstrap import launch
from webui.generation.outputs import read_parameters
from webui.settings import Settings

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    place = tmp_path_factory.mktemp("tools")
    write_tiny_checkpoint(place / "models" / "tiny")
    settings = Settings(
        models_dir=place / "models",
        embeddings_dirs=(place / "embeddings",),
        outputs_dir=place / "outputs",
        styles_file=place / "styles.csv",
        port=free_port(),
        mcp=True,
    )
    studio, demo, address = launch(settings)
    yield address
    demo.close()
    studio.close()


@pytest.fixture(scope="module")
def pictures() -> list[str]:
    images = [Image.new("RGB", (64, 64), (200, 40 * number, 30)) for number in range(3)]
    return [f"data:image/png;base64,{png_text(image)}" for image in images]


def test_a_client_of_the_page_gets_plain_values(url: str, pictures: list[str], tmp_path: Path):
    client = Client(url, verbose=False, download_files=tmp_path)
    try:
        assert set(client.view_api(print_info=False, return_format="dict")["named_endpoints"]) == {
            "/draw", "/embeddings", "/train", "/score"
        }  # fmt: skip
        path, parameters = client.predict("a cat", steps=2, seed=5, api_name="/draw")
        with Image.open(path) as image:
            assert image.size == (64, 64)
        assert read_parameters(Path(path)) == parameters
        assert parameters.startswith("a cat\nSteps: 2,") and "Seed: 5," in parameters
        other = client.predict("a cat", settings={"clip_skip": 2, "steps": 2}, api_name="/draw")
        assert "Clip skip: 2" in other[1]
        with pytest.raises(Exception, match="Steps must be"):
            client.predict("a cat", steps=0, api_name="/draw")
        for wrong, said in (({"steps": 999}, "Steps must be"), ({"colour": 1}, "no request has")):
            with pytest.raises(Exception, match=said):
                client.predict("a cat", settings=wrong, api_name="/draw")

        run = client.predict("my_mug_1", "star", pictures, "low_vram", 2, api_name="/train")
        assert (run["name"], run["step"], run["state"]) == ("my_mug_1", 2, "finished")
        assert Path(run["file"]).exists()
        (card,) = client.predict("MUG", api_name="/embeddings")
        assert (card["name"], card["problem"]) == ("my_mug_1", None)
        assert client.predict("my_mug_1", api_name="/score")["vectors"] == card["vectors"]
        with pytest.raises(Exception, match="no embedding “dog”"):
            client.predict("dog", api_name="/score")
    finally:
        client.close()


def test_a_language_model_finds_the_four_tools_and_uses_them(url: str, tmp_path: Path):
    folder = tmp_path / "mugs"
    folder.mkdir()
    for number in range(3):
        Image.new("RGB", (64, 64), (30, 200, 40 * number)).save(folder / f"{number}.png")

    async def used() -> None:
        async with (
            streamable_http_client(f"{url.rstrip('/')}/gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            tools = {tool.name: tool for tool in (await session.list_tools()).tools}
            assert set(tools) == {"draw", "embeddings", "train", "score"}
            assert "what to avoid" in json.dumps(tools["draw"].inputSchema)
            drawn = await session.call_tool("draw", {"prompt": "a dog", "steps": 2})
            assert not drawn.isError, drawn.content
            assert {part.type for part in drawn.content} == {"image", "text"}
            trained = await session.call_tool(
                "train",
                {"name": "my_mug_2", "initializer": "star", "images": [str(folder)],
                 "preset": "low_vram", "steps": 2},
            )  # fmt: skip
            assert not trained.isError, trained.content
            listed = await session.call_tool("embeddings", {"search": "my_mug_2"})
            assert "my_mug_2" in listed.content[0].text
            scored = await session.call_tool("score", {"name": "my_mug_2"})
            assert "editability" in scored.content[0].text
            refused = await session.call_tool("score", {"name": "nothing"})
            assert refused.isError and "no embedding" in refused.content[0].text

    in_a_loop(used())
