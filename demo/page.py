"""The page: three tabs and the API's endpoints, put together from their modules."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from . import api, batch_tab, compare_tab, models_tab
from .models import Contender

HEAD = """
<header class="masthead">
  <p class="mark" aria-hidden="true"><i></i><i></i><i></i></p>
  <div><h1>agecli</h1><p>How old does a face look? Every model answers, side by side.</p></div>
</header>
"""
FOOT = """
<footer class="foot">
  <p><strong>An estimate of apparent age,</strong> learnt from a research data set (UTKFace) whose
  labels are estimates themselves. It is often wrong, and more often for some people than for
  others. It is not for decisions about people: not for checking ages, hiring, access or
  policing.</p>
  <p>Your pictures are not kept: they stay in this server's memory while this page is open, and an
  uploaded file is deleted within minutes. Nobody else sees them, and nothing is counted or sent
  elsewhere.</p>
</footer>
"""


def build(contenders: Sequence[Contender], *, most_bytes: int, kept: int) -> gr.Blocks:
    """Put the page together. most_bytes: of a picture's file. kept: seconds an upload is kept."""
    with gr.Blocks(
        title="agecli: how old does a face look?",
        analytics_enabled=False,
        delete_cache=(max(1, kept // 3), kept),
    ) as blocks:
        gr.HTML(HEAD, apply_default_css=False)
        with gr.Tab("Compare"):
            compare_tab.build(contenders, most_bytes)
        with gr.Tab("Batch"):
            batch_tab.build(contenders, most_bytes)
        with gr.Tab("Models"):
            models_tab.build(contenders)
        gr.HTML(FOOT, apply_default_css=False)
        api.build(contenders, most_bytes)
    return blocks
