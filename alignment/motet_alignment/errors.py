"""What stops a command of this room and can be mended by whoever gave it."""

from __future__ import annotations


class AlignmentError(Exception):
    """A sentence for the user: which option, file, line or adapter is at fault, and what to do."""


class DataError(AlignmentError):
    """A data file that can't be read, understood or used as it is."""


class TrainError(AlignmentError):
    """A training that can't start or go on."""


class StoreError(AlignmentError):
    """An adapter that can't be published, found, loaded or removed."""


class NotFound(StoreError):
    """No adapter or version of that name."""


class Refused(StoreError):
    """An adapter that must not reach an engine: another base, damaged files, or not safetensors."""
