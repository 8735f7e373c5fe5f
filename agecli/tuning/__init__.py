"""Hyperparameter search: a study, its workers, and its results."""
