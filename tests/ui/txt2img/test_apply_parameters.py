"""A parameters text becomes values of the controls, by component."""

from __future__ import annotations

import gradio as gr
import pytest

from tests.conftest import write_tiny_checkpoint
from webui.errors import BadField
from webui.generation.metadata.infotext import with_pairs
from webui.generation.plots.plan import PlotContext
from webui.generation.plots.xyz import plan
from webui.generation.request import FIELDS, GenerationRequest
from webui.studio.studio import Studio
from webui.ui.txt2img import overrides
from webui.ui.txt2img.apply_parameters import Target, apply_infotext
from webui.ui.txt2img.controls import FROM_MODEL

TEXT = (
    "a <b>heart</b>\nNegative prompt: a star\nSteps: 7, Sampler: Euler a, Schedule type: Karras, "
    "CFG scale: 5.5, Seed: 3, Clip skip: 2, <i>Lag: 31337"
)


@pytest.fixture
def target() -> Target:
    with gr.Blocks():
        axes = [(gr.Dropdown(), gr.Textbox()) for _ in range(3)]
        return Target(
            {name: gr.Textbox() for name in FIELDS}, gr.JSON(), gr.HTML(), gr.Dropdown(), axes
        )


def test_what_the_text_says_is_set_and_the_rest_stays(studio: Studio, target: Target):
    changes = apply_infotext(studio, target, TEXT)
    given = {name: changes[box] for name, box in target.controls.items() if box in changes}
    assert (given["prompt"], given["negative_prompt"]) == ("a <b>heart</b>", "a star")
    assert (given["steps"], given["sampler"], given["schedule_type"]) == (7, "Euler a", "Karras")
    assert given["clip_skip"] == 2 and given["hires"] is False
    assert not {"width", "batch_size"} & given.keys()
    assert changes[target.held] == [None] * len(FROM_MODEL)
    messages = changes[target.messages]
    assert "Ignored (unsupported)" in messages and "Lag" in messages and "<i>" not in messages


def test_a_text_that_is_too_long_changes_nothing(studio: Studio, target: Target):
    [(changed, sentence)] = apply_infotext(studio, target, "a" * 200_000).items()
    assert changed is target.messages and "longer" in sentence


def test_another_model_and_vae_become_settings_that_can_be_taken_away(
    studio: Studio, target: Target
):
    vaes = studio.settings.models_dir / "vae"
    vaes.mkdir()
    (vaes / "soft.safetensors").write_bytes(b"x")
    write_tiny_checkpoint(studio.settings.models_dir / "other", seed=1)
    text = (
        "a heart\nSteps: 7, Sampler: Euler a, Seed: 3, Model hash: 0123456789, Model: {}, VAE: {}"
    )
    changes = apply_infotext(studio, target, text.format("other", "soft"))
    assert changes[target.overrides]["value"] == ["Model: other", "VAE: soft.safetensors"]
    chosen = overrides.choice(studio, ["Model: other", "VAE: soft.safetensors"])
    assert (chosen.name, chosen.vae) == ("other", "soft.safetensors")
    changes = apply_infotext(studio, target, text.format(studio.models.state.name, "None"))
    assert changes[target.overrides]["value"] == ["VAE: None"]
    changes = apply_infotext(studio, target, text.format("missing", "hard"))
    assert changes[target.overrides]["value"] == []
    assert "missing, is not here" in changes[target.messages]
    assert "hard, is not in models/vae/" in changes[target.messages]
    assert overrides.choice(studio, []) is None
    with pytest.raises(BadField):
        overrides.choice(studio, ["Model: missing"])


def test_the_axes_of_a_plot_come_back_with_the_seeds_that_were_drawn(
    studio: Studio, target: Target
):
    drawn = plan(
        GenerationRequest(prompt="a"), [("Seed", "-1, 4"), ("Nothing", ""), ("Steps", "2-3")],
        PlotContext(),
    )  # fmt: skip
    text = with_pairs(TEXT, drawn.pairs)
    changes = apply_infotext(studio, target, text)
    seeds = f"{drawn.cells[0].request.seed}, 4"
    assert [(changes[kind], changes[values]) for kind, values in target.axes] == [
        ("Seed", seeds), ("Nothing", ""), ("Steps", "2-3"),
    ]  # fmt: skip
    assert target.axes[0][0] not in apply_infotext(studio, target, TEXT)
