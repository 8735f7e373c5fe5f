"""The page: four tabs and the API's endpoints, assembled from their modules."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from . import api, batch_tab, compare_tab, live_tab
from .guard import Page
from .models import Contender
from .render import render
from .visitors import Visitors


def build(contenders: Sequence[Contender], *, most_bytes: int, kept: int) -> gr.Blocks:
    """Build the page. most_bytes: of a picture's file. kept: seconds that an upload is kept."""
    visitors = Visitors()

    def leave(request: gr.Request) -> None:
        visitors.forget(request.session_hash)
        _forget(blocks, str(request.session_hash))

    with Page(
        title="agecli: how old does a face look?",
        analytics_enabled=False,
        delete_cache=(max(1, kept // 3), kept),
    ) as blocks:
        gr.HTML(render("head"), apply_default_css=False)
        with gr.Tab("Compare"):
            compare_tab.build(contenders, most_bytes, visitors)
        with gr.Tab("Live"):
            live_tab.build(contenders, most_bytes, visitors)
        with gr.Tab("Batch"):
            batch_tab.build(contenders, most_bytes, visitors)
        with gr.Tab("Models"):
            models = render("models", contenders=contenders)
            gr.HTML(models, apply_default_css=False, elem_id="models")
        gr.HTML(render("foot"), apply_default_css=False)
        api.build(contenders, most_bytes)
        blocks.unload(leave)
    return blocks


def _forget(blocks: gr.Blocks, session: str) -> None:
    """Delete what Gradio keeps of a closed page: the pictures that it showed."""
    blocks.state_holder.session_data.pop(session, None)
    blocks.state_holder.time_last_used.pop(session, None)
