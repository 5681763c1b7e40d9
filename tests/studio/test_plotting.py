"""Plots are jobs: each cell a saved picture, all of them a grid, and anyone may stop them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import write_tiny_checkpoint
from tests.parts import wait_until
from webui.errors import BadField
from webui.generation.metadata.infotext import read_infotext
from webui.generation.outputs import read_parameters
from webui.generation.plots.prompt_list import ListOptions
from webui.generation.plots.prompt_matrix import MatrixOptions
from webui.generation.request import GenerationRequest
from webui.generation.styles import Style
from webui.images import open_picture
from webui.settings import Settings
from webui.studio.jobs import GenerationJob
from webui.studio.studio import Studio
from webui.training.recipe import Recipe
from webui.training.runs.run_folder import Run

REQUEST = GenerationRequest(prompt="a red heart", steps=2, width=64, height=64, seed=1)
OFF = ("Nothing", "")


def wait(job: GenerationJob) -> GenerationJob:
    for _ in job.updates():
        pass
    return job


def write_embedding(studio: Studio, name: str) -> None:
    path = studio.settings.embeddings_dirs[0] / f"{name}.pt"
    torch.save({"string_to_param": {"*": torch.randn(2, 128)}}, path)
    wait_until(lambda: name in studio.plotting.here().embeddings)


def test_each_cell_is_saved_with_its_own_parameters_and_the_grid_with_the_axes(studio: Studio):
    write_embedding(studio, "mood")
    axes = [("Embedding", "none, mood"), ("Embedding strength", "0.5, 2"), OFF]
    view = wait(studio.plotting.start(REQUEST, axes)).view
    assert view.state == "finished", view.problem
    written = [read_infotext(read_parameters(picture.path))[0] for picture in view.pictures]
    assert [request.prompt for request in written] == [
        "a red heart", "a red heart, (mood:0.5)", "a red heart", "a red heart, (mood:2)",
    ]  # fmt: skip
    first, second, third, fourth = (picture.path.read_bytes() for picture in view.pictures)
    assert len({first, second, fourth}) == 3
    assert view.step == view.steps == 8
    assert view.cell == view.cells == 4
    _, pairs = read_infotext(read_parameters(view.grid.path))
    assert (pairs["Script"], pairs["X Type"]) == ("X/Y/Z plot", "Embedding")
    assert view.grid.path.parents[1] == studio.settings.outputs_dir / "grids"


def test_a_cell_of_several_pictures_is_a_grid_in_the_grid_and_each_is_saved(studio: Studio):
    request = replace(REQUEST, batch_count=2, batch_size=2, save_grid=True)
    view = wait(studio.plotting.start(request, [("CFG scale", "2, 8"), OFF, OFF])).view
    assert view.state == "finished", view.problem
    assert view.step == view.steps == 8
    written = [read_infotext(read_parameters(picture.path))[0] for picture in view.pictures]
    assert [(made.cfg_scale, made.seed) for made in written] == [
        (scale, seed) for scale in (2, 8) for seed in (1, 2, 3, 4)
    ]
    assert {made.pictures for made in written} == {1}
    assert not list(studio.generating.folder.rglob("grid-*"))
    grid = open_picture(view.grid.path)
    assert grid.width == 2 * 128 + 4
    corner = grid.crop((grid.width - 64, grid.height - 64, grid.width, grid.height))
    assert corner.tobytes() == open_picture(view.pictures[-1].path).tobytes()


def test_skip_gives_up_a_batch_of_a_cell_and_the_plot_goes_on(studio: Studio):
    request = replace(REQUEST, steps=40, batch_count=2)
    job = studio.plotting.start(request, [("Seed", "1, 2"), OFF, OFF])
    for view in job.updates():
        if view.state == "drawing" and not view.skipped:
            job.skip()
    assert job.view.state == "finished" and job.view.skipped == 1
    assert len(job.view.pictures) == 3


def test_the_steps_of_a_run_differ(studio: Studio):
    run = Run.create(
        studio.settings.outputs_dir / "train", "mug", "cup", Recipe(), [], ("tiny", "0123456789")
    )
    for step in (10, 20):
        run.save_checkpoint(step, {run.record().name: {"clip_l": torch.randn(2, 128)}})
    axes = [("Training step", "all"), OFF, OFF]
    view = wait(studio.plotting.start(REQUEST, axes, run.run_id)).view
    assert view.state == "finished", view.problem
    pairs = [read_infotext(picture.infotext)[1] for picture in view.pictures]
    assert [found["Training step"] for found in pairs] == ["10", "20"]
    assert view.pictures[0].path.read_bytes() != view.pictures[1].path.read_bytes()
    assert "mug" not in studio.library.names()


def test_a_cell_that_cannot_be_drawn_leaves_its_reason_and_the_others_go_on(
    settings: Settings, tmp_path: Path
):
    write_tiny_checkpoint(tmp_path / "models" / "tiny")
    (tmp_path / "models" / "vae").mkdir()
    (tmp_path / "models" / "vae" / "broken.safetensors").write_bytes(b"no VAE")
    studio = Studio(replace(settings, models_dir=tmp_path / "models"))
    studio.open()
    studio.models.switch()
    view = wait(studio.plotting.start(REQUEST, [("VAE", "broken, None"), OFF, OFF])).view
    assert view.state == "finished", view.problem
    assert len(view.pictures) == 1 and any("broken.safetensors" in text for text in view.warnings)
    studio.close()


def test_a_plot_is_stopped_like_any_generation_and_keeps_a_grid(studio: Studio):
    job = studio.plotting.start(replace(REQUEST, steps=5), [("Seed", "1-40"), OFF, OFF])
    for view in job.updates():
        if view.pictures:
            studio.generating.stop(job.id)
    assert job.view.state == "stopped"
    assert 1 <= len(job.view.pictures) < 40 and job.view.grid is not None


def test_what_cannot_be_plotted_never_becomes_a_job(studio: Studio):
    with pytest.raises(BadField) as caught:
        studio.plotting.start(REQUEST, [("Steps", "x"), OFF, OFF])
    assert caught.value.field == "x_values"
    with pytest.raises(BadField) as caught:
        studio.plotting.start(REQUEST, [("Training step", ""), OFF, OFF])
    assert caught.value.field == "xyz_run"


def test_models_are_switched_and_the_one_from_before_comes_back(settings: Settings, tmp_path: Path):
    for seed, name in enumerate(("first", "second")):
        write_tiny_checkpoint(tmp_path / "models" / name, seed=seed)
    studio = Studio(replace(settings, models_dir=tmp_path / "models"))
    studio.open()
    studio.models.switch("first")
    axes = [("Checkpoint name", "first, second"), ("Seed", "1, 2"), OFF]
    view = wait(studio.plotting.start(REQUEST, axes)).view
    assert view.state == "finished", view.problem
    models = [read_infotext(picture.infotext)[1]["Model"] for picture in view.pictures]
    assert models == ["first", "first", "second", "second"]  # no more loading than needed
    wait_until(lambda: studio.models.state.name == "first")
    studio.models.get(60)
    studio.close()


def test_a_prompt_matrix_is_a_grid_of_its_parts(studio: Studio):
    request = replace(REQUEST, prompt="a heart | red | big")
    view = wait(studio.plotting.start_matrix(request, MatrixOptions())).view
    assert view.state == "finished", view.problem
    assert [picture.request.prompt for picture in view.pictures] == [
        "a heart", "a heart, red", "a heart, big", "a heart, red, big",
    ]  # fmt: skip
    _, pairs = read_infotext(read_parameters(view.grid.path))
    assert pairs["Script"] == "Prompt matrix"


def test_a_list_of_prompts_has_no_grid_and_its_styles_are_written_out(studio: Studio):
    studio.styles.save(Style("ink", "ink", ""))
    lines = "a heart\n--prompt a star --steps 1"
    request = replace(REQUEST, prompt="", styles=("ink",))
    view = wait(studio.plotting.start_list(request, lines, ListOptions())).view
    assert view.state == "finished", view.problem
    assert [(made.request.prompt, made.request.steps) for made in view.pictures] == [
        ("a heart, ink", 2), ("a star, ink", 1),
    ]  # fmt: skip
    assert view.grid is None


def test_an_axis_of_styles_and_one_of_upscalers_name_what_is_there(studio: Studio):
    studio.styles.save(Style("ink", "ink", ""))
    request = replace(REQUEST, hires=True, hires_scale=1.0, denoising_strength=0.5)
    axes = [("Styles", "none, ink"), ("Hires upscaler", "Latent, Lanczos"), OFF]
    view = wait(studio.plotting.start(request, axes)).view
    assert view.state == "finished", view.problem
    made = [(each.request.prompt, each.request.hires_upscaler) for each in view.pictures]
    assert made == [
        (prompt, upscaler)
        for upscaler in ("Latent", "Lanczos")
        for prompt in ("a red heart", "a red heart, ink")
    ]
    with pytest.raises(BadField, match="no upscaler"):
        studio.plotting.start(request, [("Hires upscaler", "4x-Ultra"), OFF, OFF])
