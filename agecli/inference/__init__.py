"""From images to predictions: reading, models and their backends, the predictor, ensembles."""
