"""What a contrast asks of voices, held against what the server can hear, as far as that needs no engine."""

from __future__ import annotations

from collections.abc import Iterator

from motet_decoding.adapting import ByPosition
from motet_decoding.best_of.request import BestOf
from motet_decoding.contrast import Contrast
from motet_decoding.errors import RequestError
from motet_decoding.layers import layer_candidates
from motet_decoding.voices import LayersVoice, LayerVoice, Voice, WeightedVoice
from motet_server.voices.settings import VoiceSettings

FIELD = "contrast.against"


def places(contrast: Contrast) -> Iterator[tuple[str, WeightedVoice]]:
    """Each voice of a contrast, and where a request names it."""
    several = isinstance(contrast.against, tuple)
    for index, weighted in enumerate(contrast.voices):
        yield f"{FIELD}.{index}.voice" if several else FIELD, weighted


def check_voices(contrast: Contrast, settings: VoiceSettings, *, amateur: bool) -> None:
    """Refuses a contrast against what this server never hears.

    Args:
        contrast: the request's, or a preset's.
        settings: the server's.
        amateur: whether it has a second model.

    Raises:
        RequestError: naming the voice.
    """
    further = sum(weighted.voice != "amateur" for weighted in contrast.voices)
    if further and settings.most == 0:
        raise RequestError(
            FIELD, "this server hears no voice but an amateur; start it with --max-voices 1 or more"
        )
    if further > settings.most:
        raise RequestError(
            FIELD,
            f"names {further} voices beside an amateur; this server hears {settings.most} in a request "
            "(--max-voices)",
        )
    for field, weighted in places(contrast):
        _check_voice(weighted.voice, field, settings, amateur)


def check_together(contrast: Contrast, best_of: BestOf | None) -> None:
    """Refuses a contrast that changes along an answer which is drawn in parts.

    Raises:
        RequestError: naming the field.
    """
    if best_of is None or not isinstance(contrast.adapt, ByPosition):
        return
    way = "reject" if best_of.reject is not None else "steps" if best_of.steps is not None else None
    if way is not None:
        raise RequestError(
            "contrast.adapt",
            f"by position can't be combined with best_of.{way}: each part would begin to count anew",
        )


def _check_voice(voice: Voice, field: str, settings: VoiceSettings, amateur: bool) -> None:
    if voice == "amateur":
        if not amateur:
            raise RequestError(
                field,
                "this server has one model and no amateur; start it with --amateur MODEL, or name another voice",
            )
    elif isinstance(voice, LayerVoice | LayersVoice):
        layers_of(voice, field, settings)
    elif settings.no_groups is not None:
        raise RequestError(field, f"isn't available on this server: {settings.no_groups}")


def layers_of(voice: LayerVoice | LayersVoice, field: str, settings: VoiceSettings) -> tuple[int, ...]:
    """The layers of which one is heard at each token.

    Raises:
        RequestError: naming the voice, where the model or the server lacks one of them.
    """
    if settings.no_layers is not None:
        raise RequestError(field, f"layers can't be heard on this server: {settings.no_layers}")
    if isinstance(voice, LayerVoice):
        field = f"{field}.layer"
        wanted: tuple[int, ...] = (voice.layer,)
        if voice.layer >= settings.depth:
            raise RequestError(
                field, f"must be below {settings.depth}, the number of the model's layers, got {voice.layer}"
            )
    else:
        field, wanted = f"{field}.layers", layer_candidates(voice.layers, settings.depth, settings.tied)
    missing = [layer for layer in wanted if layer not in settings.layers]
    if missing:
        there = ", ".join(map(str, settings.layers)) or "none"
        raise RequestError(
            field,
            f"needs layer{'s' if len(wanted) > 1 else ''} {', '.join(map(str, wanted))}, and this server hears "
            f"{there}; start it with --layers {','.join(map(str, sorted({*settings.layers, *missing})))}",
        )
    return wanted
