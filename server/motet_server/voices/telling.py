"""What answers and metrics say of a contrast's voices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from motet_decoding.contrast import Contrast
from motet_decoding.voices import LayersVoice, LayerVoice, SequenceVoice, said

#: What metrics call several voices together.
SEVERAL: Final = "several"


def kind_of(contrast: Contrast) -> str:
    """What metrics call the voices of a contrast; one of few words, whatever a client names."""
    if len(contrast.voices) > 1:
        return SEVERAL
    (weighted,) = contrast.voices
    voice = weighted.voice
    if isinstance(voice, LayerVoice):
        return "layer"
    if isinstance(voice, LayersVoice):
        return "layers"
    if isinstance(voice, SequenceVoice):
        if voice.own_prompt:
            return "base" if voice.adapter is None else "adapter"
        return "prompt" if voice.messages is None else "messages"
    return voice


def told_of(contrast: Contrast, adapters: Mapping[int, str], lengths: Mapping[int, int]) -> dict[str, Any]:
    """A contrast as the answer tells it: adapters by their versions, prompts and messages by how long they are.

    Args:
        contrast: as it was asked for.
        adapters: ``NAME@VERSION`` of the voices that name one, by the voice's place.
        lengths: the tokens of those with a prompt of their own.
    """
    voices = []
    for place, weighted in enumerate(contrast.voices):
        voice = said(weighted.voice)
        if isinstance(weighted.voice, SequenceVoice):
            voice = {key: value for key, value in voice.items() if key == "adapter"}
            voice |= {"adapter": adapters[place]} if place in adapters else {}
            voice |= {"prompt_tokens": lengths[place]} if place in lengths else {}
        voices.append(voice)
    against: Any = voices[0]
    if isinstance(contrast.against, tuple):
        against = [
            {"voice": voice, "weight": weighted.weight}
            for voice, weighted in zip(voices, contrast.voices, strict=True)
        ]
    return {**_settings(contrast), "against": against}


def _settings(contrast: Contrast) -> dict[str, Any]:
    return contrast.model_dump(exclude={"against"})
