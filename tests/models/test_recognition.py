"""What a single file is, and what it predicts, is told from its header."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.models.checkpoint_parts import UNET_FIRST, load_from, refusal
from webui.errors import UnreadableFile
from webui.models.recognition import CheckpointInfo, recognise
from webui.models.weights_file import open_weights

pytestmark = pytest.mark.usefixtures("no_network")


class TestPrediction:
    """Who predicts the noise and who the velocity is found out without asking."""

    def seen(self, sample, path: Path, said: dict | None = None, **extra) -> CheckpointInfo:
        weights = {key: value.contiguous() for key, value in sample.state(**extra).items()}
        save_file(weights, path, metadata=said)
        with open_weights(path) as file:
            return recognise(file, path.stem)

    def test_a_file_that_says_nothing_is_left_to_its_family(self, samples, tmp_path):
        for family in samples:
            anatomy = self.seen(samples[family], tmp_path / "a.safetensors")
            assert (anatomy.family.key, anatomy.prediction_type) == (family, None)
            assert not anatomy.zero_terminal_snr

    def test_marker_tensors_are_heeded(self, samples, tmp_path):
        marks = {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}
        path = samples["sdxl"].write(tmp_path / "a.safetensors", samples["sdxl"].state(**marks))
        model = load_from(path, samples["sdxl"].configs)
        assert model.prediction_type == "v_prediction"
        assert model.scheduler_config["rescale_betas_zero_snr"] is True
        assert model.scheduler_config["timestep_spacing"] == "trailing"

    @pytest.mark.parametrize(
        "text, expected",
        [
            ('model:\n  params:\n    parameterization: "v"\n    unet_config:\n', "v_prediction"),
            ("model:\n  params:\n    unet_config:\n      target: x\n", "epsilon"),
        ],
    )
    def test_a_yaml_beside_the_file_has_the_first_word(self, samples, tmp_path, text, expected):
        (tmp_path / "a.yaml").write_text(text)
        marks = {"v_pred": torch.zeros(0)} if expected == "epsilon" else {}
        anatomy = self.seen(samples["sd1"], tmp_path / "a.safetensors", **marks)
        assert anatomy.prediction_type == expected

    @pytest.mark.parametrize("word, meant", [("v", "v_prediction"), ("epsilon", "epsilon")])
    def test_the_header_may_say_it(self, samples, tmp_path, word, meant):
        said = {"modelspec.prediction_type": word}
        anatomy = self.seen(samples["sd1"], tmp_path / "a.safetensors", said)
        assert anatomy.prediction_type == meant

    @pytest.mark.parametrize("bias, expected", [(0.0, "epsilon"), (-3.0, "v_prediction")])
    def test_an_sd2_that_says_nothing_is_asked_by_a_trial_run(
        self, samples, tmp_path, bias, expected
    ):
        last = {"model.diffusion_model.out.2.bias": torch.full((4,), bias)}
        sample = samples["sd2"]
        path = sample.write(tmp_path / "a.safetensors", sample.state(**last))
        model = load_from(path, sample.configs)
        assert model.prediction_type == expected
        assert model.defaults["width"] == (512 if expected == "epsilon" else 768)

    def test_the_step_count_of_the_sd2_base_model_is_known(self, samples, tmp_path):
        content = {"state_dict": samples["sd2"].state(), "global_step": 875000}
        torch.save(content, tmp_path / "a.ckpt")
        with open_weights(tmp_path / "a.ckpt") as file:
            assert recognise(file, "a").prediction_type == "epsilon"


class TestRefusals:
    """What is no usable checkpoint is refused with what it seems to be."""

    @pytest.mark.parametrize(
        "channels, kind", [(9, "in-painting"), (8, "InstructPix2Pix"), (7, "upscal"), (5, "depth")]
    )
    def test_models_that_need_more_than_text(self, tmp_path, channels, kind):
        message = refusal(tmp_path / "a.safetensors", {UNET_FIRST: torch.ones(8, channels, 3, 3)})
        assert kind in message
        assert message.startswith("a is a")

    @pytest.mark.parametrize(
        "key, kind",
        [
            ("conditioner.embedders.0.model.ln_final.weight", "SDXL refiner"),
            ("noise_augmentor.betas", "unCLIP"),
            ("cond_stage_model.roberta.embeddings.weight", "AltDiffusion"),
            ("edm_mean", "Playground"),
            ("edm_vpred.sigma_max", "CosXL"),
            ("model.diffusion_model.input_blocks.1.1.to_q.weight.absmax", "quantised"),
            ("nothing", "no text encoder"),
        ],
    )
    def test_relatives_of_stable_diffusion(self, tmp_path, key, kind):
        state = {UNET_FIRST: torch.ones(8, 4, 3, 3), key: torch.ones(2)}
        assert kind in refusal(tmp_path / "a.safetensors", state)

    @pytest.mark.parametrize(
        "key, kind",
        [
            ("model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight", "Diffusion 3"),
            ("double_blocks.0.img_attn.qkv.weight", "Flux"),
            ("model.diffusion_model.double_blocks.0.img_attn.qkv.weight", "Flux"),
            ("lora_unet_down_blocks_0.lora_down.weight", "LoRA"),
            ("lora_te_text_model_encoder.hada_w1_a", "LoRA"),
            ("control_model.input_blocks.0.0.weight", "ControlNet"),
            ("first_stage_model.decoder.conv_in.weight", "models/vae/"),
            ("decoder.conv_in.weight", "models/vae/"),
            ("input_blocks.0.0.weight", "UNet of a model alone"),
            ("down_blocks.0.resnets.0.conv1.weight", "UNet of a model alone"),
            ("down_blocks.0.motion_modules.0.norm.weight", "AnimateDiff"),
            ("emb_params", "embeddings/"),
            ("clip_g", "embeddings/"),
            ("text_model.encoder.layers.0.mlp.fc1.weight", "text encoder alone"),
            ("model.diffusion_model.other", "another kind"),
            ("conv_first.weight", "upscaler"),
            ("<cat>", "too small"),
        ],
    )
    def test_other_things_that_lie_in_models_folders(self, tmp_path, key, kind):
        assert kind in refusal(tmp_path / "a.safetensors", {key: torch.ones(2)})

    def test_what_nobody_knows_is_shown_by_its_first_weight(self, tmp_path):
        state = {f"strange.{letter}": torch.ones(1) for letter in "abcde"}
        message = refusal(tmp_path / "a.safetensors", state)
        assert "“strange.a”" in message

    def test_a_text_encoder_of_no_known_width(self, tmp_path):
        table = "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"
        state = {UNET_FIRST: torch.ones(8, 4, 3, 3), table: torch.ones(10, 333)}
        assert "width 333" in refusal(tmp_path / "a.safetensors", state)

    def test_missing_weights_are_named(self, samples, tmp_path):
        sample = samples["sd1"]
        for key, part in (
            ("model.diffusion_model.out.2.bias", "UNet lacks 1 of"),
            ("first_stage_model.decoder.conv_in.bias", "VAE lacks 1 of"),
            ("cond_stage_model.transformer.text_model.final_layer_norm.bias", "encoder lacks 1 of"),
        ):
            state = sample.state()
            del state[key]
            path = sample.write(tmp_path / "a.safetensors", state)
            with pytest.raises(UnreadableFile, match=f"a.safetensors could.*{part}"):
                load_from(path, sample.configs)

    def test_weights_of_another_shape_are_named(self, samples, tmp_path):
        sample = samples["sd1"]
        state = sample.state(**{UNET_FIRST: torch.ones(8, 4, 3, 3)})
        path = sample.write(tmp_path / "a.safetensors", state)
        with pytest.raises(UnreadableFile, match=r"conv_in.* of its UNet .*a model of this family"):
            load_from(path, sample.configs)
