"""The group of sequences that gives one answer, held against the engine's room before it begins."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from contextvars import ContextVar
from copy import copy
from dataclasses import dataclass
from typing import Any

from motet_decoding.engine.arguments import Member
from motet_decoding.errors import RequestError
from motet_server.room import Room
from motet_server.voices.checking import FIELD
from motet_server.voices.edits import NoEdits

#: The group of the request that is being answered; None for one that is answered by a single sequence.
current: ContextVar[Group | None] = ContextVar("motet_group", default=None)


@dataclass(frozen=True, slots=True)
class Group:
    """One answer's sequences.

    Attributes:
        members: those beside the answer's own.
        fields: what each of them is called in the request.
        room: the engine's.
        prompt: the request's field for the answer's own prompt.
        asked: the field that says how long the answer may be; None where the request doesn't.
        no_edits: what its sampling must leave alone.
    """

    members: Sequence[Member]
    fields: Sequence[str]
    room: Room
    prompt: str
    asked: str | None
    no_edits: NoEdits | None = None

    def fitted(self, prompt: Any, sampling: Any) -> Any:
        """The request's sampling, its answer no longer than the longest sequence and the whole group have room for.

        Args:
            prompt: the engine's input for the answer.
            sampling: vLLM's ``SamplingParams``, whose ``max_tokens`` is a number.

        Raises:
            RequestError: the request says how long its answer may be, and that doesn't fit; nothing does; the prompt is
                more than tokens; or the sampling changes what must be left alone.
        """
        if "prompt_token_ids" not in prompt or prompt.get("mm_kwargs") is not None:
            raise RequestError(
                self.prompt,
                f"must be text or tokens where {FIELD} names other sequences, which read nothing else",
            )
        if self.no_edits is not None:
            self.no_edits.check(sampling)
        own = len(prompt["prompt_token_ids"])
        lengths = [own, *(own if each.tokens is None else len(each.tokens) for each in self.members)]
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        context, cache = self.room.context - lengths[longest], self._cached(lengths)
        if cache < 1:
            raise RequestError(
                FIELD,
                f"the prompts of these {len(lengths)} sequences have {sum(lengths)} tokens together, and the engine "
                f"keeps {self._kept} of all its requests; shorten them, or name fewer voices",
            )
        fits = min(context, cache)
        if sampling.max_tokens <= fits:
            return sampling
        if self.asked is not None:
            why = (
                f"{self.fields[longest - 1]} reads {lengths[longest]} of the context's {self.room.context} tokens"
                if context <= cache and longest
                else f"the engine keeps {self._kept} tokens, and {len(lengths)} sequences grow together"
            )
            raise RequestError(
                self.asked, f"must be at most {fits} with these voices, got {sampling.max_tokens}: {why}"
            )
        if sampling.min_tokens > fits:
            raise RequestError("min_tokens", f"must be at most {fits} with these voices")
        sampling = copy(sampling)
        sampling.max_tokens = fits
        return sampling

    @property
    def _kept(self) -> int:
        return (self.room.blocks or 0) * self.room.block

    def _cached(self, lengths: Sequence[int]) -> int:
        """The most tokens by which all sequences can grow and still be kept at the same time; below 0 for none."""
        room = self.room
        if room.blocks is None:
            return room.context

        def needed(tokens: int) -> int:
            return sum(-(-(length + tokens) // room.block) for length in lengths)

        return bisect_right(range(room.context + 1), room.blocks, key=needed) - 1
