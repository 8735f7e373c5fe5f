"""From pictures to answers: reading, models and what runs them, the predictor, ensembles."""
