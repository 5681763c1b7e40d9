"""The models folder is searched without reading any weights."""

from __future__ import annotations

from pathlib import Path

import pytest

from webui.errors import AppError
from webui.models.catalog import Checkpoint, find_checkpoint, list_checkpoints, separate_vae


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def names_in(folder: Path) -> list[str]:
    return [checkpoint.name for checkpoint in list_checkpoints(folder)]


def test_single_files_and_folders_are_found_also_in_sub_folders(models):
    touch(models, "b.safetensors", "A.ckpt", "sub/c.SAFETENSORS", "folder/model_index.json")
    assert names_in(models) == ["A", "b", "folder", "sub/c"]
    assert find_checkpoint(models, "folder").is_folder
    assert not find_checkpoint(models, "sub/c").is_folder


def test_the_inside_of_a_diffusers_folder_is_not_searched(models):
    touch(models, "one/model_index.json", "one/unet/diffusion_pytorch_model.safetensors")
    assert names_in(models) == ["one"]


def test_the_starter_model_comes_last(models):
    touch(models, "starter/model_index.json", "zebra.safetensors")
    assert names_in(models) == ["zebra", "starter"]
    assert find_checkpoint(models).name == "zebra"


def test_other_things_in_a_models_folder_are_passed_over(models):
    touch(
        models,
        "Lora/a.safetensors",
        "VAE/b.safetensors",
        "embeddings/c.safetensors",
        "ControlNet/d.safetensors",
        ".hidden.safetensors",
        "mine.vae.safetensors",
        "notes.txt",
    )
    assert names_in(models) == []


def test_the_same_name_with_two_endings_stays_two_checkpoints(models):
    touch(models, "a.ckpt", "a.safetensors")
    assert names_in(models) == ["a", "a.safetensors"]
    assert find_checkpoint(models, "a.safetensors").path.suffix == ".safetensors"


def test_further_folders_are_searched_and_no_checkpoint_hides_another(models, tmp_path):
    other = tmp_path / "other"
    touch(models, "a.safetensors", "vae/a.pt", "starter/model_index.json")
    touch(other, "a.safetensors", "b.ckpt", "vae/b.pt")
    found = list_checkpoints(models, other)
    assert [one.name for one in found] == ["a", "a.safetensors", "b", "starter"]
    assert [one.path.parent for one in found[:3]] == [models, other, other]
    assert separate_vae(found[0]) == models / "vae" / "a.pt"
    assert separate_vae(found[1]) is None
    assert separate_vae(find_checkpoint(models, "b", [other])) == other / "vae" / "b.pt"
    touch(tmp_path / "third", "a.safetensors")
    assert list_checkpoints(models, other, tmp_path / "third")[3].name == "third/a.safetensors"


def test_links_that_lead_in_circles_end(models):
    touch(models, "sub/a.safetensors")
    (models / "sub" / "again").symlink_to(models)
    assert names_in(models) == ["sub/a"]


def test_an_unknown_name_and_an_empty_folder_are_said_plainly(models):
    with pytest.raises(AppError, match="There is no model in"):
        find_checkpoint(models)
    touch(models, "a.safetensors")
    with pytest.raises(AppError, match="no model “b”"):
        find_checkpoint(models, "b")
    assert names_in(models / "missing") == []


class TestSeparateVae:
    """A VAE with the checkpoint's name goes with it."""

    def found(self, models: Path, name: str = "mine") -> str | None:
        vae = separate_vae(find_checkpoint(models, name))
        return vae.relative_to(models).as_posix() if vae else None

    @pytest.mark.parametrize("ending", ["safetensors", "pt", "ckpt"])
    def test_beside_the_checkpoint(self, models, ending):
        touch(models, "mine.safetensors", f"mine.vae.{ending}", "other.vae.pt")
        assert self.found(models) == f"mine.vae.{ending}"

    @pytest.mark.parametrize("file", ["VAE/mine.safetensors", "vae/mine.vae.pt"])
    def test_in_the_vae_folder(self, models, file):
        touch(models, "mine.safetensors", file)
        assert self.found(models) == file

    def test_of_a_checkpoint_in_a_sub_folder(self, models):
        touch(models, "sub/mine.safetensors", "vae/mine.safetensors")
        assert self.found(models, "sub/mine") == "vae/mine.safetensors"

    def test_of_a_diffusers_folder(self, models):
        touch(models, "mine/model_index.json", "mine.vae.safetensors")
        assert self.found(models) == "mine.vae.safetensors"

    def test_the_one_beside_the_checkpoint_wins(self, models):
        touch(models, "mine.ckpt", "mine.vae.pt", "vae/mine.safetensors")
        assert self.found(models) == "mine.vae.pt"

    def test_without_one_the_checkpoint_uses_its_own(self, models):
        touch(models, "mine.ckpt", "minefield.vae.pt", "vae/other.safetensors")
        assert self.found(models) is None
        assert separate_vae(Checkpoint("mine", models / "gone" / "mine.ckpt")) is None
