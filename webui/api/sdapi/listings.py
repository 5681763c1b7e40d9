"""What there is to choose from: samplers, models, LoRAs, styles, …; the memory and the flags."""

from __future__ import annotations

from typing import Any

import psutil
from fastapi import APIRouter

from webui.api.sdapi.answers import Shape
from webui.api.sdapi.extras import NO_UPSCALER
from webui.api.sdapi.options import Options
from webui.api.sdapi.txt2img import scheduler_name
from webui.generation.sampling.samplers import SAMPLERS, SCHEDULE_TYPES
from webui.generation.upscaling import LATENT_UPSCALERS, PIXEL_UPSCALERS
from webui.prompting.loras import list_loras
from webui.settings import LOCAL_HOSTS, Settings
from webui.studio.studio import Studio


class SamplerItem(Shape):
    """A sampler."""

    name: str
    aliases: list[str]
    options: dict[str, str]
    """``scheduler``: what Automatic stands for."""


class SchedulerItem(Shape):
    """A schedule type."""

    name: str
    label: str
    aliases: list[str] | None = None
    default_rho: float = -1.0
    need_inner_model: bool = False


class ModelItem(Shape):
    """A checkpoint."""

    title: str
    model_name: str
    hash: str | None
    """First 10 hex digits of its SHA-256, known once it was loaded."""
    sha256: str | None
    filename: str
    config: str | None = None


class VaeItem(Shape):
    """A file of models/vae/."""

    model_name: str
    filename: str


class LoraItem(Shape):
    """A LoRA file."""

    name: str
    alias: str
    path: str
    metadata: dict[str, Any]


class StyleItem(Shape):
    """A saved pair of prompts."""

    name: str
    prompt: str
    negative_prompt: str


class UpscalerItem(Shape):
    """An upscaler of pixels."""

    name: str
    model_name: str | None = None
    model_path: str | None = None
    """The file of a network, for the second pass."""
    model_url: str | None = None
    scale: float = 4
    """What AUTOMATIC1111 tells of upscalers without a model; they enlarge by any factor."""


class LatentModeItem(Shape):
    """An upscaler of latents, for the second pass."""

    name: str


class Scripts(Shape):
    """The scripts that there are: none."""

    txt2img: list[str] = []
    img2img: list[str] = []


class Memory(Shape):
    """Bytes of memory."""

    ram: dict[str, Any]
    cuda: dict[str, Any]


NONE_OF = ("hypernetworks", "face-restorers", "realesrgan-models", "script-info", "extensions")
"""What clients ask for and there is none of."""


