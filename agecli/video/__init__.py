"""From videos and cameras to a prediction per person."""
