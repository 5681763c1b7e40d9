"""The options of A1111 that mean something here, for /options and override_settings."""

from __future__ import annotations

import difflib
import threading
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body

from webui.api.sdapi.answers import REFUSED, Shape
from webui.errors import AppError, BadField
from webui.generation.request import FIELDS
from webui.models.catalog import Checkpoint
from webui.studio.studio import Studio

OF_REQUESTS = {field.option: field for field in FIELDS.values() if field.option}
"""Options that are fields of requests."""
FIXED: Mapping[str, Any] = {
    "samples_save": True,
    "samples_format": "png",
    "grid_save": False,
    "return_grid": False,
    "enable_pnginfo": True,
    "live_previews_enable": True,
    "token_merging_ratio": 0.0,
    "add_model_name_to_info": True,
}
"""Options that are always so."""
HARMLESS = ("samples_save", "grid_save", "live_previews_enable", "add_model_name_to_info")
"""Those of them that change nothing about the answer."""
NEUTRAL: Mapping[str, tuple[object, ...]] = {
    **{name: (value,) for name, value in FIXED.items() if name not in HARMLESS},
    "sd_hypernetwork": ("None", ""),
    "sd_lora": ("None", ""),
    "sd_model_refiner": ("None", ""),
    "tiling": (False,),
    "face_restoration": (False,),
    "enable_emphasis": (True,),
    "use_old_emphasis_implementation": (False,),
    "comma_padding_backtrack": (20,),
    "sd_noise_schedule": ("Default",),
    "skip_early_cond": (0,),
    "s_min_uncond": (0,),
    "token_merging_ratio_hr": (0,),
    "forge_additional_modules": ([],),
}
"""Options that would change images in a way that is not to be had, with the values that do not."""
CHANGEABLE = ("sd_model_checkpoint", "sd_vae", *OF_REQUESTS)
"""Options that can be set."""


class OptionValues(Shape):
    """The options, by A1111's names."""

    sd_model_checkpoint: str | None
    """Title of the loaded model; writing it loads another one. Names and hashes do too."""
    sd_checkpoint_hash: str | None
    sd_vae: str
    """Automatic, None for the VAE inside the model, or a file of models/vae/."""
    CLIP_stop_at_last_layers: int
    """Clip skip of requests over the API."""
    emphasis: str
    """How weights act in requests over the API."""
    outdir_txt2img_samples: str
    outdir_samples: str
    samples_filename_pattern: str
    directories_filename_pattern: str
    save_to_dirs: bool
    randn_source: str
    """Where noise comes from in requests over the API."""
    eta_noise_seed_delta: int
    always_discard_next_to_last_sigma: bool
    sgm_noise_multiplier: bool
    use_downcasted_alpha_bar: bool
    use_old_scheduling: bool
    pad_cond_uncond: bool
    samples_save: bool
    samples_format: str
    grid_save: bool
    return_grid: bool
    enable_pnginfo: bool
    live_previews_enable: bool
    token_merging_ratio: float
    add_model_name_to_info: bool


