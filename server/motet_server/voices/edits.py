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


#: By what other fields clients ask for them.
_ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "structured_outputs": ("response_format", "tools", "functions"),
}


@dataclass(frozen=True, slots=True)
class NoEdits:
    """What the sampling of a group must leave alone.

    Attributes:
        reason: why.
        measured: whether the voices' predictions are measured.
        sent: the request's own fields.
    """

    reason: str
    measured: bool
    sent: frozenset[str] = frozenset()

    def check(self, sampling: Any) -> None:
        """Refuses vLLM's ``SamplingParams`` that change what can't be kept.

        Raises:
            RequestError: naming the field.
        """
        for name, nothing in {**_EDITS, **(_MASKS if self.measured else {})}.items():
            value = getattr(sampling, name)
            if value and value != nothing:
                said = next((field for field in (name, *_ALIASES.get(name, ())) if field in self.sent), None)
                default = "" if said else f", which is the model's own default here; send {nothing}"
                raise RequestError(
                    said or name,
                    "can't be combined with other sequences of a contrast on this server: "
                    f"{self.reason}{default}",
                )


def follows(contrast: Contrast) -> bool:
    """Whether a contrast's strength follows a measure of the predictions."""
    return isinstance(contrast.adapt, ByEntropy | ByDivergence)
