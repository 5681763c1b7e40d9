"""What is fetched of a model, and what is refused, against a server that answers like the hub."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from tests.conftest import write_tiny_checkpoint
from tests.hub import Hub, serving
from webui.errors import AppError, BadField
from webui.models.catalog import list_checkpoints
from webui.models.download import check_id, choose_files, download, in_words, place_for, plan


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as repositories hold it: with pickles, other formats and pictures beside it."""
    folder = tmp_path_factory.mktemp("hub") / "someone" / "tiny"
    write_tiny_checkpoint(folder)
    for name in (
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_flax_model.msgpack",
        "safety_checker/model.safetensors",
        "README.md",
        "tiny.ckpt",
        "setup.py",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"not asked for")
    return folder.parent.parent


@pytest.fixture
def hub(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A server with a copy of that model; the client asks it."""
    shutil.copytree(shared, tmp_path / "hub")
    with serving(tmp_path / "hub") as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setattr(
            constants,
            "HUGGINGFACE_CO_URL_TEMPLATE",
            hub.url + "/{repo_id}/resolve/{revision}/{filename}",
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1024)
        yield hub


def test_only_what_the_app_loads_is_fetched_and_the_model_is_then_in_the_list(
    hub: Hub, tmp_path: Path
):
    told: list[int] = []
    wanted = plan("someone/tiny")
    folder = download(wanted, tmp_path / "models", told.append)
    here = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert here == {file.path for file in wanted.files}
    assert {"model_index.json", "defaults.json", "unet/diffusion_pytorch_model.safetensors"} <= here
    assert not [name for name in here if name.endswith((".bin", ".ckpt", ".msgpack", ".py", ".md"))]
    for name in here:
        assert (folder / name).read_bytes() == (hub.folder / "someone/tiny" / name).read_bytes()
    assert told == sorted(told) and told[-1] == wanted.size_bytes
    assert [found.name for found in list_checkpoints(tmp_path / "models")] == ["tiny"]
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["tiny"]


def test_a_connection_that_breaks_goes_on_in_the_middle_of_the_file(hub: Hub, tmp_path: Path):
    weights = "unet/diffusion_pytorch_model.safetensors"
    hub.breaks_at[weights] = 4096
    folder = download(plan("someone/tiny"), tmp_path / "models", lambda _: None)
    assert [wanted for name, wanted in hub.asked if name == weights] == [None, "bytes=4096-"]
    assert (folder / weights).read_bytes() == (hub.folder / "someone/tiny" / weights).read_bytes()


def test_an_interrupted_download_is_no_model_and_goes_on_where_it_was(hub: Hub, tmp_path: Path):
    models = tmp_path / "models"

    def stop_in_the_weights(done: int) -> None:
        if done > 100_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(plan("someone/tiny"), models, stop_in_the_weights)
    assert list_checkpoints(models) == [] and len(list(models.iterdir())) == 1
    fetched = {name for name, _ in hub.asked}
    hub.asked.clear()
    download(plan("someone/tiny"), models, lambda _: None)
    again = {name for name, wanted in hub.asked if wanted is None} & fetched
    assert again == {"model_index.json", "unet/config.json"}  # read to plan; the rest was there
    assert [found.name for found in list_checkpoints(models)] == ["tiny"]


def test_weights_that_were_changed_on_the_way_are_refused(hub: Hub, tmp_path: Path):
    wanted = plan("someone/tiny")
    weights = hub.folder / "someone/tiny/unet/diffusion_pytorch_model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    with pytest.raises(AppError, match=r"unet/diffusion_pytorch_model.safetensors .* damaged"):
        download(wanted, tmp_path / "models", lambda _: None)
    assert list_checkpoints(tmp_path / "models") == []


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(hub: Hub, tmp_path: Path):
    hub.sizes["unet/diffusion_pytorch_model.safetensors"] = 10**15
    wanted = plan("someone/tiny")
    hub.asked.clear()
    with pytest.raises(AppError, match=r"takes 1000000.0 GB.* free"):
        download(wanted, tmp_path / "models", lambda _: None)
    assert not hub.asked


def test_what_cannot_be_had_is_told(hub: Hub, tmp_path: Path):
    with pytest.raises(BadField, match="no model someone/other at 127.0.0.1"):
        plan("someone/other")
    hub.gated.add("someone/tiny")
    with pytest.raises(AppError, match="accept its terms"):
        plan("someone/tiny")


def test_what_cannot_be_used_is_told_before_its_weights_are_fetched(hub: Hub):
    model = hub.folder / "someone/tiny"
    (model / "unet/config.json").write_text('{"in_channels": 9}')
    with pytest.raises(AppError, match="in-painting model"):
        plan("someone/tiny")
    (model / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline"}))
    with pytest.raises(AppError, match="is a FluxPipeline"):
        plan("someone/tiny")
    (model / "model_index.json").write_text("[]")
    with pytest.raises(AppError, match="holds no settings"):
        plan("someone/tiny")
    (model / "model_index.json").unlink()
    (model / "whole.safetensors").write_bytes(b"weights")
    with pytest.raises(AppError, match="not a diffusers folder.*single files such as whole"):
        plan("someone/tiny")


def test_without_a_network_it_is_said(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with pytest.raises(AppError, match="cannot be reached"):
        plan("someone/tiny")


def test_half_precision_is_preferred_and_pickles_are_never_taken():
    paths = [
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "vae/diffusion_pytorch_model-00001-of-00002.safetensors",
        "vae/diffusion_pytorch_model-00002-of-00002.safetensors",
        "vae/diffusion_pytorch_model.safetensors.index.json",
        "tokenizer/../../outside.json",
        "../outside.json",
    ]
    assert choose_files("a/b", paths, ["unet", "vae"]) == [
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        *paths[5:8],
    ]
    with pytest.raises(AppError, match="no safetensors in text_encoder/"):
        choose_files("a/b", [*paths, "text_encoder/pytorch_model.bin"], ["unet", "text_encoder"])


@pytest.mark.parametrize(
    "text",
    ["", "name", "a/b/c", "../models", "a/..", "/etc/passwd", "a/b c", "https://evil.org/a/b"],
)
def test_what_is_no_id_is_refused(text: str):
    with pytest.raises(BadField, match="no id of Hugging Face"):
        check_id(text)


def test_an_id_may_be_pasted_as_the_address_of_its_page(tmp_path: Path):
    assert check_id(" https://huggingface.co/some-one/v1.5_x/ ") == "some-one/v1.5_x"
    assert place_for("some-one/v1.5_x", tmp_path) == tmp_path / "v1.5_x"
    assert place_for("someone/vae", tmp_path) == tmp_path / "someone-vae"
    (tmp_path / "here").mkdir()
    with pytest.raises(BadField, match="here is in .* already"):
        place_for("someone/here", tmp_path)


def test_sizes_are_in_words():
    assert [in_words(size) for size in (900, 4_200_000, 2_660_000_000)] == [
        "1 kB",
        "4 MB",
        "2.7 GB",
    ]
