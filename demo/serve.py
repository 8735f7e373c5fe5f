"""Start the server, closed: no analytics, no files but the app's own, errors without traces."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from .guard import app_options
from .models import Contender
from .page import build
from .reading import MB
from .theme import THEME
from .threads import AT_ONCE
from .visitors import MOST

HERE = Path(__file__).parent
SCRIPTS = "".join(
    f"<script>{(HERE / name).read_text('utf-8')}</script>"
    for name in ("page.js", "take.js", "access.js")
)
STYLES = [HERE / name for name in ("style.css", "access.css", "live.css", "pair.css")]
KEPT = 300
"""Seconds after which an uploaded file is deleted: longer than its request may wait."""


def serve(
    contenders: Sequence[Contender], *, host: str | None, port: int | None, share: bool = False,
    auth: tuple[str, str] | None = None, root_path: str | None = None,
    hosts: Sequence[str] = (), frames: str = "'self'", max_size: int, waiting: int,
    kept: int = KEPT, block: bool = True,
) -> gr.Blocks:  # fmt: skip
    """Serve the demo at host:port, until stopped or, without `block`, in the background.

    host: by default GRADIO_SERVER_NAME, or only this machine. root_path: the path behind a proxy.
    hosts: host names it accepts; empty for any. frames: pages that may embed it, as in
    a Content-Security-Policy. max_size: most MB of a picture.
    waiting: most requests that may wait. kept: seconds that an uploaded file is kept.
    """
    blocks = build(contenders, most_bytes=max_size * MB, kept=kept)
    blocks.queue(max_size=waiting, default_concurrency_limit=AT_ONCE)
    blocks.launch(
        server_name=host, server_port=port, share=share, auth=auth,
        root_path=root_path, app_kwargs=app_options(hosts, frames),
        max_file_size=max_size * MB, prevent_thread_lock=True, quiet=not block,
        show_error=False, state_session_capacity=MOST, allowed_paths=[],
        enable_monitoring=False, ssr_mode=False, theme=THEME, css_paths=STYLES, head=SCRIPTS,
        footer_links=["api"], favicon_path=HERE / "icon.svg",
    )  # fmt: skip
    threading.Thread(target=_warm_up, daemon=True).start()
    if block:
        blocks.block_thread()
    return blocks


def _warm_up() -> Any:
    """Import what the first prediction needs, while the user looks for a picture."""
    import torch

    return torch
