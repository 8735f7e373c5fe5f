"""Inference: faces, the predictor."""
