"""The search for settings: a study, its workers, and what they found."""
