"""The live tab: the camera's stream, boxes over it, and a prediction for each person in view.

The page sends its newest frame once the last one is done (live.js): none ever waits behind
another, and visitors take turns. Gradio's own streaming would write each frame to a file.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from starlette.exceptions import HTTPException

from agecli.errors import AgecliError

from .live import Live
from .models import Contender
from .reading import Refused
from .render import render
from .threads import submit
from .visitors import Visitors

SCRIPT = Path(__file__).with_name("live.js").read_text("utf-8")
GONE: dict[str, Any] = {"error": "The stream has ended. Start the camera again."}


def build(contenders: Sequence[Contender], most_bytes: int, visitors: Visitors) -> None:
    """Lay out the tab, and connect its script."""
    models = {contender.name: contender for contender in contenders if not contender.error}

    async def start(model: str, request: gr.Request) -> dict[str, Any]:
        """Start to track people with a model; also restart with another one."""
        contender = models.get(str(model))  # which may be any JSON
        if not contender:
            return {"error": "This model is not here."}
        visitors.find(await _known(request)).live = Live(contender, most_bytes)
        return {}

    async def see(frame: str, request: gr.Request) -> dict[str, Any]:
        """Predict a frame, a JPEG image in base64."""
        visitor = visitors.find_again(await _known(request))
        live = visitor and visitor.live
        if not visitor or not live or live.busy:
            return GONE
        live.busy = True
        try:
            data = base64.b64decode(frame.partition(",")[2], validate=True)
            (width, height), people = await asyncio.wrap_future(submit(live.see, data))
        except (Refused, AgecliError) as error:
            return {"error": str(error)}
        except (AttributeError, binascii.Error):
            return {"error": "This is no picture of a camera."}
        finally:
            live.busy = False
        return {
            "boxes": render("live_boxes", people=people, width=width, height=height),
            "people": render("live_people", people=[row for _, row in people]),
            "count": len(people),
        }

    async def stop(_: Any, request: gr.Request) -> None:
        """Forget the people."""
        if visitor := visitors.find_again(await _known(request)):
            visitor.live = None

    gr.HTML(
        render("live", names=list(models)), js_on_load=SCRIPT, server_functions=[start, see, stop],
        apply_default_css=False, elem_id="live",
    )  # fmt: skip


async def _known(request: Any) -> gr.Request:
    """Return a request with its page's session, which Gradio leaves out for server functions.

    Raises HTTPException for a form, which Gradio takes as well, and whose body it has read.
    """
    try:
        return gr.Request(request, session_hash=(await request.json())["session_hash"])
    except RuntimeError as error:
        raise HTTPException(400, "Send JSON.") from error