def add(router: APIRouter, studio: Studio, options: Options) -> None:
    """Add the routes."""

    @router.get("/samplers", summary="List samplers")
    def samplers() -> list[SamplerItem]:
        return [
            SamplerItem(
                name=name,
                aliases=list(sampler.aliases),
                options={"scheduler": scheduler_name(sampler.automatic)},
            )
            for name, sampler in SAMPLERS.items()
        ]

    @router.get("/schedulers", summary="List schedule types")
    def schedulers() -> list[SchedulerItem]:
        return [SchedulerItem(name=scheduler_name(label), label=label) for label in SCHEDULE_TYPES]

    @router.get("/sd-models", summary="List checkpoints")
    def models() -> list[ModelItem]:
        loaded = studio.models.state.model
        return [
            ModelItem(
                title=options.title(checkpoint),
                model_name=checkpoint.name,
                hash=loaded.short_hash if loaded and loaded.name == checkpoint.name else None,
                sha256=None,
                filename=str(checkpoint.path),
            )
            for checkpoint in studio.models.checkpoints()
        ]

    @router.post("/refresh-checkpoints", summary="Look for new checkpoints")
    def refresh_checkpoints() -> dict[str, Any]:
        studio.models.checkpoints()
        return {}

    @router.get("/sd-vae", summary="List VAEs")
    def vaes() -> list[VaeItem]:
        found = studio.models.vae_files()
        return [VaeItem(model_name=name, filename=str(path)) for name, path in found.items()]

    @router.get("/loras", summary="List LoRAs")
    def loras() -> list[LoraItem]:
        paths = sorted(set(list_loras(studio.settings.models_dir / "lora").values()))
        return [
            LoraItem(name=path.stem, alias=path.stem, path=str(path), metadata={}) for path in paths
        ]

    @router.get("/prompt-styles", summary="List styles")
    def prompt_styles() -> list[StyleItem]:
        return [
            StyleItem(name=style.name, prompt=style.prompt, negative_prompt=style.negative_prompt)
            for style in studio.styles.all()
        ]

    @router.get("/upscalers", summary="List upscalers")
    def upscalers() -> list[UpscalerItem]:
        files = studio.drawing.upscalers()
        return [UpscalerItem(name=name) for name in (NO_UPSCALER, *PIXEL_UPSCALERS)] + [
            UpscalerItem(name=name, model_path=str(path)) for name, path in files.items()
        ]

    @router.get("/latent-upscale-modes", summary="List upscalers of latents")
    def latent_upscale_modes() -> list[LatentModeItem]:
        return [LatentModeItem(name=name) for name in LATENT_UPSCALERS]

    @router.get("/scripts", summary="List scripts: there are none")
    def scripts() -> Scripts:
        return Scripts()

    def nothing() -> list[dict[str, Any]]:
        return []

    for name in NONE_OF:
        router.add_api_route(f"/{name}", nothing, name=name, summary=f"List {name}: none")

    def looked_anew() -> dict[str, Any]:
        return {}

    for name in ("refresh-vae", "refresh-loras"):
        router.add_api_route(
            f"/{name}", looked_anew, methods=["POST"], name=name,
            summary="Nothing to do: each listing looks anew",
        )  # fmt: skip

    @router.get("/cmd-flags", summary="Tell what the flags decided")
    def cmd_flags() -> dict[str, Any]:
        return _flags(studio.settings)

    @router.get("/memory", summary="Tell the memory in use")
    def memory() -> Memory:
        return Memory(ram=_ram(), cuda=_cuda(studio))


def _flags(settings: Settings) -> dict[str, Any]:
    """Return what the flags decided, by AUTOMATIC1111's names; never a password."""
    loras, vaes = (settings.models_dir / name for name in ("lora", "vae"))
    return {
        "api": True,
        "listen": settings.host not in LOCAL_HOSTS,
        "port": settings.port,
        "ckpt_dir": str(settings.models_dir),
        "vae_dir": str(vaes),
        "lora_dir": str(loras),
        "embeddings_dir": str(settings.embeddings_dirs[0]),
        "styles_file": [str(settings.styles_file)],
        "device_id": settings.device,
        "precision": settings.precision,
        "medvram": settings.offload == "model",
        "lowvram": settings.offload == "sequential",
        "cors_allow_origins": ",".join(settings.cors_origins) or None,
        "cors_allow_origins_regex": settings.cors_origins_regex or None,
    }


def _ram() -> dict[str, int]:
    """Return the bytes of this process and of the machine."""
    machine, used = psutil.virtual_memory(), psutil.Process().memory_info().rss
    return {"free": machine.available, "used": used, "total": machine.total}


def _cuda(studio: Studio) -> dict[str, Any]:
    """Return the bytes of the GPU in use, as A1111 groups them."""
    model = studio.models.state.model
    if model is None or model.device.type != "cuda":
        return {"error": "unavailable"}
    import torch

    free, total = torch.cuda.mem_get_info(model.device)
    stats = torch.cuda.memory_stats(model.device)

    def pair(key: str) -> dict[str, int]:
        return {end: stats.get(f"{key}.all.{end}", 0) for end in ("current", "peak")}

    return {
        "system": {"free": free, "used": total - free, "total": total},
        "active": pair("active_bytes"),
        "allocated": pair("allocated_bytes"),
        "reserved": pair("reserved_bytes"),
        "inactive": pair("inactive_split_bytes"),
        "events": {
            "retries": stats.get("num_alloc_retries", 0),
            "oom": stats.get("num_ooms", 0),
        },
    }
