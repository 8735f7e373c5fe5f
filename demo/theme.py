"""The colours and type of the page; style.css has the rest."""

from __future__ import annotations

import gradio as gr

FONT = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"]
"""The visitor's own fonts: none is downloaded."""
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "DejaVu Sans Mono", "monospace"]

THEME = gr.themes.Base(
    primary_hue="teal", secondary_hue="teal", neutral_hue="stone",
    radius_size="lg", font=FONT, font_mono=MONO,
).set(
    body_background_fill="#f7f6f3", body_background_fill_dark="#141413",
    body_text_color="#1d1c1a", body_text_color_dark="#ecebe7",
    body_text_color_subdued="#5f5b54", body_text_color_subdued_dark="#a8a49b",
    block_background_fill="#ffffff", block_background_fill_dark="#1e1d1b",
    block_border_color="#8a8478", block_border_color_dark="#7d796f",
    input_border_color="#8a8478", input_border_color_dark="#7d796f",
    checkbox_border_color="#8a8478", checkbox_border_color_dark="#7d796f",
    border_color_primary="#e3e0d9", border_color_primary_dark="#34322e",
    block_label_text_color="#5f5b54", block_label_text_color_dark="#a8a49b",
    block_info_text_color="#5f5b54", block_info_text_color_dark="#a8a49b",
    block_shadow="none", block_shadow_dark="none",
    button_primary_background_fill="#0f6b63", button_primary_background_fill_hover="#0b544e",
    button_primary_background_fill_dark="#5fd0c3", button_primary_text_color_dark="#0c2a27",
    slider_color="#0f6b63", slider_color_dark="#5fd0c3",
    checkbox_background_color_selected="#0f6b63", checkbox_border_color_selected="#0f6b63",
    link_text_color="#0f6b63", link_text_color_dark="#5fd0c3",
)  # fmt: skip
