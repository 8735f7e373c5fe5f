"""Requests that are rejected before Gradio sees them, and headers of every reply."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

import gradio as gr
from fastapi import Request
from gradio.route_utils import FnIndexInferError
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

HEADERS = {
    # Gradio writes scripts into its page, and compiles those of gr.HTML.
    "content-security-policy": "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors {frames}",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "permissions-policy": "camera=(self), clipboard-read=(self), microphone=(), geolocation=()",
}
ADDRESSES = 1000
"""Most addresses whose failed logins are remembered."""
LONGEST = 16.0
"""Most seconds that an address waits for its next login."""


class Guard:
    """Middleware (ASGI): known hosts only, slow guessing of passwords, and headers."""

    def __init__(self, app: App, hosts: Sequence[str], frames: str) -> None:
        self.app, self.hosts = app, hosts
        self.headers = {name: value.format(frames=frames) for name, value in HEADERS.items()}
        self.failures: OrderedDict[str, _Failures] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, or pass it to Gradio."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)

        async def reply(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self.headers)
            await send(message)

        if not self._knows(Headers(scope=scope)):
            refusal = PlainTextResponse("Not a name of this server: see --allowed-host.", 400)
            return await refusal(scope, receive, reply)
        if scope["method"] == "POST" and scope["path"].rstrip("/").endswith("/login"):
            return await self._login(scope, receive, reply)
        with suppress(ClientDisconnect):  # in the midst of an upload: nothing is left to answer
            await self.app(scope, receive, reply)

    def _knows(self, headers: Headers) -> bool:
        """Return whether a request names this server, since that name is written into the page."""
        if not self.hosts:
            return True
        named = [headers.get("host", ""), headers.get("x-forwarded-host", "")]
        return all(_name(host) in self.hosts for host in named if host)

    async def _login(self, scope: Scope, receive: Receive, send: Send) -> None:
        address = scope["client"][0] if scope["client"] else ""
        failures = self.failures.pop(address, None) or _Failures()
        self.failures[address] = failures
        while len(self.failures) > ADDRESSES:
            self.failures.popitem(last=False)

        async def count(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                failures.count(message["status"] < 400)
            await send(message)

        async with failures.turn:  # one after the other: many at once are no faster
            await asyncio.sleep(failures.wait())
            await self.app(scope, receive, count)


class _Failures:
    """The failed logins of an address."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self.number, self.last = 0, 0.0

    def count(self, right: bool) -> None:
        self.number, self.last = 0 if right else self.number + 1, time.monotonic()

    def wait(self) -> float:
        """Return the seconds until the next login: half of one after a failure, then the double."""
        if not self.number:
            return 0.0
        pause: float = min(2.0 ** min(self.number - 2, 9), LONGEST)
        return max(0.0, self.last + pause - time.monotonic())


class Page(gr.Blocks):
    """Gradio's Blocks, where invalid calls get a sentence instead of a traceback."""

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], *more: Any, **options: Any
    ) -> Any:
        """Check a client's input by the components that take it. Raises gr.Error."""
        try:
            return await super().preprocess_data(block_fn, inputs, *more, **options)
        except ValueError as error:
            labels = "; ".join(str(getattr(block, "label", "")) for block in block_fn.inputs)
            raise gr.Error(
                f"The call does not fit. {block_fn.api_name or 'This'} takes: {labels}. "
                'A picture is uploaded first, and named as {"path": ..., "meta": {"_type": '
                '"gradio.FileData"}}; gradio_client does so itself.',
                print_exception=False,
            ) from error


async def no_endpoint(request: Request, error: Exception) -> JSONResponse:
    """Reply for an endpoint that does not exist."""
    return JSONResponse({"error": "There is no such endpoint; use /compare or /batch."}, 404)


def app_options(hosts: Sequence[str], frames: str) -> dict[str, Any]:
    """Return the arguments of Gradio's FastAPI app."""
    from starlette.middleware import Middleware

    return {
        "openapi_url": None,  # it would be public despite a password
        "middleware": [Middleware(Guard, hosts=hosts, frames=frames)],
        "exception_handlers": {FnIndexInferError: no_endpoint},
    }


def _name(host: str) -> str:
    """Return a host without its port."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdigit() else host).lower()
