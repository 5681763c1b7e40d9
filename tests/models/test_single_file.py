"""Single files of each family and layout load offline, and everything else is refused by name."""

from __future__ import annotations

import pytest
import torch

from tests.models.checkpoint_parts import CPU, assert_weights, load_from
from webui.models.catalog import Checkpoint
from webui.models.loader import load
from webui.models.model import Model
from webui.models.recognition import recognise
from webui.models.single_file import STARTER_FOLDER, load_single_file
from webui.models.weights_file import open_weights

pytestmark = pytest.mark.usefixtures("no_network")


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


def test_it_tells_how_much_of_the_weights_has_been_read(samples, tmp_path):
    told = []
    sample = samples["sd1"]
    load_single_file(
        Checkpoint("a", sample.write(tmp_path / "a.safetensors")),
        CPU,
        torch.float32,
        configs=sample.configs,
        report=told.append,
    )
    assert told == sorted(told) and len(set(told)) > 100
    assert told[0] > 0 and 0.99 < told[-1] <= 1


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