class Options:
    """The options in force for requests over the API; the page has its own controls."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._lock = threading.Lock()
        self._of_requests = {name: field.default for name, field in OF_REQUESTS.items()}

    def values(self) -> dict[str, Any]:
        """Return all options; A1111's "" stands for an output folder of its own."""
        state = self._studio.models.state
        folder = str(self._studio.settings.outputs_dir / "txt2img")
        return {
            "sd_model_checkpoint": self._title(state.name),
            "sd_checkpoint_hash": state.model.short_hash if state.model else None,
            "sd_vae": state.vae,
            **self._of_requests,
            "outdir_txt2img_samples": folder,
            "outdir_samples": "",
            "samples_filename_pattern": self._studio.settings.filename_pattern,
            "directories_filename_pattern": self._studio.settings.folder_pattern,
            "save_to_dirs": bool(self._studio.settings.folder_pattern),
            **FIXED,
        }

    def read(self, given: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
        """Return those of the given options that differ, checked and ready for ``apply``.

        Clients send back all that they were told; what stays as it is may be anything. What means
        nothing here is passed over, as ``passed_over`` tells, and so is an empty choice. Raises
        BadField with the first option that has no such value, is misspelt, or would change images
        and cannot.
        """
        now = self.values()
        changes = {}
        for key, value in given.items():
            if key in NEUTRAL and value not in NEUTRAL[key]:
                usual = NEUTRAL[key][0]
                raise BadField(prefix + key, f"“{key}” is always {usual!r} in this app.")
            near = difflib.get_close_matches(key, CHANGEABLE, n=1, cutoff=0.85)
            if near and key not in now:
                text = f"There is no option “{key[:80]}”; it may be meant for “{near[0]}”."
                raise BadField(prefix + key, text)
            chosen = value not in (None, "") or key not in CHANGEABLE
            if chosen and key in now and key not in FIXED and value != now[key]:
                changes[key] = self._checked(key, value, prefix)
        return changes

    def apply(self, changes: Mapping[str, Any]) -> None:
        """Put options into force; waits while another model is being loaded.

        Raises AppError if it cannot be loaded.
        """
        with self._lock:
            self._of_requests |= {key: changes[key] for key in OF_REQUESTS.keys() & changes}
        models = self._studio.models
        if changes.keys() & {"sd_model_checkpoint", "sd_vae"}:
            title = changes.get("sd_model_checkpoint") or models.state.name
            models.switch(self.checkpoint(title).name, changes.get("sd_vae"))
            models.get()

    def checkpoint(self, wanted: str) -> Checkpoint:
        """Return the checkpoint of a title, a name, a file name or a hash; BadField for others."""
        found = find(wanted, self._studio.models.checkpoints())
        loaded = self._studio.models.state.model
        if found is None and loaded and wanted.strip() == loaded.short_hash:
            found = find(loaded.name, self._studio.models.checkpoints())
        if found is None:
            names = ", ".join(self._studio.models.names())
            raise BadField(
                "sd_model_checkpoint", f"There is no model “{wanted[:200]}”. There are: {names}."
            )
        return found

    def title(self, checkpoint: Checkpoint) -> str:
        """Return a checkpoint as A1111 lists it: its file, with its hash once it is known."""
        model = self._studio.models.state.model
        name = checkpoint.name + ("" if checkpoint.is_folder else checkpoint.path.suffix)
        if model is None or model.name != checkpoint.name:
            return name
        return f"{name} [{model.short_hash}]"

    def _title(self, name: str) -> str | None:
        found = find(name, self._studio.models.checkpoints())
        return self.title(found) if found else name or None

    def _checked(self, key: str, value: Any, prefix: str) -> Any:
        if key == "sd_model_checkpoint":
            try:
                return self.checkpoint(str(value)).name
            except BadField as error:
                raise BadField(prefix + key, str(error)) from error
        if key == "sd_vae":
            if value not in (vaes := self._studio.models.vaes()):
                raise BadField(prefix + key, f"“{key}” must be one of: {', '.join(vaes)}.")
            return value
        if key in OF_REQUESTS:
            try:
                return OF_REQUESTS[key].check(value)
            except BadField as error:
                raise BadField(prefix + key, str(error)) from error
        raise BadField(prefix + key, f"“{key}” cannot be changed over the API.")


def passed_over(given: Mapping[str, Any]) -> list[str]:
    """Return sentences about options that mean nothing here, or are not as they were given."""
    sentences = []
    for key, value in given.items():
        if key in FIXED and value != FIXED[key]:
            sentences.append(f"The option “{key}” is always {FIXED[key]!r} here.")
        elif key not in OptionValues.model_fields and key not in NEUTRAL:
            sentences.append(f"The option “{key[:60]}” means nothing here and was ignored.")
    return sentences


def find(wanted: str, checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """Return the checkpoint that a title, a name or a file name means, in any case."""
    name = wanted.partition(" [")[0].strip().casefold()
    for checkpoint in checkpoints:
        if name in (checkpoint.name.casefold(), checkpoint.path.name.casefold()):
            return checkpoint
        if name == f"{checkpoint.name}{checkpoint.path.suffix}".casefold():
            return checkpoint
    return None


def add(router: APIRouter, options: Options) -> None:
    """Add the routes."""

    @router.get("/options", summary="Tell the options")
    def get_options() -> OptionValues:
        return OptionValues(**options.values())

    @router.post("/options", responses=REFUSED, summary="Change options")
    def set_options(
        body: Annotated[
            dict[str, Any],
            Body(examples=[{"sd_model_checkpoint": "starter", "CLIP_stop_at_last_layers": 2}]),
        ],
    ) -> dict[str, Any]:
        try:
            options.apply(options.read(body))
        except BadField:
            raise
        except AppError as error:
            raise BadField("sd_model_checkpoint", str(error)) from error
        return {"warnings": told} if (told := passed_over(body)) else {}
