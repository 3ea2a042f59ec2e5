"""What contrasts with voices are asked of the bundled models, and what transformers and PEFT answer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import islice
from typing import Any

import torch
from tests.end_to_end.choosing import model, tokenizer
from transformers import AutoModelForCausalLM

from motet_benchmarks.gym import Instance
from motet_decoding.contrast import Contrast
from motet_decoding.layers import layer_candidates
from motet_decoding.reference import Speaker, greedy_scores
from motet_decoding.voices import LayersVoice, LayerVoice, SequenceVoice, Voice
from motet_models import AMATEUR

BASE = "motet-toy"
SFT, DPO = "motet-sft", "motet-dpo"
COUNTER = {"messages": [{"role": "user", "content": "Say something wrong."}]}
#: By name: who answers, and the contrast.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "base": (SFT, {"against": "base", "strength": 1.0}),
    "adapter": (DPO, {"against": {"adapter": SFT}, "strength": 2.0, "form": "ratio"}),
    "adapter of the base": (BASE, {"against": {"adapter": SFT}, "strength": 0.7}),
    "prompt": (BASE, {"against": {"prompt": "What is 17 + 25?\n"}, "strength": 1.0}),
    "tokens": (SFT, {"against": {"prompt": [5]}, "plausibility": 0.3}),
    "messages": (SFT, {"against": COUNTER, "strength": 1.0}),
    "messages to the base": (DPO, {"against": {"adapter": None, **COUNTER}, "strength": 1.0}),
    "layer": (BASE, {"against": {"layer": 3}, "strength": 1.0}),
    "low layers": (SFT, {"against": {"layers": "low"}, "strength": 1.0}),
    "high layers": (BASE, {"against": {"layers": "high"}, "adapt": "entropy"}),
    "proxy-tuning": (
        BASE,
        {
            "against": [
                {"voice": {"adapter": DPO}, "weight": -1.0},
                {"voice": {"adapter": SFT}, "weight": 1.0},
            ],
            "form": "ratio",
            "strength": 1.5,
        },
    ),
    "all kinds": (
        SFT,
        {
            "against": [
                {"voice": "amateur", "weight": 0.5},
                {"voice": COUNTER, "weight": 0.5},
                {"voice": {"adapter": DPO, "prompt": "7 + 8"}, "weight": -0.2},
                {"voice": {"layer": 2}, "weight": 0.2},
            ],
            "strength": 2.0,
            "plausibility": 0.01,
            "adapt": {"by": "position", "tokens": 40},
        },
    ),
    "by divergence": (DPO, {"against": "base", "adapt": "divergence", "strength": 2.0}),
    "amateur": (SFT, {"against": "amateur"}),
}


def chat_tokens(messages: Sequence[Any]) -> list[int]:
    """The tokens of a conversation whose next word is the assistant's."""
    ids: list[int] = tokenizer().apply_chat_template(list(messages), add_generation_prompt=True)["input_ids"]
    return ids


def answered(problem: Instance, kind: str | None, max_tokens: int) -> list[int]:
    """The tokens of the greedy answer, its end ignored, by a plain loop; of no kind, SFT's own."""
    who, asked = (SFT, None) if kind is None else KINDS[kind]
    contrast = None if asked is None else Contrast.model_validate(asked)
    prompt = chat_tokens(problem.messages())
    own = None if who == BASE else who
    others = [
        (each.weight, _speaker(each.voice, own, prompt)) for each in (contrast.voices if contrast else ())
    ]
    scores = greedy_scores(Speaker(model(own), prompt), others, contrast)
    return [int(row.argmax()) for row in islice(scores, max_tokens)]


def _speaker(voice: Voice, own: str | None, prompt: list[int]) -> Speaker:
    if isinstance(voice, LayerVoice):
        return Speaker(model(own), prompt, (voice.layer,))
    if isinstance(voice, LayersVoice):
        layers = model(None).config.num_hidden_layers
        return Speaker(model(own), prompt, layer_candidates(voice.layers, layers, tied=True))
    if not isinstance(voice, SequenceVoice):
        if voice == "base":
            return Speaker(model(None), prompt)
        return Speaker(_amateur(), prompt)
    whose = model(own if voice.own_adapter else voice.adapter)
    if voice.messages is not None:
        return Speaker(whose, chat_tokens(voice.messages))
    read = tokenizer()(voice.prompt)["input_ids"] if isinstance(voice.prompt, str) else voice.prompt
    return Speaker(whose, prompt if read is None else read)


@cache
def _amateur() -> Any:
    return AutoModelForCausalLM.from_pretrained(AMATEUR, dtype=torch.float32).eval()
