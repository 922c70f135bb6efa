"""The exceptions that mean "the input is wrong", as opposed to "the program is".

Each message is one sentence: what was expected, what was found, what to do. The command line prints it and
exits with code 2; every one is a ``ValueError`` for library users.
"""

from __future__ import annotations


class ScoreADError(ValueError):
    """Base of all errors that the user can mend."""


class SceneError(ScoreADError):
    """A scene, mask, truth or map file that cannot be used as asked."""


class ConfigError(ScoreADError):
    """A configuration value or key that is not valid."""


class TrainingError(ScoreADError):
    """Training that cannot go on (for example a loss that is not finite)."""


class CheckpointError(ScoreADError):
    """Trained parameters that are missing, damaged or of another kind than asked for."""


class ProcessError(ScoreADError):
    """Another process of a distributed run that is gone."""


class MissingExtraError(ScoreADError):
    """An optional dependency that is not installed."""
