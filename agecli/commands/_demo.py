"""agecli-demo: the demo's own command, if the demo is installed or beside the package."""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec
from pathlib import Path


def main() -> None:
    """Run demo/app.py, like `python demo/app.py`."""
    if not find_spec("gradio"):
        sys.exit('agecli-demo: the demo needs gradio: pip install "agecli[demo]"')
    package = Path(__file__).parents[1]
    installed = package / "_demo"
    folder = installed if installed.is_dir() else package.parent / "demo"
    runpy.run_path(str(folder / "app.py"), run_name="__main__")
