"""What ``pip install .`` puts on a machine, and that it runs there without the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import httpx
import pytest

from tests.parts import free_port
from webui.settings import ROOT

EXAMPLES = ("toadstool", "clownfish-toy", "blueprint-style", "bad-haze")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    _pip("wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def _pip(*arguments: str | Path) -> None:
    subprocess.run([sys.executable, "-m", "pip", "-q", *arguments], check=True, cwd="/")


def test_the_wheel_holds_the_code_with_its_data_and_what_ships_and_nothing_else(wheel: Path):
    def below(folder: Path) -> set[str]:
        files = (path for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(ROOT).as_posix() for path in files if path.suffix != ".pyc"}

    shipped = below(ROOT / "models" / "starter") | {"embeddings/README.md"}
    for ending in ("safetensors", "json", "preview.png"):
        shipped |= {f"embeddings/{name}.{ending}" for name in EXAMPLES}
    expected = below(ROOT / "webui") | {f"webui/shipped/{name}" for name in shipped}
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = (name for name in archive.namelist() if name.endswith("/METADATA"))
        said = archive.read(metadata).decode()
    assert names == expected
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        assert line.startswith("#") or f"Requires-Dist: {line.split('=')[0].split('>')[0]}" in said


@pytest.mark.slow
def test_what_is_installed_starts_draws_and_trains_in_the_users_own_folder(
    wheel: Path, tmp_path: Path
):
    site, data = tmp_path / "site", tmp_path / "data"
    _pip("install", "--no-deps", "--target", site, wheel)
    environment = {**os.environ, "PYTHONPATH": str(site), "XDG_DATA_HOME": str(data)}
    port = free_port()
    app = subprocess.Popen(
        [site / "bin" / "embeddings-webui", "--port", str(port)],
        cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert app.stdout is not None
    try:
        while "Running on" not in (line := app.stdout.readline()):
            assert line, "it ended"
        with httpx.Client(base_url=f"http://127.0.0.1:{port}/sdapi/v1", timeout=300) as client:
            asked = {"prompt": "a toadstool", "steps": 1, "save_images": True}
            assert client.post("/txt2img", json=asked).status_code == 200
            assert set(client.get("/embeddings").json()["loaded"]) >= set(EXAMPLES)
    finally:
        app.terminate()
        app.wait(180)
        app.stdout.close()
    place = data / "embeddings-webui"
    assert len(list((place / "outputs" / "txt2img").rglob("*.png"))) == 1
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in EXAMPLES[:3]:
        shown = (ROOT / "embeddings" / f"{name}.preview.png").read_bytes()
        (pictures / f"{name}.png").write_bytes(shown)
    subprocess.run(
        [sys.executable, "-m", "webui", "train", "--data", pictures, "--name", "installed_1",
         "--init", "star", "--steps", "2"],
        cwd=tmp_path, env=environment, check=True,
    )  # fmt: skip
    assert (place / "embeddings" / "installed_1.safetensors").exists()
