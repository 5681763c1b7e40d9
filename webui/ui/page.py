"""The whole page: the header, the tabs, and the one timer that keeps them current."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from html import escape
from pathlib import Path
from types import MappingProxyType
from typing import Any

import gradio as gr

from webui.errors import AppError
from webui.models.families import FAMILIES
from webui.settings import LOCAL_HOSTS
from webui.studio.studio import Studio
from webui.ui import languages, models_panel, tools
from webui.ui.cards import keep_current
from webui.ui.embeddings import tab as embeddings_tab
from webui.ui.png_info import tab as png_info_tab
from webui.ui.polling import Poll
from webui.ui.theme import icon_button
from webui.ui.toasts import failure
from webui.ui.train import tab as train_tab
from webui.ui.txt2img import tab as txt2img

BRAND = """
<div class="brand">
  <div class="brand-mark" aria-hidden="true"></div>
  <div><h1 class="brand-name">Embeddings</h1>
  <p class="brand-line">Use, browse and train textual inversions</p></div>
</div>
"""
UPLOADS_KEPT_S = 86_400


def build(
    studio: Studio, poll: Poll, tables: Mapping[str, Path] = MappingProxyType({})
) -> gr.Blocks:
    """Build the page for a studio; it is not launched. ``poll`` comes to keep it current.

    ``tables`` are those of the languages it can be shown in, besides English.
    """
    demo = gr.Blocks(
        title="Embeddings WebUI",
        analytics_enabled=False,
        delete_cache=(3600, UPLOADS_KEPT_S),
        fill_width=True,
    )
    with demo:
        tools.build(studio)
        _header(studio, poll, tables)
        with gr.Tabs(overflow_behavior="wrap") as tabs:
            with gr.Tab("txt2img", id="txt2img"):
                target, actions = txt2img.build(demo, studio, poll)
            with gr.Tab("Embeddings", id="embeddings", elem_id="embeddings-tab"):
                embeddings_tab.build(studio, poll)
            with gr.Tab("Train", id="train", elem_id="train-tab"):
                train_tab.build(demo, studio, poll, target, tabs)
            with gr.Tab("PNG Info", id="png-info", elem_id="png-info-tab"):
                actions.connect_png_info(png_info_tab.build(studio, target, tabs), tabs)
        keep_current(studio, poll)
        poll.connect(demo)
    return demo


def _header(studio: Studio, poll: Poll, tables: Mapping[str, Path]) -> None:
    """Build the brand, the choices of model and language, and the switch for dark and light."""
    with gr.Row(elem_id="header"):
        gr.HTML(BRAND, elem_id="brand", js_on_load=None)
        with gr.Column(scale=2, min_width=190):
            model = gr.Dropdown(
                studio.models.names(),
                value=studio.models.state.name or None,
                label="Model",
                elem_id="model",
                elem_classes=["names"],
                interactive=True,
            )
        with gr.Column(scale=1, min_width=200):
            vae = gr.Dropdown(
                studio.models.vaes(),
                value=studio.models.state.vae,
                label="VAE",
                elem_id="vae",
                interactive=True,
            )
        with gr.Column(scale=2, min_width=150):
            state = gr.HTML(elem_id="model-state", js_on_load=None)
        # Strangers in the network must not fill the disk.
        may_fetch = studio.settings.host in LOCAL_HOSTS or bool(studio.settings.auth)
        fetch = icon_button("Get a model", "open-get-model") if may_fetch else None
        languages.menu(tables)
        dark = icon_button("Dark or light", "dark")
    if fetch is not None:
        models_panel.build(studio, poll, fetch)
    dark.click(None, None, None, js="() => window.switchTheme()", api_visibility="private")

    def switch(name: str, vae_name: str) -> None:
        try:
            studio.models.switch(name, vae_name)
        except AppError as error:
            raise failure(error) from error

    for menu, choices in ((model, studio.models.names), (vae, studio.models.vaes)):
        menu.input(switch, [model, vae], None, api_visibility="private", show_progress="hidden")
        menu.focus(
            partial(_listed, choices),
            None,
            menu,
            queue=False,
            show_progress="hidden",
            api_visibility="private",
        )
    poll.watch(
        version=lambda: studio.models.state.version,
        render=lambda: [
            gr.update(value=studio.models.state.name, choices=studio.models.names()),
            gr.update(value=studio.models.state.vae, choices=studio.models.vaes()),
            _state(studio),
        ],
        outputs=[model, vae, state],
    )


def _listed(choices: Callable[[], list[str]]) -> dict[str, Any]:
    """Return what brings a menu's choices up to date."""
    return gr.update(choices=choices())


def _state(studio: Studio) -> str:
    """Say in a line how the model stands."""
    state = studio.models.state
    if state.problem:
        return f'<div class="model-state"><span class="bad">{escape(state.problem)}</span></div>'
    if state.unloaded:
        return (
            '<div class="model-state" role="status">'
            f"<strong>{escape(state.name)}</strong> is unloaded; it is loaded when it is needed."
            "</div>"
        )
    if state.model is None:
        return (
            '<div class="model-state" role="status"><span class="spinner"></span>'
            f"Loading <strong>{escape(state.name)}</strong> … {state.percent} %</div>"
        )
    model = state.model
    precision = str(model.dtype).removeprefix("torch.")
    last = "compiling …" if state.compiling else f"hash {model.short_hash}"
    return (
        f'<div class="model-state" role="status"><strong>{FAMILIES[model.family].label}</strong> '
        f"on {escape(str(model.device))}, {precision}<br>{last}</div>"
    )
