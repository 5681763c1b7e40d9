"""The looks: Gradio's base theme in our colours, our style sheet, our scripts; all local."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

ASSETS = Path(__file__).parent / "assets"
FONTS = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "sans-serif")
MONOSPACE = ("ui-monospace", "SF Mono", "Consolas", "DejaVu Sans Mono", "monospace")


def asset(name: str) -> str:
    """Return the text of a file in assets/."""
    return (ASSETS / name).read_text(encoding="utf-8")


def icon_button(name: str, elem_id: str) -> gr.Button:
    """Make a small button; the style sheet shows a symbol in the place of its name."""
    return gr.Button(name, elem_classes=["tool-button"], elem_id=elem_id, scale=0, min_width=40)


def theme() -> gr.themes.Base:
    """Return the theme; its fonts are those of the person's system, so nothing is fetched."""
    return gr.themes.Base(
        primary_hue=gr.themes.colors.violet,
        secondary_hue=gr.themes.colors.violet,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_md,
        font=FONTS,
        font_mono=MONOSPACE,
    ).set(
        button_primary_background_fill="linear-gradient(135deg, *primary_600, #c026d3)",
        button_primary_background_fill_hover="linear-gradient(135deg, *primary_500, #d946ef)",
        button_primary_background_fill_dark="linear-gradient(135deg, *primary_600, #c026d3)",
        button_primary_text_color="white",
        block_shadow="none",
        block_label_text_size="*text_sm",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        block_title_text_color="*neutral_700",
        block_title_text_color_dark="*neutral_300",
        block_label_text_color="*neutral_700",
        block_label_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        link_text_color_dark="*primary_300",
        block_title_text_weight="500",
    )


def head() -> str:
    """Return the scripts that every page needs before its components appear."""
    names = ("language.js", "looks.js", "prompt.js", "memory.js", "lightbox.js", "card_parts.js")
    return "".join(f"<script>{script}</script>" for script in map(asset, names))
