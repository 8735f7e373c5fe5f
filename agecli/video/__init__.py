"""From videos and cameras to an answer per person."""
