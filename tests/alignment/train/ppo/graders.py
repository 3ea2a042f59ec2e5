"""A module with a function that judges, as a user's own package may have."""

from __future__ import annotations


def loud(answered):
    """1 where an answer has no small letters."""
    return [float(one.answer.isupper()) for one in answered]
