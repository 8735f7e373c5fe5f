"""The errors a user can meet: one line each, saying what was wrong and what to do next."""


class AgecliError(Exception):
    """A failure that the user can understand and act on; the command line exits with its code."""

    exit_code = 1


class UsageError(AgecliError):
    """An option or argument was wrong."""

    exit_code = 2


class DataError(AgecliError):
    """A source, archive or prepared data set cannot be used."""


class ImageError(AgecliError):
    """A single picture cannot be read."""


class WeightsError(AgecliError):
    """A weights file cannot be used."""


class TrainingError(AgecliError):
    """A training cannot start, continue or finish."""
