"""Many strategies from few: every one with every model, and sweeps over their numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from motet_benchmarks.errors import BenchmarkError
from motet_benchmarks.strategies.declare import WORDS, check_name
from motet_benchmarks.strategies.records import Strategy

#: What can be swept over, and which part of a request it belongs to.
AXES: Mapping[str, str] = {
    "strength": "contrast",
    "plausibility": "contrast",
    "amateur_temperature": "contrast",
    "n": "best_of",
    "temperature": "sampling",
    "top_p": "sampling",
    "min_p": "sampling",
}

_NUMBERS = {False: "numbers", True: "whole numbers from 1"}

#: How --sweep looks, for help and errors.
SWEEP = "'contrast strength=0.25,0.5,1 x plausibility=0,0.1' or 'best-of-8 n=1,4,16'"


def across(strategies: Sequence[Strategy], models: Sequence[str]) -> list[Strategy]:
    """Every strategy with every model, called MODEL/STRATEGY; the first model's come first.

    Raises BenchmarkError for a strategy that names a model already.
    """
    for one in strategies:
        if one.model is not None:
            raise BenchmarkError(f"--across: the strategy {one.name} names the model {one.model} already")
    return [
        one.model_copy(
            update={
                "name": f"{model}/{one.name}",
                "model": model,
                "sweep": None if one.sweep is None else f"{model}/{one.sweep}",
            }
        )
        for model in models
        for one in strategies
    ]


def read_sweep(text: str) -> tuple[str, dict[str, list[float]]]:
    """The strategy and the values of each axis in `STRATEGY KEY=V,V x KEY=V,V`. Raises BenchmarkError."""
    word, _, rest = text.strip().partition(" ")
    axes: dict[str, list[float]] = {}
    for part in rest.split(" x "):
        key, equals, values = (piece.strip() for piece in part.partition("="))
        if not equals or key in axes:
            raise BenchmarkError(f"--sweep {text}: must look like {SWEEP}")
        if key not in AXES:
            raise BenchmarkError(f"--sweep {text}: {key}: unknown; known are {', '.join(AXES)}")
        try:
            axes[key] = [_number(key, value) for value in values.split(",")]
        except ValueError:
            raise BenchmarkError(
                f"--sweep {text}: {key}: {values} aren't {_NUMBERS[key == 'n']} with commas between"
            ) from None
    return word, axes


def swept(strategy: Strategy, axes: Mapping[str, Sequence[float]]) -> list[Strategy]:
    """A strategy for each point of a sweep. Raises BenchmarkError where the strategy has nothing to sweep over."""
    for key in axes:
        part = AXES[key]
        if part != "sampling" and getattr(strategy, part) is None:
            raise BenchmarkError(
                f"--sweep {strategy.name}: {key}: the strategy has no {part}, or is none; there are {WORDS}"
            )
    return [_point(strategy, dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def check_names(strategies: Sequence[Strategy]) -> None:
    """Raises BenchmarkError where there are none, two of one name, or one whose name is too long."""
    if not strategies:
        raise BenchmarkError("--strategies: nothing to try; name a strategy")
    for one in strategies:
        check_name(one.name)
    name, count = Counter(one.name for one in strategies).most_common(1)[0]
    if count > 1:
        raise BenchmarkError(f"--strategies: {count} strategies are called {name}")


def _point(strategy: Strategy, point: Mapping[str, float]) -> Strategy:
    parts: dict[str, Any] = {
        "sampling": dict(strategy.sampling),
        "contrast": dict(strategy.contrast) if isinstance(strategy.contrast, Mapping) else strategy.contrast,
        "best_of": {"n": strategy.best_of} if isinstance(strategy.best_of, int) else strategy.best_of,
    }
    for key, value in point.items():
        part = AXES[key]
        before = parts[part] if isinstance(parts[part], Mapping) else {}
        parts[part] = {**before, key: value}
    said = " ".join(f"{key}={value:g}" for key, value in point.items())
    return strategy.model_copy(
        update={"name": f"{strategy.name} {said}", "sweep": strategy.name, "point": dict(point), **parts}
    )


def _number(key: str, text: str) -> float:
    number = int(text) if key == "n" else float(text)
    if not math.isfinite(number) or (key == "n" and number < 1):
        raise ValueError(text)
    return number
