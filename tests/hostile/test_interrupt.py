"""Interrupt acts within a second, whatever a generation is at."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from tests.generation.test_esrgan import compact_network
from tests.hostile.clock import processor_s
from webui.generation.request import GenerationRequest
from webui.settings import Settings
from webui.studio.studio import Studio

LONGEST_S = 1.0
"""Of processor time."""
LONG = GenerationRequest(
    prompt="a red heart", steps=150, width=64, height=64, seed=1, batch_count=100, batch_size=4
)
TEXTS = " AND ".join(f"[{'|'.join(f'heart {n} {m}' for m in range(20))}]" for n in range(8))
HIRES = replace(LONG, steps=1, hires=True, hires_scale=4.0)
PLOTTED = replace(LONG, batch_count=1)
CELLS = [("Seed", "1-30"), ("Steps", "2, 3"), ("Nothing", "")]
PHASES: dict[str, tuple[str, GenerationRequest]] = {
    "the prompt is read": (
        "webui.prompting.reader.Reader.script",
        replace(LONG, prompt=", ".join(f"(word{n}:1.1)" for n in range(1_000))),
    ),
    "texts are encoded": (
        "webui.prompting.conditioning._Preparation._moment", replace(LONG, prompt=TEXTS),
    ),
    "noise is taken out": ("webui.generation.sampling.loop._guided", LONG),
    "latents are decoded": (
        "webui.generation.engine.decode", replace(LONG, steps=1, width=256, height=256),
    ),
    "images are enlarged": (
        "webui.generation.engine.upscale", replace(HIRES, hires_upscaler="Lanczos"),
    ),
    "a network enlarges": (
        "webui.generation.esrgan.Upscaler.enlarge", replace(HIRES, hires_upscaler="net"),
    ),
    "images are saved": ("webui.studio.jobs.save_picture", replace(LONG, steps=1)),
    "a plot is drawn": ("webui.studio.plotting._Plot._draw_cell", PLOTTED),
    "a cell is made of images": ("webui.studio.plotting.make_grid", PLOTTED),
}  # fmt: skip


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Iterator[Studio]:
    place = tmp_path_factory.mktemp("interrupt")
    (place / "models" / "ESRGAN").mkdir(parents=True)
    save_file(compact_network(), place / "models" / "ESRGAN" / "net.safetensors")
    settings = Settings(
        models_dir=tiny_checkpoint,
        more_models_dirs=(place / "models",),
        embeddings_dirs=(place / "embeddings",),
        outputs_dir=place / "outputs",
        styles_file=place / "styles.csv",
        device="cpu",
        precision="fp32",
    )
    studio = Studio(settings)
    studio.open()
    studio.models.switch()
    studio.models.get(60)
    yield studio
    studio.close()


@pytest.mark.parametrize("phase", PHASES)
def test_it_acts_within_a_second_while(phase: str, studio: Studio, monkeypatch: pytest.MonkeyPatch):
    path, request = PHASES[phase]
    asked_at: list[float] = []
    work = pkgutil.resolve_name(path)

    def interrupted(*given: Any, **named: Any) -> Any:
        if not asked_at:
            asked_at.append(processor_s())
            studio.generating.stop()
        return work(*given, **named)

    monkeypatch.setattr(path, interrupted)
    is_plot = "plotting" in path
    job = studio.plotting.start(request, CELLS) if is_plot else studio.generating.start(request)
    view = job.wait()
    assert asked_at and processor_s() - asked_at[0] < LONGEST_S
    assert view.state == "stopped", view.problem
    assert len(view.pictures) <= request.batch_size
    assert studio.gate.owner is None
