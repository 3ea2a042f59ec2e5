"""Carries out the plan of a batch: reads the voices of each section and contrasts its rows with them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import torch

from motet_decoding.adapting import ByDivergence, ByEntropy, ByPosition
from motet_decoding.engine.mixing import Section, Source
from motet_decoding.engine.stage import Stage
from motet_decoding.engine.strengths import share_by_divergence, share_by_entropy, share_by_position
from motet_kernels.contrast import AMATEUR_FLOOR, contrast
from motet_kernels.divergence import js_divergence

_AMATEUR, _MEMBER = Source("amateur"), Source("member")


def contrast_section(
    section: Section, logits: torch.Tensor, stage: Stage, position: Callable[[int], int]
) -> None:
    """Contrasts a section's rows of ``logits``, [batch, vocab], in place; no other row changes.

    Args:
        section: which rows, and with what.
        logits: followers' rows still hold what their own voice says.
        stage: where the amateur and the layers are heard, and the model's own logits where a row's are edited.
        position: of a row of the batch, which token of its answer it draws, from 0.

    Raises:
        RuntimeError: where a voice was not kept for this step.
    """
    # vLLM left room for the amateur's logits of the whole batch, which `rehearse` took.
    heard_at_once = section.sources == (_AMATEUR,) and section.adapt in (None, ByPosition)
    for part in (section,) if heard_at_once else section.parts(logits.shape[1]):
        _contrast_part(part, logits, stage, position)


def _contrast_part(
    section: Section, logits: torch.Tensor, stage: Stage, position: Callable[[int], int]
) -> None:
    unedited = None
    if section.edited:
        if stage.unedited is None:
            raise RuntimeError("a contrast of edited logits reached sampling without the model's own")
        unedited = _picked(stage.unedited, section.index)
    by_divergence = section.adapt is ByDivergence
    own = None
    if section.adapt is ByEntropy or by_divergence or any(len(each.layers) > 1 for each in section.sources):
        own = _picked(logits, section.index) if unedited is None else unedited
    index, bits = None, []
    if section.sources == (_MEMBER,) and not by_divergence:
        taken, index = logits, section.followers[0]  # where they lie: a copy would be as large as the logits
    else:
        for number, source in enumerate(section.sources):
            voice = _heard(source, section.index, section.followers[number], logits, own, stage)
            if by_divergence:
                bits.append(js_divergence(_there(own), voice))
            if len(section.sources) == 1:
                taken = voice
            else:
                taken = with_voice(taken if number else None, voice, section.weights[:, number])
    share = None
    if section.adapt is ByEntropy:
        # What a voice lacks is padding, which the contrast excludes.
        share = share_by_entropy(_there(own)[:, : taken.shape[1]], section.scale)
    elif by_divergence:
        share = share_by_divergence(torch.stack(bits, dim=1), section.weights, section.scale)
    elif section.adapt is ByPosition:
        shares = [share_by_position(schedule, position(row)) for row, schedule in section.schedules]
        share = torch.tensor(shares, device=logits.device)
    settings = section.settings(share) if section.fixed is None else section.fixed
    contrast(logits, taken, settings, amateur_index=index, unedited=unedited)


def with_voice(taken: torch.Tensor | None, voice: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Adds a voice to the weighted sum of those before it.

    Args:
        taken: the sum, float32 [rows, vocab]; may be overwritten. None where there is none yet.
        voice: raw logits, [rows, voice_vocab]. Impossible tokens and NaN count as a very low number, as they do alone.
        weight: of the voice, [rows].

    Returns:
        The sum over the tokens that all voices have, float32.
    """
    finite = voice.float().nan_to_num(nan=AMATEUR_FLOOR).clamp_(AMATEUR_FLOOR, -AMATEUR_FLOOR)
    if taken is None:
        return finite.mul_(weight[:, None])
    shared = min(taken.shape[1], voice.shape[1])
    return taken[:, :shared].addcmul_(finite[:, :shared], weight[:, None])


def most_different(own: torch.Tensor, candidates: Iterable[torch.Tensor]) -> torch.Tensor:
    """Of each row the candidate that differs most from the model's own prediction; of equals the first.

    Args:
        own: raw logits, [rows, vocab].
        candidates: raw logits, [rows, vocab] each; two of them are held at a time.
    """
    chosen: torch.Tensor | None = None
    for candidate in candidates:
        bits = js_divergence(own, candidate)
        if chosen is None:
            chosen, most = candidate, bits
        else:
            chosen = torch.where((bits > most)[:, None], candidate, chosen)
            most = torch.maximum(bits, most)
    return _there(chosen)


def _heard(
    source: Source,
    index: torch.Tensor | None,
    followers: torch.Tensor | None,
    logits: torch.Tensor,
    own: torch.Tensor | None,
    stage: Stage,
) -> torch.Tensor:
    """A voice's raw logits for a section's rows, [rows, voice_vocab]; never a view of the batch's."""
    if source.kind == "amateur":
        if stage.hidden is None or stage.head is None:
            raise RuntimeError("a contrast request reached sampling without the amateur having run")
        return stage.head(_picked(stage.hidden, index))
    if source.kind == "member":
        return logits[_there(followers)]
    candidates = (stage.layer_logits(layer, index) for layer in source.layers)
    return next(candidates) if len(source.layers) == 1 else most_different(_there(own), candidates)


def _picked(rows: torch.Tensor, index: torch.Tensor | None) -> torch.Tensor:
    return rows if index is None else rows[index]


_Made = TypeVar("_Made")


def _there(made: _Made | None) -> _Made:
    assert made is not None
    return made
