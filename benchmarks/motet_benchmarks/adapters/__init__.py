"""Swaps of adapters under load: whether every answer is right, how soon a version answers, what the swaps cost."""

from __future__ import annotations
