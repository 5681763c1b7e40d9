"""Override settings: what a pasted text says of the model and its VAE, for what is drawn next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr

from webui.errors import BadField
from webui.generation.metadata.provenance import check_model
from webui.studio.models_in_use import ModelChoice
from webui.studio.studio import Studio

FIELD = "override_settings"
"""The field that errors name."""
MODEL, VAE = "Model", "VAE"


def build() -> gr.Dropdown:
    """Build the row of settings, each of which can be taken away; it is seen while it has some."""
    chips = gr.Dropdown(
        [],
        value=[],
        multiselect=True,
        allow_custom_value=True,  # the list is that of the text that was pasted last
        visible=False,
        label="Override settings",
        info="From the parameters: they hold for what is drawn, and change nothing else.",
        elem_id="override-settings",
        elem_classes=["names"],
    )
    chips.input(
        lambda left: gr.update(visible=bool(left)),
        chips,
        chips,
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )
    return chips


def found(studio: Studio, pairs: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Return the settings of a text that differ from the app's, and what of them is not here."""
    chips: list[str] = []
    missing: list[str] = []
    state = studio.models.state
    model = check_model(pairs, studio.models.hashes(), state.name)
    if model is not None and not model.here:
        missing.append(f"The image's model, {model.name}, is not here: another one draws.")
    elif model is not None and model.here != state.name:
        chips.append(f"{MODEL}: {model.here}")
    if wanted := pairs.get(VAE, ""):
        vae = _vae(wanted, studio.models.vaes())
        if vae is None:
            missing.append(f"The image's VAE, {wanted}, is not in models/vae/.")
        elif vae not in (state.vae, state.model.vae_name if state.model else ""):
            chips.append(f"{VAE}: {vae}")
    return chips, missing


def _vae(wanted: str, names: list[str]) -> str | None:
    """Return a VAE by its name, with or without the ending of its file."""
    names = sorted(names, key=len)
    plain = wanted.casefold()
    return next(
        (name for name in names if plain in (name.casefold(), name.rpartition(".")[0].casefold())),
        None,
    )


def choice(studio: Studio, chips: Any) -> ModelChoice | None:
    """Return the model to draw with; None for the one in use. Raises BadField for what is gone."""
    chosen = {}
    for chip in chips if isinstance(chips, list) else []:
        key, _, value = str(chip).partition(": ")
        known = {MODEL: studio.models.names, VAE: studio.models.vaes}.get(key)
        if known is None or value not in known():
            raise BadField(FIELD, f"“{chip}” is no longer to be had; take it away.")
        chosen[key] = value
    return studio.models.choice(chosen.get(MODEL, ""), chosen.get(VAE, "")) if chosen else None
