"""Where the model's own logits can't be kept, a group's contrast would take edited ones for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from motet_decoding.adapting import ByDivergence, ByEntropy
from motet_decoding.contrast import Contrast
from motet_decoding.errors import RequestError

#: What of vLLM's sampling changes logits before the contrast, and the value at which it doesn't.
_EDITS: Final[Mapping[str, Any]] = {
    "logit_bias": None,
    "presence_penalty": 0.0,
    "frequency_penalty": 0.0,
    "repetition_penalty": 1.0,
}

#: What excludes tokens before it, which only counts where the voices' predictions are measured.
_MASKS: Final[Mapping[str, Any]] = {
    "structured_outputs": None,
    "allowed_token_ids": None,
    "bad_words": None,
    "min_tokens": 0,
}


@dataclass(frozen=True, slots=True)
class NoEdits:
    """What the sampling of a group must leave alone.

    Attributes:
        reason: why.
        measured: whether the voices' predictions are measured.
    """

    reason: str
    measured: bool

    def check(self, sampling: Any) -> None:
        """Refuses vLLM's ``SamplingParams`` that change what can't be kept.

        Raises:
            RequestError: naming the field.
        """
        for name, nothing in {**_EDITS, **(_MASKS if self.measured else {})}.items():
            value = getattr(sampling, name)
            if value and value != nothing:
                raise RequestError(
                    name,
                    f"can't be combined with other sequences of a contrast on this server: {self.reason}",
                )


def follows(contrast: Contrast) -> bool:
    """Whether a contrast's strength follows a measure of the predictions."""
    return isinstance(contrast.adapt, ByEntropy | ByDivergence)
