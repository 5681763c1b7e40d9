"""The GPU bench runs as a whole, on a processor with a model of a few thousand numbers."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
import torch

from bench import gpu
from tests.training.conftest import tiny_model
from webui.models.model import Model


def tiny(family: str, device: torch.device) -> Model:
    model = tiny_model("sdxl" if family == "sdxl" else "starter")
    model.unet.to(torch.bfloat16)
    sides = {"width": 64, "height": 64}
    return replace(model, name=family, dtype=torch.bfloat16, defaults=sides)


@pytest.mark.slow
def test_every_row_of_the_table_is_measured(capsys: pytest.CaptureFixture[str]):
    sizes = ["--draw", "1", "--train", "2", "--steps", "2", "--rounds", "1"]
    rows = gpu.main(["--device", "cpu", *sizes], tiny)
    assert [row.what.split(": ")[0] for row in rows] == ["sd1"] * 4 + ["sdxl"] * 3
    assert all(row.figure > 0 for row in rows)
    assert capsys.readouterr().out.count("\n| sd") == len(rows)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Dynamo detected a call:UserWarning")  # of diffusers' UNet as
@pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # its script has it compiled
def test_with_compile_each_is_measured_compiled_too(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "webui")
    sizes = ["--draw", "1", "--train", "2", "--steps", "2", "--rounds", "1"]
    asked = ["--device", "cpu", "--families", "sd1", "--compile", "aot_eager"]
    rows = gpu.main([*asked, *sizes], tiny)
    assert [row.what.split(": ")[0] for row in rows] == ["sd1"] * 4 + ["sd1, compiled"] * 4
    said = [record.getMessage() for record in caplog.records]
    for what in ("model", "training step"):
        assert sum(line.startswith(f"The {what} is compiled") for line in said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("family, billions", [("sd1", 0.86), ("sdxl", 2.57)])
def test_random_models_have_the_size_of_their_family(family: str, billions: float):
    model = gpu.random_model(family, torch.device("meta"))
    count = sum(parameter.numel() for parameter in model.unet.parameters())
    assert count / 1e9 == pytest.approx(billions, abs=0.01)
    assert {parameter.dtype for parameter in model.unet.parameters()} == {torch.bfloat16}
