"""Errors a user can cause and mend. Each message is one line: what is wrong, where, and what to do.

The command line prints the message and exits with code 2; in Python they are ordinary ``ValueError``s.
"""

__all__ = ["CheckpointError", "ConfigError", "DataError", "FastTCMError", "ImageError"]


class FastTCMError(ValueError):
    """Base of every error that a user can mend."""


class ConfigError(FastTCMError):
    """An unknown configuration key, or a value that does not fit."""


class DataError(FastTCMError):
    """A dataset, annotation or ground-truth file that cannot be used."""


class ImageError(FastTCMError):
    """An image file that cannot be decoded or is refused."""


class CheckpointError(FastTCMError):
    """A weight file that is missing, damaged or does not fit the model."""
