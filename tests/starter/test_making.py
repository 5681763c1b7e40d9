"""The starter model can be made from nothing, and trained further, by one command."""

import shutil
from pathlib import Path

import pytest
import torch

from starter.__main__ import main
from starter.growing import inner_name
from starter.shipping import load_parts, load_pipeline
from starter.text import byte_letters
from tests.starter.test_growing import smaller_unet

SHIPPED = Path(__file__).resolve().parents[2] / "models" / "starter"


def test_every_byte_has_a_letter_of_its_own() -> None:
    letters = byte_letters()
    assert len(letters) == len(set(letters)) == 256
    assert letters[0] == "!" and all(letter.isprintable() for letter in letters)


def test_without_a_tokenizer_it_asks_for_the_vocabulary(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="--vocabulary"):
        main(["--out", str(tmp_path / "out"), "--work", str(tmp_path / "work")])


@pytest.mark.slow
def test_a_model_made_in_a_few_steps_loads_and_goes_on(tmp_path: Path) -> None:
    out, work = tmp_path / "out", tmp_path / "work"
    shutil.copytree(SHIPPED / "tokenizer", out / "tokenizer")
    quick = ["--out", str(out), "--pictures", "24", "--length", "0.0002"]
    main([*quick, "--work", str(work), "--prompts", "5"])
    assert "| shape |" in (out / "README.md").read_text()
    assert not (out / "tokenizer" / "tokenizer.json").exists()
    assert load_pipeline(out).vae.config.scaling_factor != 0.18215

    before = load_parts(out)
    denoiser_only = ["--go-on", "--minutes", "0", "0", "0", "0", "1", "--prompts", "0"]
    main([*quick, "--work", str(tmp_path / "further"), *denoiser_only])
    after = load_parts(out)
    name = "conv_out.weight"
    assert not torch.equal(before.unet.state_dict()[name], after.unet.state_dict()[name])
    kept = before.vae.state_dict()["decoder.conv_out.weight"]
    assert torch.equal(kept, after.vae.state_dict()["decoder.conv_out.weight"])


@pytest.mark.slow
def test_a_model_for_smaller_pictures_grows_into_one_for_larger(tmp_path: Path) -> None:
    smaller, out = tmp_path / "smaller", tmp_path / "out"
    parts = load_parts(SHIPPED)
    parts.vae.save_pretrained(smaller / "vae")
    parts.text_encoder.save_pretrained(smaller / "text_encoder")
    unet = smaller_unet()
    unet.save_pretrained(smaller / "unet")
    shutil.copytree(SHIPPED / "tokenizer", out / "tokenizer")
    main([
        "--out", str(out), "--work", str(tmp_path / "work"), "--grow-from", str(smaller),
        "--pictures", "24", "--length", "0.01", "--rate", "0.001", "--prompts", "0",
        "--minutes", "0", "0", "0", "1", "0",
    ])  # fmt: skip
    grown = load_parts(out).unet.state_dict()
    for name, value in unet.state_dict().items():
        if "attentions" in name:
            assert torch.allclose(grown[inner_name(name)], value, atol=1e-3), name
    assert "outer" in (out / "training.json").read_text()
