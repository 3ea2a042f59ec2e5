"""Requests of every kind of voice, for the engine of ``voices``."""

from __future__ import annotations

import random
from typing import Any

from motet_decoding.contrast import Contrast

from .voices import ADAPTERS, LAYERS, Ask, against

PROMPT = tuple(b"What is 17 plus 25?")
SHORT, LONG = (
    tuple(b"42"),
    tuple(b"Say what 17 plus 25 is, and be wrong about it, as wrong as anybody ever was. "),
)
BLUE, GREEN = {"adapter": "blue"}, {"adapter": "green"}
TUNED: list[dict[str, Any]] = [{"voice": BLUE, "weight": -1.0}, {"voice": {"adapter": None}, "weight": 1.0}]
ACROSS: list[dict[str, Any]] = [
    {"voice": "amateur", "weight": 0.6},
    {"voice": GREEN, "weight": -0.3},
    {"voice": {"prompt": SHORT}, "weight": 0.5},
    {"voice": {"layer": 2}, "weight": 0.2},
]
#: By name: the contrast, and the adapter that answers.
KINDS: dict[str, tuple[Contrast, str | None]] = {
    "base": (against("base"), "blue"),
    "adapter": (against(BLUE), None),
    "adapter against adapter": (against(BLUE, form="ratio"), "green"),
    "no adapter": (against({"adapter": None}, strength=2.0), "red"),
    "one token": (against({"prompt": [7]}), None),
    "shorter": (against({"prompt": SHORT}), None),
    "longer": (against({"prompt": LONG}, strength=3.0), None),
    "one token, its own adapter": (against({"prompt": [9]}, plausibility=0.2), "blue"),
    "adapter that reads another prompt": (against({**GREEN, "prompt": LONG}), "blue"),
    "base that reads another prompt": (against({"adapter": None, "prompt": SHORT}), "blue"),
    "embedding": (against({"layer": 0}), None),
    "middle layer": (against({"layer": 3}, amateur_temperature=0.5), None),
    "layer of an adapter": (against({"layer": LAYERS - 1}, strength=0.5), "green"),
    "low layers": (against({"layers": "low"}), None),
    "high layers": (against({"layers": "high"}, form="ratio"), "blue"),
    "amateur": (against("amateur"), None),
    "amateur of an adapter": (against("amateur"), "red"),
    "proxy-tuning": (against(TUNED, form="ratio"), None),
    "proxy-tuning that extrapolates": (against(TUNED), "green"),
    "voices that are added": (against([{"voice": BLUE, "weight": -0.7}], strength=2.0, plausibility=0), None),
    "all kinds": (against(ACROSS), "blue"),
    "three of one prompt": (
        against([{"voice": {"prompt": [place]}, "weight": 0.3} for place in (1, 2, 3)]),
        None,
    ),
    "entropy": (against("base", adapt={"by": "entropy", "scale": 6.0}), "blue"),
    "entropy, of another prompt": (against({"prompt": SHORT}, adapt={"by": "entropy", "scale": 12.0}), None),
    "divergence": (against({"prompt": LONG}, adapt="divergence", strength=2.0), None),
    "divergence of several": (against(ACROSS, adapt={"by": "divergence", "scale": 0.7}), None),
    "a schedule": (against(BLUE, adapt={"by": "position", "tokens": 6}), None),
    "a curve": (
        against({"layer": 1}, adapt={"by": "position", "tokens": 9, "shape": "cosine", "end": 0.3}),
        None,
    ),
    "a step": (
        against("amateur", adapt={"by": "position", "tokens": 5, "start": 0.0, "end": 1.0, "shape": "step"}),
        None,
    ),
}


def ask(kind: str | None, prompt: tuple[int, ...] = PROMPT, **sampling: Any) -> Ask:
    contrast, adapter = KINDS[kind] if kind is not None else (None, None)
    return Ask(prompt, contrast, adapter, sampling)


def crowd(count: int, *, seed: int, shortest: int = 4, longest: int = 24) -> list[Ask]:
    """Requests of every kind, and plain ones, with prompts of up to some steps' budget of tokens."""
    rng = random.Random(seed)
    asks = []
    for place in range(count):
        prompt = tuple(rng.randrange(256) for _ in range(rng.choice([1, 2, 5, 17, 40, 90, 130])))
        one = ask(None if place % 5 == 0 else rng.choice(list(KINDS)), prompt)
        if place % 10 == 0:
            one = Ask(prompt, None, rng.choice(ADAPTERS))
        asks.append(one.with_(max_tokens=rng.randrange(shortest, longest + 1)))
    return asks
