"""What a start makes of ``--max-voices`` and ``--layers``: the engine's options, settings, a line to show."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from motet_decoding.errors import LaunchError
from motet_decoding.layers import NOT_ASKED
from motet_decoding.voices import MOST_LAYERS
from motet_server.voices.settings import VoiceSettings

if TYPE_CHECKING:
    from motet_decoding.engine.launch_voices import Layers

_WORDS: Mapping[str, Layers] = {"none": "none", "all": "all", "low": "low", "high": "high"}
_NUMBERS = re.compile(r"[0-9]{1,4}(,[0-9]{1,4})*")


def read_layers(text: str) -> Layers:
    """``--layers`` as it was written: a word, or numbers with commas between them.

    Raises:
        LaunchError: it is neither.
    """
    if text in _WORDS:
        return _WORDS[text]
    layers = [int(number) for number in text.split(",")] if _NUMBERS.fullmatch(text) else [MOST_LAYERS]
    if max(layers) >= MOST_LAYERS:
        raise LaunchError(
            f"--layers: must be none, all, low, high, or numbers below {MOST_LAYERS} with commas between them, got "
            f"{text}"
        )
    return layers


def prepare_voices(most: int, layers: Layers, model: str, options: Any) -> VoiceSettings:
    """Sets the engine's options for voices, in place, last of all.

    Args:
        most: the further sequences and layers that one request may hear.
        layers: those of the model's layers that may be heard.
        model: a folder or a hub name.
        options: vLLM's, those of a pair and of adapters already among them.

    Returns:
        What to serve them with; why there are none stands in it.

    Raises:
        LaunchError: for layers that the model doesn't have.
    """
    from motet_decoding.engine.launch_voices import voice_options

    chosen = voice_options(model, vars(options), voices=most, layers=layers)
    for name, value in chosen.options.items():
        setattr(options, name, value)
    return VoiceSettings(
        most=most,
        no_groups=chosen.no_groups,
        no_layers=chosen.no_layers,
        no_edits=chosen.no_edits,
        layers=chosen.layers,
        depth=chosen.depth,
        tied=chosen.tied,
    )


def voice_line(voices: VoiceSettings, *, adapters: bool) -> str:
    """What the start block says of them.

    Args:
        voices: the server's.
        adapters: whether it has any, or may have.
    """
    if voices.most == 0:
        return "none (--max-voices 0)"
    heard = []
    if voices.no_groups is None:
        heard.append("base, adapters, prompts" if adapters else "prompts")
    if voices.no_layers is None:
        heard.append(f"layers {_ranges(voices.layers)}")
    if not heard:
        return f"none: {voices.no_groups}"
    absent = "" if voices.no_groups is None else f"; no other sequences: {voices.no_groups}"
    if voices.no_layers not in (None, NOT_ASKED):
        absent += f"; no layers: {voices.no_layers}"
    return f"up to {voices.most} a request: {'; '.join(heard)}{absent}"


def _ranges(numbers: Sequence[int]) -> str:
    """Rising numbers, neighbours put together."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][-1] == number - 1:
            parts[-1] = [parts[-1][0], number]
        else:
            parts.append([number])
    return ",".join("-".join(map(str, part)) for part in parts)
