"""Uploads without preprocessing, for events with `preprocess=False`.

Gradio's own preprocessing decodes pictures and saves them again, with errors that name files of the
server.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder

from .reading import Refused

File = tuple[str, bytes]
"""A file's name, and its content."""


def read_upload(value: dict[str, Any]) -> File:
    """Read the value of a gr.Image, or an entry of a gr.File's. Raises Refused if it is gone."""
    try:
        path = Path(value["path"]).resolve()
        if not path.is_relative_to(Path(get_upload_folder()).resolve()):
            raise KeyError("path")  # from a client that names a file instead of uploading one
        return Path(value.get("orig_name") or path.name).name, path.read_bytes()
    except (OSError, TypeError, KeyError) as error:
        raise Refused("This upload is gone, as pictures are not kept. Upload it again.") from error
