"""Files of every trainer are read; the width of the vectors decides what they fit."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.embeddings.embedding_parts import rows
from webui.embeddings import formats
from webui.embeddings.embedding import FIRST_ENCODER, OUTPUT


def saved(path: Path, content: object, **options: object) -> Path:
    torch.save(content, path, **options)
    return path


def test_a_file_of_a1111_gives_vectors_step_and_checkpoint(tmp_path: Path):
    content = {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": rows(3)},
        "name": "inner-500",
        "step": 499,
        "sd_checkpoint": "6ce0161689",
        "sd_checkpoint_name": "v1-5-pruned",
    }
    found = formats.read(saved(tmp_path / "Outer.pt", content))
    assert found.name == "Outer" and found.inner_name == "inner-500"
    assert (found.step, found.trained_on, found.trained_on_hash) == (
        499,
        "v1-5-pruned",
        "6ce0161689",
    )
    assert torch.equal(found.vectors["clip_l"], rows(3))


def test_the_old_form_of_torch_files_is_read(tmp_path: Path):
    content = {"string_to_param": {"*": torch.nn.Parameter(rows())}}
    path = saved(tmp_path / "old.pt", content, _use_new_zipfile_serialization=False)
    assert torch.equal(formats.read(path).vectors["clip_l"], rows())


# torch keeps the text of the class if it can; Python 3.11 does not always find it.
@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("old_form", [False, True])
def test_a_parameter_dict_is_read_without_running_its_code(tmp_path: Path, old_form: bool):
    params, more = (
        torch.nn.ParameterDict({"*": torch.nn.Parameter(rows(seed=seed))}) for seed in (1, 2)
    )
    content = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": params, "x": more}
    options = {"_use_new_zipfile_serialization": not old_form}
    found = formats.read(saved(tmp_path / "original-authors.pt", content, **options))
    assert torch.equal(found.vectors["clip_l"], rows(seed=1))


def test_what_makes_no_sense_is_refused_in_plain_words(tmp_path: Path):
    path = saved(tmp_path / "x.pt", {"x": rows()}, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"storage", b"sTorage"))
    with pytest.raises(formats.Refused, match="PyTorch file that was cut off or damaged"):
        formats.read(path)


def test_of_several_placeholders_the_star_comes_first_and_all_can_be_read(tmp_path: Path):
    params = OrderedDict([("cat", rows(seed=1)), ("*", rows(seed=2)), ("dog", rows(seed=3))])
    path = saved(tmp_path / "merged.pt", {"string_to_param": params})
    assert torch.equal(formats.read(path).vectors["clip_l"], rows(seed=2))
    assert [one.inner_name for one in formats.read_all(path)] == ["*", "cat", "dog"]


@pytest.mark.parametrize("suffix", [".bin", ".pt"])
@pytest.mark.parametrize("shape", [(768,), (1, 768), (4, 768), (1, 4, 768)])
def test_a_token_with_vectors_of_any_shape_is_read(tmp_path: Path, suffix: str, shape):
    tensor = torch.randn(shape)
    found = formats.read(saved(tmp_path / f"learned_embeds{suffix}", {"<cat>": tensor}))
    assert found.name == "learned_embeds" and found.inner_name == "<cat>"
    assert torch.equal(found.vectors["clip_l"], tensor.reshape(-1, 768))


@pytest.mark.parametrize("key", ["emb_params", "emp_params"])
def test_the_keys_of_kohya_and_onetrainer_are_read_without_output_vectors(tmp_path: Path, key):
    save_file({key: rows(), f"{key}_out": rows(seed=1)}, tmp_path / "x.safetensors")
    found = formats.inspect(tmp_path / "x.safetensors")
    assert torch.equal(found.embeddings[0].vectors["clip_l"], rows())
    assert (
        found.format == {"emb_params": "kohya", "emp_params": "OneTrainer"}[key] + " .safetensors"
    )


def test_sdxl_files_have_vectors_for_both_text_encoders(tmp_path: Path):
    tensors = {
        "clip_g": rows(2, 1280),
        "clip_l": rows(2, 768),
        "clip_l_out": rows(2, 768, seed=1),
        "clip_g_out": rows(2, 1280, seed=1),
    }
    save_file(tensors, tmp_path / "xl.safetensors")
    found = formats.read(tmp_path / "xl.safetensors")
    assert found.widths == {"clip_l": 768, "clip_g": 1280} and len(found) == 2
    assert torch.equal(found.vectors["clip_l"], tensors["clip_l"])


def test_a_file_for_one_encoder_of_sdxl_is_read(tmp_path: Path):
    save_file({"clip_l": rows()}, tmp_path / "half.safetensors")
    found = formats.read(tmp_path / "half.safetensors")
    assert found.widths == {"clip_l": 768} and found.kind == FIRST_ENCODER
    formats.write(found, tmp_path / "again.safetensors", "safetensors", {"initializer": "a star"})
    again = formats.read(tmp_path / "again.safetensors")
    assert (again.kind, again.initializer) == (FIRST_ENCODER, "a star")


@pytest.mark.parametrize("shape", [(77, 768), (1, 77, 768), (1, 77, 1024)])
@pytest.mark.parametrize("suffix", [".bin", ".safetensors"])
def test_a_text_encoders_output_is_told_from_vectors_of_words(
    tmp_path: Path, shape: tuple[int, ...], suffix: str
):
    path, output = tmp_path / f"reneg_emb{suffix}", torch.randn(shape)
    for size, kind in ((1.0, OUTPUT), (0.02, "")):
        tensors = {"embedding": output * size}
        save_file(tensors, path) if suffix == ".safetensors" else saved(path, tensors)
        found = formats.read(path)
        assert (found.kind, len(found)) == (kind, 77)


def test_the_width_and_not_the_key_decides_the_encoder(tmp_path: Path):
    save_file({"clip_g": rows(4, 768), "t5": rows(4, 4096)}, tmp_path / "flux.safetensors")
    assert formats.read(tmp_path / "flux.safetensors").widths == {"clip_l": 768}
    for width, key in ((768, "clip_l"), (1024, "clip_h"), (1280, "clip_g"), (128, "clip_l")):
        save_file({"emb_params": rows(1, width)}, tmp_path / "w.safetensors")
        assert formats.read(tmp_path / "w.safetensors").widths == {key: width}


def test_a_list_of_parts_is_joined(tmp_path: Path):
    parts = [{"a": rows(1, 1024, 1)}, {"b": rows(2, 1024, 2), "note": "text"}]
    found = formats.read(saved(tmp_path / "parts.pt", parts))
    assert found.widths == {"clip_h": 1024} and len(found) == 3


def test_embeddings_bundled_in_a_lora_are_found_between_its_weights(tmp_path: Path):
    lora = {f"lora_unet_{i}.lora_up.weight": torch.zeros(2, 2) for i in range(200)}
    tensors = {
        **lora,
        "bundle_emb.my cat.string_to_param.*": rows(seed=1),
        "bundle_emb.xl.clip_l": rows(2, 768, 2),
        "bundle_emb.xl.clip_g": rows(2, 1280, 2),
    }
    save_file(tensors, tmp_path / "lora.safetensors")
    found = {one.inner_name: one for one in formats.read_all(tmp_path / "lora.safetensors")}
    assert torch.equal(found["my cat"].vectors["clip_l"], rows(seed=1))
    assert found["xl"].widths == {"clip_l": 768, "clip_g": 1280}


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.float8_e4m3fn]
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_every_precision_becomes_float32_exactly(tmp_path: Path, dtype, suffix: str):
    tensor = rows().to(dtype)
    path = tmp_path / f"x{suffix}"
    save_file({"emb_params": tensor}, path) if suffix == ".safetensors" else saved(
        path, {"x": tensor}
    )
    found = formats.read(path).vectors["clip_l"]
    assert found.dtype == torch.float32 and torch.equal(found, tensor.float())


def test_the_content_and_not_the_ending_decides_the_format(tmp_path: Path):
    saved(tmp_path / "really-torch.SafeTensors", {"x": rows()})
    save_file({"x": rows()}, tmp_path / "really-safetensors.PT")
    assert formats.inspect(tmp_path / "really-torch.SafeTensors").format.startswith("diffusers")
    assert formats.inspect(tmp_path / "really-safetensors.PT").format == "diffusers .safetensors"


def test_training_metadata_of_kohya_is_understood(tmp_path: Path):
    facts = {"ss_steps": "1600", "ss_sd_model_name": "base.ckpt", "ss_sd_model_hash": "abcd"}
    save_file({"emb_params": rows()}, tmp_path / "k.safetensors", metadata=facts)
    found = formats.read(tmp_path / "k.safetensors")
    assert (found.step, found.trained_on, found.trained_on_hash) == (1600, "base.ckpt", "abcd")


def test_seventy_six_vectors_and_more_are_read(tmp_path: Path):
    assert len(formats.read(saved(tmp_path / "long.pt", {"x": rows(76)}))) == 76


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"string_to_param": {"*": torch.full((1, 768), float("nan"))}}, "NaN"),
        ({"x": torch.tensor([[1.0] * 767 + [float("inf")], [0.0] * 768])}, "1 of its 2"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(3, 1280)}, "different numbers"),
        ({"x": torch.zeros(1).expand(10**6, 10**6)}, "claims 1,000,000 vectors"),
        ({"x": torch.zeros(2, 3, 768)}, "shape"),
        ({"x": torch.zeros(0, 768)}, "shape"),
        ({"string_to_param": {}}, "has no vectors"),
        ({"string_to_param": 5}, "has no vectors"),
        ({"step": 5}, "No known layout"),
        ({"x": torch.zeros(1, 768, dtype=torch.int64)}, "No known layout"),
        (["text"], "there are no vectors in it"),
        (5, "No known layout"),
        ({"model.diffusion_model.out.weight": torch.zeros(4, 4)}, "weights of a model"),
        ({"lora_te_x.lora_up.weight": torch.zeros(4, 4)}, "LoRA"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(tmp_path: Path, content, expected: str):
    with pytest.raises(formats.Refused, match=expected):
        formats.read(saved(tmp_path / "bad.pt", content))


def test_text_from_inside_a_file_is_short_and_printable(tmp_path: Path):
    content = {"string_to_param": {"*": rows()}, "name": "a\x00\x1b[31m" + "b" * 9999, "step": "x"}
    found = formats.read(saved(tmp_path / "x.pt", content))
    assert len(found.inner_name) == 200 and found.inner_name.isprintable()
    assert found.step is None
