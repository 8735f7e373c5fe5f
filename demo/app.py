"""Serve the demo: `python demo/app.py [OPTIONS]`, or `agecli-demo [OPTIONS]`."""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

if not __package__:
    # Run as a file, anywhere (a checkout, an installation, a Space): its folder is made
    # a package, whose modules can then be imported.
    __package__ = "agecli_demo"
    _folder = Path(__file__).resolve().parent
    _spec = importlib.util.spec_from_file_location(__package__, _folder / "__init__.py")
    assert _spec
    sys.modules[__package__] = importlib.util.module_from_spec(_spec)

MAX_SIZE = 20
"""Most MB of a picture."""
LOCAL = ("127.0.0.1", "localhost", "[::1]", "::1")
"""Names of this machine, by which it calls itself."""
WAITING = 100
"""Most requests that may wait; more are rejected."""


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        prog="agecli-demo", description="All models side by side on a face, in a browser."
    )
    parser.add_argument(
        "--weights", nargs="+", default=[], metavar="FILE|DIR",
        help="weights files or folders of them; by default the released ones",
    )  # fmt: skip
    parser.add_argument("--host", help="address to listen on; by default only this machine")
    parser.add_argument("--port", type=int, help="by default the first free one from 7860 on")
    parser.add_argument("--share", action="store_true", help="a public link through gradio.live")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="ask for a name and a password")
    parser.add_argument("--root-path", metavar="PATH", help="path behind a proxy, such as /ages")
    parser.add_argument(
        "--allowed-host", nargs="+", default=[], metavar="NAME",
        help="host names it accepts; by default its own if it listens only on this "
        "machine, otherwise any",
    )  # fmt: skip
    parser.add_argument(
        "--frame-ancestors", nargs="+", metavar="ORIGIN",
        default=["https://huggingface.co" if "SPACE_ID" in os.environ else "'self'"],
        help="pages that may embed it in a frame, such as https://example.org",
    )  # fmt: skip
    parser.add_argument(
        "--max-size", type=int, default=MAX_SIZE, metavar="MB",
        help="largest picture file (%(default)s)",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps (%(default)s)")
    wanted = parser.parse_args(arguments)
    if wanted.auth is not None and not all(wanted.auth.partition(":")):
        parser.error("--auth: write it as USER:PASSWORD")
    if wanted.max_size < 1:
        parser.error("--max-size: use at least 1")
    return wanted


def allowed_hosts(wanted: argparse.Namespace) -> list[str]:
    """Return the host names that the server accepts; empty for any."""
    host = wanted.host or os.environ.get("GRADIO_SERVER_NAME") or LOCAL[0]
    if host not in LOCAL or wanted.share or wanted.allowed_host:
        return [name.lower() for name in wanted.allowed_host and (*wanted.allowed_host, *LOCAL)]
    return [*LOCAL]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve the demo until it is stopped; return the exit code."""
    wanted = parse(arguments)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before gradio is imported
    from agecli.errors import AgecliError

    from .models import find_contenders, find_ensemble

    try:
        contenders = find_contenders(wanted.weights, wanted.device)
    except AgecliError as error:
        print(f"agecli-demo: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    if note := find_ensemble(*(contender.path for contender in contenders)).note:
        print(f"agecli-demo: {note}", file=sys.stderr)  # noqa: T201
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that uploads are deleted then, too
    with tempfile.TemporaryDirectory(prefix="agecli-demo-") as uploads:
        os.environ["GRADIO_TEMP_DIR"] = uploads
        from .serve import serve

        try:
            serve(
                contenders, host=wanted.host, port=wanted.port, share=wanted.share,
                auth=tuple(wanted.auth.split(":", 1)) if wanted.auth else None,
                root_path=wanted.root_path, hosts=allowed_hosts(wanted),
                frames=" ".join(wanted.frame_ancestors),
                max_size=wanted.max_size, waiting=WAITING,
            )  # fmt: skip
        except OSError as error:
            print(f"agecli-demo: {error}", file=sys.stderr)  # noqa: T201
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
