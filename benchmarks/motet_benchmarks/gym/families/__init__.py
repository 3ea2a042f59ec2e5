"""The gym's families, in order, by theme."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from motet_benchmarks.gym.families.arithmetic import ARITHMETIC
from motet_benchmarks.gym.families.comparing import COMPARING
from motet_benchmarks.gym.families.counting import COUNTING
from motet_benchmarks.gym.families.dates import DATES
from motet_benchmarks.gym.families.dialogue import DIALOGUE
from motet_benchmarks.gym.families.edits import EDITS
from motet_benchmarks.gym.families.lookups import LOOKUPS
from motet_benchmarks.gym.families.rules import RULES
from motet_benchmarks.gym.families.sequences import SEQUENCES
from motet_benchmarks.gym.families.sorting import SORTING
from motet_benchmarks.gym.families.spelling import SPELLING
from motet_benchmarks.gym.families.units import UNITS
from motet_benchmarks.gym.family import Family

_THEMES = (
    ARITHMETIC,
    COMPARING,
    SORTING,
    COUNTING,
    SPELLING,
    EDITS,
    UNITS,
    DATES,
    LOOKUPS,
    RULES,
    DIALOGUE,
    SEQUENCES,
)

FAMILIES: Mapping[str, Family] = MappingProxyType(
    {family.name: family for theme in _THEMES for family in theme}
)

__all__ = ["FAMILIES"]
