"""Which contrasts are asked of whom: one frozen table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from motet_benchmarks import gym
from motet_decoding.contrast import Formula

SFT, DPO = "motet-sft", "motet-dpo"
#: In the place of a model's name: the served model without an adapter, whatever it is called.
BASE = "base"


class Without(Enum):
    """A voice that reads the same problem, but for a part of it."""

    SYSTEM = "system"
    """The message that sets the rule: the nearest thing the gym has to a system prompt, in its rule-* families."""
    INPUT = "input"
    """The text that the question is about: context-aware decoding's contrast (arXiv 2305.14739)."""

    def messages(self, problem: gym.Instance) -> list[dict[str, str]]:
        """The problem without that part. Raises ValueError where it has none."""
        if not getattr(problem, self.value):
            raise ValueError(f"{problem.family}: problems have no {self.value}")
        without = replace(problem, system="") if self is Without.SYSTEM else replace(problem, input="")
        return without.messages()


@dataclass(frozen=True)
class Setting:
    """One way to answer: who does, against which voice, by which formula."""

    model: str
    against: Any = None
    """As a request's `contrast.against` names it, or a part to leave out; None is a plain answer."""
    formula: Formula | None = None
    """None for a plain answer."""

    @cached_property
    def key(self) -> str:
        """The same for settings that are the same."""
        return json.dumps(self.facts(), sort_keys=True)

    def facts(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        against = self.against
        if isinstance(against, Without):
            against = {"messages": f"the problem's, without its {against.value}"}
        formula = None if self.formula is None else self.formula.model_dump()
        return {"model": self.model, "against": against, "formula": formula}

    @property
    def plain(self) -> Setting:
        """The same model's plain answer."""
        return Setting(self.model)

    def contrast(self, problem: gym.Instance) -> Mapping[str, Any] | None:
        """The request's field for ``problem``."""
        if self.formula is None:
            return None
        against = self.against
        if isinstance(against, Without):
            against = {"messages": against.messages(problem)}
        given = self.formula.model_dump(exclude={"amateur_temperature"}, exclude_none=True)
        return {"against": against, **given}

    def said(self) -> str:
        """The formula, as tables have it."""
        if self.formula is None:
            return "plain"
        formula = self.formula
        parts = [
            *([] if formula.form == "extrapolate" else [formula.form]),
            f"s = {formula.strength:g}",
            *([] if formula.adapt is None else [f"by {formula.adapt.by}"]),
        ]
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Series:
    """Settings that belong together: the same two voices, several formulas or layers."""

    name: str
    settings: Mapping[str, Setting]
    """By what they are called in the series."""
    families: tuple[str, ...] | None = None
    """All where none are named."""
    chosen: bool = True
    """Whether one of them is recommended: chosen on the validation split, its gain told on the test split."""
    fixed: str | None = None
    """The one beside which the others are told, as well as beside plain answers."""
    worked: bool = True
    """Whether the recommended one, or where none is all of them, answer problems that ask for their steps too."""


#: Strengths of every series against a sequence; at 0 plausibility is left, which changes no greedy answer.
STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0)
PLAUSIBILITY = 0.1
#: Of the form ratio: below 1 it is, to a greedy answer, extrapolate at s / (1 - s).
RATIO = 1.0
#: The families whose problems have a system message, and the ones whose question is about a table or a passage.
RULES = ("rule-capitals", "rule-closing", "rule-backwards", "rule-code")
LOOKUPS = ("table", "table-name", "passage")
#: At which adaptive strengths are compared with the fixed one.
ADAPTED = 1.0
SCHEDULE = {"by": "position", "tokens": 8}


def _formula(strength: float, **more: Any) -> Formula:
    return Formula(strength=strength, plausibility=PLAUSIBILITY, **more)


def _swept(
    model: str, against: Any, strengths: tuple[float, ...] = STRENGTHS, ratio: bool = True
) -> dict[str, Setting]:
    formulas = [_formula(strength) for strength in strengths]
    formulas += [_formula(RATIO, form="ratio")] if ratio else []
    settings = [Setting(model, against, formula) for formula in formulas]
    return {setting.said(): setting for setting in settings}


def _towards(name: str, against: Any, **more: Any) -> Series:
    """Base + s (another - ...): the other's logits are added."""
    settings = [Setting(BASE, against, _formula(strength, **more)) for strength in (0.5, 1.0, 2.0)]
    return Series(name, {f"s = {one.formula.strength:g}": one for one in settings if one.formula})


def _layers(name: str, layers: tuple[int, ...]) -> Series:
    settings = {f"layer {layer}, s = 0.5": Setting(BASE, {"layer": layer}, _formula(0.5)) for layer in layers}
    for half in ("low", "high"):
        for formula in (_formula(0.5), _formula(1.0), _formula(1.0, form="ratio")):
            setting = Setting(BASE, {"layers": half}, formula)
            settings[f"{half} layers, {setting.said()}"] = setting
    return Series(name, settings)


def _adapted(name: str, model: str, against: Any, families: tuple[str, ...] | None = None) -> Series:
    ways: tuple[Any, ...] = (None, {"by": "entropy"}, {"by": "divergence"}, SCHEDULE)
    settings = [Setting(model, against, _formula(ADAPTED, adapt=way)) for way in ways]
    named = {setting.said(): setting for setting in settings}
    return Series(name, named, families, chosen=False, fixed=next(iter(named)), worked=families is None)


def _adapter(name: str, weight: float) -> dict[str, Any]:
    return {"voice": {"adapter": name}, "weight": weight}


SERIES: tuple[Series, ...] = (
    Series("SFT against base", _swept(SFT, "base")),
    Series("DPO against base", _swept(DPO, "base")),
    Series("DPO against SFT", _swept(DPO, {"adapter": SFT})),
    _towards("base + s (DPO - base)", [_adapter(DPO, -1.0)]),
    _towards("base + s (DPO - SFT)", [_adapter(DPO, -1.0), _adapter(SFT, 1.0)], form="ratio"),
    Series(
        "base against itself without the system prompt", _swept(BASE, Without.SYSTEM), RULES, worked=False
    ),
    Series("SFT against itself without the system prompt", _swept(SFT, Without.SYSTEM), RULES, worked=False),
    Series(
        "base against itself without the text asked about", _swept(BASE, Without.INPUT), LOOKUPS, worked=False
    ),
    _layers("base against its layers", (1, 2, 3, 4)),
    Series("base against the amateur", _swept(BASE, "amateur", STRENGTHS[1:], ratio=False)),
    Series(
        "SFT against amateur and base",
        _swept(
            SFT,
            [{"voice": "amateur", "weight": 0.5}, {"voice": "base", "weight": 0.5}],
            STRENGTHS[1:],
            ratio=False,
        ),
    ),
    _adapted("adaptive: SFT against base", SFT, "base"),
    _adapted("adaptive: base against the amateur", BASE, "amateur"),
    _adapted("adaptive: base without the system prompt", BASE, Without.SYSTEM, RULES),
)
