"""Faces: detection, alignment and cropping."""

from agecli.faces.crops import align, crop
from agecli.faces.detector import crop_largest, detect
from agecli.faces.framing import judge
from agecli.faces.geometry import Face

__all__ = ["Face", "align", "crop", "crop_largest", "detect", "judge"]
