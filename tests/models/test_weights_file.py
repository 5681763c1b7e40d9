"""Files of weights are opened safely, and damaged or foreign ones are refused with a reason."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.checkpoint_parts import assert_weights, load_from
from webui.errors import AppError, UnreadableFile
from webui.models import weights_file
from webui.models.weights_file import open_weights

pytestmark = pytest.mark.usefixtures("no_network")


class TestDamage:
    """Broken and hostile files end in a sentence, never in code being run."""

    def test_a_hostile_pickle_is_refused_and_not_run(self, tmp_path):
        target = tmp_path / "was-run"

        class Hostile:
            def __reduce__(self):
                import os

                return (os.mkdir, (str(target),))

        torch.save({"state_dict": {"a": Hostile()}}, tmp_path / "zip.ckpt")
        (tmp_path / "raw.ckpt").write_bytes(pickle.dumps(Hostile(), protocol=2))
        (tmp_path / "posing.safetensors").write_bytes(pickle.dumps(Hostile(), protocol=2))
        for name in ("zip.ckpt", "raw.ckpt", "posing.safetensors"):
            with pytest.raises(UnreadableFile, match=f"{name} could not be loaded") as error:
                load_from(tmp_path / name)
            assert "mkdir" in str(error.value)
            assert not target.exists()

    def test_leftovers_of_a_trainer_do_no_harm(self, samples, tmp_path, monkeypatch):
        import sys
        import types

        module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
        module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
        with monkeypatch.context() as patch:
            for name in ("pytorch_lightning", "pytorch_lightning.callbacks"):
                patch.setitem(sys.modules, name, types.ModuleType(name))
            patch.setitem(sys.modules, module.__name__, module)
            content = {
                "callbacks": {module.ModelCheckpoint: {"best": 1}},
                "state_dict": samples["sd1"].state(),
            }
            torch.save(content, tmp_path / "old.ckpt")
        model = load_from(tmp_path / "old.ckpt", samples["sd1"].configs)
        assert_weights(model, samples["sd1"].parts, half=False)

    @pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
    @pytest.mark.parametrize("share", [0.0, 0.0001, 0.5, 0.99])
    def test_files_that_were_cut_off(self, samples, tmp_path, ending, share):
        path = samples["sd1"].write(tmp_path / f"a.{ending}")
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])
        with pytest.raises(UnreadableFile, match=f"a.{ending} could not be loaded.*again"):
            load_from(path)

    @pytest.mark.parametrize(
        "content, reason",
        [
            (b"<!DOCTYPE html><html>", "web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"\0" * 100, "neither"),
        ],
    )
    def test_strays_are_told_apart(self, tmp_path, content, reason):
        (tmp_path / "a.ckpt").write_bytes(content)
        with pytest.raises(UnreadableFile, match=reason):
            load_from(tmp_path / "a.ckpt")

    def test_packed_zip_files_are_refused(self, tmp_path):
        import zipfile

        with zipfile.ZipFile(tmp_path / "a.ckpt", "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", b"\0" * 100_000)
        with pytest.raises(UnreadableFile, match="packed"):
            load_from(tmp_path / "a.ckpt")

    def test_a_torch_file_without_weights_is_said_to_be_empty(self, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
        with pytest.raises(AppError, match="a is empty"):
            load_from(tmp_path / "a.ckpt")

    def test_the_right_content_under_the_wrong_ending_loads(self, samples, tmp_path):
        sample = samples["sd1"]
        path = sample.write(tmp_path / "a.safetensors").rename(tmp_path / "a.ckpt")
        assert_weights(load_from(path, sample.configs), sample.parts, half=True)

    @pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
    def test_a_file_that_becomes_shorter_while_it_is_read_is_damaged(self, tmp_path, ending):
        """Were it mapped into memory, this would end the process."""
        weights = {"a": torch.ones(1 << 20), "b": torch.ones(1 << 20)}
        path = tmp_path / f"a.{ending}"
        save_file(weights, path) if ending == "safetensors" else torch.save(weights, path)
        with open_weights(path) as opened:
            assert torch.equal(opened.read("a"), weights["a"])
            with open(path, "r+b") as file:
                file.truncate(1000)
            with pytest.raises(UnreadableFile, match="again"):
                opened.read("b")


@pytest.mark.parametrize("kind", ["safetensors", "ckpt"])
def test_what_is_read_in_another_precision_is_what_converting_it_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
):
    """Whatever part of it is read at once."""
    monkeypatch.setattr(weights_file, "_BLOCK_BYTES", 16)
    state = {
        "halves": torch.randn(5, 7).half(), "numbers": torch.randn(3, 2, 2), "one": torch.ones(()),
        "none": torch.empty(0, 3), "turned": torch.randn(4, 3).T, "whole": torch.arange(9),
    }  # fmt: skip
    path = tmp_path / f"a.{kind}"
    if kind == "ckpt":
        torch.save(state, path)
    else:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    with open_weights(path) as weights:
        for name, tensor in state.items():
            for dtype in (torch.float32, torch.bfloat16, torch.float16):
                found = weights.read(name, dtype)
                assert found.dtype == dtype and torch.equal(found, tensor.to(dtype)), name
            assert torch.equal(weights.read(name), tensor)
