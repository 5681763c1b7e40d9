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
        block_title_text_weight="500",
    )


def head() -> str:
    """Return the scripts that every page needs before its components appear."""
    return f"<script>{asset('prompt.js')}</script><script>{asset('memory.js')}</script>"
