"""Comments and LoRA calls are taken out of a prompt; LoRAs may bring embeddings along."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tests.prompting.prompt_parts import Shelf
from webui.models.model import Model
from webui.prompting.conditioning import Conditioner
from webui.prompting.loras import (
    LoraCall,
    clean,
    list_loras,
    missing_lora,
    take_loras,
    with_bundled,
)

CALLS = [
    ("<lora:ink>", LoraCall("ink", 1, 1)),
    ("<lora:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lora:ink:0.5:0.9>", LoraCall("ink", 0.5, 0.9)),
    ("<lora:my ink v2:-1>", LoraCall("my ink v2", -1, -1)),
    ("<LORA:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lyco:ink:0.8>", LoraCall("ink", 0.8, 0.8)),
    ("<lora:ink:te=0.5:unet=0>", LoraCall("ink", 0.5, 0)),
    ("<lora:ink:0.7:unet=0.2>", LoraCall("ink", 0.7, 0.2)),
]


@pytest.mark.parametrize(("text", "call"), CALLS)
def test_a_lora_is_taken_out_of_the_text(text: str, call: LoraCall):
    assert take_loras(f"a {text}b") == ("a b", (call,), [])


@pytest.mark.parametrize("text", ["<lora:ink:nan>", "<lora:ink:1e999>", "<lora:ink:much>"])
def test_a_strength_that_is_no_number_leaves_the_call_as_text_and_says_so(text: str):
    left, calls, warnings = take_loras(text)
    assert (left, calls, len(warnings)) == (text, (), 1)


def test_of_two_calls_of_one_lora_the_last_counts():
    _, calls, warnings = take_loras("<lora:ink:0.2> <lora:ink:0.9>")
    assert calls == (LoraCall("ink", 0.9, 0.9),)
    assert "twice" in warnings[0]


def test_hypernetworks_are_left_out_with_a_warning():
    text, calls, warnings = take_loras("a <hypernet:x:1> b")
    assert (text, calls) == ("a   b", ())
    assert "hypernetworks" in warnings[0]


def test_other_angles_stay():
    assert take_loras("<bad> <embedding:bad:1>")[0] == "<bad> <embedding:bad:1>"


def test_a_lora_in_a_comment_is_not_called():
    assert take_loras("a cat # <lora:ink:1>") == ("a cat ", (), [])


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("# a comment\na cat", "\na cat"),
        ("a cat # sitting\n on a mat", "a cat \n on a mat"),
        ("  # only a comment", "  "),
        ("c# and f#, a#b", "c# and f#, a#b"),
        ("#️⃣", "#️⃣"),
        ("e\u0301", "é"),
        ("a\ud800b", "a\ufffdb"),
    ],
)
def test_comments_are_left_out_and_text_is_put_in_normal_form(written: str, read: str):
    assert clean(written) == read


def write_lora(path: Path, **bundled: torch.Tensor) -> Path:
    """A LoRA's file as its trainers write it, with or without embeddings in it."""
    weights = {f"lora_unet_{number}.lora_down.weight": torch.ones(1, 4) for number in range(70)}
    tensors = {f"bundle_emb.{key}": value.contiguous() for key, value in bundled.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**weights, **tensors}, path)
    return path


def called(*names: str) -> list[LoraCall]:
    return [LoraCall(name, 1, 1) for name in names]


def test_loras_are_found_by_name_in_sub_folders_in_any_case(tmp_path: Path):
    path = write_lora(tmp_path / "styles" / "My_Style.safetensors")
    assert list_loras(tmp_path) == {"my_style": path, "styles/my_style": path}
    assert list_loras(tmp_path / "nowhere") == {}
    assert missing_lora("my_stile", list_loras(tmp_path)) == (
        "There is no LoRA “my_stile”; did you mean “My_Style”?"
    )


def test_embeddings_in_a_lora_are_there_while_it_is_called(tmp_path: Path, shelf: Shelf):
    rows = torch.randn(2, 16)
    write_lora(tmp_path / "ink.safetensors", **{"inky word.string_to_param.*": rows})
    files = list_loras(tmp_path)
    source = with_bundled(shelf, called("INK"), files)
    assert torch.equal(source.get("Inky Word").vectors["clip_l"], rows)
    assert source.card("inky word").vectors == 2
    assert set(source.names()) == {*shelf.names(), "inky word"}
    assert source.version == shelf.version and source.get("bad") is shelf.get("bad")
    assert with_bundled(shelf, called("INK"), files) is source, "caches know it again"
    assert with_bundled(shelf, [], files) is shelf
    assert with_bundled(shelf, called("other"), files) is shelf


def test_a_lora_for_both_encoders_of_sdxl_brings_both_vectors(tmp_path: Path, shelf: Shelf):
    both = {"face.clip_l": torch.randn(2, 768), "face.clip_g": torch.randn(2, 1280)}
    write_lora(tmp_path / "face.safetensors", **both)
    source = with_bundled(shelf, called("face"), list_loras(tmp_path))
    assert source.get("face").widths == {"clip_l": 768, "clip_g": 1280}


def test_an_embedding_of_the_collection_comes_before_one_in_a_lora(tmp_path: Path, shelf: Shelf):
    write_lora(tmp_path / "ink.safetensors", **{"bad.clip_l": torch.randn(5, 16)})
    source = with_bundled(shelf, called("ink"), list_loras(tmp_path))
    assert source.get("bad") is shelf.get("bad") and source.names().count("bad") == 1
    shelf.change_card("bad", problem="It is cut off.")
    assert len(source.get("bad")) == 5


def test_a_lora_written_anew_brings_what_it_holds_now(tmp_path: Path, shelf: Shelf):
    path = write_lora(tmp_path / "ink.safetensors", **{"one.clip_l": torch.randn(1, 16)})
    assert with_bundled(shelf, called("ink"), list_loras(tmp_path)).get("one")
    path.unlink()
    write_lora(path, **{"two.clip_l": torch.randn(2, 16), "three.clip_l": torch.randn(3, 16)})
    source = with_bundled(shelf, called("ink"), list_loras(tmp_path))
    assert source.get("one") is None and len(source.get("two")) == 2 and len(source.get("three"))


def test_loras_without_embeddings_or_broken_ones_change_nothing(
    tmp_path: Path, shelf: Shelf, caplog: pytest.LogCaptureFixture
):
    write_lora(tmp_path / "plain.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    write_lora(tmp_path / "nan.safetensors", **{"x.clip_l": torch.full((1, 16), torch.nan)})
    files = list_loras(tmp_path)
    assert with_bundled(shelf, called("plain", "broken", "nan"), files) is shelf
    assert "NaN" in caplog.text


def test_a_bundled_embedding_conditions_like_one_of_the_collection(
    tmp_path: Path, shelf: Shelf, sd1: Model
):
    rows = torch.randn(2, 16)
    write_lora(tmp_path / "ink.safetensors", **{"inky.clip_l": rows})
    shelf.put("own", {"clip_l": rows})
    source = with_bundled(shelf, called("ink"), list_loras(tmp_path))

    def conditioned(prompt: str) -> torch.Tensor:
        return Conditioner().prepare(sd1, prompt, "", 1, source).at(0).positives[0][0]

    assert torch.equal(conditioned("a inky <lora:ink:1>"), conditioned("a own"))
