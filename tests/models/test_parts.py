"""A VAE of its own is read in every layout; weights are converted one at a time."""

from __future__ import annotations

import weakref

import pytest
import torch
from safetensors.torch import save_file

from tests.models.checkpoint_parts import CPU
from webui.errors import UnreadableFile
from webui.models import ldm_names as names
from webui.models import single_file
from webui.models.catalog import Checkpoint
from webui.models.loader import load
from webui.models.parts import filled, load_vae, read_config, without_weights

pytestmark = pytest.mark.usefixtures("no_network")


class TestVae:
    """A VAE may come from a file of its own, in any layout."""

    def other(self, sample, prefix: str) -> dict:
        config = read_config(sample.configs / "vae" / "config.json")
        return {
            prefix + names.vae_name(name, config): tensor + 1
            for name, tensor in sample.parts["vae"].items()
        }

    def assert_other(self, vae, sample) -> None:
        for name, tensor in vae.state_dict().items():
            assert torch.equal(tensor, sample.parts["vae"][name] + 1), name

    @pytest.mark.parametrize("prefix", ["", "first_stage_model."])
    def test_the_original_layout_in_a_torch_file(self, samples, tmp_path, prefix):
        state = self.other(samples["sd1"], prefix) | {"loss.logvar": torch.ones(())}
        torch.save({"state_dict": state}, tmp_path / "a.vae.pt")
        vae = load_vae(tmp_path / "a.vae.pt", samples["sd1"].configs, CPU)
        self.assert_other(vae, samples["sd1"])

    @pytest.mark.parametrize("old", [True, False], ids=["before 0.16", "today"])
    def test_the_layout_of_diffusers(self, samples, tmp_path, old):
        state = {}
        for name, tensor in samples["sd1"].parts["vae"].items():
            if old and ".attentions." in name:
                for new_word, old_word in names.OLD_VAE_ATTENTION.items():
                    name = name.replace(new_word, old_word)
            state[name] = tensor + 1
        save_file(state, tmp_path / "a.safetensors")
        vae = load_vae(tmp_path / "a.safetensors", samples["sd1"].configs, CPU)
        self.assert_other(vae, samples["sd1"])

    def test_it_takes_the_place_of_the_one_inside(self, samples, tmp_path, monkeypatch):
        (tmp_path / "configs").mkdir()
        (tmp_path / "configs" / "sd1").symlink_to(samples["sd1"].configs)
        monkeypatch.setattr(single_file, "CONFIGS", tmp_path / "configs")
        (tmp_path / "models" / "VAE").mkdir(parents=True)
        path = samples["sd1"].write(tmp_path / "models" / "mine.safetensors")
        save_file(self.other(samples["sd1"], ""), tmp_path / "models" / "VAE" / path.name)
        model = load(Checkpoint("mine", path, path.parent), CPU, torch.float32)
        self.assert_other(model.vae, samples["sd1"])

    def test_a_broken_one_is_named(self, samples, tmp_path):
        path = samples["sd1"].write(tmp_path / "mine.safetensors")
        (tmp_path / "mine.vae.pt").write_bytes(b"")
        with pytest.raises(UnreadableFile, match="mine.vae.pt could not be loaded. It is empty"):
            load(Checkpoint("mine", path), CPU, torch.float32)


def test_what_was_read_is_let_go_as_soon_as_it_is_converted(tmp_path):
    """So that loading takes hardly more memory at its peak than what stays."""
    read: list[weakref.ref[torch.Tensor]] = []
    most_alive = 0

    def fetch(name: str) -> torch.Tensor:
        nonlocal most_alive
        most_alive = max(most_alive, sum(each() is not None for each in read))
        tensor = torch.ones((4, 4) if name.endswith("weight") else 4)
        read.append(weakref.ref(tensor))
        return tensor

    empty = without_weights(lambda: torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(9))))
    network = filled(empty, fetch, tmp_path, "network", CPU, torch.bfloat16)
    assert {weight.dtype for weight in network.parameters()} == {torch.bfloat16}
    assert len(read) == 18 and most_alive <= 1
