"""Evaluation: metrics, report and plots."""
