"""Single files of each family and layout load offline, and everything else is refused by name."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from webui.errors import AppError, UnreadableFile
from webui.models import ldm_names as names
from webui.models import single_file
from webui.models.catalog import Checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.models.parts import load_vae, read_config
from webui.models.recognition import CheckpointInfo, recognise
from webui.models.single_file import STARTER_FOLDER, load_single_file
from webui.models.weights_file import open_weights

CPU = torch.device("cpu")
UNET_FIRST = "model.diffusion_model.input_blocks.0.0.weight"
pytestmark = pytest.mark.usefixtures("no_network")


def load_from(path: Path, configs: Path | None = None, dtype: torch.dtype = torch.float32) -> Model:
    return load_single_file(Checkpoint(path.stem, path), CPU, dtype, configs=configs)


def assert_weights(model: Model, parts: dict, half: bool, unet_dtype=torch.float32) -> None:
    """Every weight of the model is exactly the one that was written."""

    def same(network, written, dtype):
        for name, tensor in network.state_dict().items():
            expected = written[name].half() if half else written[name]
            assert torch.equal(tensor, expected.to(dtype)), name

    same(model.unet, parts["unet"], unet_dtype)
    same(model.vae, parts["vae"], torch.float32)
    for encoder, part in zip(model.text_encoders, ("text_encoder", "text_encoder_2"), strict=False):
        same(encoder.model, parts[part], torch.float32)


def refusal(path: Path, state: dict) -> str:
    save_file({key: value.contiguous() for key, value in state.items()}, path)
    with pytest.raises(AppError) as error:
        load_from(path)
    return str(error.value)


@pytest.mark.parametrize(
    "family, ending, half",
    [
        ("sd1", "safetensors", True),
        ("sd1", "safetensors", False),
        ("sd1", "ckpt", True),
        ("sd1", "ckpt", False),
        ("sd2", "safetensors", True),
        ("sd2", "ckpt", False),
        ("sdxl", "safetensors", True),
        ("sdxl", "ckpt", True),
    ],
)
def test_every_weight_arrives_from_every_layout(samples, tmp_path, family, ending, half):
    sample = samples[family]
    path = sample.write(tmp_path / f"mine.{ending}", half=half)
    model = load_from(path, sample.configs)
    assert (model.family, model.name, model.dtype) == (family, "mine", torch.float32)
    assert_weights(model, sample.parts, half)


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
def test_a_loaded_model_encodes_denoises_and_decodes(samples, tmp_path, family):
    from webui.prompting.chunks import Chunk
    from webui.prompting.encoding import encode, size_conditioning

    model = load_from(samples[family].write(tmp_path / "a.safetensors"), samples[family].configs)
    chunk = Chunk(tuple(range(77)), (1.0,) * 77)
    with torch.inference_mode():
        encoded = encode(model, [chunk])
        added = size_conditioning(model, encoded.pooled, 64, 64)
        latents = model.unet(
            torch.randn(1, 4, 8, 8), torch.tensor(500), encoded.hidden, added_cond_kwargs=added
        ).sample
        picture = model.vae.decode(latents).sample
    assert picture.shape == (1, 3, 64, 64)
    assert picture.isfinite().all()


def test_the_same_model_as_folder_and_as_single_file_is_the_same(
    tiny_checkpoint, tiny_model, tmp_path, make_sample
):
    encoder = tiny_model.text_encoders[0].model
    networks = {"unet": tiny_model.unet, "vae": tiny_model.vae, "text_encoder": encoder}
    parts = {name: dict(network.state_dict()) for name, network in networks.items()}
    configs = tiny_checkpoint / "tiny"
    path = make_sample("starter", configs, parts).write(tmp_path / "tiny.ckpt", half=False)
    model = load_from(path, configs)
    assert model.family == tiny_model.family == "starter"
    assert model.defaults == tiny_model.defaults
    assert model.scheduler_config == tiny_model.scheduler_config
    assert draw(model).tobytes() == draw(tiny_model).tobytes()


def test_the_starter_model_draws_the_same_from_a_single_file(tmp_path, make_sample):
    """Its fp16 weights come back exactly, with the configs found without being told."""
    shipped = load(Checkpoint("starter", STARTER_FOLDER), CPU, torch.float32)
    encoder = shipped.text_encoders[0].model
    networks = {"unet": shipped.unet, "vae": shipped.vae, "text_encoder": encoder}
    parts = {name: dict(network.state_dict()) for name, network in networks.items()}
    path = make_sample("starter", STARTER_FOLDER, parts).write(tmp_path / "a.safetensors")
    model = load(Checkpoint("a", path), CPU, torch.float32)
    assert model.defaults == shipped.defaults
    assert model.scheduler_config == shipped.scheduler_config
    assert draw(model).tobytes() == draw(shipped).tobytes()


def draw(model: Model):
    from webui.generation.engine import generate
    from webui.generation.request import GenerationRequest
    from webui.prompting.conditioning import Conditioner

    class NoEmbeddings:
        version = 0

        def names(self):
            return ()

        def get(self, name):
            return None

        card = get

    request = GenerationRequest(prompt="a red (circle:1.2)", seed=3, steps=2, width=64, height=64)
    *_, picture = generate(model, request, NoEmbeddings(), Conditioner())
    return picture.image


def test_the_unet_takes_the_precision_asked_for_and_the_rest_stays_exact(samples, tmp_path):
    sample = samples["sd1"]
    model = load_from(sample.write(tmp_path / "a.safetensors"), sample.configs, torch.bfloat16)
    assert model.dtype == torch.bfloat16
    assert_weights(model, sample.parts, half=True, unet_dtype=torch.bfloat16)


def test_the_loaded_weights_do_not_lean_on_the_file(samples, tmp_path):
    sample = samples["sd1"]
    for ending in ("safetensors", "ckpt"):
        path = sample.write(tmp_path / f"a.{ending}", half=False)
        model = load_from(path, sample.configs)
        path.write_bytes(b"\0" * path.stat().st_size)
        assert_weights(model, sample.parts, half=False)


@pytest.mark.parametrize("ending", ["safetensors", "ckpt"])
@pytest.mark.parametrize("half, precision", [(True, "F16"), (False, "F32")])
def test_the_header_tells_family_precision_and_content(samples, tmp_path, ending, half, precision):
    sample = samples["sd1"]
    path = sample.write(tmp_path / f"a.{ending}", sample.state("beside"), half=half)
    with open_weights(path) as file:
        anatomy = recognise(file, "a")
    assert (anatomy.family.key, anatomy.precision) == ("sd1", precision)
    assert (anatomy.with_ema, anatomy.only_ema) == (True, False)


@pytest.mark.parametrize("ema", ["beside", "only"])
def test_the_running_mean_is_used_only_if_there_is_nothing_else(samples, tmp_path, ema):
    sample = samples["sd1"]
    path = sample.write(tmp_path / "a.safetensors", sample.state(ema))
    assert_weights(load_from(path, sample.configs), sample.parts, half=True)


def test_names_of_older_merges_without_text_model_are_understood(samples, tmp_path):
    sample = samples["sd1"]
    state = {key.replace(".text_model.", "."): value for key, value in sample.state().items()}
    model = load_from(sample.write(tmp_path / "a.safetensors", state), sample.configs)
    assert_weights(model, sample.parts, half=True)


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
